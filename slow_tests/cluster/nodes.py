"""Two nodes that are used as if they were one server."""

import itertools
import signal
from concurrent.futures import ThreadPoolExecutor

from tests import postgres
from tests.daemon import Daemon, ForkedDaemon
from tests.end_to_end.terminal import DaemonTestCase


class TwoNodes(Daemon):
    """Two daemons with the same options, on one database.

    C{port} is in turn that of the one and of the other, so that two people who connect are each on
    a node of their own. Whatever else is done, is done to both; C{log} is that of both.
    """

    def __init__(self, *options: str) -> None:
        super().__init__(*options)
        self.nodes = [ForkedDaemon(*options) for _ in range(2)]
        for node in self.nodes:
            node.log = self.log
        self._turns = itertools.cycle(self.nodes)

    @property
    def port(self) -> int:
        return next(self._turns).port

    def start(self) -> None:
        with ThreadPoolExecutor() as pool:
            list(pool.map(Daemon.start, self.nodes))

    def kill(self) -> None:
        for node in self.nodes:
            node.kill()

    def stop(self, with_signal: signal.Signals = signal.SIGTERM, timeout: float = 30) -> int:
        return max([node.stop(with_signal, timeout) for node in self.nodes], key=abs)


class TwoNodesTestCase(DaemonTestCase):
    """Two nodes of their own for each test, on a PostgreSQL."""

    launch = TwoNodes
    skip = postgres.missing()

    def setUp(self) -> None:
        self.options = (*self.options, "--database", postgres.database(self))
        super().setUp()
