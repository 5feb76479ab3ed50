"""Stand-ins in memory for the ports of the core."""

from collections import deque
from collections.abc import Callable, Container, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock, deferLater

from twisted_chat.core import labels
from twisted_chat.core.announcements import (
    Announced,
    Announcement,
    Asked,
    Delivered,
    Gone,
    decode,
    encode,
)
from twisted_chat.core.errors import NOT_READ, Code, Refusal
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


def guard(
    limits: Limits | None = None,
    clock: Clock | None = None,
    announce: Callable[[Announcement], object] = lambda what: None,
) -> Guard:
    """Make a guard whose clock stands still unless the test advances it."""
    still = clock or Clock()
    return Guard(
        limits or Limits(),
        still.seconds,
        lambda seconds: deferLater(still, seconds),
        lambda line: None,
        Deferred,
        announce,
    )


def held(holding: Coroutine[Any, Any, Hold]) -> Hold:
    """Take the hold that a store answers at once with."""
    taken: list[Hold] = []
    Deferred.fromCoroutine(holding).addCallback(taken.append)
    (hold,) = taken
    return hold


class _Queued(NamedTuple):
    """A post that is not committed yet.

    @ivar end: of the lines that were handed over before it.
    """

    number: int
    post: Post | Aside
    end: int


class _Mark(NamedTuple):
    """A read mark that is not set yet."""

    account_id: int
    room_id: int
    seq: int


class _LetGo(NamedTuple):
    """A claim on a name that is not given up yet."""

    skeleton: str


_Item = _Queued | _Mark | _LetGo | Announcement
"""What a commit carries out."""


class _Claim(NamedTuple):
    """A name that a node has claimed."""

    name: str
    node: int
    token: str


class _Line(NamedTuple):
    """A line of the log: an entry, a private message with a guest, or what a node has said.

    @ivar by: the node that has written it, and is not handed it over; L{None}: all are.
    """

    by: int | None
    what: Entry | Aside | Announced


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


