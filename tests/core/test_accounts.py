"""Who somebody is."""

from collections.abc import Coroutine
from itertools import islice, product
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.support import MemoryStore, PlainHasher, guard, held, now
from twisted_chat.core.accounts import Accounts
from twisted_chat.core.addresses import SHARED
from twisted_chat.core.errors import Refusal
from twisted_chat.core.model import Account, Credential
from twisted_chat.core.people import Hold, Person

PASSWORD = "correct horse"

# "alice" in every mixture of small, capital and full-width letters.
_SPELLINGS = list(
    islice(map("".join, product("aAａＡ", "lLｌＬ", "iIｉＩ", "cCｃＣ", "eEｅＥ")), 200)
)


async def _answer(right: bool) -> bool:
    return right


class AccountsTestCase(SynchronousTestCase):
    """Accounts on a store and a hasher in memory."""

    def setUp(self) -> None:
        self.store = MemoryStore()
        self.hasher = PlainHasher()
        self.accounts = Accounts(self.store, self.hasher, guard(), now, min_password=8)

    def refusal(self, coroutine: Coroutine[Any, Any, object]) -> Refusal:
        """The refusal that a coroutine raises."""
        value = self.failureResultOf(Deferred.fromCoroutine(coroutine), Refusal).value
        assert isinstance(value, Refusal)
        return value

    def code(self, coroutine: Coroutine[Any, Any, object]) -> str:
        """The code of the refusal that a coroutine raises."""
        return self.refusal(coroutine).code

    def register(self, name: str, *, mine: Hold | None = None) -> Account:
        """Register an account."""
        return self.successResultOf(
            Deferred.fromCoroutine(self.accounts.register(name, PASSWORD, SHARED, mine=mine))
        )

    def password_hash(self, name: str) -> bytes:
        """The hash of an account's password that the store has."""
        found = self.successResultOf(self.store.find_password(name))
        assert found is not None
        return found.password_hash

    def take(self, name: str) -> Hold:
        """Hold a guest name."""
        return self.successResultOf(Deferred.fromCoroutine(self.accounts.hold(name)))

    def authenticate(self, name: str, password: str = PASSWORD) -> Account:
        """Authenticate, and return the account."""
        return self.credential(name, password).account

    def credential(self, name: str, password: str = PASSWORD) -> Credential:
        """Authenticate, and return what the account was authenticated by."""
        return self.successResultOf(
            Deferred.fromCoroutine(self.accounts.authenticate(name, password, SHARED))
        )


