"""Random comings, goings and talk, checked against a model that fits on a page."""

from collections.abc import Coroutine, Mapping, Sequence
from itertools import takewhile
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

from tests.support import MemoryStore, PlainHasher, RecordingOutbox, fan_out, guard, held, now
from twisted_chat.core.accounts import Accounts
from twisted_chat.core.addresses import SHARED
from twisted_chat.core.chat import Chat, Session
from twisted_chat.core.errors import Refusal
from twisted_chat.core.events import (
    Back,
    Event,
    History,
    Joined,
    Left,
    Members,
    Omitted,
    Renamed,
    Said,
    Told,
    Topic,
    Welcome,
)
from twisted_chat.core.limits import Limits
from twisted_chat.core.model import (
    CREATED,
    KINDS,
    MEMBER,
    MESSAGES,
    TOPIC,
    Account,
    Aside,
    Entry,
    Post,
)

_ROOMS = ("lobby", "tea", "bar")
_REPLAY = 3
_HISTORY = 5

_pick = st.integers(0, 99)


class Store(MemoryStore):
    """A store that notes the order in which it was given what was said."""

    def __init__(self) -> None:
        super().__init__()
        self.appended: list[str] = []

    def append(self, post: Post | Aside, number: int, /) -> None:
        self.appended.append(post.text)
        super().append(post, number)


class LossyOutbox(RecordingOutbox):
    """An outbox that skips private messages while it is full."""

    def send(self, events: tuple[Event, ...], /) -> bool:
        kept = tuple(event for event in events if not (self.is_full and _is_private(event)))
        if kept:
            self.sends.append(kept)
        self.skips += len(kept) < len(events)
        return len(kept) == len(events)


class Heard:
    """What a session was told of one room.

    @ivar start: everything after this C{seq} was told live; L{None} while nothing was.
    @ivar topic: L{None} while it was told nothing of it.
    @ivar live: the C{seq} of each entry that was told live.
    @ivar last: the newest C{seq} that it was shown, live or not.
    """

    def __init__(self, start: int | None, topic: str | None) -> None:
        self.start = start
        self.topic = topic
        self.live: list[int] = []
        self.last = start or 0

    def hear(self, *seqs: int) -> None:
        """Note entries that were told live, in one event."""
        if self.start is None:
            self.start = seqs[0] - 1
        self.live += [seq for seq in seqs if seq > self.start]
        self.last = max(self.last, *seqs)


