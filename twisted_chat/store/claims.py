"""Names and numbers that only one of several nodes may give out."""

from sqlalchemy import Connection, and_, func, literal, or_, select, union_all
from sqlalchemy.dialects.postgresql import insert

from .schema import accounts, guest_numbers, held

_NUMBERS = 100
"""Numbers of guests that a node takes at a time."""


def claim(
    connection: Connection, node: int, name: str, skeleton: str, token: str, former: str
) -> str | None:
    """Claim a name for a node. It succeeds if the node has it already, or if the claim belongs to
    the session that has the token C{former}.

    @param token: of the session that wants the name; empty if it has none.
    @param former: empty for none.
    @return: L{None} if the name is claimed now; else the name, the same or one that looks like it,
        that another node has claimed or that has been registered.
    """
    values = {"name": name, "node": node, "token": token}
    may_take = or_(held.c.node == node, and_(held.c.token == former, held.c.token != ""))
    claimed = (
        insert(held)
        .from_select(
            ["skeleton", *values],
            select(literal(skeleton), *map(literal, values.values())).where(
                ~select(accounts.c.id).where(accounts.c.skeleton == skeleton).exists()
            ),
        )
        .on_conflict_do_update(index_elements=[held.c.skeleton], set_=values, where=may_take)
        .returning(held.c.name)
    )
    taken = union_all(
        select(accounts.c.name).where(accounts.c.skeleton == skeleton),
        select(held.c.name).where(held.c.skeleton == skeleton),
    )
    while connection.scalar(claimed) is None:
        other = connection.scalar(taken)
        if other is not None:  # else its node has just let it go
            return str(other)
    return None


def take_numbers(connection: Connection) -> list[int]:
    """Take numbers for the names of guests, which nobody else takes."""
    return list(connection.scalars(select(guest_numbers.next_value()).select_from(_hundred)))


_hundred = func.generate_series(1, _NUMBERS).alias()
