"""The command C{twisted-chat}."""

import argparse
import configparser
import os
import stat
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ReactorNotRunning

from twisted_chat import __version__
from twisted_chat.core.text import printable

from . import lines
from .connection import Client, GaveUp, Identity, Refused, Where
from .pipe import Pipe, Plan, complain, is_input
from .where import PORT, BadWhere
from .window import NoWindow, run

OK, FAILED, MISUSED = 0, 1, 2
"""Exit codes: everything was done; something was not posted, or the client was not logged in; the
command line or the configuration is wrong."""

_VARIABLE = "TWISTED_CHAT_PASSWORD"

_EPILOG = f"""\
Lines from a pipe are posted. Only failures are printed, and the exit code is
0 only if every line has its receipt. A line that looks like a command is
refused, unless --raw or --commands is given. Without a pipe as input, events
are printed if the output is a pipe or --json is given. With both, it does
both until the input ends.

A password is taken from --password-file, from ${_VARIABLE}, or
from the configuration, $XDG_CONFIG_HOME/twisted-chat/config.ini (~/.config),
in which each section is a HOST and has any of: host, port, tls, ca, pin, unix,
name, password, room.

Exit codes: 0 success, 1 not posted or not logged in, 2 wrong usage.
"""

_KEYS = frozenset({"host", "port", "tls", "ca", "pin", "unix", "name", "password", "room"})


_SWITCH = configparser.ConfigParser.BOOLEAN_STATES


