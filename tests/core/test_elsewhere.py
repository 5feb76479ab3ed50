"""Random comings and goings at several nodes, which die, restart, are taken for dead and hear of
each other late."""

from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.support import MemoryLog
from twisted_chat.core.addresses import SHARED
from twisted_chat.core.announcements import (
    Announcement,
    Asked,
    Became,
    Came,
    Entered,
    Exited,
    Gone,
    Present,
    Visitor,
    Went,
)
from twisted_chat.core.elsewhere import Elsewhere
from twisted_chat.core.errors import Refusal
from twisted_chat.core.events import Event, Joined, Left, Renamed
from twisted_chat.core.limits import Limits

from .nodes import Node
from .test_chat import PASSWORD, Someone

_ACCOUNTS = ("alice", "bob", "carol")
_GUESTS = ("gil", "fay", "hal")
_ROOMS = ("tea", "bar")
_MOST_NODES = 4

_pick = st.integers(0, 99)


class Saying(RuleBasedStateMachine):
    """Three nodes say who is with them, sometimes twice, sometimes not at all; and then again who
    all are.

    @ivar truth: who is with each node.
    @ivar known: the same, as the changes have made it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.elsewhere = Elsewhere()
        self.truth: dict[int, dict[str, Visitor]] = {1: {}, 2: {}, 3: {}}
        self.known: dict[int, dict[str, Visitor]] = {1: {}, 2: {}, 3: {}}
        self.key = 0

    def say(self, node: int, *things: Announcement, lost: bool = False) -> None:
        """Have a node say something, and carry out what that changes. Each change must be one."""
        for what in things if not lost else ():
            for where, change in self.elsewhere.take(node, what):
                _APPLY[type(change)](self.known[where], change)

    def visitor(self, who: int) -> Visitor:
        """An account or a guest."""
        if who % 2:
            return Visitor(_ACCOUNTS[who % 3], who % 3 + 1)
        self.key += 1
        return Visitor(_GUESTS[who % 3], None, self.key)

    @rule(node=st.integers(1, 3), who=_pick, lost=st.booleans())
    def come(self, node: int, who: int, lost: bool) -> None:
        """Somebody comes."""
        visitor = self.visitor(who)
        if visitor.name not in self.truth[node]:
            self.truth[node][visitor.name] = visitor
            self.say(node, Came(visitor), lost=lost)

    @rule(node=st.integers(1, 3), who=_pick, lost=st.booleans())
    def go(self, node: int, who: int, lost: bool) -> None:
        """Somebody goes."""
        name = self.visitor(who).name
        if self.truth[node].pop(name, None) is not None:
            self.say(node, Went(name), lost=lost)

    @rule(node=st.integers(1, 3), who=_pick, to=_pick, lost=st.booleans())
    def become(self, node: int, who: int, to: int, lost: bool) -> None:
        """A guest becomes somebody else."""
        name, visitor = _GUESTS[who % 3], self.visitor(to)
        here = self.truth[node]
        if name in here and name != visitor.name and (visitor.id or visitor.name not in here):
            rooms = here.pop(name).rooms if visitor.id is None else ()
            here[visitor.name] = visitor = visitor._replace(rooms=rooms)
            self.say(node, Became(name, visitor), lost=lost)

    @rule(node=st.integers(1, 3), who=_pick, room=st.sampled_from(_ROOMS), lost=st.booleans())
    def move(self, node: int, who: int, room: str, lost: bool) -> None:
        """A guest joins or leaves a room."""
        name = _GUESTS[who % 3]
        guest = self.truth[node].get(name)
        if guest is None:
            return
        if room in guest.rooms:
            rooms = tuple(each for each in guest.rooms if each != room)
            what: Announcement = Exited(name, room)
        else:
            rooms = (*guest.rooms, room)
            what = Entered(name, room)
        self.truth[node][name] = guest._replace(rooms=rooms)
        self.say(node, what, lost=lost)

    @rule(node=st.integers(1, 3), by=st.integers(1, 3), lives=st.booleans())
    def die(self, node: int, by: int, lives: bool) -> None:
        """A node dies, or is taken for dead."""
        if not lives:
            self.truth[node].clear()
        self.say(by, Gone(node))
        assert self.known[node] == {}

    @rule(node=st.integers(1, 3), size=st.integers(1, 4), cut=st.booleans())
    def say_all(self, node: int, size: int, cut: bool) -> None:
        """A node says who all are with it, in pieces; what it has said before may be cut off."""
        if cut:
            self.say(node, Present((Visitor("nobody", 9),), begins=True, ends=False))
        people = list(self.truth[node].values())
        starts = range(0, max(len(people), 1), size)
        for start in starts:
            piece = tuple(people[start : start + size])
            self.say(node, Present(piece, begins=not start, ends=start == starts[-1]))
        assert _plain(self.known[node]) == _plain(self.truth[node])

    @invariant()
    def knows(self) -> None:
        """Somebody can be looked up as each of the nodes has said."""
        for name in (*_ACCOUNTS, *_GUESTS):
            expected = [people[name] for people in self.known.values() if name in people]
            found = list(self.elsewhere.visitors(name))
            assert sorted(map(_shape, found)) == sorted(map(_shape, expected))


def _shape(visitor: Visitor) -> tuple[str, int, int, tuple[str, ...]]:
    return visitor.name, visitor.id or 0, visitor.key or 0, tuple(sorted(visitor.rooms))


def _plain(people: dict[str, Visitor]) -> list[tuple[str, int, int, tuple[str, ...]]]:
    return sorted(map(_shape, people.values()))


def _came(people: dict[str, Visitor], came: Came) -> None:
    assert came.visitor.name not in people
    people[came.visitor.name] = came.visitor


def _went(people: dict[str, Visitor], went: Went) -> None:
    del people[went.name]


def _became(people: dict[str, Visitor], became: Became) -> None:
    del people[became.name]
    people[became.visitor.name] = became.visitor


def _entered(people: dict[str, Visitor], entered: Entered) -> None:
    visitor = people[entered.name]
    assert entered.room not in visitor.rooms
    people[entered.name] = visitor._replace(rooms=(*visitor.rooms, entered.room))


def _exited(people: dict[str, Visitor], exited: Exited) -> None:
    visitor = people[exited.name]
    assert exited.room in visitor.rooms
    rooms = tuple(room for room in visitor.rooms if room != exited.room)
    people[exited.name] = visitor._replace(rooms=rooms)


_APPLY: dict[type[Announcement], Callable[[dict[str, Visitor], Any], None]] = {
    Came: _came,
    Went: _went,
    Became: _became,
    Entered: _entered,
    Exited: _exited,
}
"""What a change does to the people who are with a node."""


class Watcher:
    """A guest who is in all rooms and believes what it is told: somebody joins who was not there,
    and leaves who was.

    @ivar people: who is in each room.
    @ivar is_lenient: whether it takes it if somebody joins who is there. In a crowd that may be, as
        it has asked who is there before it was told of all.
    """

    def __init__(self, node: Node) -> None:
        self.session = node.guest(f"watcher-{node.number}x")
        node.join("tea", self.session)
        node.join("bar", self.session)
        self.people = {room: set(node.users(self.session, room)) for room in ("lobby", *_ROOMS)}
        self.is_lenient = False

    @property
    def name(self) -> str:
        assert self.session.person is not None
        return self.session.person.name

    def hear(self) -> None:
        """Believe what it was told."""
        for event in self.session.told():
            match event:
                case Joined(room=room, people=people):
                    for name, _ in people:
                        self._expect(name not in self.people[room] or name == self.name, event)
                        self.people[room].add(name)
                case Left(room=room, names=names):
                    for name in names:
                        self._expect(name in self.people[room], event)
                        for each in self.people if room == "lobby" else (room,):
                            self.people[each].discard(name)
                case Renamed(name=name, to=to):
                    self._expect(name in self.people["lobby"], event)
                    self._expect(name == to or to not in self.people["lobby"], event)
                    for known in self.people.values():
                        if name in known:
                            known.remove(name)
                            known.add(to)

    def _expect(self, is_right: bool, event: Event) -> None:
        assert is_right or self.is_lenient, (event, self.people)


class Evening(RuleBasedStateMachine):
    """Up to four nodes with a watcher each. Accounts and guests come, join, leave, take other
    names, become accounts, and go; nodes die, are missed, are taken for dead, and restart.

    @ivar sessions: the sessions that there are, and their nodes.
    @ivar dead: nodes that have died and that nobody misses yet.
    """

    def __init__(self) -> None:
        super().__init__()
        self.log = MemoryLog()
        self.clock = Clock()
        self.nodes: list[Node] = []
        self.watchers: dict[Node, Watcher] = {}
        self.sessions: dict[Someone, Node] = {}
        self.dead: list[Node] = []
        self.doing: dict[Someone, Deferred[Any]] = {}
        self.wrong: list[object] = []
        self.tokens = 0
        first = self.start()
        for name in _ACCOUNTS:
            first.registered(name)

    @initialize(count=st.integers(1, 2), crowd=st.booleans())
    def begin(self, count: int, crowd: bool) -> None:
        """The other nodes start. If there is a crowd at the first, comings and goings are told
        together there."""
        for _ in range(count):
            self.start()
        for number in range(12 * crowd):
            self.come(0, f"fan-{number}x", None)
        self.watchers[self.nodes[0]].is_lenient = crowd

    def start(self) -> Node:
        """Start a node."""
        node = Node(self.log, Limits(max_joined=9, max_names=99), self.clock)
        self.nodes.append(node)
        self.watchers[node] = Watcher(node)
        return node

    def node(self, number: int) -> Node:
        return self.nodes[number % len(self.nodes)]

    def somebody(self, number: int) -> Someone | None:
        """A session that is not waiting for anything."""
        sessions = [each for each in self.sessions if self.doing[each].called]
        return sessions[number % len(sessions)] if sessions else None

    def do(self, session: Someone, doing: Coroutine[Any, Any, object]) -> None:
        """Have a session do something, without waiting for it."""
        done = self.doing[session] = Deferred.fromCoroutine(doing)
        done.addErrback(lambda failure: failure.trap(Refusal) and None)
        done.addErrback(self._failed)

    def _failed(self, failure: Failure) -> None:
        self.wrong.append(failure)

    def new_session(self, node: Node, former: Someone | None) -> Someone:
        """Make a session, which may take the place of another one."""
        session = Someone()
        self.tokens += 1
        session.token = f"token {self.tokens}"
        if former is not None:
            session.former = former.token
        self.sessions[session] = node
        self.doing[session] = Deferred()
        return session

    # People

    @rule(where=_pick, name=st.sampled_from(_ACCOUNTS))
    def log_in(self, where: int, name: str) -> None:
        """A session logs in to an account."""
        node = self.node(where)
        session = self.new_session(node, None)
        self.do(session, self._log_in(node, session, name))

    @rule(number=_pick, name=st.sampled_from(_ACCOUNTS))
    def become(self, number: int, name: str) -> None:
        """A session logs in; if it is a guest, the guest becomes the account."""
        session = self.somebody(number)
        if session is not None:
            self.do(session, self._log_in(self.sessions[session], session, name))

    async def _log_in(self, node: Node, session: Someone, name: str) -> None:
        credential = await node.accounts.authenticate(name, PASSWORD, SHARED)
        if not session.has_ended:
            await node.chat.log_in(session, credential.account)

    @rule(where=_pick, name=st.sampled_from(_GUESTS), former=st.none() | _pick)
    def come(self, where: int, name: str, former: int | None) -> None:
        """A guest comes, perhaps with the token of an earlier session, which then ends."""
        node = self.node(where)
        earlier = self.somebody(former) if former is not None else None
        session = self.new_session(node, earlier)
        self.do(session, self._come(node, session, name, earlier))

    async def _come(self, node: Node, session: Someone, name: str, earlier: Someone | None) -> None:
        hold = await node.accounts.hold(name, session=session)
        if session.has_ended:
            hold.release()
            return
        await node.chat.come_as_guest(session, hold)
        if earlier is not None and not earlier.has_ended:
            node.chat.take_over(earlier.token)

    @rule(number=_pick, name=st.sampled_from(_GUESTS))
    def rename(self, number: int, name: str) -> None:
        """A guest takes another name."""
        session = self.somebody(number)
        if session is not None:
            self.do(session, self.sessions[session].chat.rename_guest(session, name))

    @rule(number=_pick)
    def register(self, number: int) -> None:
        """A guest registers its name, and logs in."""
        session = self.somebody(number)
        if session is None or session.person is None or session.person.hold is None:
            return
        self.do(session, self._register(self.sessions[session], session))

    async def _register(self, node: Node, session: Someone) -> None:
        hold = node.hold(session)
        account = await node.accounts.register(hold.name, PASSWORD, SHARED, mine=hold)
        if not session.has_ended:
            await node.chat.log_in(session, account)

    @rule(number=_pick, room=st.sampled_from(_ROOMS))
    def join(self, number: int, room: str) -> None:
        """Somebody joins a room."""
        session = self.somebody(number)
        if session is not None:
            self.do(session, self.sessions[session].chat.join(session, room))

    @rule(number=_pick, room=st.sampled_from(_ROOMS))
    def leave(self, number: int, room: str) -> None:
        """Somebody leaves a room."""
        session = self.somebody(number)
        if session is not None:
            self.do(session, self.sessions[session].chat.leave(session, room))

    @rule(number=_pick, words=st.booleans())
    def end(self, number: int, words: bool) -> None:
        """A session ends, perhaps with its last words in flight."""
        session = self.somebody(number)
        if session is not None:
            chat = self.sessions[session].chat
            if words and session.person is not None:
                chat.say(session, "lobby", "bye")
            self.forget(session)
            chat.end_session(session)

    def forget(self, session: Someone) -> None:
        del self.sessions[session], self.doing[session]

    # Nodes

    @rule(where=_pick)
    def pull(self, where: int) -> None:
        """A node hears what the others have done."""
        self.node(where).store.pull()
        self.obey()

    @rule(where=_pick)
    def hold(self, where: int) -> None:
        """From now on a node commits nothing."""
        self.node(where).store.hold()

    @rule(where=_pick)
    def release(self, where: int) -> None:
        """A node commits all that it has gathered, and everything at once from now on."""
        self.node(where).store.release()
        self.obey()

    @rule(where=_pick)
    def fail(self, where: int) -> None:
        """A node loses what it has gathered, announcements too; then it says who is with it, as
        when it has reached the database again."""
        node = self.node(where)
        node.store.fail()
        self.obey()
        for present in node.chat._here.present():
            node.store.announce(present)

    @rule(where=_pick)
    def ask(self, where: int) -> None:
        """A node asks the others who is with them."""
        self.node(where).store.announce(Asked())

    @precondition(lambda self: len(self.nodes) > 1)
    @rule(where=_pick)
    def die(self, where: int) -> None:
        """A node dies, with all sessions."""
        node = self.node(where)
        node.die()
        for session in [each for each, its in self.sessions.items() if its is node]:
            self.forget(session)
        self.nodes.remove(node)
        self.dead.append(node)
        self.wrong += node.failures

    @precondition(lambda self: self.dead)
    @rule()
    def miss(self) -> None:
        """A node that has died is missed."""
        self.log.bury(self.dead.pop(0).number)

    @rule(where=_pick)
    def take_for_dead(self, where: int) -> None:
        """A node that lives is taken for dead."""
        self.log.bury(self.node(where).number)

    @precondition(lambda self: len(self.nodes) < _MOST_NODES)
    @rule()
    def restart(self) -> None:
        """A node starts."""
        self.start()

    def obey(self) -> None:
        """End the sessions that were told to, as a face does."""
        for session, node in list(self.sessions.items()):
            if session.face.farewells or session.token in node.taken:
                self.forget(session)
                node.chat.end_session(session)

    # What holds

    @invariant()
    def watchers_are_told(self) -> None:
        """Each watcher is told of each coming and going in turn."""
        for node in self.nodes:
            self.watchers[node].hear()

    @rule()
    def wait(self) -> None:
        """Each watcher knows who is there, as far as its node does, once it has been told of those
        who are told of together."""
        self.clock.pump([3, 3])
        self.watchers_are_told()
        for node in self.nodes:
            watcher = self.watchers[node]
            for room, people in watcher.people.items():
                assert people == set(node.users(watcher.session, room)), (node.number, room)

    @invariant()
    def nothing_went_wrong(self) -> None:
        """No entry or announcement fails."""
        wrong = [*self.wrong, *(failure for node in self.nodes for failure in node.failures)]
        assert not wrong, wrong

    @rule()
    def come_to_rest(self) -> None:
        """When all that has happened is known everywhere, every node says the same: the truth."""
        while self.dead:
            self.miss()
        behind = True
        while behind:
            for node in self.nodes:
                node.store.release()
            self.log.pull()
            before = len(self.sessions)
            self.obey()
            behind = len(self.sessions) < before
            behind |= any(node.store.is_behind for node in self.nodes)
        self.wait()
        truth = set(self._truth())
        for node in self.nodes:
            watcher = self.watchers[node]
            seen = {
                (name, is_account, room)
                for room in watcher.people
                for name, is_account in node.chat.users(watcher.session, room).people
            }
            assert seen == truth, (node.number, seen ^ truth)
        claimed = {claim.name for claim in self.log.claims.values()}
        assert claimed == {name for name, is_account, _ in truth if not is_account}

    def _truth(self) -> Iterator[tuple[str, bool, str]]:
        """Who is in which room."""
        everybody: list[tuple[Someone, Node]] = list(self.sessions.items())
        everybody += [(self.watchers[node].session, node) for node in self.nodes]
        for session, node in everybody:
            person = session.person
            if person is None:
                continue
            yield person.name, person.is_account, "lobby"
            for state in node.store.snapshot():
                name = state.record.name
                room = node.chat._directory.get(name)
                assert room is not None
                if person.id in state.members or (
                    not person.is_account and session in room.sessions
                ):
                    yield person.name, person.is_account, name

    def teardown(self) -> None:
        """In the end all nodes agree, and when all sessions have ended, the watchers are left."""
        self.come_to_rest()
        for session, node in list(self.sessions.items()):
            self.forget(session)
            node.chat.end_session(session)
        self.come_to_rest()
        names = {self.watchers[node].name for node in self.nodes}
        for node in self.nodes:
            assert self.watchers[node].people["lobby"] == names


class ModelTests(SynchronousTestCase):
    """Models of who is where."""

    def test_what_nodes_say(self) -> None:
        """However often and in which order nodes say who is with them, each change is one, and
        after they have said it all, that is what is known."""
        run_state_machine_as_test(Saying, settings=settings(stateful_step_count=40))

    def test_people_at_several_nodes(self) -> None:
        """Every watcher hears of comings and goings in turn, and all nodes agree in the end."""
        run_state_machine_as_test(Evening, settings=settings(stateful_step_count=40))
