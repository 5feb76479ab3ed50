"""Create accounts, rooms and the log."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_Id = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "accounts",
        sa.Column("id", _Id, nullable=False),
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("skeleton", sa.Text, nullable=False),
        sa.Column("password_hash", sa.LargeBinary, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("read_up_to", sa.BigInteger, nullable=False, server_default="0"),
        sa.PrimaryKeyConstraint("id", name="pk_accounts"),
        sa.UniqueConstraint("name", name="uq_accounts_name"),
        sa.UniqueConstraint("skeleton", name="uq_accounts_skeleton"),
    )
    rooms = op.create_table(
        "rooms",
        sa.Column("id", _Id, nullable=False),
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("skeleton", sa.Text, nullable=False),
        sa.Column("topic", sa.Text, nullable=False, server_default=""),
        sa.Column("topic_by", sa.String(32), nullable=False, server_default=""),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("last_seq", sa.BigInteger, nullable=False, server_default="0"),
        sa.PrimaryKeyConstraint("id", name="pk_rooms"),
        sa.UniqueConstraint("name", name="uq_rooms_name"),
        sa.UniqueConstraint("skeleton", name="uq_rooms_skeleton"),
    )
    op.bulk_insert(rooms, [{"name": "lobby", "skeleton": "lobby", "created": 0}])
    log_head = op.create_table(
        "log_head",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("last_id", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_log_head"),
    )
    op.bulk_insert(log_head, [{"id": 1, "last_id": 0}])
    op.create_table(
        "messages",
        sa.Column("id", _Id, nullable=False, autoincrement=False),
        sa.Column("room_id", _Id, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("author", sa.String(32), nullable=False),
        sa.Column("time", sa.BigInteger, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("action", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_messages"),
        sa.ForeignKeyConstraint(["room_id"], ["rooms.id"], name="fk_messages_room_id"),
        sa.UniqueConstraint("room_id", "seq", name="uq_messages_room_id_seq"),
    )
    op.create_table(
        "direct_messages",
        sa.Column("id", _Id, nullable=False, autoincrement=False),
        sa.Column("sender_id", _Id, nullable=False),
        sa.Column("recipient_id", _Id, nullable=False),
        sa.Column("time", sa.BigInteger, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_direct_messages"),
        sa.ForeignKeyConstraint(
            ["sender_id"], ["accounts.id"], name="fk_direct_messages_sender_id"
        ),
        sa.ForeignKeyConstraint(
            ["recipient_id"], ["accounts.id"], name="fk_direct_messages_recipient_id"
        ),
    )
    op.create_index("ix_direct_messages_recipient_id_id", "direct_messages", ["recipient_id", "id"])
    op.create_index(
        "ix_direct_messages_sender_id_recipient_id_id",
        "direct_messages",
        ["sender_id", "recipient_id", "id"],
    )
