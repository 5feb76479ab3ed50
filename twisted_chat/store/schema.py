"""The tables, in a schema that both SQLite and PostgreSQL accept.

Times are in UTC milliseconds since 1970. Every change here needs a migration; a test compares the
two.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# In SQLite only a primary key of type INTEGER is the row's own key. It has 64 bits, too.
_Id = BigInteger().with_variant(Integer, "sqlite")

accounts = Table(
    "accounts",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("name", String(32), nullable=False, unique=True),
    Column("skeleton", Text, nullable=False, unique=True),
    Column("password_hash", LargeBinary, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("read_up_to", BigInteger, nullable=False, server_default="0"),
)
"""C{read_up_to}: the id of the last private message that the account has seen."""

rooms = Table(
    "rooms",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("name", String(32), nullable=False, unique=True),
    Column("skeleton", Text, nullable=False, unique=True),
    Column("topic", Text, nullable=False, server_default=""),
    Column("topic_by", String(32), nullable=False, server_default=""),
    Column("created", BigInteger, nullable=False),
    Column("last_seq", BigInteger, nullable=False, server_default="0"),
)

log_head = Table(
    "log_head",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("last_id", BigInteger, nullable=False),
    Column("commits", BigInteger, nullable=False, server_default="0"),
)
"""One row: C{last_id}, the id of the newest entry of the log, and C{commits}, the number of writing
transactions so far. A transaction that appends updates this row first. The row lock then makes ids
visible in their order, even with several writers."""

messages = Table(
    "messages",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=False),
    Column("room_id", _Id, ForeignKey(rooms.c.id), nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("author", String(32), nullable=False),
    Column("time", BigInteger, nullable=False),
    Column("text", Text, nullable=False),
    Column("action", Boolean, nullable=False),
    Column("label", String(64)),
    UniqueConstraint("room_id", "seq"),
)
"""C{label}: what the author calls the message, if they gave it a label."""

direct_messages = Table(
    "direct_messages",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=False),
    Column("sender_id", _Id, ForeignKey(accounts.c.id), nullable=False),
    Column("recipient_id", _Id, ForeignKey(accounts.c.id), nullable=False),
    Column("time", BigInteger, nullable=False),
    Column("text", Text, nullable=False),
    Column("label", String(64)),
    Index(None, "recipient_id", "id"),
    Index(None, "sender_id", "id"),
    Index(None, "sender_id", "recipient_id", "id"),
)

for _log in messages, direct_messages:
    # Of the few that have a label, so that the latest are found without reading the whole log.
    _labelled = _log.c.label.is_not(None)
    Index(
        f"ix_{_log.name}_labelled",
        _log.c.time,
        sqlite_where=_labelled,
        postgresql_where=_labelled,
    )
