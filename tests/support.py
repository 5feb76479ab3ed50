"""Stand-ins in memory for the ports of the core."""

from collections import Counter, deque
from collections.abc import Callable, Container, Iterable, Sequence
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater

from twisted_chat.core.events import Event, History, Said, Told
from twisted_chat.core.guard import Guard
from twisted_chat.core.limits import Limits
from twisted_chat.core.model import (
    Account,
    DirectMessage,
    DirectPost,
    Message,
    Post,
    RoomPost,
    RoomRecord,
    Stored,
)

NOW = 1_700_000_000_000

T = TypeVar("T")

_Entry = Post | Callable[[], None]  # what a store has queued: a post to commit, or a question


def now() -> int:
    """Give the time, which stands still, in UTC milliseconds."""
    return NOW


def guard(limits: Limits | None = None, clock: Clock | None = None) -> Guard:
    """Make a guard whose clock stands still unless the test advances it."""
    still = clock or Clock()
    return Guard(
        limits or Limits(),
        still.seconds,
        lambda seconds: deferLater(still, seconds),
        lambda line: None,
        Deferred,
    )


class MemoryStore:
    """A L{twisted_chat.core.ports.Store} in memory, which keeps the order that the port promises.

    It answers at once. Between L{hold} and L{release} it answers only when the test calls L{step},
    L{commit}, L{answer} or L{fail}.

    @ivar messages: the log of all rooms.
    @ivar direct: the private messages that are kept, with their posts.
    @ivar read: account id -> the id up to which its private messages are marked as read.
    @ivar topics: room id -> topic, and who set it.
    """

    def __init__(self) -> None:
        self._held = False
        self.messages: list[Message] = []
        self.direct: list[tuple[DirectPost, DirectMessage]] = []
        self.read: Counter[int] = Counter()
        self.topics: dict[int, tuple[str, str]] = {}
        self._accounts: dict[str, tuple[Account, str]] = {}
        self._rooms = {"lobby": RoomRecord(1, "lobby", "lobby", "", "")}
        self._queue: deque[_Entry] = deque()
        self._busy = False
        self._last_id = 0

    def open(self) -> Sequence[RoomRecord]:
        return list(self._rooms.values())

    def subscribe(
        self,
        feed: Callable[[Sequence[tuple[Post, Stored]]], None],
        lost: Callable[[Sequence[Post]], None],
    ) -> None:
        self._feed = feed
        self._lost = lost

    @property
    def registered(self) -> Sequence[str]:
        """The names of all accounts."""
        return list(self._accounts)

    def hold(self) -> None:
        """Queue everything from now on."""
        self._held = True

    def release(self) -> None:
        """Carry out all that is queued, and answer at once again."""
        self._held = False
        self.commit()

    @property
    def waiting(self) -> bool:
        """Whether anything is queued."""
        return bool(self._queue)

    def commit(self) -> None:
        """Carry out all that is queued. Posts with no question between them make one batch."""
        if self._busy:
            return
        self._busy = True
        try:
            while self._queue:
                self.step()
        finally:
            self._busy = False

    def step(self) -> None:
        """Carry out the next batch of posts, or the next question."""
        entry = self._queue.popleft()
        if not isinstance(entry, RoomPost | DirectPost):
            entry()
            return
        posts = [entry]
        while self._queue and isinstance(entry := self._queue[0], RoomPost | DirectPost):
            posts.append(entry)
            self._queue.popleft()
        self._feed([(post, self._stored(post)) for post in posts])

    def answer(self) -> None:
        """Answer the queued questions before the queued posts, which stay queued."""
        for question in self._take(lambda entry: not isinstance(entry, RoomPost | DirectPost)):
            assert not isinstance(question, RoomPost | DirectPost)
            question()

    def crash(self, committed: int = 0) -> None:
        """Forget all that waits, and answer at once again.

        @param committed: the number of posts that are kept before; nobody is told of them.
        """
        posts = [entry for entry in self._queue if isinstance(entry, RoomPost | DirectPost)]
        for post in posts[:committed]:
            self._stored(post)
        self._queue.clear()
        self._held = self._busy = False

    def fail(self) -> None:
        """Lose the queued posts."""
        lost = self._take(lambda entry: isinstance(entry, RoomPost | DirectPost))
        self._lost([post for post in lost if isinstance(post, RoomPost | DirectPost)])

    def _take(self, wanted: Callable[[_Entry], bool]) -> list[_Entry]:
        taken = [entry for entry in self._queue if wanted(entry)]
        self._queue = deque(entry for entry in self._queue if not wanted(entry))
        return taken

    def _stored(self, post: Post) -> Stored:
        self._last_id += 1
        if isinstance(post, RoomPost):
            seq = 1 + sum(message.room == post.room for message in self.messages)
            self.messages.append(
                Message(
                    self._last_id,
                    post.room,
                    seq,
                    post.author,
                    post.time,
                    post.text,
                    post.action,
                    post.label,
                )
            )
            return self.messages[-1]
        kept = post.sender_id is not None and post.recipient_id is not None
        id = self._last_id if kept else None
        message = DirectMessage(id, post.sender, post.recipient, post.time, post.text, post.label)
        if kept:
            self.direct.append((post, message))
        return message

    def _unless_held(self) -> None:
        if not self._held:
            self.commit()

    def _answer(self, question: Callable[[], T]) -> Deferred[T]:
        answer: Deferred[T] = Deferred()
        self._queue.append(lambda: answer.callback(question()))
        self._unless_held()
        return answer

    # Store

    def append(self, post: Post, /) -> None:
        self._queue.append(post)
        self._unless_held()

    def mark_read(self, account_id: int, message_id: int, /) -> None:
        newest = min(message_id, self._last_id)
        self.read[account_id] = max(self.read[account_id], newest)

    def find_account(self, name: str, /) -> Deferred[Account | None]:
        return self._answer(lambda: self._accounts[name][0] if name in self._accounts else None)

    def find_look_alike(self, skeleton: str, /) -> Deferred[str | None]:
        return self._answer(lambda: self._look_alike(skeleton))

    def _look_alike(self, skeleton: str) -> str | None:
        return next((a.name for a, shape in self._accounts.values() if shape == skeleton), None)

    def add_account(
        self, name: str, skeleton: str, password_hash: bytes, time: int, /
    ) -> Deferred[Account | None]:
        def add() -> Account | None:
            if self._look_alike(skeleton) is not None:
                return None
            account = Account(len(self._accounts) + 1, name, password_hash)
            self._accounts[name] = account, skeleton
            return account

        return self._answer(add)

    def set_password(
        self, account_id: int, before: bytes, password_hash: bytes, /
    ) -> Deferred[bool]:
        def change() -> bool:
            for account, skeleton in list(self._accounts.values()):
                if account.id == account_id and account.password_hash == before:
                    changed = Account(account.id, account.name, password_hash)
                    self._accounts[account.name] = changed, skeleton
                    return True
            return False

        return self._answer(change)

    def add_room(self, name: str, skeleton: str, time: int, /) -> Deferred[RoomRecord | None]:
        def add() -> RoomRecord | None:
            if any(room.skeleton == skeleton for room in self._rooms.values()):
                return None
            self._rooms[name] = RoomRecord(len(self._rooms) + 1, name, skeleton, "", "")
            return self._rooms[name]

        return self._answer(add)

    def set_topic(self, room_id: int, topic: str, by: str, /) -> Deferred[None]:
        return self._answer(lambda: self.topics.update({room_id: (topic, by)}))

    def history(self, room: RoomRecord, limit: int, /) -> Deferred[Sequence[Message]]:
        return self._answer(lambda: _last([m for m in self.messages if m.room == room.name], limit))

    def conversation(
        self, account_id: int, other_id: int, limit: int, /
    ) -> Deferred[Sequence[DirectMessage]]:
        pair = {account_id, other_id}
        return self._answer(
            lambda: _last(
                [m for post, m in self.direct if {post.sender_id, post.recipient_id} == pair], limit
            )
        )

    def unread(self, account_id: int, limit: int, /) -> Deferred[Sequence[DirectMessage]]:
        read = self.read[account_id]
        return self._answer(lambda: self._unread(account_id, read, limit))

    def _unread(self, account_id: int, read: int, limit: int) -> Sequence[DirectMessage]:
        return [
            message
            for post, message in self.direct
            if post.recipient_id == account_id and (message.id or 0) > read
        ][:limit]

    def catch_up(
        self,
        room: RoomRecord | None,
        after: int,
        account_id: int | None,
        direct_after: int | None,
        limit: int,
        /,
    ) -> Deferred[tuple[Sequence[Message], Sequence[DirectMessage]]]:
        read = self.read[account_id] if account_id is not None else 0

        def missed() -> tuple[Sequence[Message], Sequence[DirectMessage]]:
            name = room.name if room else None
            messages = [m for m in self.messages if m.room == name and m.seq > after]
            if account_id is None:
                return _last(messages, limit), ()
            if direct_after is None:
                return _last(messages, limit), self._unread(account_id, read, limit)
            direct = [
                message
                for post, message in self.direct
                if account_id in (post.sender_id, post.recipient_id)
                and (message.id or 0) > direct_after
            ]
            return _last(messages, limit), _last(direct, limit)

        return self._answer(missed)

    def labels(self, since: int, /) -> Deferred[Sequence[Stored]]:
        def labelled() -> Sequence[Stored]:
            log: list[Stored] = [*self.messages, *(message for _, message in self.direct)]
            late = [each for each in log if each.label and each.time >= since]
            return sorted(late, key=lambda each: each.id or 0)

        return self._answer(labelled)


