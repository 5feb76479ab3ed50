"""Failures of the disk or the database file: how they are recognised, and logged once."""

from twisted.logger import Logger

FULL = "database or disk is full"

_TROUBLE = frozenset(
    {
        FULL,
        "disk I/O error",
        "attempt to write a readonly database",
        "unable to open database file",
        "database is locked",
    }
)
"""SQLite's messages about failures around the file, which may pass. They are recognised by their
text, because Python has SQLite's error codes only since 3.11."""

_DAMAGE = ("malformed", "file is not a database")
"""Parts of SQLite's messages about damage inside the file, which does not pass."""

_log = Logger()


class StoreError(Exception):
    """The database cannot be used. The text says why."""


class Misplaced(StoreError):
    """The database was moved or deleted while it was open. The text names the file."""


class Away(StoreError):
    """There is no connection to the database at the moment. The text says why."""


class InDoubt(StoreError):
    """The connection was lost during a commit. Whether it was kept will be found out later."""


class Unknown(StoreError):
    """Whether a transaction was kept is not known and cannot be found out. The text says why."""


def no_driver(error: ImportError) -> str:
    """Return a sentence that says what to install."""
    return f"PostgreSQL needs psycopg ({error}); run pip install 'twisted-chat[postgresql]'"


def words(error: BaseException | None) -> str:
    """Return the first line of the database's own message, without what SQLAlchemy adds to it."""
    lines = str(getattr(error, "orig", None) or error).splitlines()
    return lines[0] if lines else type(error).__name__


def trouble(error: BaseException | None) -> str | None:
    """Return the message of a failure that may pass, such as a full disk, or None for any other."""
    said = words(error)
    return said if said in _TROUBLE or isinstance(error, OSError | Misplaced) else None


def damage(error: BaseException | None) -> str | None:
    """Return the message of a failure that means damage to the file, or None for any other."""
    said = words(error)
    return said if any(sign in said for sign in _DAMAGE) else None


class Outage:
    """Logs one line when reading, or writing, begins to fail, and one when it works again, however
    many requests were refused in between.

    @ivar lasts: requests fail at the moment.
    """

    def __init__(self, begins: str, ends: str) -> None:
        """
        @param begins: the line to log when the outage begins, with a place for the C{reason}.
        @param ends: the line to log when the outage ends, with a place for the C{count}.
        """
        self._begins = begins
        self._ends = ends
        self._refused = 0
        self.lasts = False

    def refuse(self, reason: str, count: int = 1) -> None:
        """Note that C{count} requests were refused, for this reason."""
        if not self.lasts:
            _log.error(self._begins, reason=reason)
        self.lasts = True
        self._refused += count

    def end(self) -> None:
        """Note that a request worked."""
        if self.lasts:
            _log.info(self._ends, count=self._refused)
        self.lasts = False
        self._refused = 0
