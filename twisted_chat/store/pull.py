"""L{Reader}: reads what is above a place in a log that several nodes share."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection

from twisted_chat.core.announcements import Delivered, decode
from twisted_chat.core.model import Aside, Entry, RoomRecord

from . import sql
from .shown import Committed

_MOST = 5000
"""Ids that are read at a time."""

_ROOMS = 50_000
"""Records of rooms that are remembered, at most."""

_HEAD = "(SELECT last_id FROM commits ORDER BY last_id DESC LIMIT 1)"

_ABOVE = f"""
SELECT 'h', {_HEAD}, 0::bigint, 0::bigint, NULL::text, NULL::bigint, NULL::text, NULL::bigint,
    NULL::text, NULL::bigint, NULL::text
UNION ALL
SELECT 'c', last_id, node, batch, NULL, NULL, NULL, NULL, NULL, NULL, NULL
    FROM commits WHERE last_id > %(after)s AND last_id <= %(upto)s
UNION ALL
SELECT 'e', id, room_id, seq, kind, author_id, author, time, text, about, coalesce(label, '')
    FROM entries WHERE id > %(after)s AND id <= %(upto)s
UNION ALL
SELECT 'n', id, node, 0, kind, NULL, NULL, NULL, body, NULL, NULL
    FROM news WHERE id > %(after)s AND id <= %(upto)s
"""


class Piece(NamedTuple):
    """Part of the log.

    @ivar upto: it is the log up to here.
    @ivar head: the end of the log.
    @ivar commits: in order.
    @ivar said: what is in it, with its ids, in order: entries, and what nodes have said that this
        version knows.
    """

    upto: int
    head: int
    commits: Sequence[Committed]
    said: Sequence[tuple[int, Delivered]]


class Reader:
    """Reads the log in pieces, and remembers the records of its rooms, which never change."""

    def __init__(self) -> None:
        self._rooms: dict[int, RoomRecord] = {}

    def read(self, connection: Connection, after: int, upto: int | None = None) -> Piece:
        """Read what is above an id, some thousand ids at most.

        @param upto: the last id that is wanted; L{None}: the end of the log.
        """
        last = after + _MOST if upto is None else min(upto, after + _MOST)
        driver: Any = connection.connection.dbapi_connection
        rows = driver.execute(_ABOVE, {"after": after, "upto": last}).fetchall()
        head = 0
        commits: list[Committed] = []
        found: list[Any] = []
        unknown: set[int] = set()
        for row in rows:
            what = row[0]
            if what == "h":
                head = row[1]
            elif what == "c":
                commits.append(Committed(*row[1:4]))
            else:
                found.append(row)
                if what == "e" and row[2] not in self._rooms:
                    unknown.add(row[2])
        if unknown:
            if len(self._rooms) > _ROOMS:
                self._rooms.clear()
                unknown = {row[2] for row in found if row[0] == "e"}
            self._rooms.update(sql.records(connection, unknown))
        said: list[tuple[int, Delivered]] = []
        for what, id, node_or_room, seq, kind, author_id, author, time, text, about, label in found:
            if what == "e":
                room = self._rooms[node_or_room]
                entry = Entry(id, room, seq, kind, author_id, author, time, text, about, label)
                said.append((id, entry))
            elif (news := decode(node_or_room, kind, text)) is not None:
                said.append((id, news))
        said.sort(key=_id)
        commits.sort()
        end = min(last, max(head, after))
        if commits:  # do not cut a commit in two
            end = commits[-1].last_id
            said = [one for one in said if one[0] <= end]
        return Piece(end, head, commits, said)


def _id(one: tuple[int, Delivered | Aside]) -> int:
    return one[0]