def _last(entries: list[T], limit: int) -> Sequence[T]:
    return entries[max(0, len(entries) - limit) :]


class RecordingOutbox:
    """A L{twisted_chat.core.ports.Outbox} that records the events sent to it.

    @ivar sends: the tuples of events, in order.
    @ivar is_full: whether it skips events.
    @ivar is_taken: whether the peer has taken all that was sent.
    """

    def __init__(self) -> None:
        self.sends: list[tuple[Event, ...]] = []
        self.is_full = False
        self.is_taken = True

    def send(self, events: tuple[Event, ...], /) -> bool:
        if not self.is_full:
            self.sends.append(events)
        return not self.is_full

    @property
    def events(self) -> list[Event]:
        return [event for events in self.sends for event in events]

    def take(self) -> list[Event]:
        """Give all events so far, and forget them."""
        events = self.events
        self.sends.clear()
        return events

    def of(self, kind: type[T]) -> list[T]:
        """Give the events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]

    def heard(self) -> list[str]:
        """Give the texts of live messages, private ones included."""
        return [e.message.text for e in self.events if isinstance(e, Said | Told)]

    def replayed(self) -> list[str]:
        """Give the texts of replayed messages, private ones included."""
        return [said.message.text for history in self.of(History) for said in history.messages]


class PlainHasher:
    """A L{twisted_chat.core.ports.PasswordHasher} that hashes nothing.

    It answers at once, or at L{release} while it is C{held}.

    @ivar refusal: raised for every request; L{None}: nothing is refused.
    @ivar verified: the hashes that passwords were checked against.
    @ivar outdated: the hashes that should be renewed.
    """

    def __init__(self) -> None:
        self.held = False
        self.refusal: Exception | None = None
        self.verified: list[bytes | None] = []
        self.outdated: set[bytes] = set()
        self._waiting: list[Deferred[None]] = []

    @property
    def waiting(self) -> int:
        """The number of requests that wait."""
        return sum(not each.called for each in self._waiting)

    def release(self) -> None:
        """Answer all requests that wait."""
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(None)

    async def hash(self, password: str, network: str = "", /) -> bytes:
        await self._turn()
        return b"hash of " + password.encode()

    async def verify(
        self, password: str, password_hash: bytes | None, network: str = "", /
    ) -> bool:
        self.verified.append(password_hash)
        await self._turn()
        return password_hash == b"hash of " + password.encode()

    def is_outdated(self, password_hash: bytes, /) -> bool:
        return password_hash in self.outdated

    async def _turn(self) -> None:
        if self.refusal is not None:
            raise self.refusal
        if self.held:
            turn: Deferred[None] = Deferred()
            self._waiting.append(turn)
            await turn


def fan_out(
    outboxes: Iterable[RecordingOutbox], events: tuple[Event, ...], apart: Container[object]
) -> None:
    """Send the events to one outbox after the other."""
    for outbox in outboxes:
        if outbox not in apart:
            outbox.send(events)