class RegisterTests(AccountsTestCase):
    """Registering names."""

    def test_registered_account_can_be_authenticated(self) -> None:
        """The name and the password that were registered can log in."""
        self.assertEqual(self.register("alice"), self.authenticate("alice"))

    def test_password_itself_is_not_kept(self) -> None:
        """The store gets what the hasher made of the password, not the password."""
        self.register("alice")
        self.assertEqual(self.password_hash("alice"), b"hash of correct horse")

    def test_name_gets_its_one_spelling(self) -> None:
        """Case and width of what was typed are mapped away."""
        self.assertEqual(self.register("ＡＬice").name, "alice")

    def test_is_registered_knows_only_accounts(self) -> None:
        """A name is registered once there is an account, not while a guest has it."""
        self.register("alice")
        self.take("bob")
        for name, registered in (("alice", True), ("bob", False)):
            found = Deferred.fromCoroutine(self.accounts.is_registered(name))
            self.assertEqual(self.successResultOf(found), registered)

    def test_registered_name_is_refused(self) -> None:
        """A name that is registered cannot be registered again."""
        self.register("alice")
        self.assertEqual(
            self.code(self.accounts.register("Alice", PASSWORD, SHARED)), "name-registered"
        )

    def test_look_alike_of_an_account_is_refused(self) -> None:
        """A name that looks like a registered one, as with a Cyrillic а, is refused, and the
        sentence names the registered one."""
        self.register("alice")
        refusal = self.refusal(self.accounts.register("аlice", PASSWORD, SHARED))
        self.assertEqual(refusal.code, "name-registered")
        self.assertIn('"alice"', refusal.text)

    def test_name_of_a_guest_is_refused(self) -> None:
        """A guest who is here keeps the name, and what looks like it, from others."""
        self.take("bob")
        for name in ("bob", "BOB", "b0b"):
            self.assertEqual(
                self.code(self.accounts.register(name, PASSWORD, SHARED)), "name-taken"
            )

    def test_own_guest_name_can_be_registered(self) -> None:
        """A guest can register the name they go by, which stays held."""
        mine = self.take("bob")
        self.assertEqual(self.register("bob", mine=mine).name, "bob")
        self.assertEqual(self.code(self.accounts.hold("bob")), "name-taken")

    def test_guest_can_register_another_name(self) -> None:
        """The new name is registered, and the guest name stays the guest's."""
        mine = self.take("bob")
        self.register("robert", mine=mine)
        self.assertEqual(self.code(self.accounts.hold("bob")), "name-taken")

    def test_name_is_kept_from_guests_while_it_is_hashed(self) -> None:
        """While the password is hashed, no guest can take the name."""
        self.hasher.held = True
        registering = Deferred.fromCoroutine(self.accounts.register("alice", PASSWORD, SHARED))
        self.assertEqual(self.code(self.accounts.hold("alice")), "name-taken")
        self.hasher.release()
        self.assertEqual(self.successResultOf(registering).name, "alice")
        self.assertEqual(self.code(self.accounts.hold("alice")), "name-registered")

    def test_failed_registration_frees_the_name(self) -> None:
        """If the hasher is busy, the name is free again."""
        self.hasher.refusal = Refusal("busy", "too many")
        self.assertEqual(self.code(self.accounts.register("alice", PASSWORD, SHARED)), "busy")
        self.hasher.refusal = None
        self.register("alice")

    def test_one_of_200_registrations_wins(self) -> None:
        """One name in 200 spellings at once makes one account and 199 refusals."""
        self.hasher.held = True
        self.assertEqual(len(set(_SPELLINGS)), 200)
        outcomes: list[Account] = []
        refusals: list[Refusal] = []
        for spelling in _SPELLINGS:
            attempt = Deferred.fromCoroutine(self.accounts.register(spelling, PASSWORD, SHARED))
            attempt.addCallbacks(outcomes.append, lambda f: refusals.append(f.value))
        self.hasher.release()
        self.assertEqual([account.name for account in outcomes], ["alice"])
        self.assertEqual([r.code for r in refusals], ["name-taken"] * 199)

    def test_store_has_the_last_word(self) -> None:
        """An account that another node made in the meantime is not made twice."""
        self.hasher.held = True
        registering = Deferred.fromCoroutine(self.accounts.register("alice", PASSWORD, SHARED))
        self.store.add_account("alice", "alice", b"", 0)
        self.hasher.release()
        refusal = self.failureResultOf(registering, Refusal).value
        self.assertEqual(refusal.code, "name-registered")

    def test_reserved_names_are_refused(self) -> None:
        """Names that would be taken for the server's cannot be had in any way."""
        for name in ("admin", "guest7", "SYSTEM", "r00t"):
            self.assertEqual(self.code(self.accounts.register(name, PASSWORD, SHARED)), "bad-name")
            self.assertEqual(self.code(self.accounts.hold(name)), "bad-name")

    def test_name_of_the_server_is_refused(self) -> None:
        """The name of the server and its look-alikes are refused, unless it is not a name."""
        for server, refused, free in (
            ("The-Lab", ("the-lab", "THE-LAB", "the-1ab"), ("lab", "the", "the-labs")),
            ("The Lab!", (), ("the", "lab", "the-lab")),
        ):
            self.accounts = Accounts(
                self.store, self.hasher, guard(), now, min_password=8, reserved=[server]
            )
            for name in refused:
                for asked in (
                    self.accounts.register(name, PASSWORD, SHARED),
                    self.accounts.hold(name),
                ):
                    self.assertIn("is reserved; choose another", self.refusal(asked).text)
            for name in free:
                with self.take(name) as hold:
                    self.assertEqual(hold.name, name)

    def test_reserved_name_that_somebody_has_already(self) -> None:
        """An account whose name was reserved later can still log in."""
        old = self.store.add_account("nickserv", "nickserv", b"hash of correct horse", 0)
        self.assertEqual(self.authenticate("NickServ"), self.successResultOf(old))


