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
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.support import MemoryStore, PlainHasher, RecordingOutbox, fan_out, guard, now
from twisted_chat.core.accounts import Accounts
from twisted_chat.core.addresses import SHARED
from twisted_chat.core.chat import Chat, Session
from twisted_chat.core.errors import Refusal
from twisted_chat.core.events import (
    Event,
    History,
    Joined,
    Left,
    Omitted,
    Renamed,
    Said,
    Told,
    Topic,
    Welcome,
)
from twisted_chat.core.limits import Limits
from twisted_chat.core.model import Account, Post

_ROOMS = ("lobby", "tea", "bar")
_REPLAY = 3
_HISTORY = 5

_pick = st.integers(0, 99)


class Store(MemoryStore):
    """A store that notes the order in which it was given what was said."""

    def __init__(self) -> None:
        super().__init__()
        self.appended: list[str] = []

    def append(self, post: Post, /) -> None:
        self.appended.append(post.text)
        super().append(post)


class LossyOutbox(RecordingOutbox):
    """An outbox that skips private messages while it is full."""

    def send(self, events: tuple[Event, ...], /) -> bool:
        kept = tuple(event for event in events if not (self.is_full and _is_private(event)))
        if kept:
            self.sends.append(kept)
        return len(kept) == len(events)


class Someone:
    """A session that does one thing after the other, as a face has it do."""

    def __init__(self, name: str, echo: bool) -> None:
        self._name = name
        self.outbox = LossyOutbox()
        self.session = Session(self.outbox)
        self.session.echo = echo
        self.current = "lobby"
        self.doing: Deferred[Any] = Deferred()
        self.said: list[str] = []
        self.answered: set[str] = set()
        self.was_full = False

    @property
    def idle(self) -> bool:
        return self.doing.called and not self.session.has_ended

    @property
    def guest(self) -> bool:
        return self.session.person is not None and self.session.person.account is None

    @property
    def name(self) -> str:
        return self.session.person.name if self.session.person is not None else self._name

    def heard(self) -> tuple[dict[str, list[str]], dict[str, list[str]], dict[str, str]]:
        """The messages that it was shown in each of its rooms, on joining and live since then; and
        the rooms' topics. What /history answers must end with what it was shown."""
        replayed: dict[str, list[str]] = {}
        live: dict[str, list[str]] = {}
        topics: dict[str, str] = {}
        name = self._name
        for events in self.outbox.sends:
            came_in = isinstance(events[0], Welcome | Joined)
            for event in events:
                if isinstance(event, Welcome):
                    name = event.name
                elif isinstance(event, Renamed) and event.name == name:
                    name = event.to
                elif isinstance(event, History) and event.of in _ROOMS:
                    texts = [said.message.text for said in event.messages]
                    if came_in:
                        replayed[event.of], live[event.of] = texts, []
                        topics[event.of] = ""
                    elif self.session.echo:
                        known = [*replayed[event.of], *live[event.of]]
                        least = min(len(known), len(texts))
                        assert texts[len(texts) - least :] == known[len(known) - least :]
                elif isinstance(event, Left) and name in event.names and event.room != "lobby":
                    del live[event.room]
                elif isinstance(event, Said):
                    live[event.message.room].append(event.message.text)
                elif isinstance(event, Topic):
                    topics[event.room] = event.topic
        return replayed, live, topics

    def answered_with(self, history: History) -> None:
        """Show the session its answer, as a face does."""
        if not self.session.has_ended:
            self.session.tell(history)

    def is_in_as(self, account: Account) -> bool:
        person = self.session.person
        return person is not None and person.account == account

    def unread(self) -> list[str]:
        """The private messages that came while it was away."""
        replays = [event for event in self.outbox.of(History) if event.of == "@"]
        return [told.message.text for replay in replays for told in replay.messages]

    def told_live(self) -> list[str]:
        """The private messages that came to it while it was here."""
        return [told.message.text for told in self.outbox.of(Told) if not told.outgoing]

    def told(self) -> list[str]:
        """All private messages to it that it was shown."""
        return [*self.unread(), *self.told_live()]

    def is_told_of_more(self) -> bool:
        """There were more unread ones than it was shown."""
        return any(omitted.later for omitted in self.outbox.of(Omitted))


