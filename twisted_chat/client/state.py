"""What the parts of a client's session share. No socket, no clock."""

from dataclasses import dataclass, field
from typing import Any

from .lines import Event, Refused
from .requests import Asked, Requests
from .seen import Seen


@dataclass(frozen=True, slots=True)
class Drop:
    """The reason to cut the connection off.

    @ivar reason: a sentence for people; empty if the network knows better.
    @ivar code: what the server refused the login with.
    @ivar is_hopeless: a new connection would end in the same way.
    """

    reason: str
    code: str = ""
    is_hopeless: bool = False


@dataclass(slots=True)
class Said:
    """What the session has to say to its owner, who takes it out.

    @ivar written: lines for the server, each with its end.
    @ivar events: what happened.
    @ivar answers: requests with their answers: for a post the message that it has become, for
        everything else the C{done}; or a L{Refused}.
    @ivar wait: seconds after which the owner calls L{ClientSession.resume
        <twisted_chat.client.session.ClientSession.resume>}, instead of any call that it was to make
        before; L{None}: nothing changes.
    @ivar drop: why the connection has to be cut off; L{None} if it may stay.
    """

    written: list[bytes] = field(default_factory=list, repr=False)  # there may be passwords in it
    events: list[Event] = field(default_factory=list)
    answers: list[tuple[Asked, Event | Refused]] = field(default_factory=list)
    wait: float | None = None
    drop: Drop | None = None


class State:
    """Who we are, what was asked for, and what was told.

    @ivar name: as in L{twisted_chat.client.session.ClientSession}, as are C{account},
        C{correspondent}, C{is_in} and C{is_behind}.
    @ivar was_in: C{is_in} has been true, on this connection or an earlier one.
    @ivar is_welcome: the login on this connection is done.
    """

    def __init__(self, requests: Requests) -> None:
        self.requests = requests
        self.seen = Seen()
        self.name = self.correspondent = ""
        self.account = self.is_in = self.was_in = self.is_welcome = self.is_behind = False
        self._untold = 0
        self._said = Said()

    def take(self) -> Said:
        """Take out what has gathered."""
        said, self._said = self._said, Said()
        said.written, self.requests.written = self.requests.written, []
        said.answers, self.requests.answers = self.requests.answers, []
        said.wait, self.requests.wait = self.requests.wait, None
        return said

    def send(self, do: str, **fields: Any) -> Asked:
        """Send a request of the session's own, ahead of all that waits."""
        return self.requests.send_now(self.name, do, fields, quiet=self.was_in)

    def drop(self, reason: str, code: str = "", *, is_hopeless: bool = False) -> None:
        """Have the connection cut off; see L{Drop}."""
        self._said.drop = Drop(reason, code, is_hopeless)

    def tell(self, event: Event) -> bool:
        """Tell an event, unless nobody reads them.

        @return: whether it was told.
        """
        if self.is_behind:
            self.pass_over(1)
            return False
        self._said.events.append(event)
        return True

    def tell_of_room(self, event: Event) -> None:
        """Tell an event that is about a room that we are in, or answers a request."""
        if self.seen.follows(event["room"]) or self.requests.find(event) is not None:
            self.tell(event)

    def tell_connected(self, event: Event) -> None:
        """Tell that we are in, even if nobody reads events."""
        self._said.events.append(event)

    def pass_over(self, events: int) -> None:
        """Count events that are not told."""
        self._untold += events

    def catch_up(self) -> None:
        """Tell events again, first how many were not told."""
        self.is_behind = False
        untold, self._untold = self._untold, 0
        self.tell({"event": "skipped", "lines": untold})
