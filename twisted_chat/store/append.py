"""L{append}: what a commit does to the database.

Its statements go to the driver as text, because SQLAlchemy takes longer to handle them than SQLite
to run them.
"""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ClauseElement, Connection, bindparam, delete, select, update
from sqlalchemy.dialects.sqlite import dialect, insert
from sqlalchemy.engine.interfaces import DBAPICursor

from twisted_chat.core.model import (
    CREATED,
    MEMBER,
    TOPIC,
    Account,
    Aside,
    Entry,
    Post,
    RoomRecord,
    Standing,
    Stored,
)
from twisted_chat.core.names import skeleton

from .engine import Item
from .items import Mark
from .schema import entries, log_head, members, rooms


def _sql(statement: ClauseElement) -> str:
    return str(statement.compile(dialect=dialect()))


def _given(*names: str) -> dict[str, Any]:
    """Make parameters for columns, in the order of the columns in the table."""
    return {name: bindparam(f"new_{name}") for name in names}


_room = rooms.c.id == bindparam("room")
_member = (members.c.account_id == bindparam("account")) & (members.c.room_id == bindparam("room"))

_TAKE_IDS = _sql(
    update(log_head)
    .values(last_id=log_head.c.last_id + bindparam("count"))
    .returning(log_head.c.last_id)
)
_INSERT = _sql(insert(entries))
_HEAD = _sql(select(rooms.c.last_seq, rooms.c.last_time).where(_room))
_MOVE_HEAD = _sql(update(rooms).values(_given("last_seq", "last_time")).where(_room))
_SET_TOPIC = _sql(update(rooms).values(_given("topic", "topic_by")).where(_room))
_MAKE_ROOM = _sql(
    insert(rooms)
    .values(_given("kind", "name", "skeleton", "first_id", "second_id", "created"))
    .on_conflict_do_nothing()
    .returning(rooms.c.id)
)
_FIND_CONVERSATION = _sql(
    select(rooms.c.id).where(
        rooms.c.first_id == bindparam("first"), rooms.c.second_id == bindparam("second")
    )
)
_new_member = insert(members).values(_given("room_id", "account_id", "role", "read_seq"))
_STAND = _sql(
    _new_member.on_conflict_do_update(
        index_elements=[members.c.account_id, members.c.room_id],
        set_={"role": _new_member.excluded.role},
    )
)
_JOIN = _sql(_new_member.on_conflict_do_nothing())
_LEAVE = _sql(delete(members).where(_member))
_MARK = _sql(
    update(members)
    .values(_given("read_seq"))
    .where(_member, members.c.read_seq < bindparam("before"))
)

_MARK_OWN = _sql(
    update(members)
    .values(_given("read_seq"))
    .where(_member, members.c.read_seq == bindparam("before"))
)


def append(connection: Connection, items: Sequence[Item]) -> list[Stored]:
    """Append posts to the log and move read marks, in their order.

    @return: what was stored for each post.
    """
    driver: Any = connection.connection.dbapi_connection
    # Close the cursor at once: SQLite keeps the file open as long as a cursor exists, even if only
    # a traceback refers to it.
    with closing(driver.cursor()) as cursor:
        return _Commit(cursor).carry_out(items)


@dataclass(slots=True)
class _Head:
    """The newest entry of a room, as far as the next one depends on it.

    @ivar has_moved: the entry is of this transaction.
    @ivar author_id: the account that has written it and all entries from C{first} on, in this
        transaction.
    """

    seq: int
    time: int
    has_moved: bool = False
    author_id: int | None = None
    first: int = 0