class ChatMachine(RuleBasedStateMachine):
    """The real chat, on a store that commits when it is told to.

    The model is C{log}: what was said in each room and committed, with the session it came from;
    and C{waiting}, what was said and is not committed. What is said are numbers that grow.
    """

    def __init__(self) -> None:
        super().__init__()
        self.store = Store()
        self.accounts = Accounts(self.store, PlainHasher(), guard(), now, min_password=1)
        self.chat = Chat(
            self.store,
            self.accounts,
            guard(),
            Limits(replay=_REPLAY, max_history=_HISTORY),
            now,
            Clock().callLater,
            fan_out,
            Deferred,
            lambda: self.wrong.append(Failure()),
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
        self.gone: list[Someone] = []
        self.topics = dict.fromkeys(_ROOMS, "")
        self.log: dict[str, list[tuple[str, Someone]]] = {room: [] for room in _ROOMS}
        self.waiting: list[tuple[str, str, Someone]] = []
        self.said = 0

    def idle(self) -> list[Someone]:
        return [someone for someone in self.everyone if someone.idle]

    def somebody(self, number: int) -> Someone:
        idle = self.idle()
        return idle[number % len(idle)]

    def next_text(self, someone: Someone) -> str:
        self.said += 1
        someone.said.append(str(self.said))
        return someone.said[-1]

    @precondition(lambda self: len(self.everyone) < 8)
    @rule(who=_pick, echo=st.booleans())
    def come(self, who: int, echo: bool) -> None:
        """A session logs in, as Alice, as Bob or as a guest."""
        if who % 3 < 2:
            account = self.known[who % 3]
            someone = Someone(account.name, echo)
            coming = self.chat.log_in(someone.session, account)
        else:
            hold = self.accounts.hold_guest_number()
            someone = Someone(hold.name, echo)
            coming = self.chat.come_as_guest(someone.session, hold)
        self.everyone.append(someone)
        someone.doing = Deferred.fromCoroutine(coming)

    @precondition(lambda self: self.idle())
    @rule(who=_pick, room=st.sampled_from(_ROOMS))
    def join(self, who: int, room: str) -> None:
        """A session joins a room."""
        someone = self.somebody(who)
        someone.doing = Deferred.fromCoroutine(self.chat.join(someone.session, room))
        someone.doing.addCallback(lambda _: setattr(someone, "current", room))

    @precondition(lambda self: self.idle())
    @rule(who=_pick)
    def leave(self, who: int) -> None:
        """A session leaves the room that it talks in."""
        someone = self.somebody(who)
        if someone.current != "lobby":
            someone.doing = Deferred.fromCoroutine(
                self.chat.leave(someone.session, someone.current)
            )
            someone.current = "lobby"

    @precondition(lambda self: self.idle())
    @rule(who=_pick)
    def say(self, who: int) -> None:
        """A session says something in its current room."""
        someone = self.somebody(who)
        text = self.next_text(someone)
        self.waiting.append((someone.current, text, someone))
        self.chat.say(someone.session, someone.current, text)

    @precondition(lambda self: self.idle())
    @rule(who=_pick, to=_pick)
    def direct(self, who: int, to: int) -> None:
        """A session says something to somebody who is here."""
        someone = self.somebody(who)
        telling = self.chat.direct(someone.session, self.somebody(to).name, self.next_text(someone))
        someone.doing = Deferred.fromCoroutine(telling)

    @precondition(lambda self: self.idle())
    @rule(who=_pick, to=st.integers(0, 1))
    def direct_to_an_account(self, who: int, to: int) -> None:
        """A session says something to Alice or Bob, who may be away."""
        someone = self.somebody(who)
        telling = self.chat.direct(someone.session, self.known[to].name, self.next_text(someone))
        someone.doing = Deferred.fromCoroutine(telling)

    @precondition(lambda self: self.idle())
    @rule(who=_pick, name=st.sampled_from(("carol", "dora")))
    def rename(self, who: int, name: str) -> None:
        """A guest takes another name, if it is free."""
        someone = self.somebody(who)
        if someone.guest:
            someone.doing = Deferred.fromCoroutine(self.chat.rename_guest(someone.session, name))
            someone.doing.addErrback(lambda failure: failure.trap(Refusal) and None)

    @precondition(lambda self: self.idle())
    @rule(who=_pick, account=st.integers(0, 1))
    def become(self, who: int, account: int) -> None:
        """A guest logs in as Alice or as Bob, who may be here. Like any command that says nothing,
        that waits until what the session said is in the log."""
        someone = self.somebody(who)
        if someone.guest and not someone.session.in_flight:
            becoming = self.chat.log_in(someone.session, self.known[account])
            someone.doing = Deferred.fromCoroutine(becoming)

    @precondition(lambda self: self.idle())
    @rule(who=_pick)
    def set_topic(self, who: int) -> None:
        """A session sets the topic of its current room."""
        someone = self.somebody(who)
        room, text = someone.current, self.next_text(someone)
        someone.doing = Deferred.fromCoroutine(self.chat.set_topic(someone.session, room, text))
        someone.doing.addCallback(lambda _: self.topics.update({room: text}))

    @precondition(lambda self: self.idle())
    @rule(who=_pick, count=st.integers(1, _HISTORY))
    def history(self, who: int, count: int) -> None:
        """A session asks what was said in its current room."""
        someone = self.somebody(who)
        asking = self.chat.history(someone.session, someone.current, count)
        someone.doing = Deferred.fromCoroutine(asking)
        someone.doing.addCallback(someone.answered_with)

    @precondition(lambda self: self.everyone)
    @rule(who=_pick, taken=st.booleans())
    def answer_to_what_was_shown(self, who: int, taken: bool) -> None:
        """A session sends something, after it has taken all that it was shown, or not."""
        someone = self.everyone[who % len(self.everyone)]
        someone.outbox.is_taken = taken
        self.chat.seen(someone.session)
        if not taken:
            return
        someone.answered.update(someone.told())
        if not someone.was_full and not someone.is_told_of_more():
            for account in self.known:
                if someone.is_in_as(account):
                    assert set(someone.told()).isdisjoint(self.unread(account))

    @precondition(lambda self: self.everyone)
    @rule(who=_pick, full=st.booleans())
    def fill(self, who: int, full: bool) -> None:
        """A session has room for private messages, or has none."""
        someone = self.everyone[who % len(self.everyone)]
        someone.outbox.is_full = full
        someone.was_full |= full

    @precondition(lambda self: self.everyone)
    @rule(who=_pick)
    def quit(self, who: int) -> None:
        """A session ends, whatever it is doing."""
        someone = self.everyone.pop(who % len(self.everyone))
        self.gone.append(someone)
        self.chat.end_session(someone.session)
        someone.outbox.send = _nothing_more  # type: ignore[method-assign]

    @rule()
    def commit(self) -> None:
        """The store commits and answers all that waits."""
        for room, text, someone in self.waiting:
            self.log[room].append((text, someone))
        self.waiting.clear()
        self.store.commit()

    @rule()
    def step(self) -> None:
        """The store answers one question, or commits what was said before the next."""
        if self.store.waiting:
            self.store.step()
        kept = {message.text for message in self.store.messages}
        for room, text, someone in self.waiting:
            if text in kept:
                self.log[room].append((text, someone))
        self.waiting = [entry for entry in self.waiting if entry[1] not in kept]

    @rule()
    def answer(self) -> None:
        """The store answers what it was asked before it commits what waits."""
        self.store.answer()

    @rule()
    def fail(self) -> None:
        """The posts that wait are lost."""
        self.waiting.clear()
        self.store.fail()

    @invariant()
    def members_hear_each_message_once(self) -> None:
        """Members hear each message once, from the replay on, in order, without a gap, up to the
        last that is committed."""
        for someone in self.everyone:
            replayed, live, topics = someone.heard()
            for room in live:
                assert topics[room] == self.topics[room]
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
        """Everything live comes in the order of the log, once; and what one session said, in the
        order in which it said it."""
        for someone in self.everyone:
            heard = someone.outbox.heard()
            places = [self.store.appended.index(text) for text in heard]
            assert places == sorted(set(places))
            for author in (*self.everyone, *self.gone):
                of_author = [int(text) for text in heard if text in author.said]
                assert of_author == sorted(of_author)
            told = someone.told()
            assert len(told) == len(set(told))

    def unread(self, account: Account) -> list[str]:
        """The private messages to an account that do not count as read."""
        read = self.store.read[account.id]
        mine = [m for post, m in self.store.direct if post.recipient_id == account.id]
        return [message.text for message in mine if (message.id or 0) > read]

    @invariant()
    def nothing_counts_as_read_that_nobody_has_seen(self) -> None:
        """A message counts as read only if a session of the account was shown it and has sent
        something since."""
        answered = {text for someone in (*self.everyone, *self.gone) for text in someone.answered}
        for account in self.known:
            kept = {m.text for post, m in self.store.direct if post.recipient_id == account.id}
            assert kept - set(self.unread(account)) <= answered

    def teardown(self) -> None:
        """No operation failed, and in the end Alice and Bob are shown all unread messages."""
        self.commit()
        for account in self.known:
            unread = self.unread(account)
            shown: list[str] = []
            while len(shown) < len(unread):
                late = Someone(account.name, echo=False)
                late.doing = Deferred.fromCoroutine(self.chat.log_in(late.session, account))
                self.commit()
                assert late.unread(), unread
                shown += late.unread()
                self.chat.seen(late.session)
                self.gone.append(late)
            assert shown == unread
            assert not self.unread(account)
        for someone in (*self.everyone, *self.gone):
            assert someone.doing.called
            assert not isinstance(someone.doing.result, Failure), someone.doing.result


def _is_private(event: Event) -> bool:
    return isinstance(event, Told) or (isinstance(event, History) and event.of == "@")


def _nothing_more(events: object, /) -> bool:
    raise AssertionError(f"a session that is over was sent {events}")


class ModelTests(SynchronousTestCase):
    """The chat behaves as the model does."""

    def test_chat_follows_the_model(self) -> None:
        """Whatever people do in whatever order, members hear each message once, in order."""
        run_state_machine_as_test(
            ChatMachine,
            settings=settings(stateful_step_count=40),
        )
