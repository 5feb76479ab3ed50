"""Several chats on one log, each as on a node of its own."""

from collections.abc import Sequence

from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.support import MemoryLog, PlainHasher, guard, now
from twisted_chat.core.accounts import Accounts
from twisted_chat.core.events import Event, Joined, Left, Renamed
from twisted_chat.core.guard import Guard
from twisted_chat.core.limits import Limits

from .test_chat import Chatting, Someone

NAME_IS_TAKEN = "name-taken"


class Node(Chatting):
    """A node with a chat of its own.

    @ivar taken: the digests of tokens whose sessions it was told to end.
    """

    def __init__(self, log: MemoryLog, limits: Limits, clock: Clock) -> None:
        self.limits = limits
        self.clock = clock
        self.failures = []
        self.taken: list[str] = []
        self.store = log.join()
        self.hasher = PlainHasher()
        self.guard = guard(limits, clock, self.store.announce)
        self.accounts = Accounts(self.store, self.hasher, self.guard, now, min_password=8)
        self.chat = self.new_chat()
        self.store.subscribe(self.chat.deliver, self.chat.lose)
        self.chat.nodes.takers.append(self.taken.append)
        self.chat.nodes.evicted = self._evicted

    def _evicted(self) -> None:
        self.begin(self.chat.nodes.claim_again()).addErrback(self._note)

    def _note(self, failure: Failure) -> None:
        assert failure.value is not None
        self.failures.append(failure.value)

    def new_guard(self) -> Guard:
        return self.guard

    @property
    def number(self) -> int:
        """Its number."""
        return self.store.node

    def guest_with(self, name: str, token: str, former: str = "") -> Someone:
        """Make a session of a guest that has a token, and forget what it was told."""
        session = Someone()
        session.token, session.former = token, former
        hold = self.run_now(self.accounts.hold(name, session=session))
        self.run_now(self.chat.come_as_guest(session, hold))
        session.outbox.take()
        return session

    def die(self) -> None:
        """Die, with all sessions."""
        self.store.die()


class NodesTestCase(SynchronousTestCase):
    """Two nodes.

    @ivar one: a node.
    @ivar two: another.
    """

    limits = Limits(replay=5, max_joined=3, max_rooms=6, max_history=10)

    def setUp(self) -> None:
        self.log = MemoryLog()
        self.clock = Clock()
        self.nodes: list[Node] = []
        self.one, self.two = self.node(), self.node()

    def tearDown(self) -> None:
        self.assertEqual([node.failures for node in self.nodes], [[] for _ in self.nodes])

    def node(self) -> Node:
        """Start a node."""
        node = Node(self.log, self.limits, self.clock)
        self.nodes.append(node)
        self.log.pull()
        return node

    def bury(self, node: Node) -> None:
        """Have a node die, and all others know."""
        node.die()
        self.log.bury(node.number)
        self.log.pull()

    def told(self, *sessions: Someone) -> list[list[Event]]:
        """Bring all nodes up to date; give what each session was told, without what only programs
        are told."""
        self.log.pull()
        return [session.told() for session in sessions]

    def news(self, *sessions: Someone) -> list[list[str]]:
        """Bring all nodes up to date; give who each session was told came (+), went (-) or has
        another name (old>new), with the room unless it is the lobby."""
        return [
            [word for event in events for word in _words(event)] for events in self.told(*sessions)
        ]


def _words(event: Event) -> Sequence[str]:
    match event:
        case Joined(room=room, people=people):
            return [f"+{name}{_in(room)}" for name, _ in people]
        case Left(room=room, names=names):
            return [f"-{name}{_in(room)}" for name in names]
        case Renamed(name=name, to=to):
            return [f"{name}>{to}"]
    return [type(event).__name__]


def _in(room: str) -> str:
    return "" if room == "lobby" else f"#{room}"
