"""Create the tables of version 0.2, where the history of the schema begins.

The schemas before it, 0001 to 0004, are those of version 0.1. L{twisted_chat.store.rebuild} copies
such a database into these tables.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = None

_Id = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "accounts",
        sa.Column("id", _Id, nullable=False),
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("skeleton", sa.Text, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_accounts"),
        sa.UniqueConstraint("name", name="uq_accounts_name"),
        sa.UniqueConstraint("skeleton", name="uq_accounts_skeleton"),
    )
    op.create_table(
        "credentials",
        sa.Column("id", _Id, nullable=False),
        sa.Column("account_id", _Id, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("secret", sa.LargeBinary, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_credentials"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_credentials_account_id"),
    )
    op.create_index("ix_credentials_account_id", "credentials", ["account_id"])
    op.create_table(
        "rooms",
        sa.Column("id", _Id, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("name", sa.String(32)),
        sa.Column("skeleton", sa.Text),
        sa.Column("first_id", _Id),
        sa.Column("second_id", _Id),
        sa.Column("topic", sa.Text, nullable=False, server_default=""),
        sa.Column("topic_by", sa.String(32), nullable=False, server_default=""),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("last_seq", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("last_time", sa.BigInteger, nullable=False, server_default="0"),
        sa.PrimaryKeyConstraint("id", name="pk_rooms"),
        sa.UniqueConstraint("name", name="uq_rooms_name"),
        sa.UniqueConstraint("skeleton", name="uq_rooms_skeleton"),
        sa.ForeignKeyConstraint(["first_id"], ["accounts.id"], name="fk_rooms_first_id"),
        sa.ForeignKeyConstraint(["second_id"], ["accounts.id"], name="fk_rooms_second_id"),
        sa.UniqueConstraint("first_id", "second_id", name="uq_rooms_first_id_second_id"),
    )
    op.create_table(
        "members",
        sa.Column("room_id", _Id, nullable=False),
        sa.Column("account_id", _Id, nullable=False),
        sa.Column("role", sa.String(16), nullable=False, server_default="member"),
        sa.Column("read_seq", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("level", sa.String(16), nullable=False, server_default="all"),
        sa.ForeignKeyConstraint(["room_id"], ["rooms.id"], name="fk_members_room_id"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_members_account_id"),
        sa.PrimaryKeyConstraint("account_id", "room_id", name="pk_members"),
    )
    op.create_index(
        "ix_members_room_id_role_account_id", "members", ["room_id", "role", "account_id"]
    )
    op.create_table(
        "log_head",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("last_id", sa.BigInteger, nullable=False),
        sa.Column("commits", sa.BigInteger, nullable=False, server_default="0"),
        sa.PrimaryKeyConstraint("id", name="pk_log_head"),
    )
    op.create_table(
        "entries",
        sa.Column("id", _Id, nullable=False, autoincrement=False),
        sa.Column("room_id", _Id, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("author_id", sa.BigInteger),
        sa.Column("author", sa.String(32), nullable=False),
        sa.Column("time", sa.BigInteger, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("about", sa.BigInteger),
        sa.Column("label", sa.String(64)),
        sa.PrimaryKeyConstraint("id", name="pk_entries"),
        sa.ForeignKeyConstraint(["room_id"], ["rooms.id"], name="fk_entries_room_id"),
        sa.UniqueConstraint("room_id", "seq", name="uq_entries_room_id_seq"),
    )
    is_labelled = sa.text("label IS NOT NULL")
    op.create_index(
        "ix_entries_labelled",
        "entries",
        ["time"],
        sqlite_where=is_labelled,
        postgresql_where=is_labelled,
    )
