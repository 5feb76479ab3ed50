"""Everything that lasts is in the log: who reads the entries arrives at the same picture."""

import sys
from collections.abc import Coroutine, Sequence
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

from tests.support import MemoryStore, PlainHasher, RecordingOutbox, fan_out, guard, held, now
from twisted_chat.core.accounts import Accounts
from twisted_chat.core.addresses import SHARED
from twisted_chat.core.announcements import Delivered
from twisted_chat.core.chat import Chat, Session
from twisted_chat.core.errors import Refusal
from twisted_chat.core.limits import Limits
from twisted_chat.core.model import (
    MEMBER,
    ROLES,
    Account,
    Entry,
    Post,
    Role,
    RoomState,
    Standing,
)

from .test_chat import ELSEWHERE

_NAMES = ("alice", "bob", "carol")
_ROOMS = ("tea", "teа", "bar", "den", "lobby")
"""Rooms, two of which look alike."""

_pick = st.integers(0, 99)


class Evening(RuleBasedStateMachine):
    """People who come and go, make rooms, set topics, talk and write; on a store that commits when
    it is told to, or loses what waits.

    A second chat is opened from the store at some moment. Then it is fed the entries that are
    committed later, in batches of other sizes, and nothing else.
    """

    def __init__(self) -> None:
        super().__init__()
        self.store = MemoryStore()
        self.accounts = Accounts(self.store, PlainHasher(), guard(), now, min_password=1)
        self.wrong: list[object] = []
        self.chat = self._chat()
        self.chat.open(self.store.open())
        self.store.subscribe(self._deliver, self.chat.lose)
        self.second: Chat | None = None
        self.waiting: list[Entry] = []
        self.known: list[Account] = []
        for name in _NAMES:
            Deferred.fromCoroutine(self.accounts.register(name, "x", SHARED)).addCallback(
                self.known.append
            )
        self.sessions: list[Session] = []
        self.said = 0

    def _chat(self) -> Chat:
        return Chat(
            self.store,
            self.accounts,
            guard(),
            Limits(max_joined=4, max_rooms=5, rooms_per_address=0),
            now,
            Clock().callLater,
            fan_out,
            Deferred,
            lambda: self.wrong.append(sys.exc_info()),
        )

    def _deliver(self, batch: Sequence[tuple[int, Delivered]]) -> None:
        self.chat.deliver(batch)
        if self.second is not None:
            self.waiting += [stored for _, stored in batch if isinstance(stored, Entry)]

    def begin(self, doing: Coroutine[Any, Any, object]) -> None:
        """Begin an operation, without waiting for it."""
        done = Deferred.fromCoroutine(doing)
        done.addErrback(lambda failure: failure.trap(Refusal) and None)
        done.addErrback(self.wrong.append)

    def somebody(self, number: int) -> Session:
        return self.sessions[number % len(self.sessions)]

    def room_of(self, session: Session, number: int) -> str:
        """The name of a room that a session's person is in; the lobby while it is nobody."""
        rooms = [room.name for room in session.person.rooms] if session.person else ["lobby"]
        return rooms[-1 - number % len(rooms)]

    @initialize(who=st.lists(st.integers(0, 4), min_size=3, max_size=3), held=st.booleans())
    def begin_evening(self, who: list[int], held: bool) -> None:
        """Three people are here; the store answers at once, or when it is told to."""
        for each in who:
            self.come(each)
        if held:
            self.store.hold()

    @precondition(lambda self: len(self.sessions) < 7)
    @rule(who=st.integers(0, 4))
    def come(self, who: int) -> None:
        """Somebody comes, as one of three accounts or as a guest."""
        session = Session(RecordingOutbox())
        self.sessions.append(session)
        if who < len(self.known):
            self.begin(self.chat.log_in(session, self.known[who]))
        else:
            self.begin(self.chat.come_as_guest(session, held(self.accounts.hold_guest_number())))

    @precondition(lambda self: self.sessions)
    @rule(who=_pick, account=st.integers(0, 2))
    def become(self, who: int, account: int) -> None:
        """A guest becomes an account, whatever rooms they are in and whatever is in flight."""
        self.begin(self.chat.log_in(self.somebody(who), self.known[account]))

    @precondition(lambda self: self.sessions)
    @rule(who=_pick, room=st.sampled_from(_ROOMS))
    def join(self, who: int, room: str) -> None:
        """A session joins a room, or makes it."""
        self.begin(self.chat.join(self.somebody(who), room))

    @precondition(lambda self: self.sessions)
    @rule(who=_pick, where=_pick)
    def leave(self, who: int, where: int) -> None:
        """A session leaves a room."""
        session = self.somebody(who)
        self.begin(self.chat.leave(session, self.room_of(session, where)))

    @precondition(lambda self: self.sessions)
    @rule(who=_pick, where=_pick, topic=st.sampled_from(("", "a", "b", "c")))
    def set_topic(self, who: int, where: int, topic: str) -> None:
        """A session sets a topic, or removes it."""
        session = self.somebody(who)
        self.begin(self.chat.set_topic(session, self.room_of(session, where), topic))

    @precondition(lambda self: self.sessions)
    @rule(who=_pick, where=_pick, to=st.sampled_from(_NAMES))
    def talk(self, who: int, where: int, to: str) -> None:
        """A session says something in a room and in private, and reads."""
        session = self.somebody(who)
        self.said += 1
        try:
            self.chat.say(session, self.room_of(session, where), f"said {self.said}")
        except Refusal:
            pass
        self.begin(self.chat.direct(session, to, f"told {self.said}"))
        self.chat.seen(session)

    @rule(
        where=_pick,
        who=st.integers(0, 2),
        role=st.sampled_from((*ROLES, "member", None)),
        by=st.sampled_from((Account(900, "zoe"), None)),
    )
    def stand(self, where: int, who: int, role: Role | None, by: Account | None) -> None:
        """On another node an account joins or leaves a room, or somebody gives it a role there."""
        by = by or self.known[who]
        records = [state.record for state in self.store.open()]
        record = records[where % len(records)]
        if role is not None or record.name != "lobby":
            text = Standing(self.known[who], role).encode()
            self.store.append(Post(record, MEMBER, by.id, by.name, 0, text), ELSEWHERE)

    @precondition(lambda self: self.sessions)
    @rule(who=_pick)
    def go(self, who: int) -> None:
        """A session ends, whatever is in flight."""
        self.chat.end_session(self.sessions.pop(who % len(self.sessions)))

    @rule(does=st.sampled_from(("hold", "release", "commit", "commit", "step", "step", "fail")))
    def store_does(self, does: str) -> None:
        """The store becomes slow, or quick again; it does what waits, or loses it."""
        if does == "step" and not self.store.waiting:
            return
        getattr(self.store, does)()

    @precondition(lambda self: self.second is None)
    @rule()
    def open_second(self) -> None:
        """The second chat takes up what the store has."""
        self.second = self._chat()
        self.second.open(self.store.open())

    @precondition(lambda self: self.second is not None)
    @rule(count=st.integers(1, 20))
    def feed_second(self, count: int) -> None:
        """The second chat is fed some of the entries that are committed."""
        assert self.second is not None
        fed, self.waiting = self.waiting[:count], self.waiting[count:]
        self.second.deliver([(0, entry) for entry in fed])

    def picture(self, chat: Chat) -> dict[str, RoomState]:
        """What a chat knows of all rooms."""
        return {state.record.name: state for state in chat.states()}

    @invariant()
    def picture_is_what_the_log_says(self) -> None:
        """The picture of the first chat is what the store has, and nothing went wrong."""
        assert not self.wrong, self.wrong
        stored = {state.record.name: state for state in self.store.snapshot()}
        assert self.picture(self.chat) == stored

    @invariant()
    def second_agrees(self) -> None:
        """Once it was fed everything, the second chat has the picture of the first."""
        if self.second is not None and not self.waiting:
            assert self.picture(self.second) == self.picture(self.chat)

    @invariant()
    def sessions_are_where_their_accounts_are_members(self) -> None:
        """Each account that is here is in the rooms that it is a member of, and in no others."""
        rooms = {state.record.name: state.members for state in self.store.snapshot()}
        for session in self.sessions:
            person = session.person
            if person is None or person.account is None:
                continue
            whois = self.chat._directory.whois(person.name)
            assert whois is not None
            mine = {name for name, members in rooms.items() if person.account.id in members}
            assert set(whois.rooms) == mine | {"lobby"}

    def teardown(self) -> None:
        """In the end both chats, and one that is opened now, have the same picture."""
        self.store.release()
        while self.sessions:
            self.go(0)
        if self.second is None:
            self.open_second()
        self.feed_second(len(self.waiting))
        self.picture_is_what_the_log_says()
        self.second_agrees()
        assert not any(isinstance(each, Failure) for each in self.wrong), self.wrong


class PictureTests(SynchronousTestCase):
    """What a second chat knows that reads the log of the first."""

    def test_second_chat_arrives_at_the_same_picture(self) -> None:
        """A chat that is opened at any moment, and is then fed nothing but the entries that come
        later, knows the same rooms, topics, members and roles as the chat that they come from."""
        run_state_machine_as_test(Evening, settings=settings(stateful_step_count=60))