class Someone:
    """A session that does one thing after the other, as a face has it do."""

    def __init__(self, name: str, echo: bool) -> None:
        self._name = name
        self.outbox = LossyOutbox()
        self.session = Session(self.outbox, face=self)
        self.session.echo = echo
        self.current = "lobby"
        self.doing: Deferred[Any] = Deferred()
        self.said: list[str] = []
        self.answered: set[str] = set()
        self.has_seen: dict[str, int] = {}
        self.was_full = False

    def hang_up(self, farewell: str, /) -> None:
        raise AssertionError(f"nobody asked for {farewell!r}")

    def put_out(self, room: str, /) -> None:
        """As for a face: a line goes to the lobby from now on."""
        if self.current == room:
            self.current = "lobby"

    @property
    def idle(self) -> bool:
        return self.doing.called and not self.session.has_ended

    @property
    def guest(self) -> bool:
        return self.session.person is not None and self.session.person.account is None

    @property
    def name(self) -> str:
        return self.session.person.name if self.session.person is not None else self._name

    @property
    def rooms(self) -> set[str]:
        """The rooms that it is in."""
        person = self.session.person
        return {room.name for room in person.rooms} if person is not None else set()

    def heard(self, log: Mapping[str, Sequence[Entry]]) -> dict[str, Heard]:
        """What it was told of each of its rooms.

        Every history on the way must be what the log has: a resumed one all entries between both
        of its ends, another one the last messages.
        """
        heard: dict[str, Heard] = {}
        name = self._name
        for events in self.outbox.sends:
            for event in events:
                if isinstance(event, Welcome):
                    name = event.name
                elif isinstance(event, Renamed) and event.name == name:
                    name = event.to
                elif isinstance(event, Back):
                    for place in event.places:
                        heard.setdefault(place.room, Heard(place.seq, place.topic))
                elif isinstance(event, Joined) and name in dict(event.people):
                    heard.setdefault(event.room, Heard(None, None))
                elif isinstance(event, Left) and name in event.names and event.room != "lobby":
                    del heard[event.room]
                elif isinstance(event, History) and event.of in log:
                    _check(event, log[event.of])
                    if event.seq is not None:
                        each = heard.setdefault(event.of, Heard(event.seq, ""))
                        each.start = event.seq if each.start is None else each.start
                        if event.after is not None and not each.live:
                            # It hears a room that is resumed at login only from here on.
                            each.start = max(each.start, event.seq)
                            changes = [e.topic for e in event.shown if isinstance(e, Topic)]
                            each.topic = changes[-1] if changes else each.topic
                        each.last = max(each.last, event.seq)
                elif isinstance(event, Said):
                    heard[event.message.room.name].hear(event.message.seq)
                elif isinstance(event, Members):
                    seqs = range(event.seq - len(event.standings) + 1, event.seq + 1)
                    heard[event.room].hear(*seqs)
                elif isinstance(event, Topic):
                    heard[event.room].topic = event.topic
                    if event.entry is not None:
                        heard[event.room].hear(event.entry.seq)
        return heard

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
        return [text for replay in replays for text in _texts(replay)]

    def told(self) -> list[str]:
        """All private messages to it that it was shown."""
        live = [told.message.text for told in self.outbox.of(Told) if not told.outgoing]
        return [*self.unread(), *live]

    def is_told_of_more(self) -> bool:
        """There were more unread ones than it was shown."""
        return bool(self.outbox.of(Omitted))