class MemoryLog:
    """What several L{MemoryStore}s share: a database with one log of entries and announcements.

    @ivar entries: the entries of the log.
    @ivar marks: (account id, room id) of each membership, private conversations included -> the
        C{seq} up to which the account has seen the room.
    @ivar claims: the names that nodes have claimed, by skeleton.
    @ivar nodes: the stores that live, by their numbers.
    """

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.marks: dict[tuple[int, int], int] = {}
        self.claims: dict[str, _Claim] = {}
        self.nodes: dict[int, MemoryStore] = {}
        self.accounts: dict[str, _Account] = {}
        self.rooms = {1: _Room(RoomRecord(1, "public", _LOBBY), _LOBBY)}
        self._lines: list[_Line] = []
        self._nodes = 0
        self._guests = 0

    # Nodes

    def join(self) -> "MemoryStore":
        """Make the store of another node."""
        self._nodes += 1
        store = self.nodes[self._nodes] = MemoryStore(self, self._nodes)
        return store

    def pull(self) -> None:
        """Bring the feeds of all stores up to date, until none of them has anything to hand over:
        what they hand over may have others say something."""
        while any(store.is_behind for store in self.nodes.values()):
            for store in list(self.nodes.values()):
                store.pull()

    def bury(self, node: int) -> None:
        """Say that a node has died: its claims are free. One that lives after all is told too."""
        for shape in [shape for shape, claim in self.claims.items() if claim.node == node]:
            del self.claims[shape]
        self.nodes[node].fence()
        if self.nodes[node].is_dead:
            del self.nodes[node]
        by = min(self.nodes, default=0)
        self._lines.append(_Line(None, Announced(by, Gone(node))))

    def guest_number(self) -> int:
        """Take the next number for the name of a guest."""
        self._guests += 1
        return self._guests

    # Lines

    @property
    def end(self) -> int:
        """The number of lines."""
        return len(self._lines)

    def after(self, end: int, node: int) -> Sequence[Entry | Aside | Announced]:
        """Give what comes after so many lines and a node has not written itself."""
        return [line.what for line in self._lines[end:] if line.by != node]

    def announce(self, node: int, what: Announcement) -> None:
        """Write down what a node says, as other nodes read it."""
        read = decode(node, *encode(what))
        assert isinstance(read, Announced), read
        self._lines.append(_Line(node, read))

    def store(self, node: int, post: Post | Aside) -> Stored:
        """Write down a post."""
        if isinstance(post, Aside):
            read = decode(node, *encode(post))
            assert isinstance(read, Aside), read
            self._lines.append(_Line(node, read))
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
        self._lines.append(_Line(node, entry))
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
            return self.rooms[record.id]
        if record.kind == "direct":
            one, other = record.parties
            return self.conversation(one.id, other.id) or self._made(record)
        assert post.kind == CREATED
        shape = skeleton(record.name)
        taken = any(shape == room.skeleton for room in self.rooms.values())
        return None if taken else self._made(record, shape)

    def _made(self, record: RoomRecord, shape: str = "") -> _Room:
        room = _Room(replace(record, id=len(self.rooms) + 1), shape)
        self.rooms[room.record.id] = room
        for account in room.record.parties:
            self._stand(room, Standing(account, "member"))
            self.marks[account.id, room.record.id] = 0
        return room

    def conversation(self, one: int, other: int) -> _Room | None:
        """Find the private conversation of two accounts."""
        ids = sorted((one, other))
        for room in self.rooms.values():
            if [account.id for account in room.record.parties] == ids:
                return room
        return None

    def mark_own(self, batch: Sequence[Entry]) -> None:
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

    def mark(self, mark: _Mark) -> None:
        """Move a read mark."""
        key = mark.account_id, mark.room_id
        if key in self.marks:
            newest = min(mark.seq, self.rooms[mark.room_id].last_seq)
            self.marks[key] = max(self.marks[key], newest)

    # Names

    def find(self, name: str) -> Account | None:
        """Find an account."""
        return self.accounts[name].account if name in self.accounts else None

    def look_alike(self, skeleton: str) -> str | None:
        """Find the account that has a skeleton."""
        return next(
            (a.account.name for a in self.accounts.values() if a.skeleton == skeleton), None
        )

    def claim(self, shape: str, claim: _Claim, former: str = "") -> str | None:
        """Claim a name, as L{twisted_chat.core.ports.Store.claim} does."""
        before = self.claims.get(shape)
        is_mine = before is None or before.node == claim.node
        if before is not None and not is_mine and (not former or before.token != former):
            return before.name
        self.claims[shape] = claim
        return None

    def let_go(self, shape: str, node: int) -> None:
        """Free a name, if the node has claimed it."""
        if shape in self.claims and self.claims[shape].node == node:
            del self.claims[shape]

    # Questions

    def of(self, room_id: int, seq: int = 0) -> list[Entry]:
        """Give the entries of a room after one."""
        return [entry for entry in self.entries if entry.room.id == room_id and entry.seq > seq]

    def findings(self, question: Question) -> Findings:
        """Answer a question."""
        limit, reader = question.limit, question.account_id
        rooms = {id: _last(self.of(id, seq), limit) for id, seq in question.rooms.items()}
        talks: dict[str, _Room] = {}
        for name in question.direct:
            account = self.find(name)
            if account is not None and question.direct_of is not None:
                room = self.conversation(account.id, question.direct_of)
                if room is not None:
                    talks[name] = room
        direct = {
            name: _last(self.of(room.record.id, question.direct[name]), limit)
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


class MemoryStore:
    """A L{twisted_chat.core.ports.Store} in memory, which keeps the order that the port promises.

    It answers at once. Between L{hold} and L{release} it answers only when the test calls L{step},
    L{commit}, L{answer} or L{fail}.

    One that L{MemoryLog.join} has made shares its log with others. It hands over what they have
    written when it commits posts itself, before it answers a question, and at L{pull}.

    @ivar node: the number of the node; 0 for a store alone.
    @ivar is_dead: whether it has died.
    @ivar is_away: refuses everything for now; set by the test.
    """

    def __init__(self, log: MemoryLog | None = None, node: int = 0) -> None:
        self._log = log or MemoryLog()
        self.node = node
        self.is_dead = self.is_away = False
        self._is_fenced = False
        self._feed: Callable[[Sequence[tuple[int, Delivered]]], None] | None = None
        self._held = False
        self._queue: deque[_Item | Callable[[], None]] = deque()
        self._busy = False
        self._end = 0  # of the lines that are handed over

    def open(self) -> Sequence[RoomState]:
        """Give all rooms that are not private conversations, and ask the other nodes who is with
        them."""
        self._end = self._log.end
        self._log.announce(self.node, Asked())
        return self.snapshot()

    def subscribe(
        self,
        feed: Callable[[Sequence[tuple[int, Delivered]]], None],
        lost: Callable[[Sequence[int], Code], None],
    ) -> None:
        self._feed = feed
        self._lost = lost

    def snapshot(self) -> Sequence[RoomState]:
        """Give the rooms as they are now, in the order of their names."""
        rooms = self._log.rooms.values()
        states = [room.state() for room in rooms if room.record.kind != "direct"]
        return sorted(states, key=lambda state: state.record.name)

    @property
    def entries(self) -> list[Entry]:
        """All entries of the log."""
        return self._log.entries

    @property
    def marks(self) -> dict[tuple[int, int], int]:
        """(Account id, room id) of each membership, private conversations included -> the C{seq} up
        to which the account has seen the room."""
        return self._log.marks

    @property
    def accounts(self) -> Sequence[Account]:
        """All accounts."""
        return [each.account for each in self._log.accounts.values()]

    @property
    def registered(self) -> Sequence[str]:
        """The names of all accounts."""
        return list(self._log.accounts)

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

    @property
    def is_behind(self) -> bool:
        """Whether there is anything to hand over that other nodes have written."""
        return bool(self._log.after(self._end, self.node)) and not self.is_dead

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
        items = []
        while self._queue and not callable(item := self._queue[0]):
            self._queue.popleft()
            items.append(item)
        self._append(items)

    def _append(self, items: Sequence[_Item]) -> None:
        if self.is_away:
            lost = [item.number for item in items if isinstance(item, _Queued)]
            items = [item for item in items if isinstance(item, _Mark | _LetGo)]
            self._lost(lost, "unavailable")
        if self._is_fenced:
            self._lost([item.number for item in items if isinstance(item, _Queued)], "unavailable")
            return
        posts = any(isinstance(item, _Queued) for item in items)
        others = self._others() if posts else ()
        doubles: dict[Entry, int] = {}
        own: list[tuple[int, Stored]] = []
        new = len(self.entries)
        for item in items:
            match item:
                case _Queued(number, post, end):
                    double = _double(self._log.after(end, self.node), post)
                    if double is None:
                        own.append((number, self._log.store(self.node, post)))
                    elif double in others:
                        doubles[double] = number
                    else:
                        own.append((number, double))
                case _Mark():
                    self._log.mark(item)
                case _LetGo(shape):
                    self._log.let_go(shape, self.node)
                case _:
                    self._log.announce(self.node, item)
        self._log.mark_own(self.entries[new:])
        self._hand_over(others, doubles, own)

    def _others(self) -> Sequence[Entry | Aside | Announced]:
        """Take what other nodes have written and is not handed over yet."""
        others = self._log.after(self._end, self.node)
        self._end = self._log.end
        self._is_fenced = False
        return others

    def _hand_over(
        self,
        others: Sequence[Entry | Aside | Announced],
        doubles: Mapping[Entry, int] = MappingProxyType({}),
        own: Sequence[tuple[int, Stored]] = (),
    ) -> None:
        def number(what: Entry | Aside | Announced) -> int:
            return doubles.get(what, 0) if isinstance(what, Entry) else 0

        batch = [*((number(what), what) for what in others), *own]
        if batch:
            assert self._feed is not None
            self._feed(batch)

    def pull(self) -> None:
        """Hand over what other nodes have written."""
        if not self.is_dead:
            self._hand_over(self._others())

    def die(self) -> None:
        """Do nothing from now on, and forget what is queued. See L{MemoryLog.bury}."""
        self.is_dead = self._held = True
        self._queue.clear()

    def fence(self) -> None:
        """Commit nothing until it has handed over that it was said to be dead."""
        self._is_fenced = True

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
            self._log.store(self.node, post)
        self._queue.clear()
        self._held = self._busy = False

    def fail(self) -> None:
        """Lose the queued posts and announcements."""
        lost = [item.number for item in self._queue if isinstance(item, _Queued)]
        kept = (item for item in self._queue if isinstance(item, _Mark | _LetGo) or callable(item))
        self._queue = deque(kept)
        self._lost(lost, "unavailable")

    def _enqueue(self, item: _Item | Callable[[], None]) -> None:
        if self.is_dead:
            return
        self._queue.append(item)
        if not self._held:
            self.commit()

    def _answer(self, question: Callable[[], T]) -> Deferred[T]:
        """Answer a question about what is stored, after all of it is handed over."""

        def answered() -> None:
            if self.is_away:
                answer.errback(_away())
                return
            self.pull()
            answer.callback(question())

        answer: Deferred[T] = Deferred()
        self._enqueue(answered)
        return answer

    def _change(self, change: Callable[[], T]) -> Deferred[T]:
        """Change something, and tell what came of it."""
        answer: Deferred[T] = Deferred()

        def changed() -> None:
            if self.is_away:
                answer.errback(_away())
            else:
                answer.callback(change())

        self._enqueue(changed)
        return answer

    # Store

    def append(self, post: Post | Aside, number: int, /) -> None:
        self._enqueue(_Queued(number, post, self._end))

    def announce(self, what: Announcement, /) -> None:
        self._enqueue(what)

    def mark_read(self, account_id: int, room_id: int, seq: int, /) -> None:
        self._enqueue(_Mark(account_id, room_id, seq))

    def find_account(self, name: str, /) -> Deferred[Account | None]:
        return self._answer(lambda: self._log.find(name))

    def find_password(self, name: str, /) -> Deferred[Credential | None]:
        def find() -> Credential | None:
            found = self._log.accounts.get(name)
            return None if found is None else Credential(found.account, found.password_hash)

        return self._answer(find)

    def find_look_alike(self, skeleton: str, /) -> Deferred[str | None]:
        return self._answer(lambda: self._log.look_alike(skeleton))

    def add_account(
        self, name: str, skeleton: str, password_hash: bytes, time: int, /
    ) -> Deferred[Account | None]:
        def add() -> Account | None:
            accounts = self._log.accounts
            if name in accounts or self._log.look_alike(skeleton) is not None:
                return None
            account = Account(len(accounts) + 1, name)
            accounts[name] = _Account(account, skeleton, password_hash)
            lobby = self._log.rooms[1]
            lobby.roles[account.id] = "member"
            self.marks[account.id, 1] = lobby.last_seq
            return account

        return self._change(add)

    def set_password(self, before: Credential, password_hash: bytes, /) -> Deferred[bool]:
        def change() -> bool:
            for each in self._log.accounts.values():
                if before == (each.account, each.password_hash):
                    each.password_hash = password_hash
                    return True
            return False

        return self._change(change)

    def claim(self, name: str, skeleton: str, token: str, former: str, /) -> Deferred[str | None]:
        claim = _Claim(name, self.node, token)
        return self._change(lambda: self._log.claim(skeleton, claim, former))

    def let_go(self, skeleton: str, /) -> None:
        self._enqueue(_LetGo(skeleton))

    def guest_number(self) -> Deferred[int]:
        return succeed(self._log.guest_number())  # a node has some ahead

    def history(self, room_id: int, limit: int, /) -> Deferred[Sequence[Entry]]:
        def messages() -> Sequence[Entry]:
            return _last([e for e in self._log.of(room_id) if e.kind in MESSAGES], limit)

        return self._answer(messages)

    def find_conversation(self, one: int, other: int, /) -> Deferred[RoomRecord | None]:
        def find() -> RoomRecord | None:
            room = self._log.conversation(one, other)
            return None if room is None else room.record

        return self._answer(find)

    def ask(self, question: Question, /) -> Deferred[Findings]:
        return self._answer(lambda: self._log.findings(question))

    def labels(self, since: int, /) -> Deferred[Sequence[Entry]]:
        return self._answer(lambda: [e for e in self.entries if e.label and e.time >= since])


def _double(others: Sequence[Entry | Aside | Announced], post: Post | Aside) -> Entry | None:
    """Find the entry of another node that a post repeats."""
    if isinstance(post, Aside) or len(post.label) < labels.SHORTEST:
        return None
    key = labels.author(post), post.label
    entries = (what for what in others if isinstance(what, Entry))
    return next((e for e in entries if (labels.author(e), e.label) == key), None)


def _last(entries: Sequence[Entry], limit: int) -> tuple[Entry, ...]:
    return tuple(entries[max(0, len(entries) - limit) :])


def _away() -> Refusal:
    return Refusal("unavailable", NOT_READ)


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
