"""The tables, in a schema that both SQLite and PostgreSQL accept: most for both, C{log_head} for
SQLite, and those of L{shared} for PostgreSQL.

Times are in UTC milliseconds since 1970. A new database gets these tables; one of an older schema
gets them by migrations. A test compares the two.
"""

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Sequence,
    String,
    Table,
    Text,
    UniqueConstraint,
    insert,
)

HEAD = "0005"
"""The newest migration."""

_NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}

metadata = MetaData(naming_convention=_NAMES)

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
newest entry, also if that was deleted because it was old; on PostgreSQL only the least that they
can be: there, each commit would leave a dead row behind."""

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
    Column("room_id", _Id, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("author_id", BigInteger),
    Column("author", String(32), nullable=False),
    Column("time", BigInteger, nullable=False),
    Column("text", Text, nullable=False),
    Column("about", BigInteger),
    Column("label", String(64)),
    UniqueConstraint("room_id", "seq"),
    # On PostgreSQL it would take more than half of the time of storing an entry.
    ForeignKeyConstraint(["room_id"], [rooms.c.id]).ddl_if(dialect="sqlite"),
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


shared = MetaData(naming_convention=_NAMES)
"""The tables of a database that several nodes share."""

commits = Table(
    "commits",
    shared,
    Column("last_id", BigInteger, primary_key=True, autoincrement=False),
    Column("node", BigInteger, nullable=False),
    Column("batch", BigInteger, nullable=False),
    Column("time", BigInteger, nullable=False),
)
"""The last commits of the log, in place of C{log_head}: the last id of each, the node that made it,
and that node's own number for it. Never empty."""

nodes = Table(
    "nodes",
    shared,
    Column("id", BigInteger, primary_key=True),
    Column("epoch", BigInteger, nullable=False),
    Column("timeline", BigInteger, nullable=False),
)
"""The nodes that live, or are not known to be dead. C{epoch} is another one whenever a node comes
back; a commit of an earlier one is refused. C{timeline}: that of PostgreSQL when it came back; a
failover begins a new one, and nobody appends to it until all nodes have said how far they knew the
old one."""

news = Table(
    "news",
    shared,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("node", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("body", Text, nullable=False),
)
"""What nodes have told each other lately. The ids are from the same row as those of entries."""

held = Table(
    "held",
    shared,
    Column("skeleton", Text, primary_key=True),
    Column("name", String(32), nullable=False),
    Column("node", BigInteger, nullable=False, index=True),
    Column("token", Text, nullable=False),
)
"""Names that a node has claimed. C{token} stands for the token of the session that has the name;
empty if it has none."""

guest_numbers = Sequence("guest_numbers", metadata=shared)


def create(connection: Connection) -> None:
    """Make the tables in an empty database, with the lobby and the head of the log."""
    lobby = {"kind": "public", "name": "lobby", "skeleton": "lobby", "created": 0}
    if connection.dialect.name == "sqlite":
        metadata.create_all(connection, checkfirst=False)
        connection.execute(insert(log_head).values(id=1, last_id=0))
    else:
        both = [table for table in metadata.sorted_tables if table is not log_head]
        metadata.create_all(connection, both, checkfirst=False)
        shared.create_all(connection, checkfirst=False)
        connection.execute(insert(commits).values(last_id=0, node=0, batch=0, time=0))
    connection.execute(insert(rooms).values(lobby))
    connection.execute(insert(alembic_version).values(version_num=HEAD))