class ChatMachine(RuleBasedStateMachine):
    """The real chat, on a store that commits when it is told to, which is the model. What is said
    are numbers that grow."""

    def __init__(self) -> None:
        super().__init__()
        self.store = Store()
        self.accounts = Accounts(self.store, PlainHasher(), guard(), now, min_password=1)
        self.wrong: list[Failure] = []
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
        self.number = 0
        self.seen: list[tuple[Account, set[str]]] = []

    def idle(self) -> list[Someone]:
        return [someone for someone in self.everyone if someone.idle]

    def somebody(self, number: int) -> Someone:
        idle = self.idle()
        return idle[number % len(idle)]

    def next_text(self, someone: Someone) -> str:
        self.number += 1
        someone.said.append(str(self.number))
        return someone.said[-1]

    def log(self) -> dict[str, list[Entry]]:
        """The entries of each room."""
        log: dict[str, list[Entry]] = {room: [] for room in _ROOMS}
        for entry in self.store.entries:
            if entry.room.kind != "direct":
                log[entry.room.name].append(entry)
        return log

    def begin(self, someone: Someone, doing: Coroutine[Any, Any, Any]) -> Deferred[Any]:
        """Have a session do something that may be lost, or that another session of its account may
        have done before."""
        someone.doing = Deferred.fromCoroutine(doing)
        return someone.doing.addErrback(_not_done)

    @precondition(lambda self: len(self.everyone) < 8)
    @rule(who=_pick, echo=st.booleans())
    def come(self, who: int, echo: bool) -> None:
        """A session logs in, as Alice, as Bob or as a guest."""
        if who % 3 < 2:
            account = self.known[who % 3]
            someone = Someone(account.name, echo)
            coming = self.chat.log_in(someone.session, account)
        else:
            hold = held(self.accounts.hold_guest_number())
            someone = Someone(hold.name, echo)
            coming = self.chat.come_as_guest(someone.session, hold)
        self.everyone.append(someone)
        someone.doing = Deferred.fromCoroutine(coming)

    @precondition(lambda self: len(self.everyone) < 8)
    @rule(
        who=st.integers(0, 1),
        echo=st.booleans(),
        points=st.dictionaries(st.sampled_from(_ROOMS), st.integers(0, 20)),
    )
    def come_back(self, who: int, echo: bool, points: dict[str, int]) -> None:
        """A session of Alice or Bob logs in, and goes on after what it has of some rooms."""
        someone = Someone(self.known[who].name, echo)
        log = self.log()
        had = {room: min(seq, len(log[room])) for room, seq in points.items()}

        async def come() -> None:
            await self.chat.since(someone.session, had)
            await self.chat.log_in(someone.session, self.known[who])

        self.everyone.append(someone)
        someone.doing = Deferred.fromCoroutine(come())

    @precondition(lambda self: self.idle())
    @rule(who=_pick, room=st.sampled_from(_ROOMS))
    def join(self, who: int, room: str) -> None:
        """A session joins a room."""
        someone = self.somebody(who)

        async def join() -> None:
            await self.chat.join(someone.session, room)
            if room in someone.rooms:
                someone.current = room

        self.begin(someone, join())

    @precondition(lambda self: self.idle())
    @rule(who=_pick)
    def leave(self, who: int) -> None:
        """A session leaves the room that it talks in."""
        someone = self.somebody(who)
        if someone.current != "lobby":
            self.begin(someone, self.chat.leave(someone.session, someone.current))
            someone.current = "lobby"

    @precondition(lambda self: self.idle())
    @rule(who=_pick)
    def say(self, who: int) -> None:
        """A session says something in its current room."""
        someone = self.somebody(who)
        if someone.current in someone.rooms:
            self.chat.say(someone.session, someone.current, self.next_text(someone))

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
            self.begin(someone, self.chat.log_in(someone.session, self.known[account]))

    @precondition(lambda self: self.idle())
    @rule(who=_pick)
    def set_topic(self, who: int) -> None:
        """A session sets the topic of its current room."""
        someone = self.somebody(who)
        setting = self.chat.set_topic(someone.session, someone.current, self.next_text(someone))
        self.begin(someone, setting)

    @precondition(lambda self: self.idle())
    @rule(who=_pick, count=st.integers(1, _HISTORY))
    def history(self, who: int, count: int) -> None:
        """A session asks what was said in its current room."""
        someone = self.somebody(who)

        async def ask() -> None:
            history = await self.chat.history(someone.session, someone.current, count)
            someone.answered_with(history)

        self.begin(someone, ask())

    @precondition(lambda self: self.everyone)
    @rule(who=_pick, taken=st.booleans())
    def answer_to_what_was_shown(self, who: int, taken: bool) -> None:
        """A session sends something, after it has taken all that it was shown, or not."""
        someone = self.everyone[who % len(self.everyone)]
        someone.outbox.is_taken = taken
        self.chat.seen(someone.session)
        if not taken:
            return
        if someone.session.person is not None and someone.session.person.is_account:
            log = self.log()
            for room, heard in someone.heard(log).items():
                own = takewhile(lambda entry: entry.text in someone.said, log[room][heard.last :])
                someone.has_seen[room] = heard.last + len(list(own))
        someone.answered.update(someone.told())
        if not someone.was_full and not someone.is_told_of_more():
            for account in self.known:
                if someone.is_in_as(account):
                    self.seen.append((account, set(someone.told())))

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
        """The store commits and answers all that waits, so that what was seen is not unread."""
        self.store.commit()
        for account, told in self.seen:
            assert told.isdisjoint(self.unread(account))
        self.seen.clear()

    @rule()
    def step(self) -> None:
        """The store answers one question, or commits what was said before the next."""
        if self.store.waiting:
            self.store.step()

    @rule()
    def fail(self) -> None:
        """The posts that wait are lost."""
        self.store.fail()

    @invariant()
    def people_hear_each_entry_once(self) -> None:
        """A session hears each entry of the rooms that its person is in once, from the replay on,
        in order, without a gap, up to the last that is committed; and it knows the topic."""
        log = self.log()
        topics = {state.record.name: state.topic for state in self.store.open()}
        for someone in self.everyone:
            heard = someone.heard(log)
            joining = set() if someone.doing.called else someone.rooms - heard.keys()
            assert heard.keys() == someone.rooms - joining
            for room, each in heard.items():
                expected = [
                    entry.seq
                    for entry in log[room]
                    if entry.kind in KINDS
                    and each.start is not None
                    and entry.seq > each.start
                    and (
                        someone.session.echo
                        or entry.kind not in MESSAGES
                        or entry.text not in someone.said
                    )
                ]
                assert each.live == expected, (someone.name, room, each.live, expected)
                assert each.topic in {None, topics[room]}

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
        return [
            entry.text
            for entry in self.direct_to(account)
            if entry.seq > self.store.marks[account.id, entry.room.id]
        ]

    def direct_to(self, account: Account) -> list[Entry]:
        """The private messages to an account that are kept."""
        return [
            entry
            for entry in self.store.entries
            if entry.room.kind == "direct" and entry.recipient == account.name
        ]

    @invariant()
    def nothing_counts_as_read_that_nobody_has_seen(self) -> None:
        """A message counts as read only if a session of the account was shown it and has sent
        something since."""
        everyone = (*self.everyone, *self.gone)
        answered = {text for someone in everyone for text in someone.answered}
        log = self.log()
        for account in self.known:
            kept = {entry.text for entry in self.direct_to(account)}
            assert kept - set(self.unread(account)) <= answered
            for room, entries in log.items():
                mark = self.store.marks.get((account.id, entries[0].room.id), 0) if entries else 0
                while mark and entries[mark - 1].author_id == account.id:
                    mark -= 1  # nobody has to see what they said themselves
                seen = max((someone.has_seen.get(room, 0) for someone in everyone), default=0)
                joined = [e.seq for e in entries if e.kind == MEMBER and e.author_id == account.id]
                assert mark <= max(seen, *joined, 0) if joined else mark <= seen

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
                self.commit()
                self.gone.append(late)
            assert shown == unread
            assert not self.unread(account)
        assert not self.wrong, self.wrong
        for someone in (*self.everyone, *self.gone):
            assert someone.doing.called
            assert not isinstance(someone.doing.result, Failure), someone.doing.result


