"""Several nodes on a PostgreSQL of their own."""

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any

from tests.daemon import Daemon
from tests.postgres import Server

DATABASE = "chat"


def serve(*settings: str) -> tuple[Server, str]:
    """Start a PostgreSQL whose flushes reach the disk, and make an empty database.

    @return: the server, and the URL of the database.
    @raise SkipTest: if PostgreSQL is not installed.
    """
    server = Server(*settings, on_disk=True)
    server.execute(f"CREATE DATABASE {DATABASE} OWNER chat TEMPLATE template0")
    return server, server.url(DATABASE)


class Nodes:
    """Daemons on one database.

    @ivar daemons: the nodes.
    """

    def __init__(self, count: int, url: Callable[[int], str], *options: str) -> None:
        """
        @param url: returns the URL of the database for the node with this number.
        @param options: of C{twistd chat}, for each node.
        """
        self.daemons = [Daemon("--database", url(number), *options) for number in range(count)]

    def __enter__(self) -> "Nodes":
        try:
            with ThreadPoolExecutor() as pool:  # at once, as they may all find no tables yet
                list(pool.map(Daemon.start, self.daemons))
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def ports(self) -> list[int]:
        return [daemon.port for daemon in self.daemons]

    def close(self) -> None:
        """Kill the nodes, and remove their directories."""
        for daemon in self.daemons:
            daemon.kill()
            shutil.rmtree(daemon.directory, ignore_errors=True)


def rows(server: Server, statement: str) -> list[Any]:
    """Ask the database of the nodes, as the superuser."""
    return server.execute(statement, server.url(DATABASE))
