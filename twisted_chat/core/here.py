"""Who is here: sessions come in, become somebody else, and end."""

from collections.abc import Sequence

from .directory import Directory
from .events import Left, Renamed
from .people import Person, Session
from .room import LOBBY, Room, Shared


class Here:
    """Puts people and their sessions into rooms, and takes them out.

    @ivar is_closing: nobody is told any more who leaves.
    """

    def __init__(self, shared: Shared, directory: Directory) -> None:
        self.is_closing = False
        self._shared = shared
        self._directory = directory
        self._leaving: dict[Session, Person] = {}  # sessions that ended with posts in flight

    @property
    def _lobby(self) -> Room:
        return self._directory.lobby

    # Coming

    def come(self, session: Session, person: Person) -> None:
        """Give a session to somebody, and put both into the rooms that are theirs."""
        self._shared.people[person.name] = person
        session.person = person
        person.sessions += (session,)
        self._put_into_rooms(person)
        for room in person.rooms:
            room.add(session)

    def become(self, session: Session, account: Person) -> bool:
        """Make a guest an account, which is a member of the guest's rooms.

        @return: whether the account was here, so that the guest has left; see L{bid_farewell}.
        """
        guest = session.person
        assert guest is not None
        was_here = account in self._lobby.people
        self._shared.people[account.name] = account
        if was_here:
            self._pass_on(session, guest, account)
        else:
            self.rename(session, account)
        self._put_into_rooms(account)
        for room in account.rooms:
            room.add(session)
        return was_here

    def bid_farewell(self, session: Session, guest: str, rooms: Sequence[Room]) -> None:
        """Tell that the guest that a session was has left, once the session knows who it is.

        @param rooms: the rooms that the guest was in.
        """
        person = session.person
        assert person is not None
        if not self._gone(guest, rooms):
            # The guest was shown as here.
            session.answer(Left(self._shared.now(), LOBBY, (guest,)))
            for room in rooms:  # so that the next guest of the name is news
                room.show(person)

    def rename(self, session: Session, person: Person) -> None:
        """Make a guest somebody who was not here."""
        guest = session.person
        assert guest is not None
        if person.name != guest.name:
            for room in self._directory:
                room.settle(guest.name, person.name)
        self._pass_on(session, guest, person)
        self._shared.people[person.name] = person
        now = self._shared.now()
        self._lobby.tell(Renamed(now, guest.name, person.name, person.is_account))

    def _put_into_rooms(self, person: Person) -> None:
        """Put somebody into the rooms that they are members of, and tell the others there."""
        account = person.account
        rooms = (self._lobby,) if account is None else self._directory.rooms_of(account.id)
        for room in rooms:
            if room not in person.rooms:
                room.enter(person)

    def _pass_on(self, session: Session, guest: Person, person: Person) -> None:
        """Give the session of a guest to somebody else, so that the guest has left."""
        for room in guest.rooms:
            room.pass_on(guest, person)
            room.add(session)
        guest.sessions = ()
        person.sessions += (session,)
        session.person = person
        self._forget(guest)

    # Going

    def leave(self, session: Session, room: Room) -> None:
        """Take a guest out of a room, and tell the guest and those who are there."""
        guest = session.person
        assert guest is not None
        room.exit(guest)
        room.went(guest.name)
        session.answer(Left(self._shared.now(), room.name, (guest.name,)))

    def end(self, session: Session) -> None:
        """End a session. Its person stays until what the session has in flight has landed."""
        session.has_ended = True
        session.wrote = None
        person, session.person = session.person, None
        if person is not None:
            person.sessions = tuple(s for s in person.sessions if s is not session)
            person.leaving += 1
            for room in person.rooms:
                room.remove(session)
            self._leaving[session] = person
        if not session.in_flight:
            self.over(session)

    def over(self, session: Session) -> None:
        """Take out an ended session of which nothing is in flight, and its person with the last."""
        person = self._leaving.pop(session, None)
        if person is not None:
            person.leaving -= 1
            if not (person.sessions or person.leaving):
                self._leave(person)
        session.over()

    def _leave(self, person: Person) -> None:
        rooms = person.rooms
        for room in rooms:
            room.exit(person)
        self._forget(person)
        if not self.is_closing:
            self._gone(person.name, rooms)

    def _gone(self, name: str, rooms: Sequence[Room]) -> bool:
        """Tell that somebody is here no longer. If the lobby is told at once, the other rooms are
        not told in addition; otherwise each is told, as each is told who joined it.

        @return: whether the lobby was told at once.
        """
        if self._lobby.went(name):
            return True
        for room in rooms:
            if room is not self._lobby:
                room.went(name)
        return False

    def _forget(self, person: Person) -> None:
        if self._shared.people.get(person.name) is person:
            del self._shared.people[person.name]
        person.release()
