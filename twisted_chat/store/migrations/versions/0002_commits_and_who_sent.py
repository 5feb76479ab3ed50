"""Add the number of commits, and an index of private messages by sender."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column(
        "log_head", sa.Column("commits", sa.BigInteger, nullable=False, server_default="0")
    )
    op.create_index("ix_direct_messages_sender_id_id", "direct_messages", ["sender_id", "id"])
