"""The log and the accounts, made durable."""

from .migrate import DatabaseTooNew
from .sql import SqlStore
from .trouble import StoreError

__all__ = ["DatabaseTooNew", "SqlStore", "StoreError"]
