"""What has been read: how far an account has seen its rooms and private conversations."""

from . import announcements
from .events import Read
from .model import RoomRecord
from .past import DIRECT
from .people import Person, Session, View
from .ports import Store
from .room import Room, Shared


class Marks:
    """Marks places as read, and tells the other sessions of the account."""

    def __init__(self, store: Store, shared: Shared) -> None:
        self._store = store
        self._shared = shared

    def seen(self, session: Session) -> None:
        """Note that a session has sent something: if its peer has taken all that it was sent
        before, what it was shown counts as read. Not if the session says by itself what it has
        read."""
        views = session.views
        if session.marks_itself or not (session.shown or any(map(_is_due, views, views.values()))):
            return
        self.look_for_gaps(session)
        rooms = [room for room, view in views.items() if _is_due(room, view)]
        if not (rooms or session.shown) or not session.outbox.is_taken:
            return
        for room in rooms:
            self.mark_room(session, room, room.last_seq)
        shown, session.shown = session.shown, {}
        for conversation, seq in shown.items():
            self.mark_conversation(session, conversation, seq)

    def look_for_gaps(self, session: Session) -> None:
        """If some events were skipped, the session was shown none of its rooms without a hole."""
        skips = session.outbox.skips
        if skips != session.skips:
            session.skips = skips
            for view in session.views.values():
                view.is_whole = view.is_entered = False

    def mark_room(self, session: Session, room: Room, seq: int) -> None:
        """Mark a room as read up to an entry. Does nothing for a guest."""
        mine = session.views.get(room)
        if mine is not None and mine.read < seq:
            self._mark(session, room.record.id, room.name, seq)
        if session.person is not None:
            _note_room(session.person, room, seq)

    def mark_conversation(self, session: Session, record: RoomRecord, seq: int) -> None:
        """Mark a private conversation as read up to an entry."""
        person = session.person
        if person is None:
            return
        self._mark(session, record.id, f"{DIRECT}{record.other(person.id).name}", seq)
        _note_conversation(person, record, seq)

    def _mark(self, session: Session, room_id: int, of: str, seq: int) -> None:
        person = session.person
        if person is None or person.account is None:
            return  # it is a guest, or has ended
        self._store.mark_read(person.account.id, room_id, seq)
        if person.nodes:
            self._store.announce(announcements.Read(person.name, of, seq))
        if len(person.sessions) > 1:
            told = Read(self._shared.now(), of, seq)
            for each in person.sessions:
                if each is not session:
                    each.tell(told)

    def take(self, read: announcements.Read) -> None:
        """Take note that an account has read a place with another node, and tell its sessions."""
        person = self._shared.people.get(read.name)
        if person is None or not person.is_account:
            return
        room = self._shared.rooms.get(read.of)
        if room is not None:
            _note_room(person, room, read.seq)
        else:
            for each in person.sessions:
                for record in [
                    r for r in each.shown if f"{DIRECT}{r.other(person.id).name}" == read.of
                ]:
                    _note_conversation(person, record, read.seq)
        for each in person.sessions:
            each.tell(Read(self._shared.now(), read.of, read.seq))


def _note_room(person: Person, room: Room, seq: int) -> None:
    for each in person.sessions:
        view = each.views.get(room)
        if view is not None:
            view.read = max(view.read, seq)
            view.is_whole |= seq >= room.last_seq


def _note_conversation(person: Person, record: RoomRecord, seq: int) -> None:
    for each in person.sessions:
        if each.shown.get(record, seq + 1) <= seq:  # it has nothing left to mark
            del each.shown[record]


def _is_due(room: Room, view: View) -> bool:
    """Whether a session was shown more of a room than is marked as read."""
    return view.is_whole and view.read < room.last_seq