class _Commit:
    """One transaction. Entries and marks are gathered, so that each statement runs once for all of
    them; what is rare is done in its place."""

    def __init__(self, cursor: DBAPICursor) -> None:
        self._cursor = cursor
        self._heads: dict[int, _Head] = {}  # by room id
        self._entries: list[tuple[object, ...]] = []
        self._marks: dict[tuple[int, int], int] = {}  # account id, room id -> seq
        # Account id, room id -> the first entries of the account there that follow each other.
        self._own: dict[tuple[int, int], tuple[int, int]] = {}

    def carry_out(self, items: Sequence[Item]) -> list[Stored]:
        count = sum(isinstance(item, Post) for item in items)
        id = self._take_ids(count) if count else 0
        stored: list[Stored] = []
        for item in items:
            if isinstance(item, Post):
                id += 1
                stored.append(self._entry(id, item))
            elif isinstance(item, Aside):
                stored.append(item)
            elif isinstance(item, Mark):
                self._mark(item)
        if self._marks:
            # Also of those who have joined since: a new member has seen more than the mark says.
            marks = [(seq, *key, seq) for key, seq in self._marks.items()]
            self._cursor.executemany(_MARK, marks)
        if self._entries:
            for room, head in self._heads.items():
                self._note_own(room, head)
            # Whoever has seen all that was said before has seen all when they speak themselves.
            own = [(last, *key, first - 1) for key, (first, last) in self._own.items()]
            self._cursor.executemany(_MARK_OWN, own)
            self._cursor.executemany(_INSERT, self._entries)
            self._cursor.executemany(
                _MOVE_HEAD,
                [(head.seq, head.time, id) for id, head in self._heads.items() if head.has_moved],
            )
        return stored

    def _take_ids(self, count: int) -> int:
        """Reserve C{count} ids, and return the last id before them."""
        self._cursor.execute(_TAKE_IDS, (count,))
        ((last,),) = self._cursor.fetchall()
        return int(last) - count

    def _entry(self, id: int, post: Post) -> Entry | None:
        """Append a post; L{None} if it makes a room whose name is taken."""
        room, kind, author_id, author, time, text, about, label = post
        if not room.id:
            found = self._room(post)
            if found is None:
                return None
            room = found
        head = self._heads.get(room.id) or self._head(room.id)
        if kind == TOPIC:
            self._cursor.execute(_SET_TOPIC, (text, author, room.id))
        elif kind == MEMBER:
            standing = Standing.decode(text)
            is_joining = standing.is_joining(author_id)
            self._stand(room, standing, head.seq, _JOIN if is_joining else _STAND)
        elif kind == CREATED and author_id is not None:
            self._stand(room, Standing(Account(author_id, author), "owner"), head.seq)
        if author_id != head.author_id and not room.is_note:
            self._note_own(room.id, head)
            head.author_id, head.first = author_id, head.seq + 1
        head.seq = seq = head.seq + 1
        head.time = time = max(time, head.time + 1)
        head.has_moved = True
        self._entries.append(
            (id, room.id, seq, kind, author_id, author, time, text, about, label or None)
        )
        return Entry(id, room, seq, kind, author_id, author, time, text, about, label)

    def _note_own(self, room_id: int, head: _Head) -> None:
        if head.author_id is not None:
            self._own.setdefault((head.author_id, room_id), (head.first, head.seq))

    def _head(self, room_id: int) -> _Head:
        self._cursor.execute(_HEAD, (room_id,))
        ((seq, time),) = self._cursor.fetchall()
        head = self._heads[room_id] = _Head(seq, time)
        return head

    def _room(self, post: Post) -> RoomRecord | None:
        """Find the private conversation that a post is for, or make its room.

        @return: L{None} if a room has the name already, or one that looks like it.
        """
        record = post.room
        ids = [account.id for account in record.parties]
        if ids:
            self._cursor.execute(_FIND_CONVERSATION, ids)
            for (id,) in self._cursor.fetchall():
                return replace(record, id=id)
        first, second = ids or (None, None)
        name = record.name or None
        shape = name and skeleton(name)
        self._cursor.execute(_MAKE_ROOM, (record.kind, name, shape, first, second, post.time))
        for (id,) in self._cursor.fetchall():
            room = replace(record, id=id)
            for account in set(record.parties):
                self._stand(room, Standing(account, "member"), 0)
            return room
        return None

    def _stand(
        self, room: RoomRecord, standing: Standing, seq: int, statement: str = _STAND
    ) -> None:
        """Keep what an account is in a room.

        @param seq: the room's newest entry, which a new member has seen.
        @param statement: L{_JOIN} leaves the role of a member as it is.
        """
        id = standing.account.id
        if standing.role is None:
            self._cursor.execute(_LEAVE, (id, room.id))
        else:
            self._cursor.execute(statement, (room.id, id, standing.role, seq))

    def _mark(self, mark: Mark) -> None:
        key = mark.account_id, mark.room_id
        head = self._heads.get(mark.room_id) or self._head(mark.room_id)
        self._marks[key] = max(self._marks.get(key, 0), min(mark.seq, head.seq))