def _check(history: History, log: Sequence[Entry]) -> None:
    """Check that a history of a room has what it says."""
    messages = [entry.text for entry in log if entry.kind in MESSAGES]
    if history.seq is not None:
        messages = [e.text for e in log if e.kind in MESSAGES and e.seq <= history.seq]
    shown = _texts(history)
    if history.after is not None:
        assert history.seq is not None
        between = [e for e in log if history.after < e.seq <= history.seq]
        assert shown == [entry.text for entry in between if entry.kind in MESSAGES]
        topics = [event.topic for event in history.shown if isinstance(event, Topic)]
        assert topics == [entry.text for entry in between if entry.kind == TOPIC]
        standings = [
            standing.encode()
            for event in history.shown
            if isinstance(event, Members)
            for standing in event.standings
        ]
        made = [e.standing for e in between if e.kind in {CREATED, MEMBER}]
        assert standings == [standing.encode() for standing in made if standing is not None]
    elif history.seq is not None:
        assert shown == messages[len(messages) - len(shown) :]
        assert shown or not messages


def _texts(history: History) -> list[str]:
    """The texts of the messages of a history."""
    return [event.message.text for event in history.shown if isinstance(event, Said | Told)]


def _not_done(failure: Failure) -> None:
    """Take a refusal of what was lost, or was done by another session before."""
    failure.trap(Refusal)
    code = failure.value.code  # type: ignore[union-attr]
    assert code in {"unavailable", "not-in-room", "no-such-room"}, failure


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
