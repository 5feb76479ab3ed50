"""The command C{twisted-chat-move}."""

import argparse
import sys
from collections.abc import Sequence

from twisted_chat import __version__
from twisted_chat.store import DatabaseTooNew, StoreError
from twisted_chat.store.move import move

_EPILOG = """\
A URL looks like sqlite:///chat.db or postgresql+psycopg://chat@host/chat.

Stop every server that uses FROM. TO must be empty; an SQLite file is created.
FROM stays as it is. If the command is interrupted, the same command goes on.

Exit codes: 0 the copy is complete, 1 it is not, 2 wrong usage.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command, and exit."""
    parser = argparse.ArgumentParser(
        prog="twisted-chat-move",
        description="Copy the database of a chat server to another one, which may be of another"
        " kind.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"twisted-chat {__version__}")
    parser.add_argument("origin", metavar="FROM", help="the URL of the database to copy")
    parser.add_argument("to", metavar="TO", help="the URL of the database to make")
    given = parser.parse_args(arguments)
    try:
        move(given.origin, given.to, _tell)
    except (StoreError, DatabaseTooNew) as error:
        sys.exit(f"{parser.prog}: {error}")
    except KeyboardInterrupt:
        sys.exit(f"{parser.prog}: interrupted; the same command goes on")
    _tell("done: start the server with the new database; the old one is as it was")


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
