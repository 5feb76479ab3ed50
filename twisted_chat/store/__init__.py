"""The accounts, the rooms and the log in a database file."""

from .migrate import DatabaseTooNew
from .store import SqlStore
from .trouble import StoreError

__all__ = ["DatabaseTooNew", "SqlStore", "StoreError"]
