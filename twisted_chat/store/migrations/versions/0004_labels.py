"""Labels that authors give their messages, and an index of the messages that have one."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    for table in "messages", "direct_messages":
        op.add_column(table, sa.Column("label", sa.String(64)))
        op.create_index(
            f"ix_{table}_labelled",
            table,
            ["time"],
            sqlite_where=sa.text("label IS NOT NULL"),
            postgresql_where=sa.text("label IS NOT NULL"),
        )
