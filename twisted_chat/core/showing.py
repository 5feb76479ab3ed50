"""What sessions are shown of the log when they come in, resume or join a room."""

from collections.abc import Iterator, Mapping, Sequence

from . import policy
from .errors import Refusal
from .events import Back, Event, History, Joined, Omitted, Told
from .here import Here
from .marks import Marks
from .model import Account, Entry, Findings
from .past import DIRECT, LISTED, Past
from .people import Person, Session, View
from .ports import Store
from .room import LOBBY, Room, Shared


class Showing:
    """Shows sessions what the log has, and notes what they have been shown."""

    def __init__(self, store: Store, shared: Shared, past: Past, marks: Marks, here: Here) -> None:
        self._store = store
        self._shared = shared
        self._here = here
        self._past = past
        self._marks = marks

    def come_back(
        self,
        session: Session,
        person: Person,
        shown: Sequence[Event],
        findings: Findings,
        were_in: Sequence[Room] = (),
    ) -> None:
        """Show a session that has just become somebody's the rooms of the account.

        @param shown: what it is shown first.
        @param were_in: the rooms that it was in as a guest.
        """
        places = self._past.places(person, findings.news)
        entered = {LOBBY, *(room.name for room in were_in)}
        session.views = {
            self._shared.rooms[place.room]: View(
                place.read, not place.new or place.room in entered, place.room in entered
            )
            for place in places
        }
        session.skips = session.outbox.skips
        session.answer(*shown, Back(self._shared.now(), places))

    def show_unread(self, session: Session, account: Account, messages: Sequence[Entry]) -> None:
        """Show a session the unread private messages of its account."""
        person = session.person
        alone = person is not None and person.sessions == (session,) and not person.nodes
        unread = self._past.unread(account, messages, alone=alone)
        if unread:
            self._show_private(session, unread)
            session.has_gap |= any(isinstance(event, Omitted) for event in unread)

    def show(self, session: Session, place: str, history: History, after: int) -> None:
        """Show a session what came after one of its resume points."""
        if place.startswith(DIRECT):
            for event in history.shown[:1]:
                if isinstance(event, Told) and isinstance(event.message, Entry):
                    is_cut = history.after != after
                    session.note_resumed(event.message.room, after, is_cut=is_cut)
            self._show_private(session, (history,))
            return
        view = session.views.get(self._shared.rooms[place])
        if session.answer(history) and view is not None:
            view.is_whole |= has_no_hole(view, history, after)

    def _show_private(self, session: Session, events: Sequence[Event]) -> None:
        """Show a session private messages from the log."""
        whole = session.answer(*events)
        shown = [each for e in events if isinstance(e, History) for each in e.shown]
        session.note_shown(shown, whole=whole)
        for event in shown:
            if isinstance(event, Told) and not event.outgoing:
                session.wrote = event.message.author

    async def resume(self, session: Session, points: Mapping[str, int]) -> int:
        """Show what came after some resume points; if some private message was not shown to the
        session, also the unread ones of all other private conversations.

        @return: the number of entries that were shown.
        @raise Refusal: C{unavailable}, C{closed}.
        """
        person, had_gap = session.person, session.misses_messages
        shown = 0
        for some in _in_turn(points, person, at_once=had_gap) if person is not None else ():
            is_news = had_gap and all(place.startswith(DIRECT) for place in some)
            shown += await self._resume(session, some, is_news=is_news)
        return shown

    async def _resume(self, session: Session, points: Mapping[str, int], *, is_news: bool) -> int:
        """Show what came after some resume points.

        @param is_news: show also the unread messages of all other private conversations.
        @return: the number of entries that were shown.
        @raise Refusal: C{unavailable}, C{closed}.
        """
        person = session.person
        if person is None:
            return 0
        account = person.account
        question = self._past.question(points, person.rooms, account, is_news=is_news)
        findings = await self._store.ask(question)
        if session.has_ended:
            return 0
        self._marks.look_for_gaps(session)  # before it is shown what fell into them
        if is_news:
            session.forget_gaps()  # what it was not shown is among the findings
        resumed = self._past.resumed(points, person.rooms, findings, person)
        for place, history in resumed.items():
            self.show(session, place, history, points[place])
        if is_news and account is not None:
            self.show_unread(session, account, findings.unread)
        return sum(len(history.shown) for history in resumed.values()) + len(findings.unread)

    async def resume_apart(
        self, session: Session, rooms: Sequence[Room], points: Mapping[str, int]
    ) -> None:
        """Show a session that has just come in what came after its resume points in rooms. It hears
        each of the rooms from then on.

        The log is asked for one room after the other, as the posts of others wait meanwhile.
        """
        try:
            for room in rooms:
                question = self._past.question(points, (room,), None)
                findings = await self._store.ask(question)
                person = session.person
                if person is not None and room in person.rooms:
                    room.add(session)
                    session.resumed(room.name)
                    resumed = self._past.resumed_room(
                        room, findings.rooms.get(room.record.id, ()), points[room.name], person
                    )
                    self.show(session, room.name, resumed, points[room.name])
        except Refusal:
            pass  # it has been logged; the session is in, and may ask again
        finally:
            person = session.person
            for room in rooms:
                if person is not None and room in person.rooms:
                    room.add(session)

    def has_entered(self, session: Session, room: Room) -> bool:
        """Whether a session was shown a room that its person is in."""
        self._marks.look_for_gaps(session)
        view = session.views.get(room)
        return session in room.sessions if view is None else view.is_entered

    async def show_room(self, session: Session, room: Room) -> int:
        """Show a session a room that it joins.

        @return: as L{twisted_chat.core.chat.Chat.join}.
        @raise Refusal: C{not-in-room}, C{unavailable}, C{closed}.
        """
        person = session.person
        try:
            missed = await self._past.missed(session, room)
        except Refusal:
            if session.person is not None and room in session.person.rooms:
                self._listen(session, room)  # it is in the room, though it cannot be shown
            raise
        if session.has_ended or person is None:
            return 0
        if person.account is None:
            self._here.join(person, room)
        else:
            policy.may(person, "go to", room)  # it may have ceased to be a member
        self._marks.look_for_gaps(session)  # before it is shown what fell into them
        is_new = room not in session.views  # else it was told that its person joined
        self._listen(session, room)
        joined = (Joined(self._shared.now(), room.name, ((person.name, person.is_account),)),)
        session.answer(*(joined if is_new else ()), *self._past.entrance(person, room, missed))
        shown = len(missed.shown) if missed is not None else len(room.recent or ())
        view = session.views.get(room)
        if view is not None:
            view.is_whole = view.is_entered = True
        return max(shown + min(len(room.people), LISTED), 1)

    def _listen(self, session: Session, room: Room) -> None:
        """Have a session hear a room that its person is in."""
        room.add(session)
        person = session.person
        if person is not None and person.is_account and room not in session.views:
            session.views = {**session.views, room: View(room.last_seq)}


def _in_turn(
    due: Mapping[str, int], person: Person, *, at_once: bool
) -> Iterator[Mapping[str, int]]:
    """Divide resume points into those that the log is asked for in turn, so that the posts of
    others wait for one of them at most: the rooms, and then the private conversations.

    @param at_once: ask for all private conversations together, even if there are none.
    """
    for room in person.rooms:
        if room.name in due:
            yield {room.name: due[room.name]}
    private = {place: at for place, at in due.items() if place.startswith(DIRECT)}
    if at_once:
        yield private
    else:
        for place, at in private.items():
            yield {place: at}


def has_no_hole(view: View, history: History, after: int) -> bool:
    """Whether a history shows everything after a resume point, or after what was read."""
    return history.after is not None and history.after <= max(after, view.read)
