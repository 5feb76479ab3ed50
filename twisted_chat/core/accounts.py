"""Accounts and guest names: registering, authenticating, and holding names."""

from collections import Counter
from collections.abc import Callable, Iterable

from precis_i18n import get_profile

from . import names
from .addresses import Source
from .announcements import PasswordChanged
from .errors import Refusal
from .guard import Guard
from .model import Account, Credential
from .people import Hold, Session
from .ports import PasswordHasher, Store

MAX_PASSWORD_BYTES = 72
"""bcrypt looks at no more than this."""

_NODE = 40
"""The bit at which the number of the node begins in the key of a hold."""

_opaque = get_profile("OpaqueString")


class Accounts:
    """The names in use: every account's, and those of the guests who are here. No two of them look
    alike."""

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
        @param min_password: characters in a new password, at least.
        @param trusted: names of accounts that are free of the limit on lines.
        @param reserved: names that nobody may have, in addition to those that are always reserved.
        """
        self._store = store
        self._hasher = hasher
        self._guard = guard
        self._now = now
        self._min_password = min_password
        self._trusted = frozenset(trusted)
        self._off_limits = names.skeletons(reserved)
        self._holds: dict[str, Hold] = {}  # by skeleton, the newest
        self._let_go = store.let_go  # one object for all holds
        self._hold_number = 0
        self._changes: Counter[str] = Counter()  # of passwords, by account

    async def is_registered(self, name: str) -> bool:
        """Whether this canonical name is an account's.

        @raise Refusal: C{unavailable}, C{closed}.
        """
        return await self._store.find_account(name) is not None

    def is_trusted(self, account: Account | None) -> bool:
        """Whether the account is free of the limit on lines."""
        return account is not None and account.name in self._trusted

    async def authenticate(self, raw: str, password: str, source: Source) -> Credential:
        """Look up an account and check its password.

        An unknown name takes as long and gets the same answer as a wrong password.

        @raise Refusal: C{wrong-password}, C{throttled}, C{busy}, C{unavailable}, C{closed}.
        """
        try:
            name = names.canonical(raw)
        except Refusal:
            name = ""
        async with self._guard.password_try(source):
            changes = self.changes(name)
            found = await self._store.find_password(name)
            try:
                password = _normal(password)
            except Refusal:
                found, password = None, ""
            password_hash = found.password_hash if found is not None else None
            right = await self._hasher.verify(password, password_hash, source.network)
            await self._guard.before_answer(source, name)
            if found is None or not right or self.changes(name) != changes:
                self._guard.wrong_password(source, name)
                raise Refusal("wrong-password", "wrong name or password")
            return found

    async def register(
        self, raw: str, password: str, source: Source, *, mine: Hold | None = None
    ) -> Account:
        """Make an account.

        @param mine: the hold on the guest name of the person who asks, or on the name itself: it
            does not stand in the way.
        @raise Refusal: C{bad-name}, C{name-taken}, C{name-registered}, C{bad-password},
            C{throttled}, C{busy}, C{unavailable}, C{closed}.
        """
        name = names.chosen(raw, self._off_limits)
        password = self._new_password(password)
        if mine is None or not mine.keeps(name):
            self._refuse_held(name)
        with self._hold(name) as hold:  # also one of theirs: they may leave before the end of this
            await self._refuse_look_alike(name)
            if mine is None or not mine.keeps(name):
                await self._claim(hold, None)
            with self._guard.registration(source):
                password_hash = await self._hasher.hash(password, source.network)
                account = await self._store.add_account(
                    name, names.skeleton(name), password_hash, self._now()
                )
                if account is None:
                    raise _registered(name)
                return account

    def check_new_password(self, password: str) -> None:
        """Check a password as L{register} and L{change_password} do.

        @raise Refusal: C{bad-password}.
        """
        self._new_password(password)

    async def change_password(
        self, name: str, old: str, new: str, source: Source, *, farewell: str = ""
    ) -> None:
        """Replace an account's password.

        @param farewell: with which the account's sessions with other nodes are ended; empty: they
            stay.
        @raise Refusal: C{wrong-password}, C{bad-password}, C{throttled}, C{busy}, C{unavailable},
            C{closed}.
        """
        new = self._new_password(new)
        password_hash = None
        changed = False
        while not changed:  # the hash that it replaces may have been renewed meanwhile
            try:
                before = await self.authenticate(name, old, source)
            except Refusal as refusal:
                if refusal.code != "wrong-password":
                    raise
                raise Refusal("wrong-password", "the old password is wrong") from None
            if password_hash is None:
                password_hash = await self._hasher.hash(new, source.network)
            changed = await self._store.set_password(before, password_hash)
        self.note_change(name)
        self._store.announce(PasswordChanged(name, farewell))

    def note_change(self, name: str) -> None:
        """Take note that the password of an account was changed, here or with another node."""
        self._changes[name] += 1

    def changes(self, name: str) -> int:
        """How often the account's password was changed since the process started. A login that was
        authenticated before the last change must be refused."""
        return self._changes[name]

    async def renew(self, credential: Credential, password: str, source: Source) -> None:
        """Hash the password of an account again if its hash is outdated. If that cannot be done
        now, it is tried again at the next login.

        @param credential: as L{authenticate} has given it.
        @param password: the right one.
        """
        if not self._hasher.is_outdated(credential.password_hash):
            return
        try:
            password_hash = await self._hasher.hash(_normal(password), source.network)
            await self._store.set_password(credential, password_hash)
        except Refusal:
            pass

    async def hold(
        self, raw: str, *, mine: Hold | None = None, session: Session | None = None
    ) -> Hold:
        """Hold a name, for a guest or while its password is chosen.

        @param mine: the hold on the guest name of the person who asks.
        @param session: the one that asks, which may take the place of one with another node.
        @raise Refusal: C{bad-name}, C{name-taken}, C{name-registered}, C{unavailable}, C{closed}.
        """
        name = names.chosen(raw, self._off_limits)
        if mine is not None and mine.keeps(name):
            raise Refusal("name-taken", f'you are already "{mine.name}"', name=mine.name)
        self._refuse_held(name)
        hold = self._hold(name)
        try:
            await self._refuse_look_alike(name)
            await self._claim(hold, session)
        except BaseException:
            hold.release()
            raise
        return hold

    async def hold_guest_number(self) -> Hold:
        """Hold a new name with a number, which nobody can have chosen.

        @raise Refusal: C{unavailable}, C{closed}.
        """
        number = await self._store.guest_number()
        return Hold(f"{names.GUEST}{number}", self._next_key(), self._holds)

    async def is_lost(self, hold: Hold, token: str) -> bool:
        """Whether another node has the name of a guest who is with this one; if not, nobody else
        gets it.

        @param token: of the guest's session.
        @raise Refusal: C{unavailable}, C{closed}.
        """
        if not (hold.is_claimed and hold.keeps(hold.name)):
            return False
        return await self._store.claim(hold.name, hold.shape, token, "") is not None

    def _hold(self, name: str) -> Hold:
        return Hold(name, self._next_key(), self._holds, self._let_go)

    def _next_key(self) -> int:
        self._hold_number += 1
        return (self._store.node << _NODE) + self._hold_number

    async def _claim(self, hold: Hold, session: Session | None) -> None:
        """Claim a name that is held here over all nodes.

        @raise Refusal: C{name-taken}, C{unavailable}, C{closed}.
        """
        token, former = (session.token, session.former) if session is not None else ("", "")
        holder = await self._store.claim(hold.name, hold.shape, token, former)
        if holder is not None:
            raise _taken(hold.name, holder)

    def _refuse_held(self, name: str) -> None:
        holder = self._holds.get(names.skeleton(name))
        if holder is not None:
            raise _taken(name, holder.name)

    async def _refuse_look_alike(self, name: str) -> None:
        other = await self._store.find_look_alike(names.skeleton(name))
        if other == name:
            raise _registered(name)
        if other is not None:
            sentence = f'"{name}" looks too much like the registered name "{other}"; choose another'
            raise Refusal("name-registered", sentence, name=name, nearest=other)

    def _new_password(self, password: str) -> str:
        password = _normal(password)
        if len(password) < self._min_password:
            sentence = f"a password needs at least {self._min_password} characters"
            raise Refusal("bad-password", sentence, limit=self._min_password)
        return password


def _taken(name: str, holder: str) -> Refusal:
    if holder == name:
        return Refusal("name-taken", f'"{name}" is in use; choose another', name=name)
    sentence = f'"{name}" looks too much like "{holder}", a name in use; choose another'
    return Refusal("name-taken", sentence, name=name, nearest=holder)


def _registered(name: str) -> Refusal:
    sentence = f'"{name}" is registered; log in with its password'
    return Refusal("name-registered", sentence, name=name)


def _normal(password: str) -> str:
    """Prepare a password by RFC 8265, section 4.2 (OpaqueString), so that it is the same from every
    keyboard."""
    if len(password) > 4 * MAX_PASSWORD_BYTES:  # it cannot shrink as much; and it takes long
        raise _too_long()
    try:
        normal = str(_opaque.enforce(password))
    except ValueError:
        raise Refusal(
            "bad-password", "a password must not be empty or contain control characters"
        ) from None
    if len(normal.encode()) > MAX_PASSWORD_BYTES:
        raise _too_long()
    return normal


def _too_long() -> Refusal:
    sentence = f"a password may have at most {MAX_PASSWORD_BYTES} bytes"
    return Refusal("bad-password", sentence, limit=MAX_PASSWORD_BYTES)
