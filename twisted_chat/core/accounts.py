"""Who somebody is: registering, authenticating, and names that guests go by."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from precis_i18n import get_profile

from . import names
from .addresses import Source
from .errors import Refusal
from .guard import Guard
from .model import Account
from .ports import PasswordHasher, Store

MAX_PASSWORD_BYTES = 72
"""bcrypt looks at no more than this."""

_opaque = get_profile("OpaqueString")


class Accounts:
    """The names that are living: every account's, and those of the guests who are here."""

    def __init__(
        self,
        store: Store,
        hasher: PasswordHasher,
        guard: Guard,
        now: Callable[[], int],
        *,
        min_password: int,
        trusted: Iterable[str] = (),
        reserved: Iterable[str] = (),
    ) -> None:
        """
        @param now: gives the time in UTC milliseconds.
        @param trusted: names of accounts that are free of the limit on lines.
        @param reserved: what nobody may go by, besides what is always reserved.
        """
        self._store = store
        self._hasher = hasher
        self._guard = guard
        self._now = now
        self._min_password = min_password
        self._trusted = frozenset(trusted)
        self._off_limits = names.skeletons(reserved)
        # Skeletons of the names of guests, and of names that are being registered.
        self._held: dict[str, str] = {}
        self._holds: Counter[str] = Counter()
        self._guest_number = 0
        self._changes: Counter[str] = Counter()  # of passwords, by account

    async def is_registered(self, name: str) -> bool:
        return await self._store.find_account(name) is not None

    def is_trusted(self, account: Account | None) -> bool:
        """Is it free of the limit on lines?"""
        return account is not None and account.name in self._trusted

    async def authenticate(self, raw: str, password: str, source: Source) -> Account:
        """The account of this name, if this is its password.

        An unknown name takes the same effort and gets the same answer as a wrong password.

        @raise Refusal: C{wrong-password}, C{throttled}, C{busy}.
        """
        try:
            name = names.canonical(raw)
        except Refusal:
            name = ""
        async with self._guard.password_try(source):
            changes = self.changes(name)
            account = await self._store.find_account(name)
            try:
                password = _normal(password)
            except Refusal:
                account, password = None, ""
            password_hash = account.password_hash if account else None
            right = await self._hasher.verify(password, password_hash, source.network)
            await self._guard.before_answer(source, name)
            if account is None or not right or self.changes(name) != changes:
                self._guard.wrong_password(source, name)
                raise Refusal("wrong-password", "wrong name or password")
            return account

    async def register(
        self, raw: str, password: str, source: Source, *, held: str | None = None
    ) -> Account:
        """Make an account.

        @param held: the guest name that the asker goes by, which does not stand in the way.
        @raise Refusal: C{bad-name}, C{name-taken}, C{name-registered}, C{bad-password},
            C{throttled}, C{busy}.
        """
        name = names.chosen(raw, self._off_limits)
        password = self._new_password(password)
        with self._reserved(name, held=held):
            await self._refuse_look_alike(name)
            with self._guard.registration(source):
                password_hash = await self._hasher.hash(password, source.network)
                account = await self._store.add_account(
                    name, names.skeleton(name), password_hash, self._now()
                )
                if account is None:
                    raise _registered(name)
                return account

    def check_new_password(self, password: str) -> None:
        """Refuse a password that L{register} and L{change_password} would refuse.

        @raise Refusal: C{bad-password}.
        """
        self._new_password(password)

    async def change_password(self, name: str, old: str, new: str, source: Source) -> None:
        """Replace an account's password.

        @raise Refusal: C{wrong-password}, C{bad-password}, C{throttled}, C{busy}.
        """
        new = self._new_password(new)
        password_hash = None
        changed = False
        while not changed:  # the hash that it replaces may have been renewed meanwhile
            try:
                account = await self.authenticate(name, old, source)
            except Refusal as refusal:
                if refusal.code != "wrong-password":
                    raise
                raise Refusal("wrong-password", "the old password is wrong") from None
            if password_hash is None:
                password_hash = await self._hasher.hash(new, source.network)
            changed = await self._store.set_password(
                account.id, account.password_hash, password_hash
            )
        self._changes[name] += 1

    def changes(self, name: str) -> int:
        """How often the account's password was changed since the start: whoever gave the one from
        before must not come in any more."""
        return self._changes[name]

    async def renew(self, account: Account, password: str, source: Source) -> None:
        """Hash the right password of an account anew, if its hash is outdated. Nothing is lost if
        that cannot be done now: it is tried again at the next login."""
        if not self._hasher.is_outdated(account.password_hash):
            return
        try:
            password_hash = await self._hasher.hash(_normal(password), source.network)
            await self._store.set_password(account.id, account.password_hash, password_hash)
        except Refusal:
            pass

    async def take_guest_name(self, raw: str, *, held: str | None = None) -> str:
        """Hold a name for a guest until L{release}.

        @param held: the name that the guest goes by so far; it stays held as well.
        @raise Refusal: C{bad-name}, C{name-taken}, C{name-registered}.
        """
        name = names.chosen(raw, self._off_limits)
        if held is not None and names.skeleton(name) == names.skeleton(held):
            raise Refusal("name-taken", f'you are "{held}" already')
        self._take(name)
        try:
            await self._refuse_look_alike(name)
        except BaseException:
            self.release(name)
            raise
        return name

    def generate_guest_name(self) -> str:
        """Hold a fresh name that nobody could have chosen, until L{release}."""
        self._guest_number += 1
        name = f"{names.GUEST}{self._guest_number}"
        self._hold(name)
        return name

    def release(self, name: str) -> None:
        """The guest of this name is gone."""
        shape = names.skeleton(name)
        self._holds[shape] -= 1
        if self._holds[shape] <= 0:
            del self._holds[shape], self._held[shape]

    @contextmanager
    def _reserved(self, name: str, *, held: str | None) -> Iterator[None]:
        """Keep others from the name while it is being registered, and no longer."""
        if held is not None and names.skeleton(name) == names.skeleton(held):
            self._hold(name)  # the guest may leave before the name is registered
        else:
            self._take(name)
        try:
            yield
        finally:
            self.release(name)

    def _take(self, name: str) -> None:
        holder = self._held.get(names.skeleton(name))
        if holder == name:
            raise Refusal("name-taken", f'"{name}" is taken by somebody who is here')
        if holder is not None:
            raise Refusal("name-taken", f'"{name}" looks too much like "{holder}", who is here')
        self._hold(name)

    def _hold(self, name: str) -> None:
        shape = names.skeleton(name)
        self._held.setdefault(shape, name)
        self._holds[shape] += 1

    async def _refuse_look_alike(self, name: str) -> None:
        other = await self._store.find_look_alike(names.skeleton(name))
        if other == name:
            raise _registered(name)
        if other is not None:
            raise Refusal(
                "name-registered", f'"{name}" looks too much like the registered name "{other}"'
            )

    def _new_password(self, password: str) -> str:
        password = _normal(password)
        if len(password) < self._min_password:
            raise Refusal(
                "bad-password", f"a password has at least {self._min_password} characters"
            )
        return password


def _registered(name: str) -> Refusal:
    return Refusal("name-registered", f'"{name}" is registered; log in with its password')


def _normal(password: str) -> str:
    """RFC 8265, section 4.2 (OpaqueString), so that every keyboard types the same password."""
    if len(password) > 4 * MAX_PASSWORD_BYTES:  # more than it can shrink by; normalizing takes long
        raise _too_long()
    try:
        normal = str(_opaque.enforce(password))
    except ValueError:
        raise Refusal(
            "bad-password", "a password is not empty and has no control characters"
        ) from None
    if len(normal.encode()) > MAX_PASSWORD_BYTES:
        raise _too_long()
    return normal


def _too_long() -> Refusal:
    return Refusal("bad-password", f"a password has at most {MAX_PASSWORD_BYTES} bytes")
