"""Where migrations begin: the tables of C{schema.create}."""

revision = "0005"
down_revision = None


def upgrade() -> None:
    """Do nothing: a database that has any revision has these tables."""
