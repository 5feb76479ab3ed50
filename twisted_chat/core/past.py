"""Questions about the log, answered as values: history, resuming, unread private messages."""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from .errors import Refusal
from .events import Crowd, Event, History, Omitted, Said, Told, Topic, Unread, Users
from .limits import Limits
from .model import Account, DirectMessage, Message
from .people import Person, Session
from .ports import Store
from .room import Room

DIRECT = "@"
"""Stands for one's private messages where a room may be named."""

_HISTORY = 20
"""Messages in a history whose length was not asked for."""

LISTED = 50
"""People in a room that are listed for somebody who joins it; of more, only the number is told."""

_Replayed = TypeVar("_Replayed", Message, DirectMessage)


class Past:
    """What was said before, for sessions that ask, come back or join a room."""

    def __init__(self, store: Store, limits: Limits, now: Callable[[], int]) -> None:
        """@param now: gives the time in UTC milliseconds."""
        self._store = store
        self._limits = limits
        self._now = now

    # Histories that are asked for

    def count(self, asked: int | None) -> int:
        """The number of messages that a history may have.

        @param asked: what was asked for; L{None} for the default.
        @raise Refusal: C{bad-arguments}.
        """
        most = self._limits.max_history
        if asked is not None and not 1 <= asked <= most:
            sentence = f"a history has 1 to {most} messages"
            raise Refusal("bad-arguments", sentence, "fewer-messages", limit=most)
        return asked or min(_HISTORY, most)

    async def room(self, room: Room, count: int, reader: Person) -> History:
        """The last messages of a room.

        @raise Refusal: C{internal}, C{closed}.
        """
        return self.room_history(room, await self._store.history(room.record, count), reader)

    async def conversation(self, account: Account, other: Account, count: int) -> History:
        """The last private messages between two accounts, for the first of them.

        @raise Refusal: C{internal}, C{closed}.
        """
        direct = await self._store.conversation(account.id, other.id, count)
        return self._direct_history(f"@{other.name}", account, self._newest(direct))

    def room_history(self, room: Room, messages: Sequence[Message], reader: Person) -> History:
        """The newest of these messages of a room, as many as fit an empty outbox."""
        return History(self._now(), room.name, self._replayed(self._newest(messages), reader))

    # Joining a room

    async def wake(self, room: Room) -> None:
        """Have the last messages of a room at hand. The room keeps them while it has members.

        @raise Refusal: C{internal}, C{closed}.
        """
        if room.recent is None:
            recent = await self._store.history(room.record, self._limits.replay)
            if room.recent is None:
                room.recent = deque(recent, maxlen=self._limits.replay)

    async def missed(self, session: Session, room: Room) -> Sequence[Message] | None:
        """L{wake} a room for a session that joins it. No await may stand between this and joining.

        @return: what came after the session's resume point; L{None} if it has none.
        @raise Refusal: C{internal}, C{closed}.
        """
        seq = session.resume_point(room.name)
        while True:
            await self.wake(room)
            if seq is None:
                return None
            missed, _ = await self._store.catch_up(
                room.record, seq, None, None, self._limits.max_history
            )
            if room.recent is not None:  # else its last member has left it meanwhile
                session.resumed(room.name)
                return missed

    def entrance(
        self, person: Person, room: Room, missed: Sequence[Message] | None
    ) -> tuple[Event, ...]:
        """What somebody is shown who joins a room: messages, the topic, and the people.

        @param missed: the messages to show; L{None} for the last ones.
        """
        now = self._now()
        if missed is not None:
            history = self.room_history(room, missed, person)
        else:
            history = History(now, room.name, self._replay(room, person))
        topic = (Topic(now, room.name, room.topic, room.topic_by),) if room.topic else ()
        if room.is_lobby:
            return (history, *topic)
        if len(room.people) > LISTED:
            return (history, *topic, Crowd(now, room.name, len(room.people)))
        return (history, *topic, Users(now, room.name, room.listed(person)))

    def _replay(self, room: Room, reader: Person) -> Sequence[Said]:
        """The last messages of a room: the same events for all readers but those who wrote one of
        them and gave it a label."""
        recent = room.recent or ()
        if any(_label(message, reader) for message in recent):
            return self._replayed(recent, reader)
        if room.replay is None:
            now = self._now()
            room.replay = tuple(Said(now, message, replay=True) for message in recent)
        return room.replay

    def _replayed(self, messages: Iterable[Message], reader: Person) -> Sequence[Said]:
        now = self._now()
        return tuple(
            Said(now, message, replay=True, label=_label(message, reader)) for message in messages
        )

    # Private messages

    def unread(
        self, account: Account, messages: Sequence[DirectMessage], *, alone: bool
    ) -> tuple[Event, ...]:
        """The first of an account's unread private messages, as many as fit; nothing if there are
        none.

        @param messages: all of them, or one more than C{max_history}.
        @param alone: as in L{Unread}.
        """
        if not messages:
            return ()
        most = self._limits.max_history
        shown = messages[: self._fitting(messages)]
        now = self._now()
        count = Unread(now, min(len(messages), most), len(messages) > most, alone)
        history = self._direct_history(DIRECT, account, shown)
        if len(shown) == len(messages):
            return count, history
        return count, history, Omitted(now, DIRECT, later=True)

    def resumed(self, account: Account, messages: Sequence[DirectMessage]) -> tuple[Event, ...]:
        """The newest of an account's private messages after its resume point, as many as fit, also
        if there are none.

        @param messages: all of them, or one more than C{max_history}.
        """
        shown = self._newest(messages)
        history = self._direct_history(DIRECT, account, shown)
        if len(shown) == len(messages):
            return (history,)
        return Omitted(self._now(), DIRECT, later=False), history

    def _direct_history(
        self, of: str, account: Account, messages: Sequence[DirectMessage]
    ) -> History:
        now = self._now()
        return History(
            now,
            of,
            tuple(
                Told(
                    now,
                    message,
                    outgoing=message.sender == account.name,
                    replay=True,
                    label=message.label if message.sender == account.name else "",
                )
                for message in messages
            ),
        )

    # What fits

    def _newest(self, messages: Sequence[_Replayed]) -> Sequence[_Replayed]:
        """The newest of the messages, as many as fit."""
        return messages[len(messages) - self._fitting(messages[::-1]) :]

    def _fitting(self, messages: Sequence[_Replayed]) -> int:
        """The number of messages, from the first on, that may be shown at once: an empty outbox has
        room for them, and they are not more than C{max_history}."""
        room = self._limits.outbox // 2
        for index, message in enumerate(messages[: self._limits.max_history]):
            room -= 4 * len(message.text) + 200  # UTF-8, and what a format puts around it
            if room < 0:
                return index
        return min(len(messages), self._limits.max_history)


def _label(message: Message, reader: Person) -> str:
    """The label of a message, if its author reads it. A guest may be somebody else than the guest
    who had the name before."""
    return message.label if reader.is_account and message.author == reader.name else ""
