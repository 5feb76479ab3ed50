"""No two living names look alike, however people log in, leave, register and rename."""

from collections.abc import Coroutine
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.support import MemoryStore, PlainHasher, RecordingOutbox, fan_out, guard, now
from twisted_chat.core import names
from twisted_chat.core.accounts import Accounts
from twisted_chat.core.addresses import Source
from twisted_chat.core.chat import Chat, Session
from twisted_chat.core.errors import Refusal
from twisted_chat.core.limits import Limits

_SPELLINGS = (
    *(
        "bob",
        "BOB",
        "b0b",
        "ｂｏｂ",
        "b\u043eb",
        "B\u041eb",
        "rnary",
        "mary",
        "m\u0430ry",
        "guestl",
    ),
    *("lil", "1i1", "IiI", "l1l", "\u03bfo", "o0", "oo", "jose\u0301", "josé", "j0sé", "a b", ""),
)
"""Names that look alike, and some that are none."""

_spelling = st.one_of(
    st.sampled_from(_SPELLINGS), st.text(st.sampled_from("o0l1Iао"), min_size=1, max_size=2)
)
_SOURCE = Source("", trusted=True)

_pick = st.integers(0, 99)


class NamesMachine(RuleBasedStateMachine):
    """The real accounts and the real chat, on a store and a hasher that answer when they are told
    to."""

    def __init__(self) -> None:
        super().__init__()
        self.store = MemoryStore()
        self.hasher = PlainHasher()
        self.accounts = Accounts(self.store, self.hasher, guard(), now, min_password=1)
        self.chat = Chat(
            self.store,
            self.accounts,
            guard(),
            Limits(),
            now,
            Clock().callLater,
            fan_out,
            Deferred,
            lambda: self.wrong.append(Failure()),
        )
        self.chat.open(self.store.open())
        self.store.subscribe(self.chat.deliver, self.chat.lose)
        self.store.hold()
        self.hasher.held = True
        self.busy: dict[Session, Deferred[None]] = {}
        self.sessions: list[Session] = []
        self.wrong: list[Failure] = []

    def begin(self, session: Session, doing: Coroutine[Any, Any, None]) -> None:
        """Have a session do something, one thing after the other, as a face does."""
        self.busy[session] = Deferred.fromCoroutine(doing)
        self.busy[session].addErrback(lambda failure: failure.trap(Refusal) and None)
        self.busy[session].addErrback(self.wrong.append)

    def idle(self, *, guests: bool = False) -> list[Session]:
        """The sessions that have nothing under way."""
        return [
            s
            for s in self.sessions
            if self.busy[s].called
            and (not guests or (s.person is not None and not s.person.account))
        ]

    def _new(self) -> Session:
        session = Session(RecordingOutbox())
        self.sessions.append(session)
        return session

    @precondition(lambda self: len(self.sessions) < 8)
    @rule(raw=_spelling)
    def come_as_guest(self, raw: str) -> None:
        """Somebody joins as a guest, under a name of their own or a generated one."""

        async def come(session: Session) -> None:
            hold = await (self.accounts.hold(raw) if raw else self.accounts.hold_guest_number())
            await self.chat.come_as_guest(session, hold)

        session = self._new()
        self.begin(session, come(session))

    @precondition(lambda self: len(self.sessions) < 8)
    @rule(raw=_spelling)
    def come_and_register(self, raw: str) -> None:
        """Somebody registers a name and logs in."""
        session = self._new()
        self.begin(session, self._register(session, raw))

    @precondition(lambda self: self.idle(guests=True))
    @rule(who=_pick, raw=_spelling)
    def register(self, who: int, raw: str) -> None:
        """A guest registers a name, their own or another."""
        guests = self.idle(guests=True)
        session = guests[who % len(guests)]
        self.begin(session, self._register(session, raw))

    async def _register(self, session: Session, raw: str) -> None:
        mine = session.person.hold if session.person else None
        account = await self.accounts.register(raw, "x", _SOURCE, mine=mine)
        await self.chat.log_in(session, account)

    @precondition(lambda self: len(self.sessions) < 8)
    @rule(raw=_spelling)
    def log_in(self, raw: str) -> None:
        """Somebody logs in to a registered name."""

        async def come(session: Session) -> None:
            found = await self.accounts.authenticate(raw, "x", _SOURCE)
            await self.chat.log_in(session, found.account)

        session = self._new()
        self.begin(session, come(session))

    @precondition(lambda self: self.idle(guests=True))
    @rule(who=_pick, raw=_spelling)
    def rename(self, who: int, raw: str) -> None:
        """A guest takes another name."""
        guests = self.idle(guests=True)
        session = guests[who % len(guests)]
        self.begin(session, self.chat.rename_guest(session, raw))

    @precondition(lambda self: self.sessions)
    @rule(who=_pick)
    def leave(self, who: int) -> None:
        """A session ends, whatever it has under way."""
        session = self.sessions.pop(who % len(self.sessions))
        del self.busy[session]
        self.chat.end_session(session)

    @rule()
    def answer_one(self) -> None:
        """The store answers one question."""
        if self.store.waiting:
            self.store.step()

    @rule()
    def answer_all(self) -> None:
        """The store answers all questions."""
        self.store.commit()

    @rule(busy=st.booleans())
    def hash(self, busy: bool) -> None:
        """The passwords are hashed; the next requests are refused, or not."""
        self.hasher.refusal = Refusal("busy", "too many") if busy else None
        self.hasher.release()

    @rule()
    def settle(self) -> None:
        """Everything that is under way ends."""
        while self.store.waiting or self.hasher.waiting:
            self.store.commit()
            self.hasher.release()

    def living(self) -> dict[str, Session | None]:
        """Every name that is registered or held, and a session of its guest."""
        found: dict[str, Session | None] = dict.fromkeys(self.store.registered)
        for session in self.sessions:
            if session.person is not None:
                found.setdefault(session.person.name, session)
        return found

    @invariant()
    def no_two_look_alike(self) -> None:
        """No two living names look alike, except for a guest who has just registered a name like
        their own and has not logged in to it yet."""
        shapes: dict[str, str] = {}
        for name, guest in self.living().items():
            if guest is not None and not self.busy[guest].called:
                continue
            shape = names.skeleton(name)
            assert shape not in shapes, (name, shapes[shape])
            shapes[shape] = name

    def teardown(self) -> None:
        """When everybody has left and everything has ended, each name that is not registered is
        free, and nothing failed except by refusal."""
        while self.sessions:
            self.leave(0)
        self.settle()
        self.store.release()
        registered = set(map(names.skeleton, self.store.registered))
        for raw in ("bob", "mary", "josé", "oo", "o", "l", "ol", "lo", "ll"):
            if names.skeleton(raw) not in registered:
                taking = Deferred.fromCoroutine(self._take_and_release(raw))
                taking.addErrback(self.wrong.append)
        assert not self.wrong, self.wrong

    async def _take_and_release(self, raw: str) -> None:
        with await self.accounts.hold(raw):
            pass


class LivingNamesTests(SynchronousTestCase):
    """Registered names, and names of people who are here."""

    def test_no_two_living_names_look_alike(self) -> None:
        """No two living names look alike, whatever people do, in whatever order they are
        answered."""
        run_state_machine_as_test(
            NamesMachine,
            settings=settings(stateful_step_count=40),
        )
