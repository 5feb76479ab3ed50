"""Stand-ins in memory for the ports of the core."""

from collections import deque
from collections.abc import Callable, Container, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any, NamedTuple, TypeVar

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock, deferLater

from twisted_chat.core.announcements import Announcement
from twisted_chat.core.errors import Code
from twisted_chat.core.events import Event, History, Said, Told
from twisted_chat.core.guard import Guard
from twisted_chat.core.limits import Limits
from twisted_chat.core.model import (
    CREATED,
    MEMBER,
    MESSAGES,
    TOPIC,
    Account,
    Aside,
    Credential,
    Entry,
    Findings,
    News,
    Post,
    Question,
    Role,
    RoomRecord,
    RoomState,
    Standing,
    Stored,
)
from twisted_chat.core.names import skeleton
from twisted_chat.core.people import Hold

NOW = 1_700_000_000_000

_LOBBY = "lobby"

T = TypeVar("T")


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


def held(holding: Coroutine[Any, Any, Hold]) -> Hold:
    """Take the hold that a store answers at once with."""
    taken: list[Hold] = []
    Deferred.fromCoroutine(holding).addCallback(taken.append)
    (hold,) = taken
    return hold


class _Queued(NamedTuple):
    """A post that is not committed yet."""

    number: int
    post: Post | Aside


class _Mark(NamedTuple):
    """A read mark that is not set yet."""

    account_id: int
    room_id: int
    seq: int


@dataclass
class _Account:
    account: Account
    skeleton: str
    password_hash: bytes


@dataclass
class _Room:
    record: RoomRecord
    skeleton: str = ""
    topic: str = ""
    topic_by: str = ""
    last_seq: int = 0
    last_time: int = 0
    roles: dict[int, Role] = field(default_factory=dict)

    def state(self) -> RoomState:
        roles = self.roles.items()
        is_lobby = self.record.name == _LOBBY
        shown = {id: role for id, role in roles if not is_lobby or role != "member"}
        return RoomState(self.record, self.topic, self.topic_by, self.last_seq, shown)


