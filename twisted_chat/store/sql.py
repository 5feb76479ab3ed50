"""What the store reads and changes besides the log's growing: transactions in SQLAlchemy Core, as
plain functions that run on the store's thread."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from heapq import merge
from itertools import islice
from operator import itemgetter
from typing import Any, TypeVar

from sqlalchemy import (
    ColumnElement,
    Connection,
    LargeBinary,
    Select,
    and_,
    case,
    delete,
    func,
    insert,
    literal,
    or_,
    select,
    union_all,
    update,
)

from twisted_chat.core.model import (
    MESSAGES,
    ROLES,
    Account,
    Credential,
    Entry,
    Findings,
    News,
    Question,
    Role,
    RoomRecord,
    RoomState,
)

from .dialects import is_among, newest_seq
from .schema import accounts, credentials, entries, members, rooms

K = TypeVar("K")

_Row = Sequence[Any]

_FIRST_PIECE = 16
_NEXT_PIECE = 250
"""Unread messages of a conversation that are read at a time, at first and later."""

_LOBBY = "lobby"

_PASSWORD = "password"
"""The kind of credentials that are passwords."""

# Accounts


def find_account(connection: Connection, name: str) -> Account | None:
    """Look up an account by its name."""
    found = select(accounts.c.id, accounts.c.name).where(accounts.c.name == name)
    row = connection.execute(found).first()
    return None if row is None else Account(*row)


def find_password(connection: Connection, name: str) -> Credential | None:
    """Look up the password of an account by its name."""
    row = connection.execute(
        select(accounts.c.id, accounts.c.name, credentials.c.secret)
        .join(credentials, credentials.c.account_id == accounts.c.id)
        .where(accounts.c.name == name, credentials.c.kind == _PASSWORD)
    ).first()
    return None if row is None else Credential(Account(row.id, row.name), row.secret)


def find_look_alike(connection: Connection, skeleton: str) -> str | None:
    """Look up the name of an account by its skeleton."""
    found = select(accounts.c.name).where(accounts.c.skeleton == skeleton)
    return connection.execute(found).scalar()


def add_account(
    connection: Connection, name: str, skeleton: str, password_hash: bytes, time: int
) -> Account:
    """Add an account, which is a member of the lobby and has seen all of it.

    @raise sqlalchemy.exc.IntegrityError: if an account has the name or the skeleton already.
    """
    added = insert(accounts).values(name=name, skeleton=skeleton, created=time)
    # Not with RETURNING, with which SQLite looks for rooms that refer to the new account, and has
    # no index for that.
    key = connection.execute(added).inserted_primary_key
    assert key is not None
    id = int(key[0])
    connection.execute(
        insert(credentials).values(
            account_id=id, kind=_PASSWORD, secret=password_hash, created=time
        )
    )
    lobby = select(rooms.c.id, literal(id), newest_seq).where(rooms.c.name == _LOBBY)
    connection.execute(insert(members).from_select(["room_id", "account_id", "read_seq"], lobby))
    return Account(id, name)


def set_password(connection: Connection, before: Credential, password_hash: bytes) -> bool:
    """Replace the hash of an account's password, if it still is that of C{before}; return whether
    it was."""
    changed = (
        update(credentials)
        .where(
            credentials.c.account_id == before.account.id,
            credentials.c.kind == _PASSWORD,
            credentials.c.secret == before.password_hash,
        )
        .values(secret=password_hash)
    )
    return connection.execute(changed).rowcount == 1


def password_hashes(connection: Connection) -> Sequence[bytes]:
    """Read the different beginnings of the hashes of all passwords."""
    beginning = func.substr(credentials.c.secret, 1, 7, type_=LargeBinary)
    passwords = select(beginning).where(credentials.c.kind == _PASSWORD)
    return connection.scalars(passwords.distinct()).all()


# Rooms

_FIRST = accounts.alias("first")
_SECOND = accounts.alias("second")
_RECORD = (
    select(
        rooms.c.id,
        rooms.c.kind,
        rooms.c.name,
        _FIRST.c.id,
        _FIRST.c.name,
        _SECOND.c.id,
        _SECOND.c.name,
    )
    .outerjoin(_FIRST, _FIRST.c.id == rooms.c.first_id)
    .outerjoin(_SECOND, _SECOND.c.id == rooms.c.second_id)
)


def _record(row: _Row) -> RoomRecord:
    id, kind, name, first, first_name, second, second_name = row
    if first is None:
        return RoomRecord(id, kind, name)
    return RoomRecord(id, kind, "", (Account(first, first_name), Account(second, second_name)))


def records(connection: Connection, ids: Collection[int]) -> Mapping[int, RoomRecord]:
    """Look up rooms by their ids."""
    if not ids:
        return {}
    found = connection.execute(_RECORD.where(rooms.c.id.in_(ids)))
    return {row[0]: _record(row) for row in found}


def states(connection: Connection) -> list[RoomState]:
    """Read all rooms but private conversations, in the order of their names."""
    has_name = rooms.c.name >= ""  # for which there is an index
    roles: dict[int, dict[int, Role]] = {}
    standings = select(rooms.c.id, members.c.account_id, members.c.role).join(
        members, members.c.room_id == rooms.c.id
    )
    shown = union_all(
        standings.where(has_name, rooms.c.name != _LOBBY),
        standings.where(rooms.c.name == _LOBBY, members.c.role.in_(ROLES[1:])),
    )
    for id, account, role in connection.execute(shown):
        roles.setdefault(id, {})[account] = role
    columns = [*rooms.c["id", "kind", "name", "topic", "topic_by"], newest_seq]
    found = connection.execute(select(*columns).where(has_name).order_by(rooms.c.name))
    return [
        RoomState(RoomRecord(id, kind, name), topic, by, seq, roles.get(id, {}))
        for id, kind, name, topic, by, seq in found
    ]


def conversation(connection: Connection, one: int, other: int) -> RoomRecord | None:
    """Look up the private conversation of two accounts."""
    first, second = sorted((one, other))
    parties = rooms.c.first_id == first, rooms.c.second_id == second
    row = connection.execute(_RECORD.where(*parties)).first()
    return None if row is None else _record(row)


def _conversations(
    connection: Connection, account_id: int, names: Collection[str]
) -> dict[str, int]:
    """Look up the private conversations of an account with others.

    @return: name -> room id of those that somebody has begun.
    """
    other = accounts.c.id
    is_first = other < account_id
    parties = and_(
        rooms.c.first_id == case((is_first, other), else_=account_id),
        rooms.c.second_id == case((is_first, account_id), else_=other),
    )
    found = select(accounts.c.name, rooms.c.id).join(rooms, parties)
    rows = connection.execute(found.where(accounts.c.name.in_(names)))
    return {row[0]: row[1] for row in rows}


# The log

_ENTRY = (
    entries.c.id,
    entries.c.room_id,
    entries.c.seq,
    entries.c.kind,
    entries.c.author_id,
    entries.c.author,
    entries.c.time,
    entries.c.text,
    entries.c.about,
    func.coalesce(entries.c.label, ""),
)

_MESSAGES = sorted(MESSAGES)

_unseen = entries.alias("unseen")


def _entries(
    connection: Connection, found: Mapping[K, Sequence[_Row]]
) -> dict[K, tuple[Entry, ...]]:
    """Make entries of rows that have the columns of C{_ENTRY}, the oldest first."""
    shown = records(connection, {row[1] for rows in found.values() for row in rows})
    return {
        key: tuple(sorted(Entry(row[0], shown[row[1]], *row[2:]) for row in rows))
        for key, rows in found.items()
    }


def _newest(
    connection: Connection, room_id: int, limit: int, which: ColumnElement[bool]
) -> Sequence[_Row]:
    return connection.execute(
        select(*_ENTRY)
        .where(entries.c.room_id == room_id, which)
        .order_by(entries.c.seq.desc())
        .limit(limit)
    ).all()


def history(connection: Connection, room_id: int, limit: int) -> Sequence[Entry]:
    """Read the last messages of a room, oldest first."""
    is_message = entries.c.kind.in_(_MESSAGES)
    return _entries(connection, {None: _newest(connection, room_id, limit, is_message)})[None]


def labelled(connection: Connection, since: int) -> Sequence[Entry]:
    """Read the entries that have a label, from a time on, in the order of the log."""
    lately = entries.c.label.is_not(None), entries.c.time >= since
    rows = connection.execute(select(*_ENTRY).where(*lately)).all()
    return _entries(connection, {None: rows})[None]


def answer(connection: Connection, question: Question) -> Findings:
    """Answer a question about the log."""
    reader, limit = question.account_id, question.limit
    talks: Mapping[str, int] = {}
    if question.direct_of is not None and question.direct:
        talks = _conversations(connection, question.direct_of, question.direct)
    found: dict[int | str | None, Sequence[_Row]] = {}
    for id, seq in question.rooms.items():
        found[id] = _newest(connection, id, limit, entries.c.seq > seq)
    for name, id in talks.items():
        found[name] = _newest(connection, id, limit, entries.c.seq > question.direct[name])
    news: tuple[News, ...] = ()
    if reader is not None:
        found[None] = _unread(connection, reader, talks.values(), limit)
        counted = connection.execute(_news(reader, question.most_new))
        news = tuple(News(*row) for row in counted)
    shown = _entries(connection, found)
    return Findings(
        {id: shown[id] for id in question.rooms},
        {name: shown[name] for name in talks},
        shown.get(None, ()),
        news,
    )


def _first(
    limit: int,
    *conditions: ColumnElement[bool],
    after: ColumnElement[int] = members.c.read_seq,
) -> Select[Any]:
    """Select the ids of the first messages of a room that a member has not seen, for use in a
    statement about C{members} and C{rooms}.

    @param after: the C{seq} after which to begin.
    """
    return (
        select(_unseen.c.id)
        .where(
            _unseen.c.room_id == rooms.c.id,  # not of members: its row is looked at first
            _unseen.c.seq > after,
            _unseen.c.kind.in_(_MESSAGES),
            *conditions,
        )
        .order_by(_unseen.c.seq)
        .limit(limit)
        .correlate(members, rooms)
    )


def _news(reader: int, most: int) -> Select[Any]:
    """Select the L{News} of an account."""
    of_others = _unseen.c.author_id.is_distinct_from(reader)
    messages = _first(most, of_others).subquery()
    count = select(func.count()).select_from(messages).scalar_subquery()
    places = (
        select(members.c.room_id, members.c.read_seq, count.label("new"))
        .join(rooms, rooms.c.id == members.c.room_id)
        .where(
            members.c.account_id == reader,
            rooms.c.kind != "direct",
            newest_seq > members.c.read_seq,
        )
        .subquery()
    )
    return select(places).where(places.c.new > 0)


def _unread(
    connection: Connection,
    reader: int,
    shown: Collection[int],
    limit: int,
) -> Sequence[_Row]:
    """Read the first private messages to an account that it has not seen.

    Merges the conversations, each a piece at a time: there may be far more than the limit in each.
    Of the many in which something is unread, only those with the oldest messages can have one of
    the first.

    @param shown: the rooms of conversations that are left out.
    """

    def read(piece: Sequence[_Row]) -> Iterator[_Row]:
        most = _FIRST_PIECE
        yield from piece
        while len(piece) == most:
            most = _NEXT_PIECE
            _, room, seq, *_ = piece[-1]
            next_piece = _unread_piece(
                connection, reader, rooms.c.id == room, most, after=literal(seq)
            )
            piece = connection.execute(next_piece).all()
            yield from piece

    pieces: dict[int, list[_Row]] = {}
    oldest = rooms.c.id.in_(_oldest_unread(reader, shown, limit))
    firsts = _unread_piece(connection, reader, oldest, _FIRST_PIECE)
    for row in connection.execute(firsts):
        pieces.setdefault(row[1], []).append(row)
    return [*islice(merge(*map(read, pieces.values()), key=itemgetter(0)), limit)]


def _unread_piece(
    connection: Connection,
    reader: int,
    which: ColumnElement[bool],
    most: int,
    *,
    after: ColumnElement[int] = members.c.read_seq,
) -> Select[Any]:
    """Select the first private messages to an account after some C{seq}, no more than C{most} of
    each conversation, in the order of the log."""
    firsts = _first(most, _to(reader), after=after)
    return (
        select(*_ENTRY)
        .select_from(members)
        .join(rooms, rooms.c.id == members.c.room_id)
        .join(entries, is_among(connection, entries.c.id, firsts))
        .where(*_is_unread(reader, after), which)
        .order_by(entries.c.id)
    )


def _oldest_unread(reader: int, shown: Collection[int], limit: int) -> Select[Any]:
    """Select the rooms of those private conversations whose first unread messages are the oldest,
    no more than C{limit}.

    @param shown: the rooms of conversations that are left out.
    """
    first = _first(1, _to(reader)).scalar_subquery()
    firsts = (
        select(members.c.room_id, first.label("id"))
        .join(rooms, rooms.c.id == members.c.room_id)
        .where(*_is_unread(reader), rooms.c.id.not_in(shown))
        .subquery()
    )
    has_any = firsts.c.id.is_not(None)
    return select(firsts.c.room_id).where(has_any).order_by(firsts.c.id).limit(limit)


def _is_unread(
    reader: int, after: ColumnElement[int] = members.c.read_seq
) -> Sequence[ColumnElement[bool]]:
    """Give the conditions on C{members} and C{rooms} that the account has not seen all of a private
    conversation."""
    return members.c.account_id == reader, rooms.c.kind == "direct", newest_seq > after


def _to(reader: int) -> ColumnElement[bool]:
    """Give the condition that an unseen message is of another. A note to oneself counts as one."""
    is_note = rooms.c.first_id == rooms.c.second_id
    return or_(_unseen.c.author_id.is_distinct_from(reader), is_note)


def newest_time(connection: Connection) -> int | None:
    """Read the time of the newest entry of the log."""
    newest = select(entries.c.time).order_by(entries.c.id.desc()).limit(1)
    return connection.execute(newest).scalar()


def prune(connection: Connection, before: int, most: int) -> int:
    """Delete those of the first entries of the log that are older than a time.

    @param most: look at no more entries than this.
    @return: how many were deleted.
    """
    first = select(entries.c.id).order_by(entries.c.id).limit(most)
    old = entries.c.id.in_(first) & (entries.c.time < before)
    if connection.dialect.name == "sqlite":
        return connection.execute(delete(entries).where(old)).rowcount
    # There, new entries are numbered by the log itself, and by this where it has nothing.
    columns = entries.c["room_id", "seq", "time"]
    gone = connection.execute(delete(entries).where(old).returning(*columns)).all()
    for room, seq, time in {row[0]: row for row in sorted(gone)}.values():
        last_seq = func.greatest(rooms.c.last_seq, seq)
        last_time = func.greatest(rooms.c.last_time, time)
        raised = update(rooms).where(rooms.c.id == room)
        connection.execute(raised.values(last_seq=last_seq, last_time=last_time))
    return len(gone)