class PasswordTests(AccountsTestCase):
    """Which passwords are accepted, and how a wrong one is answered."""

    def test_unusable_passwords_are_refused(self) -> None:
        """A password that is too short, too long for bcrypt, or has a control character is
        refused."""
        for password in ("", "seven77", "x" * 73, "x" * 4000, "é" * 37, "tab\tbed off"):
            self.assertEqual(
                self.code(self.accounts.register("alice", password, SHARED)),
                "bad-password",
                password,
            )

    def test_longest_password_is_taken(self) -> None:
        """A password may have 72 bytes, all that bcrypt looks at."""
        account = Deferred.fromCoroutine(self.accounts.register("alice", "x" * 72, SHARED))
        self.assertEqual(self.successResultOf(account), self.authenticate("alice", "x" * 72))

    def test_any_keyboard_types_the_same_password(self) -> None:
        """A composed and a decomposed é, and any kind of space, are the same."""
        account = Deferred.fromCoroutine(
            self.accounts.register("alice", "caf\u00e9 au lait", SHARED)
        )
        self.successResultOf(account)
        self.authenticate("alice", "cafe\u0301\u00a0au lait")

    def test_unknown_name_and_wrong_password_look_the_same(self) -> None:
        """Code, sentence and effort are equal, so nobody learns which names exist."""
        self.register("alice")
        wrong = self.refusal(self.accounts.authenticate("alice", "wrong horse", SHARED))
        for name, password in (("nobody1", PASSWORD), ("not a name!", PASSWORD), ("alice", "\0")):
            other = self.refusal(self.accounts.authenticate(name, password, SHARED))
            self.assertEqual((other.code, other.text), (wrong.code, wrong.text))
        self.assertEqual(self.hasher.verified, [b"hash of correct horse", None, None, None])
        self.assertEqual(wrong.code, "wrong-password")

    def test_name_is_found_in_any_spelling(self) -> None:
        """A name typed in capitals is the same account's."""
        self.assertEqual(self.register("alice"), self.authenticate("ＡLICE"))

    def test_busy_hasher_is_told(self) -> None:
        """If too many requests wait for the hasher, the refusal says so, not "wrong password"."""
        self.hasher.refusal = Refusal("busy", "too many")
        self.assertEqual(self.code(self.accounts.authenticate("alice", PASSWORD, SHARED)), "busy")

    def test_changed_password_replaces_the_old(self) -> None:
        """After a change only the new password can log in."""
        account = self.register("alice")
        change = self.accounts.change_password("alice", PASSWORD, "battery staple", SHARED)
        self.successResultOf(Deferred.fromCoroutine(change))
        self.assertEqual(self.authenticate("alice", "battery staple").id, account.id)
        self.assertEqual(
            self.code(self.accounts.authenticate("alice", PASSWORD, SHARED)), "wrong-password"
        )

    def change(self, old: str, new: str) -> "Deferred[None]":
        """Change alice's password."""
        return Deferred.fromCoroutine(self.accounts.change_password("alice", old, new, SHARED))

    def release_all(self) -> None:
        """Hash all passwords that wait, one after the other."""
        while self.hasher.waiting:
            self.hasher.release()

    def test_of_two_changes_at_once_one_wins(self) -> None:
        """Of two changes at once the second is refused: its old password is wrong by then."""
        self.register("alice")
        self.hasher.held = True
        first, second = self.change(PASSWORD, "battery staple"), self.change(PASSWORD, "my horse")
        self.release_all()
        self.successResultOf(first)
        refusal = self.failureResultOf(second, Refusal).value
        self.assertEqual(
            (refusal.code, refusal.text), ("wrong-password", "the old password is wrong")
        )
        self.hasher.held = False
        self.authenticate("alice", "battery staple")

    def test_old_password_while_it_is_changed(self) -> None:
        """A password that was right when it was looked up, but was changed meanwhile, is
        refused."""
        self.register("alice")
        self.hasher.held = True
        changing = self.change(PASSWORD, "battery staple")
        self.hasher.release()  # the old one is right
        late = Deferred.fromCoroutine(self.accounts.authenticate("alice", PASSWORD, SHARED))
        self.hasher.release()
        self.successResultOf(changing)
        self.release_all()
        self.assertEqual(self.failureResultOf(late, Refusal).value.code, "wrong-password")

    def renew(self, credential: Credential) -> "Deferred[None]":
        """Renew the hash of a password, as after a login."""
        return Deferred.fromCoroutine(self.accounts.renew(credential, PASSWORD, SHARED))

    def test_outdated_hash_is_renewed(self) -> None:
        """Only a hash with a lower cost than today's is renewed."""
        self.store.add_account("alice", "alice", b"old", 0)
        credential = Credential(Account(1, "alice"), b"old")
        self.successResultOf(self.renew(credential))
        self.assertEqual(self.password_hash("alice"), b"old")
        self.hasher.outdated = {b"old"}
        self.successResultOf(self.renew(credential))
        self.assertEqual(self.password_hash("alice"), b"hash of correct horse")

    def test_renewing_does_not_bring_back_an_old_password(self) -> None:
        """A password that was changed while its hash was renewed stays changed."""
        self.register("alice")
        before = self.credential("alice")
        self.hasher.outdated = {before.password_hash}
        self.hasher.held = True
        renewing = self.renew(before)
        self.store.set_password(before, b"hash of battery staple")
        self.release_all()
        self.successResultOf(renewing)
        self.hasher.held = False
        self.authenticate("alice", "battery staple")

    def test_password_is_changed_while_its_hash_is_renewed(self) -> None:
        """A change of the password wins over the renewal of its hash."""
        account = Account(1, "alice")
        self.successResultOf(self.store.add_account("alice", "alice", b"old", 0))
        self.patch(self.hasher, "verify", lambda password, *_: _answer(password == PASSWORD))
        self.hasher.held = True
        changing = self.change(PASSWORD, "battery staple")
        self.store.set_password(Credential(account, b"old"), b"renewed")
        self.release_all()
        self.successResultOf(changing)
        self.assertEqual(self.password_hash("alice"), b"hash of battery staple")

    def test_renewing_that_is_refused_is_left_for_the_next_login(self) -> None:
        """A renewal that is refused, as too many requests wait, is left for the next login."""
        self.register("alice")
        before = self.credential("alice")
        self.hasher.outdated = {before.password_hash}
        self.hasher.refusal = Refusal("busy", "later")
        self.successResultOf(self.renew(before))
        self.hasher.refusal = None
        self.assertEqual(self.credential("alice"), before)

    def test_refused_change_keeps_the_old_password(self) -> None:
        """After a wrong old password, or a new one that is refused, the old one is still right."""
        self.register("alice")
        for old, new, code in (
            ("wrong horse", "battery staple", "wrong-password"),
            (PASSWORD, "short", "bad-password"),
        ):
            self.assertEqual(
                self.code(self.accounts.change_password("alice", old, new, SHARED)), code
            )
        self.authenticate("alice")