class MemoryStore:
    """A L{twisted_chat.core.ports.Store} in memory, which keeps the order that the port promises.

    It answers at once. Between L{hold} and L{release} it answers only when the test calls L{step},
    L{commit}, L{answer} or L{fail}.

    @ivar entries: the whole log.
    @ivar marks: (account id, room id) of each membership, private conversations included -> the
        C{seq} up to which the account has seen the room.
    """

    def __init__(self) -> None:
        self._held = False
        self.entries: list[Entry] = []
        self.marks: dict[tuple[int, int], int] = {}
        self._accounts: dict[str, _Account] = {}
        self._rooms = {1: _Room(RoomRecord(1, "public", _LOBBY), _LOBBY)}
        self._queue: deque[_Queued | _Mark | Callable[[], None]] = deque()
        self._busy = False
        self._guests = 0

    def open(self) -> Sequence[RoomState]:
        """Give all rooms that are not private conversations."""
        return self.snapshot()

    def subscribe(
        self,
        feed: Callable[[Sequence[tuple[int, Stored]]], None],
        lost: Callable[[Sequence[int], Code], None],
    ) -> None:
        self._feed = feed
        self._lost = lost

    def snapshot(self) -> Sequence[RoomState]:
        """Give the rooms as they are now, in the order of their names."""
        rooms = [room.state() for room in self._rooms.values() if room.record.kind != "direct"]
        return sorted(rooms, key=lambda state: state.record.name)

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
        """Carry out the next batch of posts and marks, or the next question."""
        if callable(self._queue[0]):
            self._next_question()()
            return
        batch = []
        while self._queue and not callable(item := self._queue[0]):
            self._queue.popleft()
            if isinstance(item, _Queued):
                batch.append((item.number, self._stored(item.post)))
            else:
                self._mark(item)
        self._mark_own([stored for _, stored in batch if isinstance(stored, Entry)])
        if batch:
            self._feed(batch)

    def _mark_own(self, batch: Sequence[Entry]) -> None:
        """Mark what somebody has said right after what they had seen."""
        seen: set[tuple[int | None, int]] = set()
        for room in {entry.room.id for entry in batch if not entry.room.is_note}:
            entries = [entry for entry in batch if entry.room.id == room]
            for author, run in groupby(entries, lambda entry: entry.author_id):
                first, *rest = [entry.seq for entry in run]
                if author is not None and (author, room) not in seen:
                    seen.add((author, room))
                    if self.marks.get((author, room)) == first - 1:
                        self.marks[author, room] = [first, *rest][-1]

    def _next_question(self) -> Callable[[], None]:
        question = self._queue.popleft()
        assert callable(question)
        return question

    def answer(self) -> None:
        """Carry out all that is queued up to the last question. What was posted after it stays
        queued."""
        for _ in range(sum(callable(item) for item in self._queue)):
            while not callable(self._queue[0]):
                self.step()
            self.step()

    def crash(self, committed: int = 0) -> None:
        """Forget all that waits, and answer at once again.

        @param committed: the number of posts that are kept before; nobody is told of them.
        """
        posts = [item.post for item in self._queue if isinstance(item, _Queued)]
        for post in posts[:committed]:
            self._stored(post)
        self._queue.clear()
        self._held = self._busy = False

    def fail(self) -> None:
        """Lose the queued posts."""
        lost = [item.number for item in self._queue if isinstance(item, _Queued)]
        self._queue = deque(item for item in self._queue if not isinstance(item, _Queued))
        self._lost(lost, "unavailable")

    def _stored(self, post: Post | Aside) -> Stored:
        if isinstance(post, Aside):
            return post
        room = self._room(post)
        if room is None:
            return None
        room.last_seq += 1
        room.last_time = max(post.time, room.last_time + 1)
        entry = Entry(
            len(self.entries) + 1,
            room.record,
            room.last_seq,
            post.kind,
            post.author_id,
            post.author,
            room.last_time,
            post.text,
            post.about,
            post.label,
        )
        self.entries.append(entry)
        if entry.kind == TOPIC:
            room.topic, room.topic_by = entry.text, entry.author
        elif entry.kind == MEMBER:
            standing = Standing.decode(entry.text)
            if not (standing.is_joining(entry.author_id) and standing.account.id in room.roles):
                self._stand(room, standing)
        elif entry.kind == CREATED and entry.author_id is not None:
            self._stand(room, Standing(Account(entry.author_id, entry.author), "owner"))
        return entry

    def _stand(self, room: _Room, standing: Standing) -> None:
        id = standing.account.id
        if standing.role is None:
            room.roles.pop(id, None)
            self.marks.pop((id, room.record.id), None)
        else:
            room.roles[id] = standing.role
            self.marks.setdefault((id, room.record.id), room.last_seq - 1)

    def _room(self, post: Post) -> _Room | None:
        """Find the room of a post, or make it; L{None} if its name is taken."""
        record = post.room
        if record.id:
            return self._rooms[record.id]
        if record.kind == "direct":
            one, other = record.parties
            return self._conversation(one.id, other.id) or self._made(record)
        assert post.kind == CREATED
        shape = skeleton(record.name)
        taken = any(shape == room.skeleton for room in self._rooms.values())
        return None if taken else self._made(record, shape)

    def _made(self, record: RoomRecord, shape: str = "") -> _Room:
        room = _Room(replace(record, id=len(self._rooms) + 1), shape)
        self._rooms[room.record.id] = room
        for account in room.record.parties:
            self._stand(room, Standing(account, "member"))
            self.marks[account.id, room.record.id] = 0
        return room

    def _conversation(self, one: int, other: int) -> _Room | None:
        ids = sorted((one, other))
        for room in self._rooms.values():
            if [account.id for account in room.record.parties] == ids:
                return room
        return None

    def _mark(self, mark: _Mark) -> None:
        key = mark.account_id, mark.room_id
        if key in self.marks:
            newest = min(mark.seq, self._rooms[mark.room_id].last_seq)
            self.marks[key] = max(self.marks[key], newest)

    def _enqueue(self, item: _Queued | _Mark | Callable[[], None]) -> None:
        self._queue.append(item)
        if not self._held:
            self.commit()

    def _answer(self, question: Callable[[], T]) -> Deferred[T]:
        answer: Deferred[T] = Deferred()
        self._enqueue(lambda: answer.callback(question()))
        return answer

    # Store

    def append(self, post: Post | Aside, number: int, /) -> None:
        self._enqueue(_Queued(number, post))

    def mark_read(self, account_id: int, room_id: int, seq: int, /) -> None:
        self._enqueue(_Mark(account_id, room_id, seq))

    node = 0

    def announce(self, what: Announcement, /) -> None:
        pass

    def claim(self, name: str, skeleton: str, token: str, former: str, /) -> Deferred[str | None]:
        return self._answer(lambda: None)

    def let_go(self, skeleton: str, /) -> None:
        pass

    def guest_number(self) -> Deferred[int]:
        self._guests += 1
        return succeed(self._guests)

    def find_account(self, name: str, /) -> Deferred[Account | None]:
        return self._answer(lambda: self._find(name))

    def _find(self, name: str) -> Account | None:
        return self._accounts[name].account if name in self._accounts else None

    def find_password(self, name: str, /) -> Deferred[Credential | None]:
        def find() -> Credential | None:
            found = self._accounts.get(name)
            return None if found is None else Credential(found.account, found.password_hash)

        return self._answer(find)

    def find_look_alike(self, skeleton: str, /) -> Deferred[str | None]:
        return self._answer(lambda: self._look_alike(skeleton))

    def _look_alike(self, skeleton: str) -> str | None:
        return next(
            (a.account.name for a in self._accounts.values() if a.skeleton == skeleton), None
        )

    def add_account(
        self, name: str, skeleton: str, password_hash: bytes, time: int, /
    ) -> Deferred[Account | None]:
        def add() -> Account | None:
            if name in self._accounts or self._look_alike(skeleton) is not None:
                return None
            account = Account(len(self._accounts) + 1, name)
            self._accounts[name] = _Account(account, skeleton, password_hash)
            lobby = self._rooms[1]
            lobby.roles[account.id] = "member"
            self.marks[account.id, 1] = lobby.last_seq
            return account

        return self._answer(add)

    def set_password(self, before: Credential, password_hash: bytes, /) -> Deferred[bool]:
        def change() -> bool:
            for each in self._accounts.values():
                if before == (each.account, each.password_hash):
                    each.password_hash = password_hash
                    return True
            return False

        return self._answer(change)

    def history(self, room_id: int, limit: int, /) -> Deferred[Sequence[Entry]]:
        def messages() -> Sequence[Entry]:
            return _last([e for e in self._after(room_id) if e.kind in MESSAGES], limit)

        return self._answer(messages)

    def find_conversation(self, one: int, other: int, /) -> Deferred[RoomRecord | None]:
        def find() -> RoomRecord | None:
            room = self._conversation(one, other)
            return None if room is None else room.record

        return self._answer(find)

    def ask(self, question: Question, /) -> Deferred[Findings]:
        return self._answer(lambda: self._findings(question))

    def _findings(self, question: Question) -> Findings:
        limit, reader = question.limit, question.account_id
        rooms = {id: _last(self._after(id, seq), limit) for id, seq in question.rooms.items()}
        talks: dict[str, _Room] = {}
        for name in question.direct:
            account = self._find(name)
            if account is not None and question.direct_of is not None:
                room = self._conversation(account.id, question.direct_of)
                if room is not None:
                    talks[name] = room
        direct = {
            name: _last(self._after(room.record.id, question.direct[name]), limit)
            for name, room in talks.items()
        }
        if reader is None:
            return Findings(rooms, direct)
        unseen = [
            entry
            for entry in self.entries
            if entry.kind in MESSAGES
            and entry.seq > self.marks.get((reader, entry.room.id), entry.seq)
        ]
        shown = {room.record.id for room in talks.values()}
        told = [
            entry
            for entry in unseen
            if entry.room.kind == "direct"
            and entry.room.id not in shown
            and (entry.author_id != reader or entry.room.is_note)
        ]
        said = [
            entry.room.id
            for entry in unseen
            if entry.room.kind != "direct" and entry.author_id != reader
        ]
        news = [
            News(id, self.marks[reader, id], min(question.most_new, said.count(id)))
            for id in sorted(set(said))
        ]
        return Findings(rooms, direct, tuple(told[:limit]), tuple(news))

    def _after(self, room_id: int, seq: int = 0) -> list[Entry]:
        return [entry for entry in self.entries if entry.room.id == room_id and entry.seq > seq]

    def labels(self, since: int, /) -> Deferred[Sequence[Entry]]:
        return self._answer(lambda: [e for e in self.entries if e.label and e.time >= since])


def _last(entries: Sequence[Entry], limit: int) -> tuple[Entry, ...]:
    return tuple(entries[max(0, len(entries) - limit) :])


class RecordingOutbox:
    """A L{twisted_chat.core.ports.Outbox} that records the events sent to it.

    @ivar sends: the tuples of events, in order.
    @ivar is_full: whether it skips events.
    @ivar is_taken: whether the peer has taken all that was sent.
    @ivar skips: the number of gaps: how often events were skipped after some that were not.
    """

    def __init__(self) -> None:
        self.sends: list[tuple[Event, ...]] = []
        self.is_full = False
        self.is_taken = True
        self.skips = 0
        self._is_skipping = False

    def send(self, events: tuple[Event, ...], /) -> bool:
        if self.is_full:
            self.skips += not self._is_skipping
        else:
            self.sends.append(events)
        self._is_skipping = self.is_full
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
        shown = [event for history in self.of(History) for event in history.shown]
        return [event.message.text for event in shown if isinstance(event, Said | Told)]


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
