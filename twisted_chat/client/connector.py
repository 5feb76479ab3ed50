"""Connects to a server, and again whenever the connection was lost."""

import random
from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import Factory, connectionDone
from twisted.internet.task import deferLater
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure

from twisted_chat.protocol.alive import MISSED
from twisted_chat.protocol.jsonlines import safe
from twisted_chat.transport import keep_alive

from .where import BadWhere, Where, bad_certificate, why

_IN_TIME = 60.0
"""Seconds that connecting, and then logging in, may take."""

_LATE = 5.0
"""Seconds that a sign of life may be late, at most."""

_FAREWELL = 5.0
"""Seconds that a server has to end the connection when it was asked to."""

_FIRST_WAIT, _LONGEST_WAIT = 0.5, 30.0
"""Seconds before the next attempt to connect: doubled each time, and varied by half."""

_LASTED = 30.0
"""Seconds after which a connection counts as a good one: the waits start over."""

_SPREAD = 5.0
"""Seconds over which the clients of a server that has said bye come back, so that they do not all
come at once to another node, or to the server that starts again."""


class GaveUp(Exception):
    """Another attempt to connect would be useless; the text is a sentence for people, safe to show.

    @ivar code: what the server refused the login with; empty if it was something else.
    """

    def __init__(self, text: str, code: str = "") -> None:
        super().__init__(text)
        self.code = code