class GuestTests(AccountsTestCase):
    """Names that are held for guests."""

    def test_held_name_is_taken_until_released(self) -> None:
        """A held name is refused to others until it is released."""
        first = self.take("bob")
        self.assertEqual(self.code(self.accounts.hold("Bob")), "name-taken")
        first.release()
        second = self.take("bob")
        self.assertNotEqual(first.key, second.key)
        first.release()  # which is not held any more
        self.assertEqual(self.code(self.accounts.hold("bob")), "name-taken")

    def test_name_that_is_registered_by_its_guest_is_held_twice(self) -> None:
        """A name that its guest registers is held twice, and free when both holds are released, in
        either order."""
        for guest_first in (True, False):
            self.hasher.held = True
            self.hasher.refusal = None
            mine = self.take("bob")
            registering = Deferred.fromCoroutine(
                self.accounts.register("bob", PASSWORD, SHARED, mine=mine)
            )
            for release in (mine.release, registering.cancel)[:: 1 if guest_first else -1]:
                self.assertEqual(self.code(self.accounts.hold("bob")), "name-taken")
                release()
            self.failureResultOf(registering, CancelledError)
            self.take("bob").release()

    def test_released_hold_does_not_make_way(self) -> None:
        """A hold that was released gives no right to a name that somebody else holds."""
        before = self.take("bob")
        before.release()
        self.take("bob")
        asked = self.accounts.register("bob", PASSWORD, SHARED, mine=before)
        self.assertEqual(self.code(asked), "name-taken")

    def test_end_of_a_block_releases_unless_somebody_goes_by_the_name(self) -> None:
        """The end of the block releases the hold, unless a person was made with it."""
        with self.take("bob"):
            pass
        with self.take("bob") as hold:
            person = Person(hold)
        self.assertEqual(self.code(self.accounts.hold("bob")), "name-taken")
        person.release()
        self.take("bob")

    def test_look_alike_of_a_guest_is_refused(self) -> None:
        """A name that looks like a guest's is refused, and the sentence names the guest."""
        self.take("bob")
        refusal = self.refusal(self.accounts.hold("b0b"))
        self.assertEqual(refusal.code, "name-taken")
        self.assertIn('"bob"', refusal.text)

    def test_registered_name_is_not_for_guests(self) -> None:
        """A guest cannot take a registered name, or one that looks like it."""
        self.register("alice")
        for name in ("alice", "аlice"):
            self.assertEqual(self.code(self.accounts.hold(name)), "name-registered")

    def test_refused_name_is_not_held(self) -> None:
        """A refused name is not held: asking again gets the same refusal."""
        self.register("alice")
        codes = [self.code(self.accounts.hold("alice")) for _ in range(2)]
        self.assertEqual(codes, ["name-registered"] * 2)

    def test_name_is_held_while_the_store_is_asked(self) -> None:
        """Of two guests who want one name, the first gets it, however slow the store is."""
        self.store.hold()
        first = Deferred.fromCoroutine(self.accounts.hold("bob"))
        self.assertEqual(self.code(self.accounts.hold("bob")), "name-taken")
        self.store.commit()
        self.assertEqual(self.successResultOf(first).name, "bob")

    def test_own_name_again_is_refused(self) -> None:
        """A guest's new name must look different from the old one."""
        mine = self.take("bob")
        for name in ("bob", "b0b"):
            refusal = self.refusal(self.accounts.hold(name, mine=mine))
            self.assertEqual((refusal.code, refusal.text), ("name-taken", 'you are already "bob"'))

    def test_generated_names_differ_and_cannot_be_chosen(self) -> None:
        """No two guests get one name, and nobody else can take it."""
        names = [held(self.accounts.hold_guest_number()).name for _ in range(100)]
        self.assertEqual(len(set(names)), 100)
        self.assertEqual(self.code(self.accounts.hold(names[0])), "bad-name")
