"""Random comings, goings and talk, checked against a model that fits on a page."""

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
from twisted.trial.unittest import SynchronousTestCase

from tests.support import MemoryStore, PlainHasher, RecordingOutbox, fan_out, guard, now
from twisted_chat.core.accounts import Accounts
from twisted_chat.core.addresses import SHARED
from twisted_chat.core.chat import Chat, Session
from twisted_chat.core.events import History, Left, Said
from twisted_chat.core.limits import Limits
from twisted_chat.core.model import Account

_ROOMS = ("lobby", "tea", "bar")
_REPLAY = 3

_pick = st.integers(0, 99)


class Someone:
    """A session, and what it is doing: like a face, it does one thing after the other."""

    def __init__(self, name: str, echo: bool) -> None:
        self.name = name
        self.outbox = RecordingOutbox()
        self.session = Session(self.outbox)
        self.session.echo = echo
        self.doing: Deferred[Any] = Deferred()

    @property
    def idle(self) -> bool:
        return self.doing.called and not self.session.closed

    def heard(self) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
        """What it was shown in each room that it is in: on joining, and live since then."""
        replayed: dict[str, list[str]] = {}
        live: dict[str, list[str]] = {}
        for event in self.outbox.events:
            if isinstance(event, History) and event.of in _ROOMS:
                replayed[event.of] = [said.message.text for said in event.messages]
                live[event.of] = []
            elif isinstance(event, Left) and self.name in event.names:
                del live[event.room]
            elif isinstance(event, Said):
                live[event.message.room].append(event.message.text)
        return replayed, live


class ChatMachine(RuleBasedStateMachine):
    """The real chat, on a store that commits when it is told to.

    The model is C{log}: what was said in each room and committed, with the session it came from;
    and C{waiting}, what was said and is not committed. What is said are numbers that grow.
    """

    def __init__(self) -> None:
        super().__init__()
        self.store = MemoryStore()
        self.accounts = Accounts(self.store, PlainHasher(), guard(), now, min_password=1)
        self.chat = Chat(
            self.store,
            self.accounts,
            guard(),
            Limits(replay=_REPLAY),
            now,
            Clock().callLater,
            fan_out,
        )
        self.chat.open(self.store.open())
        self.store.subscribe(self.chat.deliver, self.chat.lose)
        self.known: list[Account] = []
        for name in ("alice", "bob"):
            Deferred.fromCoroutine(self.accounts.register(name, "x", SHARED)).addCallback(
                self.known.append
            )
        self.store.hold()
        self.everyone: list[Someone] = []
        self.log: dict[str, list[tuple[str, Someone]]] = {room: [] for room in _ROOMS}
        self.waiting: list[tuple[str, str, Someone]] = []
        self.said = 0

    def idle(self) -> list[Someone]:
        return [someone for someone in self.everyone if someone.idle]

    def somebody(self, number: int) -> Someone:
        idle = self.idle()
        return idle[number % len(idle)]

    def next_text(self) -> str:
        self.said += 1
        return str(self.said)

    @precondition(lambda self: len(self.everyone) < 8)
    @rule(who=_pick, echo=st.booleans())
    def come(self, who: int, echo: bool) -> None:
        """A session comes in: as Alice, as Bob or as a guest."""
        if who % 3 < 2:
            account = self.known[who % 3]
            someone = Someone(account.name, echo)
            coming = self.chat.log_in(someone.session, account)
        else:
            someone = Someone(self.accounts.generate_guest_name(), echo)
            coming = self.chat.come_as_guest(someone.session, someone.name)
        self.everyone.append(someone)
        someone.doing = Deferred.fromCoroutine(coming)

    @precondition(lambda self: self.idle())
    @rule(who=_pick, room=st.sampled_from(_ROOMS))
    def join(self, who: int, room: str) -> None:
        """A session goes into a room."""
        someone = self.somebody(who)
        someone.doing = Deferred.fromCoroutine(self.chat.join(someone.session, room))

    @precondition(lambda self: self.idle())
    @rule(who=_pick)
    def leave(self, who: int) -> None:
        """A session goes out of its current room."""
        session = self.somebody(who).session
        if session.current is not session.rooms[0]:
            self.chat.leave(session, "")

    @precondition(lambda self: self.idle())
    @rule(who=_pick)
    def say(self, who: int) -> None:
        """A session says something in its current room."""
        someone = self.somebody(who)
        assert someone.session.current is not None
        text = self.next_text()
        self.waiting.append((someone.session.current.name, text, someone))
        self.chat.say(someone.session, text)

    @precondition(lambda self: self.idle())
    @rule(who=_pick, to=_pick)
    def direct(self, who: int, to: int) -> None:
        """A session says something to somebody who is here."""
        someone = self.somebody(who)
        telling = self.chat.direct(someone.session, self.somebody(to).name, self.next_text())
        someone.doing = Deferred.fromCoroutine(telling)

    @precondition(lambda self: self.everyone)
    @rule(who=_pick)
    def quit(self, who: int) -> None:
        """A session ends, whatever it is doing."""
        someone = self.everyone.pop(who % len(self.everyone))
        self.chat.leave_all(someone.session)
        someone.outbox.send = _nothing_more  # type: ignore[method-assign]

    @rule()
    def commit(self) -> None:
        """The store catches up."""
        for room, text, someone in self.waiting:
            self.log[room].append((text, someone))
        self.waiting.clear()
        self.store.commit()

    @rule()
    def answer(self) -> None:
        """The store answers what it was asked before it commits what waits."""
        self.store.answer()

    @rule()
    def fail(self) -> None:
        """What waits is lost."""
        self.waiting.clear()
        self.store.fail()

    @invariant()
    def members_hear_each_message_once(self) -> None:
        """From the replay on, in order, without a gap, up to the last that is committed."""
        for someone in self.everyone:
            replayed, live = someone.heard()
            assert set(live) == {room.name for room in someone.session.rooms}
            for room in live:
                texts = [text for text, _ in self.log[room]]
                joined = texts.index(replayed[room][-1]) + 1 if replayed[room] else 0
                assert replayed[room] == texts[max(0, joined - _REPLAY) : joined]
                assert live[room] == [
                    text
                    for text, author in self.log[room][joined:]
                    if someone.session.echo or author is not someone
                ]

    @invariant()
    def order_is_kept_across_rooms_and_private_messages(self) -> None:
        """Everything live comes in the order in which it was said, once."""
        for someone in self.everyone:
            heard = [int(text) for text in someone.outbox.heard()]
            assert heard == sorted(set(heard))


def _nothing_more(events: object, /) -> None:
    raise AssertionError(f"a session that is over was sent {events}")


class ModelTests(SynchronousTestCase):
    """The chat behaves as the model says."""

    def test_chat_follows_the_model(self) -> None:
        """Whatever people do in whatever order, members hear each message once, in order."""
        run_state_machine_as_test(
            ChatMachine,
            settings=settings(
                max_examples=100,
                stateful_step_count=40,
                deadline=None,
                database=None,
            ),
        )
