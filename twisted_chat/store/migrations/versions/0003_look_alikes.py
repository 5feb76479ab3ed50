"""Recompute skeletons: each character is now looked up before its case is folded.

Where names look alike now and did not before, the oldest gets the skeleton. The others are kept,
with a skeleton that no name can have.
"""

import sqlalchemy as sa
from alembic import op
from twisted.logger import Logger

from twisted_chat.core.names import skeleton

revision = "0003"
down_revision = "0002"

_log = Logger(namespace="twisted_chat.store")


def upgrade() -> None:
    for table in "accounts", "rooms":
        _recompute(sa.table(table, sa.column("id"), sa.column("name"), sa.column("skeleton")))


def _recompute(table: sa.TableClause) -> None:
    connection = op.get_bind()
    rows = connection.execute(sa.select(table).order_by(table.c.id)).all()
    holders: dict[str, str] = {}
    changed: dict[int, str] = {}
    for key, name, before in rows:
        now = skeleton(name)
        if holders.setdefault(now, name) != name:
            _log.warn(
                "{table}: {name} looks like {other}, which is older; both are kept",
                table=table.name,
                name=name,
                other=holders[now],
            )
            now = f"{now} {key}"  # there are no spaces in names
        if now != before:
            changed[key] = now
    # In two steps: a row may get a skeleton that another row still has.
    for key in changed:
        _set(table, key, f" {key}")
    for key, now in changed.items():
        _set(table, key, now)


def _set(table: sa.TableClause, key: int, now: str) -> None:
    op.get_bind().execute(sa.update(table).where(table.c.id == key).values(skeleton=now))
