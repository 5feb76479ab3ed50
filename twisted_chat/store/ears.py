"""L{Ears}: the connection on which PostgreSQL tells a node of commits."""

import os
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psycopg
from twisted.internet.interfaces import IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from .server import Connection
from .trouble import words


@implementer(IReadDescriptor)
class Ears:
    """Reads notifications from a connection that does nothing else, on the reactor's thread.

    The connection must commit each statement by itself: PostgreSQL keeps all notifications as long
    as a listener is in a transaction.
    """

    def __init__(
        self,
        connection: Connection,
        reactor: Any,
        heard: Callable[[str], None],
        lost: Callable[[str], None],
    ) -> None:
        """
        @param connection: listens already.
        @param heard: called with what each notification says.
        @param lost: called once, with the reason, when the connection is lost.
        """
        self._connection = connection
        self._reactor = reactor
        self._heard = heard
        self._lost = lost
        # When the connection fails, libpq closes its descriptor, and the reactor could not stop
        # watching that one any more.
        self._descriptor = os.dup(connection.fileno())
        reactor.addReader(self)

    def fileno(self) -> int:
        """Return the descriptor that the reactor watches."""
        return self._descriptor

    def logPrefix(self) -> str:
        """Name this in Twisted's log lines."""
        return "ears"

    def doRead(self) -> None:
        """Take what has arrived."""
        try:
            self._connection.pgconn.consume_input()
        except psycopg.Error as error:
            self._fail(words(error))
            return
        while self._descriptor >= 0 and (notify := self._connection.pgconn.notifies()) is not None:
            self._heard(notify.extra.decode())

    def connectionLost(self, reason: Failure) -> None:
        """The reactor found the connection broken, or is stopping."""
        self._fail(reason.getErrorMessage())

    def close(self) -> None:
        """Close the connection. Does nothing if it is closed already."""
        if self._descriptor >= 0:
            self._reactor.removeReader(self)
            os.close(self._descriptor)
            self._descriptor = -1
            self._connection.close()

    def _fail(self, reason: str) -> None:
        if self._descriptor >= 0:
            self.close()
            self._lost(reason)


def cut(connection: Connection) -> None:
    """Shut a connection's socket down, so that the statement under way fails. Does nothing if it is
    closed or lost already. Any thread may call this."""
    with (
        suppress(psycopg.Error, OSError),
        socket.socket(fileno=os.dup(connection.fileno())) as other,
    ):
        other.shutdown(socket.SHUT_RDWR)
