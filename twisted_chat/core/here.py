"""Who is here: sessions come in, become somebody else, and end, with this node and with others."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from .announcements import Announcement, Became, Came, Entered, Exited, Present, Went
from .directory import Directory
from .elsewhere import Change, Elsewhere
from .events import Left, Renamed
from .people import Person, Session
from .room import LOBBY, Room, Shared

NAME_IS_GONE = "somebody else has your name by now; connect again"
"""What a guest is told whose node was taken for dead."""

_PIECE = 500
"""People in one announcement, at most."""


class Here:
    """Puts people and their sessions into rooms, and takes them out.

    Somebody is here while they are with this node, or with another one that has said so. Those who
    are in a room are told when that changes: of people who are with this node at once, of the
    others in the order of the log.

    @ivar is_closing: nobody is told any more who leaves.
    """

    def __init__(
        self, shared: Shared, directory: Directory, announce: Callable[[Announcement], object]
    ) -> None:
        """@param announce: tells the other nodes who is with this one."""
        self.is_closing = False
        self._shared = shared
        self._directory = directory
        self._announce = announce
        self._elsewhere = Elsewhere()
        self._leaving: dict[Session, Person] = {}  # sessions that ended with posts in flight

    @property
    def _lobby(self) -> Room:
        return self._directory.lobby

    # Coming

    def come(self, session: Session, person: Person) -> None:
        """Give a session to somebody, and put both into the rooms that are theirs."""
        was_with_us = person.is_with_us
        self._take_name(person)
        session.person = person
        person.sessions += (session,)
        self._put_into_rooms(person)
        for room in person.rooms if person.is_account else (self._lobby,):
            room.add(session)
        if not was_with_us:
            self._announce(Came(person.visitor))

    def become(self, session: Session, account: Person) -> bool:
        """Make a guest an account, which is a member of the guest's rooms.

        @return: whether the account was here and the guest has left; see L{bid_farewell}.
        """
        guest = session.person
        assert guest is not None
        was_here = account in self._lobby.people
        stays = self._stays(guest, account)
        if was_here:
            self._pass_on(session, guest, account)
        else:
            self.rename(session, account)
        self._put_into_rooms(account)
        for room in account.rooms:
            room.add(session)
        if was_here:
            self._announce(Became(guest.name, account.visitor))
        return was_here and not stays

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
        """Make a guest somebody who was not here, or was with another node, whose session this one
        takes the place of."""
        guest = session.person
        assert guest is not None
        rooms = guest.rooms
        stays = self._stays(guest, person)
        was_here = self._take_name(person)
        self._settle(guest.name, person.name)
        self._pass_on(session, guest, person)
        if not (stays or was_here):
            self._tell_renamed(guest.name, person)
        else:
            session.answer(Renamed(self._shared.now(), guest.name, person.name, person.is_account))
            if not stays:
                self.bid_farewell(session, guest.name, rooms)
        self._announce(Became(guest.name, person.visitor))

    def _stays(self, guest: Person, person: Person) -> bool:
        """Whether a guest is still here who becomes somebody else: another node has a session that
        takes, or has taken, the place of this one's."""
        return bool(guest.nodes) and guest.name != person.name

    def _take_name(self, person: Person) -> bool:
        """Have somebody be the one who has their name. A guest who is with other nodes only has
        another session there, if they are a guest too; otherwise the guest leaves.

        @return: whether they are here as that guest.
        """
        before = self._shared.people.get(person.name)
        self._shared.people[person.name] = person
        if before is None or before is person or before.is_with_us:
            return False
        if before.id != person.id:
            self._give_way(before)
            return False
        person.nodes = before.nodes
        for room in before.rooms:
            room.pass_on(before, person)
        return True

    def _settle(self, name: str, to: str) -> None:
        """Have told what is not told yet, before a guest goes by another name."""
        if name != to:
            for room in self._directory:
                room.settle(name, to)

    def _tell_renamed(self, name: str, person: Person) -> None:
        """Tell that a guest is somebody from now on.

        @param name: the guest's.
        """
        self._shared.people[person.name] = person
        now = self._shared.now()
        self._lobby.tell(Renamed(now, name, person.name, person.is_account))

    def _put_into_rooms(self, person: Person) -> None:
        """Put somebody into the rooms that they are members of, and tell the others there."""
        account = person.account
        rooms = (self._lobby,) if account is None else self._directory.rooms_of(account.id)
        for room in rooms:
            if room not in person.rooms:
                room.enter(person)

    def _pass_on(self, session: Session, guest: Person, person: Person) -> None:
        """Give the session of a guest to somebody else, so that the guest has left, or is with
        other nodes only."""
        guest.sessions = ()
        person.sessions += (session,)
        session.person = person
        stays = self._stays(guest, person)
        for room in guest.rooms:
            if not stays:
                room.pass_on(guest, person)
            elif room not in person.rooms:
                room.enter(person)
            room.add(session)
        if stays:
            guest.release()
            self._leave(guest)
        else:
            self._forget(guest)

    def join(self, guest: Person, room: Room) -> None:
        """Put a guest into a room, and tell those who are there."""
        if room not in guest.rooms:
            room.enter(guest)
        self._announce(Entered(guest.name, room.name))

    # Going

    def leave(self, session: Session, room: Room) -> None:
        """Take a guest out of a room, and tell the guest and those who are there."""
        guest = session.person
        assert guest is not None
        room.exit(guest)
        room.went(guest.name)
        session.answer(Left(self._shared.now(), room.name, (guest.name,)))
        self._announce(Exited(guest.name, room.name))

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
            if not person.is_with_us:
                self._announce_gone(person)
                person.release()
                self._leave(person)
        session.over()

    def _leave(self, person: Person) -> None:
        """Take somebody out of the rooms that they are in no longer, and tell those who are there;
        out of all if they are here no longer."""
        if person.nodes:
            self._leave_rooms(person)
            for visitor in self._elsewhere.visitors(person.name):
                person.hold, person.key = None, visitor.key
            return
        rooms = person.rooms
        for room in rooms:
            room.exit(person)
        self._forget(person)
        if rooms and not self.is_closing:  # else they had to give way before
            self._gone(person.name, rooms)

    def _announce_gone(self, person: Person) -> None:
        """Tell the other nodes that somebody is not with this one any more, unless somebody else
        has the name by now, or the node is closing: then they leave with the node."""
        if self._shared.people.get(person.name) is person and not self.is_closing:
            self._announce(Went(person.name))

    def _leave_rooms(self, guest: Person) -> None:
        """Take a guest who is still here out of the rooms that they are in no longer."""
        if guest.is_account:
            return
        elsewhere = (visitor.rooms for visitor in self._elsewhere.visitors(guest.name))
        there = {LOBBY, *guest.visitor.rooms, *chain.from_iterable(elsewhere)}
        for room in guest.rooms:
            if room.name not in there:
                room.exit(guest)
                room.went(guest.name)

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

    # With other nodes

    def present(self) -> Iterator[Present]:
        """Say who is with this node."""
        people = [person.visitor for person in self._shared.people.values() if person.is_with_us]
        for start in range(0, max(len(people), 1), _PIECE):
            piece = tuple(people[start : start + _PIECE])
            yield Present(piece, begins=not start, ends=start + _PIECE >= len(people))

    def guests(self) -> Sequence[Person]:
        """The guests who are with this node."""
        people = self._shared.people.values()
        return [person for person in people if person.is_with_us and not person.is_account]

    def take(self, node: int, what: Announcement) -> None:
        """Take what another node has said of the people who are with it."""
        for where, change in self._elsewhere.take(node, what):
            _CHANGE[type(change)](self, where, change)

    def _came(self, node: int, came: Came) -> None:
        visitor = came.visitor
        person = self._shared.people.get(visitor.name)
        if person is not None and person.id != visitor.id:
            self._give_way(person)
            person = None
        if person is None:
            person = self._shared.people[visitor.name] = Person(visitor)
        person.nodes |= {node}
        person.key = visitor.key  # of the newest of their sessions
        self._put_into_rooms(person)
        self._put_guest_into(person, visitor.rooms)

    def _went(self, node: int, went: Went) -> None:
        person = self._shared.people.get(went.name)
        if person is None or node not in person.nodes:
            return
        person.nodes -= {node}
        if person.is_with_us:
            if person.hold is not None:
                person.key = person.hold.key
            self._leave_rooms(person)
        else:
            self._leave(person)

    def _became(self, node: int, became: Became) -> None:
        """A guest who is with another node has another name, or is an account."""
        visitor = became.visitor
        guest = self._shared.people.get(became.name)
        is_free = visitor.name == became.name or visitor.name not in self._shared.people
        if guest is not None and guest.is_guest_of(node) and is_free:
            self._settle(guest.name, visitor.name)
            del self._shared.people[guest.name]
            guest.be(visitor)
            self._tell_renamed(became.name, guest)
        elif visitor.name != became.name:
            self._went(node, Went(became.name))
        self._came(node, Came(visitor))

    def _entered(self, node: int, entered: Entered) -> None:
        person = self._shared.people.get(entered.name)
        if person is not None and node in person.nodes:
            self._put_guest_into(person, (entered.room,))

    def _exited(self, node: int, exited: Exited) -> None:
        person = self._shared.people.get(exited.name)
        if person is not None:
            self._leave_rooms(person)

    def _put_guest_into(self, guest: Person, rooms: Iterable[str]) -> None:
        for room in map(self._shared.rooms.get, rooms):
            if room is not None and room not in guest.rooms:
                room.enter(guest)

    def _give_way(self, person: Person) -> None:
        """Have somebody leave whose name is another's by now: a node was taken for dead, and gave
        it away."""
        hang_up(person, NAME_IS_GONE)
        if person.is_with_us:
            self._announce_gone(person)
        person.nodes = frozenset()
        self._leave(person)


def hang_up(person: Person, farewell: str) -> None:
    """End all sessions of somebody, with a farewell."""
    for session in person.sessions:
        if session.face is not None:
            session.face.hang_up(farewell)


_CHANGE: Mapping[type[Change], Callable[[Here, int, Any], None]] = {
    Came: Here._came,
    Went: Here._went,
    Became: Here._became,
    Entered: Here._entered,
    Exited: Here._exited,
}
"""What each change with another node does."""
