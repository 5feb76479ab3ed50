"""What every connection of every face has: a session, an intake, and a way to its end."""

from enum import Enum
from typing import TYPE_CHECKING, Any

from twisted_chat.core.addresses import Source
from twisted_chat.core.people import Session
from twisted_chat.core.ports import Outbox

from .intake import Intake

if TYPE_CHECKING:
    from .face import Face


class State(Enum):
    """What still happens on a connection. See C{docs/developing.md}, "The life of a connection"."""

    OPEN = "requests are read and carried out"
    ENDING = "the input has ended; what is queued is carried out"
    CLOSED = "the session has ended; nothing is carried out, and what waits is written"


class Connection:
    """One connection of a face. Each face derives its own from this.

    @ivar face: what all connections of the face share.
    @ivar session: what the core knows of the connection.
    @ivar is_lost: the transport is gone, which may happen in any state.
    """

    __slots__ = ("_full_at", "_intake", "face", "is_lost", "session", "state")

    def __init__(self, face: "Face", outbox: Outbox, source: Source) -> None:
        self.face = face
        self.session = Session(outbox, source, self)
        self._intake: Intake[Any] | None = None
        self._full_at = 0.0  # the state of the rate while there is no intake
        self.state = State.OPEN
        self.is_lost = False
        face.add(self)

    @property
    def intake(self) -> Intake[Any]:
        """The session's requests. It is made when something comes, and dropped when all of that has
        been carried out, so an idle connection is small."""
        if self._intake is None:
            self._intake = Intake(self, self.face.clock, self.face.rate, self._full_at)
            if self.state is State.CLOSED:
                self._intake.cancel()
        return self._intake

    def rest(self, full_at: float, /) -> None:
        """Drop the intake; see L{Taker}."""
        self._intake = None
        self._full_at = full_at

    # What each face does in its own way

    async def take(self, item: Any, /) -> None:
        """Carry out one request; see L{Taker}."""
        raise NotImplementedError

    def disconnect(self) -> None:
        """End the transport once all is written. It leads to L{lost}."""
        raise NotImplementedError

    def abort(self) -> None:
        """End the transport at once. It leads to L{lost}."""
        self.disconnect()

    def say_bye(self, farewell: str) -> None:
        """Tell the peer why the session ends."""
        raise NotImplementedError

    def put_out(self, room: str, /) -> None:
        """Take note that the person is no longer in a room; see
        L{twisted_chat.core.ports.Face}."""

    def slow(self, item: Any, /) -> bool:
        """Tell the peer that a request has to wait; see L{Taker}."""
        return True

    def more(self) -> None:
        """Read on; see L{Taker}."""

    def pause(self) -> None:
        """Read nothing more: the server is going down."""

    def keep_alive(self) -> None:
        """Send a sign of life, if the peer can be sent one that no human sees."""

    # While nothing is read; see Face.watch

    @property
    def is_deaf(self) -> bool:
        """Whether the transport is not read from, and so does not notice that the peer is gone."""
        return False

    def look(self) -> None:
        """Find out whether the peer has ended the connection, without reading."""

    def probe(self) -> None:
        """Write something, which a peer that is gone answers with a reset."""

    # The way to the end

    @property
    def is_open(self) -> bool:
        """Whether the peer may send more."""
        return self.state is State.OPEN

    @property
    def is_free(self) -> bool:
        """Whether the limit on lines does not apply to the session."""
        person = self.session.person
        account = person.account if person is not None else None
        return (
            self.face.rate is None
            or self.session.source.trusted
            or self.face.accounts.is_trusted(account)
        )

    def seen(self) -> None:
        """Count what the session was shown as read, if the peer has it; see L{Taker}."""
        self.face.chat.seen(self.session)

    def finish(self) -> None:
        """Say bye when all that was sent is carried out; see L{Taker}."""
        self.hang_up()

    def hang_up(self, farewell: str = "bye") -> None:
        """Say bye, end the session, and end the transport once all is written."""
        if self.state is State.CLOSED:
            return
        self.intake.cancel()
        self.say_bye(farewell)
        self.close()
        self.disconnect()

    def send_away(self, farewell: str) -> None:
        """End a connection on which nobody is logged in; see L{twisted_chat.faces.admission}."""
        self.hang_up(farewell)

    def close(self) -> None:
        """End the session: nothing more is carried out. Its posts in flight are not lost."""
        if self.state is State.CLOSED:
            return
        self.state = State.CLOSED
        self.forget_token()
        self.intake.cancel()
        self.session.over = self._leave
        self.face.chat.end_session(self.session)

    def lost(self) -> None:
        """Note that the connection is lost. C{Admission} counts the connection until its session is
        over too."""
        self.is_lost = True
        self.face.remove(self)
        if self.session.is_over:
            self._leave()

    def _leave(self) -> None:
        """The connection is lost or the session is over; if both, the connection is counted no
        more."""
        if self.is_lost:
            self.face.left(self)

    # Taking over

    def give_token(self) -> str:
        """Give the peer a token, by which another connection may end this session."""
        self.forget_token()
        return self.face.new_token(self)

    def forget_token(self) -> None:
        """Have the token end nothing any more."""
        self.face.tokens.pop(self.session.token, None)

    def take_over(self, token: str) -> None:
        """End the session that was given this token; see L{Face.take_over}."""
        self.face.take_over(self, token)
