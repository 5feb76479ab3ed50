"""The log and the accounts, made durable."""

from .migrate import DatabaseTooNew
from .sql import SqlStore, StoreError

__all__ = ["DatabaseTooNew", "SqlStore", "StoreError"]
