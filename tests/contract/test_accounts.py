"""What every store does with accounts."""

from tests.support import NOW
from twisted_chat.core.model import Account, Credential

from .cases import MemoryCase, PostgresCase, SqlCase, StoreCase


class Accounts(StoreCase):
    """Accounts and their passwords."""

    async def password(self, name: str) -> bytes:
        """The hash of an account's password."""
        found = await self.store.find_password(name)
        assert isinstance(found, Credential)
        assert found.account == await self.store.find_account(name)
        return found.password_hash

    async def test_account_is_found_by_name_and_by_look(self) -> None:
        """An account is found by its name and by its skeleton, also after reopening."""
        alice = await self.store.add_account("alice", "a1ice", b"\x00hash", NOW)
        await self.reopen()
        assert isinstance(alice, Account)
        assert await self.store.find_account("alice") == alice
        assert await self.store.find_password("alice") == Credential(alice, b"\x00hash")
        assert await self.store.find_look_alike("a1ice") == "alice"
        assert await self.store.find_account("a1ice") is None
        assert await self.store.find_password("a1ice") is None
        assert await self.store.find_look_alike("alice") is None

    async def test_name_and_look_are_unique(self) -> None:
        """A name, and a skeleton, has one account, also if two are added at once."""
        first, same_name, same_look = [
            self.store.add_account(name, look, password, NOW)
            for name, look, password in (
                ("alice", "a1ice", b"1"),
                ("alice", "other", b"2"),
                ("other", "a1ice", b"3"),
            )
        ]
        assert (await same_name, await same_look) == (None, None)
        assert await self.store.find_account("alice") == await first
        assert await self.password("alice") == b"1"

    async def test_password_can_be_set(self) -> None:
        """Setting a password changes that of the one account."""
        alice, _ = await self.accounts("alice", "bob")
        assert await self.store.set_password(Credential(alice, b"hash"), b"new")
        assert await self.password("alice") == b"new"
        assert await self.password("bob") == b"hash"

    async def test_password_that_is_another_by_now_stays(self) -> None:
        """Of two changes that replace the same hash, the first is made."""
        alice = await self.account("alice")
        changes = [
            self.store.set_password(Credential(alice, b"hash"), each)
            for each in (b"first", b"second")
        ]
        assert [await change for change in changes] == [True, False]
        assert await self.password("alice") == b"first"


class SqlAccountTests(SqlCase, Accounts):
    """Accounts in SQLite."""


class PostgresAccountTests(PostgresCase, Accounts):
    """Accounts in PostgreSQL."""


class MemoryAccountTests(MemoryCase, Accounts):
    """Accounts in memory."""
