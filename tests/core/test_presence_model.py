"""A reader of all that is told of arrivals and departures knows in the end who is in which room."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.support import MemoryStore, PlainHasher, RecordingOutbox, fan_out, guard, held, now
from twisted_chat.core import presence
from twisted_chat.core.accounts import Accounts
from twisted_chat.core.addresses import SHARED
from twisted_chat.core.chat import Chat, Session
from twisted_chat.core.errors import Refusal
from twisted_chat.core.events import Joined, Left, Renamed, Users, Welcome
from twisted_chat.core.limits import Limits
from twisted_chat.core.model import Account

_ROOMS = ("tea", "bar")

_pick = st.integers(0, 99)


def _failed() -> None:
    """Let the test fail for the exception that is being handled."""
    raise  # noqa: PLE0704


class Reader(Session):
    """A session that keeps lists of people, from what it is told alone. It asks once who is in a
    room that it finds itself in.

    @ivar rooms_seen: who is where, as far as it knows.
    """

    outbox: RecordingOutbox

    def __init__(self) -> None:
        super().__init__(RecordingOutbox())
        self.rooms_seen: dict[str, set[str]] = {}
        self.name = ""

    def read(self) -> None:
        """Take in what it was told since the last time."""
        for events in self.outbox.sends:
            asked = any(isinstance(event, Users | Welcome) for event in events)
            for event in events:
                if isinstance(event, Welcome):
                    for names in self.rooms_seen.values():
                        if self.name in names:
                            names.add(event.name)  # a guest became an account that was here
                    self.name = event.name
                elif isinstance(event, Users):
                    self.rooms_seen[event.room] = {name for name, _ in event.people}
                elif isinstance(event, Renamed):
                    self._renamed(event)
                elif isinstance(event, Joined):
                    self._joined(event, asked=asked)
                elif isinstance(event, Left):
                    self._left(event)
        self.outbox.sends.clear()

    def _joined(self, event: Joined, *, asked: bool) -> None:
        names = [name for name, _ in event.people]
        if self.name in names and not asked:  # another session of its person joined
            assert names == [self.name], f"{self.name} was told of its own coming"
            assert event.room not in self.rooms_seen
        if event.room in self.rooms_seen:
            self.rooms_seen[event.room].update(names)

    def _left(self, event: Left) -> None:
        if self.name in event.names and event.room != "lobby":
            assert event.names == (self.name,), f"{self.name} was told of its own going"
            self.rooms_seen.pop(event.room, None)
        elif event.room == "lobby":
            for names in self.rooms_seen.values():
                names.difference_update(event.names)
        elif event.room in self.rooms_seen:
            self.rooms_seen[event.room].difference_update(event.names)

    def _renamed(self, event: Renamed) -> None:
        if event.name == self.name:
            self.name = event.to
        for names in self.rooms_seen.values():
            if event.name in names:
                names.discard(event.name)
                names.add(event.to)


class PresenceMachine(RuleBasedStateMachine):
    """The real chat, on a store that answers at once, and a clock."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        store = MemoryStore()
        self.accounts = Accounts(store, PlainHasher(), guard(), now, min_password=1)
        self.chat = Chat(
            store,
            self.accounts,
            guard(),
            Limits(),
            now,
            self.clock.callLater,
            fan_out,
            Deferred,
            _failed,
        )
        self.chat.open(store.open())
        store.subscribe(self.chat.deliver, self.chat.lose)
        self.known: list[Account] = []
        for name in ("alice", "bob"):
            registering = self.accounts.register(name, "x", SHARED)
            Deferred.fromCoroutine(registering).addCallback(self.known.append)
        self.here: list[Reader] = []

    def somebody(self, number: int) -> Reader:
        return self.here[number % len(self.here)]

    @precondition(lambda self: len(self.here) < 9)
    @rule(who=st.integers(0, 5))
    def come(self, who: int) -> None:
        """Alice or Bob, with another session perhaps, or a guest; clients ask who is here."""
        reader = Reader()
        if who < 2:
            coming = self.chat.log_in(reader, self.known[who])
        elif who == 2:
            coming = self._come_as(reader, "carol")
        else:
            coming = self.chat.come_as_guest(reader, held(self.accounts.hold_guest_number()))
        done = Deferred.fromCoroutine(coming)
        if done.addErrback(lambda failure: failure.trap(Refusal)).result is None:
            self.here.append(reader)
            self.ask_who_is_there()

    def ask_who_is_there(self) -> None:
        """Each session asks for the people of rooms that it does not know them of."""
        for reader in self.here:
            reader.read()
            for room in self.rooms_of(reader) - reader.rooms_seen.keys():
                reader.tell(self.chat.users(reader, room))
            reader.read()

    def rooms_of(self, session: Session) -> set[str]:
        """The rooms that a session's person is in."""
        assert session.person is not None
        return {room.name for room in session.person.rooms}

    async def _come_as(self, reader: Reader, name: str) -> None:
        await self.chat.come_as_guest(reader, await self.accounts.hold(name))

    @precondition(lambda self: self.here)
    @rule(who=_pick, room=st.sampled_from(_ROOMS))
    def join(self, who: int, room: str) -> None:
        """Somebody goes into a room, with all their sessions."""
        Deferred.fromCoroutine(self.chat.join(self.somebody(who), room))
        self.ask_who_is_there()

    @precondition(lambda self: self.here)
    @rule(who=_pick, room=st.sampled_from(_ROOMS))
    def leave(self, who: int, room: str) -> None:
        """Somebody goes out of a room."""
        session = self.somebody(who)
        if room in self.rooms_of(session):
            Deferred.fromCoroutine(self.chat.leave(session, room))

    @precondition(lambda self: self.here)
    @rule(who=_pick, room=st.sampled_from(("lobby", *_ROOMS)))
    def ask(self, who: int, room: str) -> None:
        """Somebody asks who is in a room."""
        session = self.somebody(who)
        if room in self.rooms_of(session):
            session.tell(self.chat.users(session, room))

    @precondition(lambda self: self.here)
    @rule(who=_pick, name=st.sampled_from(("carol", "dora")))
    def rename(self, who: int, name: str) -> None:
        """A guest takes another name, if it is free."""
        renaming = Deferred.fromCoroutine(self.chat.rename_guest(self.somebody(who), name))
        renaming.addErrback(lambda failure: failure.trap(Refusal))

    @precondition(lambda self: self.here)
    @rule(who=_pick, account=st.integers(0, 1))
    def become(self, who: int, account: int) -> None:
        """A guest becomes Alice or Bob, who may be here."""
        session = self.somebody(who)
        if session.person is not None and session.person.account is None:
            Deferred.fromCoroutine(self.chat.log_in(session, self.known[account]))
            self.ask_who_is_there()

    @precondition(lambda self: self.here)
    @rule(who=_pick)
    def go(self, who: int) -> None:
        """A session ends."""
        session = self.somebody(who)
        self.here.remove(session)
        self.chat.end_session(session)

    @rule(seconds=st.sampled_from((0.002, 0.01, 5.0)))
    def wait(self, seconds: float) -> None:
        """Time passes, and windows close."""
        self.clock.advance(seconds)

    def teardown(self) -> None:
        """All windows are closed: everybody knows who is in the rooms that they are in."""
        self.clock.pump([5] * 5)
        for reader in self.here:
            reader.read()
            truth: dict[str, set[str]] = {}
            for session in self.here:
                assert session.person is not None
                for room in self.rooms_of(session):
                    truth.setdefault(room, set()).add(session.person.name)
            assert reader.rooms_seen.keys() == self.rooms_of(reader)
            for room, seen in reader.rooms_seen.items():
                there = truth[room]
                assert seen == there, f"{reader.name} in {room}: {seen} and not {there}"


class PresenceModelTests(SynchronousTestCase):
    """Rooms of up to nine sessions; how big a room is taken for big is set for each test."""

    def check(self, calm: int) -> None:
        self.patch(presence, "_CALM", calm)
        run_state_machine_as_test(
            PresenceMachine,
            settings=settings(stateful_step_count=30),
        )

    def test_small_rooms(self) -> None:
        """In small rooms everything is told at once, and every reader knows who is there."""
        self.check(calm=10)

    def test_big_rooms(self) -> None:
        """In big rooms everything is told together, some of it cancels out, and every reader knows
        who is there."""
        self.check(calm=0)

    def test_big_lobby_and_small_rooms(self) -> None:
        """With a big lobby and small rooms, every reader knows who is where."""
        self.check(calm=4)
