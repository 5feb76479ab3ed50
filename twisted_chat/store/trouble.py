"""What can be wrong with a database that is not our doing, and telling of it once."""

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
"""What SQLite says of what is around the file. By its words, as Python has the codes since 3.11."""

_DAMAGE = ("malformed", "file is not a database")
"""What it says of what is in the file."""

_log = Logger()


class StoreError(Exception):
    """The database cannot be used; the text says why."""


class Misplaced(StoreError):
    """The database was moved or deleted while it was open; the text names the file."""


class Unknown(StoreError):
    """It is not known, and cannot be found out, whether a transaction was kept."""


def words(error: BaseException | None) -> str:
    """What the database said, without what SQLAlchemy puts around it."""
    lines = str(getattr(error, "orig", None) or error).splitlines()
    return lines[0] if lines else type(error).__name__


def trouble(error: BaseException | None) -> str | None:
    """What keeps the database from doing this, if it may pass: a full disk, for one."""
    said = words(error)
    return said if said in _TROUBLE or isinstance(error, OSError | Misplaced) else None


def damage(error: BaseException | None) -> str | None:
    """What is wrong with the database for good."""
    said = words(error)
    return said if any(sign in said for sign in _DAMAGE) else None


class Outage:
    """One thing that the database cannot do at times. The log has a line when such a time begins
    and one when it is over, however much was asked for in between."""

    def __init__(self, begins: str, ends: str) -> None:
        """
        @param begins: the line at the beginning, with a place for the C{reason}.
        @param ends: the line at the end, with a place for the C{count} of what was refused.
        """
        self._begins = begins
        self._ends = ends
        self._refused = 0
        self.lasts = False

    def refuse(self, reason: str, count: int = 1) -> None:
        """Something was refused."""
        if not self.lasts:
            _log.error(self._begins, reason=reason)
        self.lasts = True
        self._refused += count

    def end(self) -> None:
        """It worked."""
        if self.lasts:
            _log.info(self._ends, count=self._refused)
        self.lasts = False
        self._refused = 0
