"""What all connections of a face share, and what happens to all of them at once."""

from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from hashlib import sha256
from secrets import token_urlsafe

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import Cooperator, LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_chat.core.accounts import Accounts
from twisted_chat.core.addresses import Source
from twisted_chat.core.chat import Chat
from twisted_chat.core.limits import Limits
from twisted_chat.core.throttle import Rate
from twisted_chat.transport import LastWord

from .admission import Admission
from .connection import Connection
from .outbox import OutboxLimits

_LOOK_EVERY = 1.0
"""Seconds between two looks at the connections that are not read from."""

_PROBE_EVERY = 10.0
"""Seconds between two probes of a peer that is not read from. If it is gone, its kernel answers
with a RST; its FIN may wait behind what is not read."""

_REFUSALS = 50
"""Connections that are told at the same time why they are refused; more are closed without a word,
as each takes an open file."""

_DIGEST = 15
"""Bytes of the digest of a token."""

_log = Logger()


class Face:
    """The connections of one way to reach the server: counted, kept alive, watched, and ended.

    @ivar rate: at which the requests of each session are taken; L{None} for no limit.
    @ivar tokens: the connections whose sessions another connection may take over, by the digests of
        their tokens.
    @ivar is_closing: the server is going down.
    """

    def __init__(
        self,
        chat: Chat,
        accounts: Accounts,
        admission: Admission,
        limits: Limits,
        clock: IReactorTime,
        now: Callable[[], int],
    ) -> None:
        """@param now: gives the time in UTC milliseconds."""
        self.chat = chat
        self.accounts = accounts
        self.admission = admission
        self.limits = limits
        self.clock = clock
        self.now = now
        self.rate = Rate(limits.line_burst, limits.line_rate) if limits.line_rate else None
        self.outbox_limits = OutboxLimits(
            clock, now, limit=limits.outbox, stuck_after=limits.stuck_after
        )
        self.tokens: dict[str, Connection] = {}
        self.is_closing = False
        chat.nodes.takers.append(self._taken_over)
        self._connections: dict[Connection, None] = {}
        self._refused: set[_Refuser] = set()
        self._empty: Deferred[None] | None = None
        self._cooperator = Cooperator(scheduler=lambda work: clock.callLater(0, work))
        self._keeping_alive = LoopingCall(self.keep_alive)
        self._keeping_alive.clock = clock
        self._deaf: dict[Connection, float] = {}  # those not read from, and when to probe each
        self._looking: IDelayedCall | None = None  # the next look, or the one under way

    # Coming and going

    def refusal(self, source: Source) -> str | None:
        """Say in a sentence why nobody may connect from there now; L{None} if they may."""
        return "this server is going down" if self.is_closing else self.admission.refusal(source)

    def refuse(self, answer: bytes) -> Protocol | None:
        """Make a protocol that tells a peer why it may not connect.

        @param answer: the sentence, as the face writes it.
        @return: L{None} if too many peers are being told.
        """
        return _Refuser(self, answer) if len(self._refused) < _REFUSALS else None

    def refusing(self, refuser: "_Refuser") -> None:
        """Count a peer that is being told."""
        self._refused.add(refuser)

    def was_refused(self, refuser: "_Refuser") -> None:
        """Count it no more."""
        self._refused.discard(refuser)

    def add(self, connection: Connection) -> None:
        """Count a new connection."""
        self._connections[connection] = None
        self.admission.came(connection, connection.session.source)

    def remove(self, connection: Connection) -> None:
        """Forget a connection that is lost."""
        self._connections.pop(connection, None)
        self._deaf.pop(connection, None)
        if not self._deaf and self._looking is not None and self._looking.active():
            self._looking.cancel()
            self._looking = None
        if not self._connections and self._empty is not None:
            empty, self._empty = self._empty, None
            empty.callback(None)

    def left(self, connection: Connection) -> None:
        """Count a connection no more: it is lost, and its session is over."""
        self.admission.went(connection, connection.session.source)

    def new_token(self, connection: Connection) -> str:
        """Make a token for a connection."""
        token = token_urlsafe(12)
        connection.session.token = digest(token)
        self.tokens[connection.session.token] = connection
        return token

    def take_over(self, by: Connection, token: str) -> None:
        """End the session that was given a token, here or with another node, with all that it has
        sent and that was not carried out yet. Other nodes are asked only once for each connection:
        it costs them all a commit, and whoever asks need not have logged in.

        @param by: the connection that takes its place.
        """
        has_asked = bool(by.session.former)
        by.session.former = digest(token)
        other = self.tokens.get(by.session.former)
        if other is None:
            if not has_asked:
                self.chat.take_over(by.session.former)
        elif other is not by:
            self._end_taken_over(other)

    def _taken_over(self, former: str) -> None:
        other = self.tokens.get(former)
        if other is not None:
            self._end_taken_over(other)

    def _end_taken_over(self, connection: Connection) -> None:
        connection.close()  # a guest's name is free once the posts in flight have landed
        connection.abort()

    # Signs of life

    def start(self) -> None:
        """Begin to keep connections alive."""
        if self.limits.keepalive and not self._keeping_alive.running:
            self._keeping_alive.start(self.limits.keepalive, now=False).addErrback(
                lambda failure: _log.failure("keeping connections alive", failure)
            )

    def stop(self) -> None:
        """Send no more signs of life."""
        if self._keeping_alive.running:
            self._keeping_alive.stop()

    def keep_alive(self) -> "Deferred[Iterator[None]]":
        """Send every connection a sign of life, over several turns of the reactor."""

        def each() -> Iterator[None]:
            for connection in list(self._connections):
                connection.keep_alive()
                yield  # ten thousand take a while

        return self._cooperator.coiterate(each())

    def watch(self, connection: Connection) -> None:
        """Look after a connection that is not read from, until it is read from again."""
        if self.is_closing or not connection.is_deaf:
            return
        self._deaf.setdefault(connection, self.clock.seconds() + _PROBE_EVERY)
        if self._looking is None:
            self._look_later()

    def _look_later(self, done: object = None) -> None:
        self._looking = self.clock.callLater(_LOOK_EVERY, self._look) if self._deaf else None

    def _look(self) -> None:
        def each() -> Iterator[None]:
            for connection, probe_at in list(self._deaf.items()):
                if not connection.is_deaf:
                    self._deaf.pop(connection, None)
                else:
                    connection.look()
                    if probe_at <= self.clock.seconds():
                        self._deaf[connection] = self.clock.seconds() + _PROBE_EVERY
                        connection.probe()
                yield  # ten thousand take a while

        # No LoopingCall: stopped and started again before this is done, it would loop twice.
        self._cooperator.coiterate(each()).addErrback(
            lambda failure: _log.failure("looking at connections that are not read", failure)
        ).addCallback(self._look_later)

    # The end

    def pause(self) -> None:
        """Accept nobody and read nothing more."""
        self.is_closing = True
        for connection in self._connections:
            connection.pause()

    async def hang_up(self, farewell: str, grace: float) -> None:
        """Say bye to everybody.

        @param grace: seconds after which those who have not read it are cut off.
        """
        self.stop()
        if not self._connections:
            return
        empty = self._empty = Deferred()
        for connection in list(self._connections):
            connection.hang_up(farewell)
        timeout = self.clock.callLater(grace, self._abort)
        await empty
        if timeout.active():
            timeout.cancel()

    def _abort(self) -> None:
        for connection in list(self._connections):
            connection.abort()


def digest(token: str) -> str:
    """Give what stands for a token where others may read it."""
    return urlsafe_b64encode(sha256(token.encode()).digest()[:_DIGEST]).decode()


class _Refuser(Protocol):
    """Says why a peer may not connect, and ends the connection."""

    _last_word: LastWord

    def __init__(self, face: Face, answer: bytes) -> None:
        self._face = face
        self._answer = answer

    def connectionMade(self) -> None:
        self._face.refusing(self)
        self._last_word = LastWord(self.transport, self._face.clock)
        self._last_word.say(self._answer)

    def dataReceived(self, data: bytes) -> None:
        self._last_word.ignore(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._last_word.connection_lost()
        self._face.was_refused(self)
