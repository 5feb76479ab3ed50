"""A session's requests, from when they are made until each has its one answer. No socket, no
clock.

Answers are found by label only. A post is repeated, with its label, until the server has answered
it; the server answers a label that it knows and does not say the post again.

While the server cannot store messages, it refuses posts with C{unavailable}. These are put off:
they stay in front of everything that was asked for later, and after a while the first of them is
sent again, alone. Once the server has taken a post, the others follow.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from twisted_chat.protocol.commands import BY_WORD, Request
from twisted_chat.protocol.jsonlines import encode_request

from .lines import Event, Refused, checked

_WINDOW = 200
"""Posts that may be without an answer at a time."""

_REMEMBERED = 480.0
"""Seconds in which a post may be repeated. The server remembers labels for 600; the rest is for
what it still has to read before the repeated post."""

_FIRST_WAIT, _LONGEST_WAIT = 1.0, 30.0
"""Seconds before a post that was refused for now is sent again: doubled each time."""

UNAVAILABLE = "unavailable"
"""The code of what the server refuses for now, as it cannot use its database."""

_ASKING = frozenset({"help", "history", "rooms", "users", "where"})
"""Commands that change nothing, so that they need not wait for posts that are put off."""

_REPEATABLE = frozenset(
    {"help", "history", "join", "leave", "read", "rooms", "since", "to", "users", "where"}
)
"""Commands that do nothing more when they are done a second time."""

LOGIN = frozenset({"login", "register", "guest"})
"""Commands that log in."""

_PASSWORDS = frozenset({"passwd", "register"})
"""Commands after which another password is right."""

_RENAMES = frozenset({*LOGIN, "nick"})
"""Commands after which posts are under another name."""

_REPLAYS = frozenset({*LOGIN, "join"})
"""Commands that are answered with a replay that goes on where the session was."""


@dataclass(slots=True, eq=False)
class Asked:
    """A request, from when it is made until its answer is known.

    @ivar number: counts the requests of a session.
    @ivar quiet: nobody typed it, so its answers are marked C{quiet}.
    @ivar internal: the session made it for itself, and nobody waits for its answer.
    @ivar by: the name under which it was sent; empty if the server does not have it.
    @ivar at: when it was sent under that name first, in seconds.
    @ivar is_unsure: it was sent and had no answer, so it may have been carried out.
    @ivar receipt: the message that a post has become, if that was seen.
    @ivar is_answered: it has its one answer.
    """

    request: Request = field(repr=False)  # it may have a password in it
    number: int
    quiet: bool = False
    internal: bool = False
    by: str = ""
    at: float = 0.0
    is_unsure: bool = False
    receipt: Event | None = None
    is_answered: bool = False

    @property
    def do(self) -> str:
        return self.request.do

    @property
    def fields(self) -> Mapping[str, Any]:
        return self.request.fields

    @property
    def label(self) -> str:
        """What the server repeats in everything that answers the request."""
        return self.request.label

    @property
    def posts(self) -> bool:
        return BY_WORD[self.do].posts

    @property
    def is_ordered(self) -> bool:
        """Whether its C{done} says that everything before it was answered."""
        return not (self.posts or self.do == "type")  # which may post

    @property
    def replays(self) -> bool:
        """Whether its answer goes on where the session was, and is not history that was asked
        for."""
        return self.internal or self.do in _REPLAYS

    @property
    def is_repeatable(self) -> bool:
        return self.posts or self.do in _REPEATABLE or self._asks_topic

    @property
    def _asks_topic(self) -> bool:
        return self.do == "topic" and "text" not in self.fields


class Requests:
    """The requests of a session, over all its connections.

    @ivar written: lines for the server, each with its end, which the session takes out.
    @ivar answers: requests with their answers: for a post the message that it has become, for
        everything else the C{done}; or a L{Refused}. The session takes them out.
    @ivar password_unknown: the last request for a new password of which it is not known whether it
        was carried out.
    @ivar wait: seconds after which L{resume} has to be called; L{None} if that is not needed, or
        was said before. The session takes it out.
    """

    def __init__(self, prefix: str, now: Callable[[], float]) -> None:
        """
        @param prefix: begins the labels: at least 15 printable characters that nobody can
            guess.
        @param now: gives the time, in seconds; never goes back, nor stands still in sleep.
        """
        self._prefix = prefix
        self._now = now
        self._number = 0
        self._queue: deque[Asked] = deque()  # to be sent, in order
        self._sent: dict[str, Asked] = {}  # without an answer, by label, in order
        self._commands: dict[str, Asked] = {}  # those of them that do not post
        self._posts: dict[str, Asked] = {}  # those that were ever sent and have no answer
        self._put_off: list[Asked] = []  # posts that were refused for now
        self._backoff = 0.0  # the last wait, in seconds; 0: posts are taken
        self.wait: float | None = None
        self.password_unknown: Asked | None = None
        self.written: list[bytes] = []
        self.answers: list[tuple[Asked, Event | Refused]] = []

    @property
    def sent(self) -> Collection[Asked]:
        """The requests that were sent on this connection and have no answer yet, in order."""
        return self._sent.values()

    def joining(self) -> set[str]:
        """Get the rooms that were asked for with a C{join} that has no answer yet."""
        return {each.fields["room"] for each in self._commands.values() if each.do == "join"}

    def resuming(self) -> set[str]:
        """Get the places that were asked for with a C{since} that has no answer yet."""
        asked = (each for each in self._commands.values() if each.do == "since")
        return {place for each in asked for place in each.fields["places"]}

    def find(self, event: Event) -> Asked | None:
        """Find the request that an event answers."""
        return self._sent.get(event.get("label") or "")

    def find_post(self, event: Event) -> Asked | None:
        """Find the post without an answer that an event is about, also one of a connection
        before."""
        return self._posts.get(event.get("label") or "")

    # Making and sending

    def ask(
        self, do: str, fields: Mapping[str, Any], *, quiet: bool, internal: bool = False
    ) -> Asked:
        """Make a request, which is sent after those that wait.

        @raise Refused: C{too-long}, C{bad-encoding}.
        """
        asked = self._made(do, fields, quiet=quiet, internal=internal)
        checked(encode_request, asked.request)
        if self._backoff and asked.do in _ASKING:
            self._queue.appendleft(asked)
        else:
            self._queue.append(asked)
        return asked

    def send_now(self, by: str, do: str, fields: Mapping[str, Any], *, quiet: bool) -> Asked:
        """Send a request of the session's own, ahead of all that waits.

        @param by: the name under which it is sent.
        """
        asked = self._made(do, fields, quiet=quiet, internal=True)
        self._send(asked, by)
        return asked

    def _made(
        self, do: str, fields: Mapping[str, Any], *, quiet: bool, internal: bool = False
    ) -> Asked:
        self._number += 1
        request = Request(do, fields, f"{self._prefix}{self._number}")
        return Asked(request, self._number, quiet, internal)

    def send_waiting(self, by: str) -> None:
        """Send what may be sent of what waits, in order."""
        while self._queue:
            asked = self._queue[0]
            if not self._may_send(asked) or (asked.posts and not self._may_post(asked)):
                return
            self._queue.popleft()
            if asked.is_answered:
                continue
            if asked.posts and asked.by and not self._is_remembered(asked, by):
                self.answer(asked, lost())
            else:
                self._send(asked, by)

    def _may_send(self, asked: Asked) -> bool:
        """Whether a request need not wait until it is known that posts are taken again."""
        if not self._backoff or asked.do in _ASKING:
            return True
        return not (self._put_off or any(each.posts for each in self._sent.values()))

    def _may_post(self, asked: Asked) -> bool:
        """Whether a post may be sent now: it is known under which name, as the server remembers its
        label by that, and not too many others have no answer."""
        if any(each.do in _RENAMES for each in self._commands.values()):
            return False
        return len(self._posts) < _WINDOW or asked.label in self._posts

    def _is_remembered(self, asked: Asked, by: str) -> bool:
        """Whether the server knows the label, if it has taken the post: it remembers labels for
        some time, by the name of the author."""
        return asked.by == by and self._now() - asked.at < _REMEMBERED

    def _send(self, asked: Asked, by: str) -> None:
        if not asked.by:
            asked.by, asked.at = by, self._now()
        self._sent[asked.label] = asked
        (self._posts if asked.posts else self._commands)[asked.label] = asked
        self.written.append(encode_request(asked.request))

    # Answers

    def answer(self, asked: Asked, answer: Event | Refused) -> None:
        """Give a request its answer, unless it has one."""
        self._forget(asked)
        if asked.is_answered:
            return
        asked.is_answered = True
        self._posts.pop(asked.label, None)
        if not asked.internal:
            self.answers.append((asked, answer))

    def refused(self, asked: Asked, refused: Refused) -> bool:
        """Answer a request that was refused, or put it off if it is a post that was refused for
        now.

        @return: whether it is the first that is put off since posts were taken.
        """
        if not (asked.posts and refused.code == UNAVAILABLE):
            self.answer(asked, refused)
            self._posts_are_taken(asked)
            return False
        is_first = not self._backoff
        self._forget(asked)
        if not asked.is_unsure:
            asked.by = ""
        if not self._put_off:
            self.wait = self._backoff = min(2 * self._backoff or _FIRST_WAIT, _LONGEST_WAIT)
        self._put_off.append(asked)
        return is_first

    def resume(self) -> None:
        """Have the first post that was put off sent again."""
        put_off, self._put_off = self._put_off, []
        self._put_back(put_off)

    def _posts_are_taken(self, asked: Asked) -> None:
        """Have all posts that were put off sent again, if this request was a post, as it has an
        answer."""
        if asked.posts:
            self._backoff = 0.0
            self.resume()

    def _put_back(self, again: list[Asked]) -> None:
        """Have requests sent again, ahead of all that were made after them."""
        if again:
            self._queue = deque(sorted([*again, *self._queue], key=lambda each: each.number))

    def _forget(self, asked: Asked) -> None:
        """Take note that a request is not under way on this connection."""
        self._sent.pop(asked.label, None)
        self._commands.pop(asked.label, None)

    def done(self, asked: Asked, event: Event) -> None:
        """Answer a request that is done, and repeat those whose answers were skipped.

        The server carries out requests in order, so a request that was sent before this one and has
        no answer by now will not get it.

        @param event: the C{done}.
        """
        skipped: list[Asked] = []
        if asked.is_ordered:
            for each in self._sent.values():
                if each is asked:
                    break
                skipped.append(each)
        self.answer(asked, (asked.receipt or _receipt(asked, event)) if asked.posts else event)
        self._posts_are_taken(asked)
        self._repeat(skipped)

    def disconnected(self) -> None:
        """Take note that the connection is lost. Posts without an answer wait to be repeated; of
        other commands it is not known whether they were carried out."""
        self._repeat(list(self._sent.values()))
        self.resume()

    def _repeat(self, unanswered: Iterable[Asked]) -> None:
        """Repeat the requests that may be repeated."""
        again = []
        for asked in unanswered:
            if asked.is_repeatable and not asked.internal:
                self._forget(asked)
                asked.is_unsure = True
                again.append(asked)
            else:
                if asked.do in _PASSWORDS and not asked.internal:
                    self.password_unknown = asked
                self.answer(asked, lost())
        self._put_back(again)


def lost() -> Refused:
    """The refusal of a request that may or may not have been carried out."""
    sentence = "the connection was lost before the answer; it may or may not have been done"
    return Refused("lost", sentence)


def _receipt(asked: Asked, done: Event) -> Event:
    """Make the message that a post has become from its C{done}, if the message was not shown."""
    text = asked.fields.get("message", asked.fields.get("action"))
    told = {"time": done.get("time"), "id": done.get("id"), "seq": done.get("seq")}
    told |= {"from": asked.by, "text": text, "replay": False}
    if to := done.get("to"):
        return {"event": "dm", **told, "to": to}
    room, action = done.get("room"), "action" in asked.fields
    return {"event": "message", **told, "room": room, "action": action}