class Connector:
    """Makes one connection after the other.

    Not with C{ClientService}: that takes an endpoint once, where L{Where} reads certificates again
    for each attempt, and it cannot tell a hopeless failure from one that may pass.

    @ivar keepalive: seconds between the server's signs of life; 0: it sends none.
    @ivar reason: why the server is about to end the connection, in its own words.
    @ivar is_in: this connection is logged in.
    @ivar was_in: this or an earlier connection was logged in.
    @ivar is_closing: L{close} was called.
    """

    def __init__(
        self,
        reactor: Any,
        where: Where,
        *,
        made: Callable[[], None],
        received: Callable[[bytes], None],
        regulate: Callable[[], None],
        lost: Callable[[str], None],
        waiting: Callable[[float], object],
    ) -> None:
        """
        @param made: is called when there is a connection; has to lead to L{entered}.
        @param received: is called with each line.
        @param regulate: is called when all that had arrived was read; may call L{pause}.
        @param lost: is called with a sentence when the connection is lost.
        @param waiting: is called with the seconds until the next attempt.
        """
        self._reactor = reactor
        self._where = where
        self._made = made
        self.received = received
        self.regulate = regulate
        self._lost = lost
        self._waiting = waiting
        self._link: _Link | None = None
        self._since: float | None = None  # when we logged in on this connection
        self._deadline: IDelayedCall | None = None
        self._awaited: Deferred[Any] | None = None
        self.keepalive = 0
        self.reason = self._own_reason = self._code = ""
        self._is_hopeless = self.was_in = self.is_closing = False

    @property
    def is_in(self) -> bool:
        return self._since is not None

    def write(self, written: Iterable[bytes]) -> None:
        """Write lines, if there is a connection."""
        if self._link is not None and (data := b"".join(written)):
            self._link.transport.write(data)

    def pause(self, *, paused: bool) -> None:
        """Pause reading, or go on."""
        if self._link is None or paused == self._link.paused:
            return
        if paused:
            self._link.pauseProducing()
        else:
            self._link.last = self._reactor.seconds()  # the silence was ours
            self._link.resumeProducing()

    def drop(self, reason: str = "", *, code: str = "", is_hopeless: bool = False) -> None:
        """Cut the connection off.

        @param reason: a sentence for people, if we know better than the network.
        @param code: what the server refused the login with.
        @param is_hopeless: another attempt would end in the same way.
        """
        self._own_reason, self._code, self._is_hopeless = reason, code, is_hopeless
        if self._link is not None:
            self._link.drop()

    def entered(self) -> None:
        """Note that we are logged in."""
        self.was_in = True
        self._since = self._reactor.seconds()
        self._stop_waiting()
        if self.keepalive:
            self._check_for_life()

    def close(self) -> None:
        """Make no other connection, and cut this one off if the server does not end it soon."""
        self.is_closing = True
        if self._link is not None:
            self._expect(_FAREWELL, "")
        if self._awaited is not None:
            self._awaited.cancel()

    async def run(self) -> None:
        """Connect again and again, until L{close} is called.

        @raise GaveUp: if another attempt would be useless.
        """
        wait = _FIRST_WAIT
        while not self.is_closing:
            lasted = await self._connect()
            if self.is_closing:
                return
            if lasted is not None and (self.reason or lasted > _LASTED):
                wait = _FIRST_WAIT
            if lasted is not None and self.reason:  # the server has said bye
                seconds = random.uniform(0, _SPREAD)
            else:
                seconds = wait * random.uniform(0.5, 1.5)
                wait = min(wait * 2, _LONGEST_WAIT)
            self._waiting(seconds)
            try:
                await self._unless_closed(deferLater(self._reactor, seconds))
            except CancelledError:
                return

    async def _unless_closed(self, awaited: "Deferred[Any]") -> None:
        self._awaited = awaited
        try:
            await awaited
        finally:
            self._awaited = None

    async def _connect(self) -> float | None:
        """Make one connection, and wait until it is gone.

        @return: seconds for which we were logged in; L{None} if we were not.
        @raise GaveUp: if another attempt would be useless.
        """
        self.reason = self._own_reason = self._code = ""
        try:
            endpoint = self._where.endpoint(self._reactor, _IN_TIME)
        except BadWhere as error:
            raise GaveUp(str(error)) from None
        link = _Link(self, self._reactor)
        factory = Factory.forProtocol(lambda: link)
        factory.noisy = False  # where nobody has begun to log, Twisted keeps what is logged
        try:
            await self._unless_closed(endpoint.connect(factory))
        except CancelledError:
            return None
        except Exception as error:  # noqa: BLE001 - whatever an endpoint fails with
            if not self.was_in:
                raise GaveUp(f"cannot connect to {self._place}: {why(error)}") from None
            return None
        if self.is_closing:
            link.drop()
        return self._disconnected(await link.lost)

    @property
    def _place(self) -> str:
        return safe(str(self._where))

    def made(self, link: "_Link") -> None:
        """Take a new connection, and wait for the login."""
        self._link = link
        self._expect(_IN_TIME, "the server did not answer in time")
        self._made()

    def _disconnected(self, lost: BaseException | None) -> float | None:
        """Tell why the connection is lost, and whether another one may last.

        @return: seconds for which we were logged in; L{None} if we were not.
        @raise GaveUp: if another attempt would be useless.
        """
        self._stop_waiting()
        link, self._link = self._link, None
        since, self._since = self._since, None
        reason = self._own_reason or self.reason or why(lost)
        self._lost(reason)
        if self._is_hopeless:
            raise GaveUp(reason, self._code)
        if untrusted := bad_certificate(lost, self._where):
            raise GaveUp(untrusted)
        if not self.was_in and not self.is_closing:
            said = link is not None and link.said
            raise GaveUp(f"{self._place}: {reason}{self._hint(reason, said=said)}", self._code)
        return None if since is None else self._reactor.seconds() - since

    def _hint(self, reason: str, *, said: bool) -> str:
        """Suggest an option, if only one end speaks TLS.

        @param reason: why the connection was lost.
        @param said: the server has said a line of the protocol.
        """
        if self._where.is_tls:
            return "" if said else "; use --no-tls if it is meant to be plain"
        if "TLS" in reason:
            return "" if "--tls" in reason else "; --tls does"
        return "" if said or self._where.unix else "; does it need --tls?"

    # Time

    def _expect(self, seconds: float, reason: str) -> None:
        """Drop the connection after some time, in seconds."""
        self._stop_waiting()
        self._deadline = self._reactor.callLater(seconds, self.drop, reason)

    def _stop_waiting(self) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        self._deadline = None

    def _check_for_life(self) -> None:
        """Drop the connection once two signs of life are overdue."""
        if self._link is None:
            return
        overdue = MISSED * self.keepalive + min(self.keepalive, _LATE)
        wait = self._link.last + overdue - self._reactor.seconds()
        if self._link.paused:
            wait = overdue
        if wait > 0:
            self._deadline = self._reactor.callLater(wait, self._check_for_life)
        else:
            self.drop("the server stopped responding")


class _Link(LineReceiver):
    """One connection.

    @ivar lost: fires with the reason when the connection is lost.
    @ivar last: when something was last read, in seconds.
    @ivar said: a line of the protocol was read; an alert of TLS may be a line, too.
    """

    transport: Any
    delimiter = b"\n"
    MAX_LENGTH = 16 * 1024 * 1024

    def __init__(self, connector: Connector, reactor: Any) -> None:
        self._connector = connector
        self._reactor = reactor
        self._is_dropped = False
        self.lost: Deferred[BaseException | None] = Deferred()
        self.last = 0.0
        self.said = False

    def connectionMade(self) -> None:
        keep_alive(self.transport)
        self._connector.made(self)

    def dataReceived(self, data: bytes) -> None:
        self.last = self._reactor.seconds()
        super().dataReceived(data)
        self._connector.regulate()

    def lineReceived(self, line: bytes) -> None:
        if self._is_dropped:
            return
        self.said = self.said or line.startswith((b"*", b"!", b"{"))
        self._connector.received(line)

    def lineLengthExceeded(self, line: bytes) -> None:
        self.drop()

    def drop(self) -> None:
        """Cut the connection off: after a half-close the server would carry out what it has read,
        long after we have asked for it again."""
        self._is_dropped = True
        self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost.callback(reason.value)
