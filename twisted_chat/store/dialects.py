"""What the two kinds of databases must be asked in different words."""

from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Connection, Select, any_, func, select
from sqlalchemy.ext.compiler import compiles

from .schema import entries, rooms


class _NewestSeq(ColumnElement[int]):
    """The C{seq} of the newest entry of a room, in a statement about C{rooms}: with SQLite the
    column C{last_seq}; with PostgreSQL that of its last entry in the log, or C{last_seq} if that
    was deleted."""

    type = BigInteger()
    inherit_cache = True


newest_seq = _NewestSeq()

_newest = entries.alias("newest")
_in_log = (
    select(_newest.c.seq)
    .where(_newest.c.room_id == rooms.c.id)
    .order_by(_newest.c.seq.desc())
    .limit(1)
    .correlate(rooms)
    .scalar_subquery()
)
_greatest = func.greatest(rooms.c.last_seq, _in_log)


def is_among(
    connection: Connection, column: ColumnElement[int], values: Select[Any]
) -> ColumnElement[bool]:
    """Give the condition that a column has one of the values of a subquery that depends on the row.

    With PostgreSQL they are an array, as it would look at all rows of the column otherwise.
    """
    if connection.dialect.name == "sqlite":
        return column.in_(values)
    return column == any_(func.array(values.scalar_subquery()))


@compiles(_NewestSeq)
def _column(element: _NewestSeq, compiler: Any, **kw: Any) -> str:
    return str(compiler.process(rooms.c.last_seq, **kw))


@compiles(_NewestSeq, "postgresql")
def _probe(element: _NewestSeq, compiler: Any, **kw: Any) -> str:
    return str(compiler.process(_greatest, **kw))