class Misused(Exception):
    """The command line or the configuration is wrong; the text says why."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command, and exit."""
    try:
        given = _parser().parse_args(arguments)
        code = _run(given)
    except Misused as error:
        complain(str(error))
        code = MISUSED
    except BadWhere as error:
        complain(str(error))
        code = MISUSED
    except (GaveUp, NoWindow, Refused) as error:
        complain(str(error))
        code = FAILED
    sys.exit(code)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "twisted-chat",
        description="Chat on a terminal or from a pipe: post lines, and follow what is said.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "host", metavar="HOST", nargs="?", help="the server, or a section of the configuration"
    )
    parser.add_argument("port", metavar="PORT", nargs="?", type=_port, help=f"default: {PORT}")
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--room",
        action="append",
        help="the room to post to and follow; repeat it to follow more (default: the lobby)",
    )
    where.add_argument(
        "--to", metavar="NAME", help="in a pipe: send private messages to this person"
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--raw", action="store_true", help="in a pipe: post every line as text")
    how.add_argument(
        "--commands", action="store_true", help="in a pipe: carry out commands, as if typed"
    )
    parser.add_argument("--name", help="your name")
    who = parser.add_mutually_exclusive_group()
    who.add_argument("--guest", action="store_true", help="join as a guest, without a password")
    who.add_argument("--register", action="store_true", help="register the name if it is new")
    parser.add_argument("--password-file", metavar="FILE", help="its first line is the password")
    parser.add_argument("--tls", action=argparse.BooleanOptionalAction, help="use TLS, or do not")
    parser.add_argument("--ca", metavar="FILE", help="use TLS, and trust these certificates (PEM)")
    parser.add_argument(
        "--pin", metavar="SHA256", help="use TLS, and trust the certificate with this fingerprint"
    )
    parser.add_argument("--unix", metavar="PATH", help="connect to a UNIX socket")
    parser.add_argument("--gui", action="store_true", help="open a window")
    parser.add_argument("--json", action="store_true", help="print events as JSON Lines")
    parser.add_argument(
        "--plain", action="store_true", help="on a terminal: one line per event, no redrawing"
    )
    parser.add_argument(
        "--no-bell", action="store_true", help="on a terminal: do not ring the bell"
    )
    parser.add_argument("--version", action="version", version=f"twisted-chat {__version__}")
    return parser


def _port(text: str) -> int:
    try:
        port = int(text)
    except ValueError:
        port = 0
    if not 0 < port < 65536:
        sentence = f'a port is a number from 1 to 65535, not "{printable(text)}"'
        raise argparse.ArgumentTypeError(sentence)
    return port


def _run(given: argparse.Namespace) -> int:
    settings = _settings(_config_path(), given.host)
    where = _where(given, settings)
    identity = _identity(given, settings)
    rooms, to = _places(given, settings)
    posts = is_input(0) and not given.gui
    if not posts and (to or given.raw or given.commands):
        raise Misused("--to, --raw and --commands are for what is piped in, and nothing is")
    if given.gui:
        run(where, identity, rooms, ready=bool(given.guest or identity.password))
        return OK
    follows = given.json or not (posts or sys.stdout.isatty())
    plan = Plan(rooms, posts, follows, given.json, to, given.raw, given.commands)
    if not (plan.posts or plan.follows):
        return _on_terminal(given, where, identity, rooms)
    from twisted.internet import reactor  # noqa: PLC0415 - it is installed by that

    # What is shown to nobody is not read: the pipe marks what it prints.
    client = Client(where, identity, rooms, only=True, marks=True, reactor=reactor)
    return _until_done(reactor, Pipe(client, plan))


def _on_terminal(
    given: argparse.Namespace, where: Where, identity: Identity, rooms: tuple[str, ...]
) -> int:
    if not sys.stdin.isatty():
        raise Misused("neither the input nor the output is a pipe or a terminal to chat on")
    from . import terminal  # noqa: PLC0415 - it chooses the reactor, and not all need it

    asks = not given.guest
    unsent = terminal.run(
        where, identity, rooms, asks=asks, plain=given.plain, bell=not given.no_bell
    )
    if unsent:
        complain(f"not sent: {unsent} of the lines that were typed")
    return FAILED if unsent else OK


def _until_done(reactor: Any, pipe: Pipe) -> int:
    codes: list[int] = []

    def failed(failure: Any) -> None:
        codes.append(FAILED)
        complain(failure.getErrorMessage())

    def ended(_: object) -> None:
        with suppress(ReactorNotRunning):  # a signal has stopped it
            reactor.stop()

    def begin() -> None:
        done = Deferred.fromCoroutine(pipe.run())
        done.addCallbacks(codes.append, failed)
        done.addBoth(ended)

    reactor.callWhenRunning(begin)
    reactor.addSystemEventTrigger("before", "shutdown", pipe.interrupt)
    reactor.run()
    return codes[0] if codes else pipe.report()


def _places(given: argparse.Namespace, settings: dict[str, str]) -> tuple[tuple[str, ...], str]:
    """Read which rooms to be in, and which person to tell what is piped in.

    @raise Misused: if a room or the person has no valid name.
    """
    try:
        if given.to is not None:
            return (), lines.person(given.to)
        rooms = given.room or settings.get("room", "").split()
        return tuple(map(lines.room, rooms)), ""
    except Refused as error:
        raise Misused(str(error)) from None


def _where(given: argparse.Namespace, settings: dict[str, str]) -> Where:
    """Read which server to connect to, and how.

    @raise Misused: if that is wrong. A setting that asks for TLS and cannot be understood is wrong,
        so that no password is sent without TLS.
    @raise BadWhere: as L{Where.check}.
    """
    for key in ("ca", "pin", "unix"):
        for source, value in (
            (f"--{key}", getattr(given, key)),
            (f"{_config_path()}: {key}", settings.get(key)),
        ):
            if value is not None and not value.strip():
                raise Misused(f"{source} is empty; give it a value, or leave it out")
    unix = given.unix or ("" if given.host and not settings else settings.get("unix", ""))
    host = settings.get("host") or given.host
    if given.gui and not (host or unix):
        host = "localhost"
    if not (host or unix):
        raise Misused("which server? twisted-chat HOST [PORT]; --help shows all")
    try:
        port = given.port or _port(settings.get("port", str(PORT)))
    except argparse.ArgumentTypeError:
        raise Misused(f"{_config_path()}: port is a number from 1 to 65535") from None
    configured = settings.get("tls", "no").strip()
    if configured.lower() not in _SWITCH:
        raise Misused(f'{_config_path()}: tls is yes or no, not "{printable(configured)}"')
    tls, ca, pin = given.tls, given.ca, given.pin
    if tls is False and (ca or pin):
        raise Misused("--no-tls and a certificate to trust exclude each other")
    if tls is None:
        tls = _SWITCH[configured.lower()]
    if given.tls is not False:
        ca, pin = ca or settings.get("ca", ""), pin or settings.get("pin", "")
    where = Where(host or "localhost", port, tls, ca or "", pin or "", unix)
    where.check()
    return where


def _identity(given: argparse.Namespace, settings: dict[str, str]) -> Identity:
    name = given.name or settings.get("name", "")
    if given.guest:
        return Identity(name)
    password = settings.get("password", "") if name == settings.get("name", "") else ""
    password = os.environ.get(_VARIABLE, password)
    if given.password_file:
        password = _first_line(given.password_file)
    if password and not name:
        raise Misused("a password needs a name: --name NAME")
    if given.register and not password:
        raise Misused(f"--register needs a password: --password-file FILE, or ${_VARIABLE}")
    return Identity(name, password, given.register)


def _first_line(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            line = file.readline().rstrip("\r\n")
            mode = os.fstat(file.fileno()).st_mode
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise Misused(f"cannot read the password in {path}: {reason}") from None
    if stat.S_ISREG(mode):
        _refuse_shared(path, mode)
    if not line:
        raise Misused(f"the first line of {path} must be the password, but it is empty")
    return line


def _refuse_shared(path: object, mode: int) -> None:
    """Check that only its owner can use a file with a password.

    @raise Misused: if others can.
    """
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise Misused(f"{path} contains a password and others can read it; run chmod 600 {path}")


def _config_path() -> Path:
    base = os.environ.get("XDG_CONFIG_HOME", "")
    home = Path(base) if os.path.isabs(base) else Path.home() / ".config"
    return home / "twisted-chat" / "config.ini"


def _settings(path: Path, host: str | None) -> dict[str, str]:
    """Read what the configuration says of a server: nothing, if there is no configuration.

    @param host: the section, or L{None} for the defaults.
    @raise Misused: if it is wrong, or has a password in it that others can read.
    """
    config = configparser.ConfigParser(interpolation=None)
    try:
        with open(path, encoding="utf-8") as file:
            config.read_file(file)
            mode = os.fstat(file.fileno()).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, UnicodeError, configparser.Error) as error:
        raise Misused(f"cannot read {path}: {str(error).splitlines()[0]}") from None
    sections = [dict(config.items(section)) for section in config.sections()]
    every = [config.defaults(), *sections]
    unknown = sorted({key for section in every for key in section} - _KEYS)
    if unknown:
        raise Misused(f"{path}: there is no setting called {unknown[0]}")
    if any("password" in section for section in every):
        _refuse_shared(path, mode)
    wanted = (host or "").casefold()
    named = [section for section in config.sections() if section.casefold() == wanted]
    if len(named) > 1 and host not in named:
        raise Misused(f"{path}: {named[0]} and {named[1]} are the same host")
    if named:
        return dict(config.items(host if host in named else named[0]))
    return dict(config.defaults())
