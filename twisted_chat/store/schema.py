"""The tables, in a schema that both SQLite and PostgreSQL accept.

Times are in UTC milliseconds since 1970. A new database gets these tables; one of an older schema
gets them by migrations. A test compares the two.
"""

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
    insert,
)

HEAD = "0005"
"""The newest migration."""

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
    Column("created", BigInteger, nullable=False),
)

credentials = Table(
    "credentials",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("account_id", _Id, ForeignKey(accounts.c.id), nullable=False, index=True),
    Column("kind", String(16), nullable=False),
    Column("secret", LargeBinary, nullable=False),
    Column("created", BigInteger, nullable=False),
)
"""What proves an account. The C{kind} is C{password}; C{secret} is then its hash."""

rooms = Table(
    "rooms",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("name", String(32), unique=True),
    Column("skeleton", Text, unique=True),
    Column("first_id", _Id, ForeignKey(accounts.c.id)),
    Column("second_id", _Id, ForeignKey(accounts.c.id)),
    Column("topic", Text, nullable=False, server_default=""),
    Column("topic_by", String(32), nullable=False, server_default=""),
    Column("created", BigInteger, nullable=False),
    Column("last_seq", BigInteger, nullable=False, server_default="0"),
    Column("last_time", BigInteger, nullable=False, server_default="0"),
    UniqueConstraint("first_id", "second_id"),
)
"""A room of the kind C{direct} has C{first_id} and C{second_id}, of which the first is not the
bigger one; any other has C{name} and C{skeleton}. C{last_seq} and C{last_time} are those of its
newest entry, also if that was deleted because it was old."""

members = Table(
    "members",
    metadata,
    Column("room_id", _Id, ForeignKey(rooms.c.id), nullable=False),
    Column("account_id", _Id, ForeignKey(accounts.c.id), nullable=False),
    Column("role", String(16), nullable=False, server_default="member"),
    Column("read_seq", BigInteger, nullable=False, server_default="0"),
    Column("level", String(16), nullable=False, server_default="all"),
    PrimaryKeyConstraint("account_id", "room_id"),
    Index(None, "room_id", "role", "account_id"),
)
"""C{read_seq}: the account has seen the room up to this entry. C{level}: of which entries it wants
to be notified."""

log_head = Table(
    "log_head",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("last_id", BigInteger, nullable=False),
    Column("commits", BigInteger, nullable=False, server_default="0"),
)
"""One row: C{last_id}, the id of the newest entry of the log, and C{commits}, the number of writing
transactions so far."""

entries = Table(
    "entries",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=False),
    Column("room_id", _Id, ForeignKey(rooms.c.id), nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("author_id", BigInteger),
    Column("author", String(32), nullable=False),
    Column("time", BigInteger, nullable=False),
    Column("text", Text, nullable=False),
    Column("about", BigInteger),
    Column("label", String(64)),
    UniqueConstraint("room_id", "seq"),
)
"""The log. C{label} is null for most entries."""

# Of the few that have a label, so that the latest are found without reading the whole log.
_labelled = entries.c.label.is_not(None)
Index("ix_entries_labelled", entries.c.time, sqlite_where=_labelled, postgresql_where=_labelled)

alembic_version = Table(
    "alembic_version",
    metadata,
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)
"""One row: the newest migration that the database has. As Alembic makes it."""


def create(connection: Connection) -> None:
    """Make the tables in an empty database, with the lobby and the head of the log."""
    metadata.create_all(connection, checkfirst=False)
    lobby = {"kind": "public", "name": "lobby", "skeleton": "lobby", "created": 0}
    connection.execute(insert(rooms).values(lobby))
    connection.execute(insert(log_head).values(id=1, last_id=0))
    connection.execute(insert(alembic_version).values(version_num=HEAD))
