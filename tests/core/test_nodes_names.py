"""Names, passwords and limits over several nodes."""

from twisted_chat.core.addresses import SHARED, Source
from twisted_chat.core.errors import Refusal
from twisted_chat.core.events import Renamed
from twisted_chat.core.limits import Limits
from twisted_chat.core.people import Hold

from .nodes import Node, NodesTestCase
from .test_chat import PASSWORD, Someone


class GuestNameTests(NodesTestCase):
    """Names of guests."""

    def hold(self, node: Node, name: str, token: str = "", former: str = "") -> Hold | Refusal:
        """Have a session at a node hold a name, or be refused."""
        session = Someone()
        session.token, session.former = token, former
        try:
            return node.run_now(node.accounts.hold(name, session=session))
        except Refusal as refusal:
            return refusal

    def assert_taken(self, node: Node, name: str, by: str = "") -> None:
        """A name is refused at a node, as it is another's."""
        refusal = self.hold(node, name)
        assert isinstance(refusal, Refusal), refusal
        self.assertEqual(refusal.code, "name-taken")
        self.assertEqual(refusal.fields.get("nearest", name), by or name)

    def assert_free(self, node: Node, name: str) -> None:
        """A name can be had at a node."""
        hold = self.hold(node, name)
        assert isinstance(hold, Hold), hold
        hold.release()

    def test_taken_elsewhere(self) -> None:
        """The name of a guest is taken at every node, and so are names that look like it, until the
        guest has left."""
        gil = self.one.guest("gil")
        self.assert_taken(self.two, "gil")
        self.assert_taken(self.two, "gi1", "gil")
        self.assert_taken(self.node(), "gil")
        self.one.end(gil)
        self.assert_free(self.two, "gi1")
        self.assert_free(self.one, "gil")

    def test_refused_name_stays_free_for_its_owner(self) -> None:
        """A name that is refused at one node is still the guest's at the other."""
        gil = self.one.guest("gil")
        for _ in range(2):
            self.assert_taken(self.two, "gil")
        self.assertEqual(self.one.users(gil), ["gil"])
        self.one.end(gil)
        self.assert_free(self.two, "gil")

    def test_two_at_once(self) -> None:
        """Of two guests who choose the same name at two nodes at the same time, one gets it."""
        self.one.store.hold()
        first = self.one.begin(self.one.accounts.hold("gil"))
        self.two.guest("gil")
        self.one.store.release()
        refusal = self.failureResultOf(first, Refusal).value
        self.assertEqual((refusal.code, refusal.fields), ("name-taken", {"name": "gil"}))
        self.assert_free(self.one, "fay")

    def test_renamed(self) -> None:
        """A guest who takes another name gives up the old one at all nodes, and keeps the new."""
        gil, watcher = self.one.guest("gil"), self.two.guest("watcher")
        self.one.join("tea", gil)
        self.news(watcher)
        self.assert_taken(self.two, "gil")
        self.one.run_now(self.one.chat.rename_guest(gil, "fay"))
        self.assertEqual(self.news(watcher), [["gil>fay"]])
        self.assert_taken(self.two, "fay")
        self.assert_free(self.two, "gil")
        self.assertEqual(self.two.users(watcher), ["fay", "watcher"])
        self.assertEqual(self.two.rooms_of(watcher, "fay"), ("lobby", "tea"))
        self.assertIsNone(self.two.chat.whois(watcher, "gil"))
        self.one.end(gil)
        self.assertEqual(self.news(watcher), [["-fay"]])
        self.assert_free(self.two, "fay")

    def test_renamed_to_a_name_taken_elsewhere(self) -> None:
        """A guest cannot take a name that a guest has at another node."""
        gil = self.one.guest("gil")
        self.two.guest("fay")
        refusal = self.one.refusal(self.one.chat.rename_guest(gil, "fay"))
        self.assertEqual(refusal.code, "name-taken")
        self.assertEqual(self.one.users(gil), ["fay", "gil"])
        self.one.run_now(self.one.chat.rename_guest(gil, "hal"))
        self.assert_free(self.two, "gil")

    def test_numbers(self) -> None:
        """Guests who choose no name get different ones at all nodes."""
        names = []
        for _ in range(3):
            for node in self.nodes:
                hold = node.run_now(node.accounts.hold_guest_number())
                names.append(hold.name)
        self.assertEqual(len(set(names)), 6)

    def test_numbers_are_not_claimed(self) -> None:
        """A name with a number is claimed by nobody, also after its node was taken for dead."""
        session = Someone()
        hold = self.one.run_now(self.one.accounts.hold_guest_number())
        self.one.run_now(self.one.chat.come_as_guest(session, hold))
        self.log.bury(self.one.number)
        self.log.pull()
        self.assertEqual((self.log.claims, session.face.farewells), ({}, []))

    def test_free_after_death(self) -> None:
        """The names of the guests of a node that died can be had again once that is known."""
        self.one.guest("gil")
        self.one.die()
        self.assert_taken(self.two, "gil")
        self.log.bury(self.one.number)
        self.assert_free(self.two, "gil")

    def test_no_account_for_a_held_name(self) -> None:
        """Nobody can register the name of a guest who is at another node."""
        self.one.guest("gil")
        for name in "gil", "gi1":
            refusal = self.two.refusal(self.two.accounts.register(name, PASSWORD, SHARED))
            self.assertEqual(refusal.code, "name-taken")
        self.assertEqual(self.two.store.registered, [])

    def test_no_guest_while_a_name_is_registered(self) -> None:
        """Nobody can have a name as a guest that is being registered at another node; then it is
        registered."""
        self.one.hasher.held = True
        registering = self.one.begin(self.one.accounts.register("alice", PASSWORD, SHARED))
        self.assert_taken(self.two, "alice")
        self.one.hasher.release()
        self.successResultOf(registering)
        refusal = self.hold(self.two, "alice")
        assert isinstance(refusal, Refusal), refusal
        self.assertEqual(refusal.code, "name-registered")

    def test_registered_at_two_nodes_at_once(self) -> None:
        """Of two who register the same name at two nodes at the same time, the second is refused
        while the first waits."""
        self.one.hasher.held = True
        registering = self.one.begin(self.one.accounts.register("alice", PASSWORD, SHARED))
        refusal = self.two.refusal(self.two.accounts.register("alice", "other words", SHARED))
        self.assertEqual(refusal.code, "name-taken")
        self.one.hasher.release()
        self.successResultOf(registering)
        self.two.account("alice")

    def test_claims_are_given_up(self) -> None:
        """After a registration, one that is refused, and a login, no name is claimed any more."""
        self.one.registered("alice")
        self.one.refusal(self.one.accounts.register("a1ice", PASSWORD, SHARED))
        self.two.refusal(self.two.accounts.register("bob", "short", SHARED))
        self.two.refusal(self.two.accounts.hold("alice"))
        self.two.account("alice")
        self.assertEqual(self.log.claims, {})


class TakenOverTests(NodesTestCase):
    """A guest whose connection broke comes back at another node, with the token of its session."""

    def setUp(self) -> None:
        super().setUp()
        self.watcher = self.one.guest("watcher")
        self.other = self.two.guest("other")
        self.gil = self.one.guest_with("gil", "first")
        self.one.join("tea", self.gil)
        self.news(self.watcher, self.other)

    def test_without_the_token(self) -> None:
        """Nobody gets a name that is in use without the token of the session that has it."""
        for former in "", "third", "First":
            session = Someone()
            session.token, session.former = "second", former
            refusal = self.two.refusal(self.two.accounts.hold("gil", session=session))
            self.assertEqual(refusal.code, "name-taken")

    def test_taken_over(self) -> None:
        """With the token the guest has its name again, and nobody is told that anybody came or
        went; the earlier session is ended."""
        again = self.two.guest_with("gil", "second", "first")
        self.two.chat.take_over("first")
        self.assertEqual(self.news(self.watcher, self.other), [[], []])
        self.assertEqual(self.one.taken, ["first"])
        self.one.end(self.gil)
        self.assertEqual(self.news(self.other), [[]])
        self.assertEqual(self.two.users(self.other), ["gil", "other", "watcher"])
        self.assertEqual(self.one.users(self.watcher), ["gil", "other", "watcher"])
        self.two.end(again)
        self.assertEqual(self.news(self.watcher, self.other), [["-gil"]] * 2)
        self.assertEqual(self.log.claims.keys(), {"watcher", "other"} & self.log.claims.keys())

    def test_name_is_kept(self) -> None:
        """The end of the earlier session does not free the name of the later one."""
        self.two.guest_with("gil", "second", "first")
        self.one.end(self.gil)
        self.log.pull()
        self.assertEqual(self.one.refusal(self.one.accounts.hold("gil")).code, "name-taken")

    def test_taken_over_again(self) -> None:
        """The next session takes the name over with the token of the second one, at the first node
        again."""
        second = self.two.guest_with("gil", "second", "first")
        self.log.pull()
        self.one.end(self.gil)
        self.log.pull()
        third = self.one.guest_with("gil", "third", "second")
        self.log.pull()
        self.two.end(second)
        self.assertEqual(self.news(self.watcher, self.other), [[], []])
        for node, session in ((self.one, third), (self.two, self.other)):
            self.assertEqual(node.users(session), ["gil", "other", "watcher"])

    def test_rooms_of_the_earlier_session(self) -> None:
        """The rooms of the earlier session are left when it ends; those that the later one is in
        by then are not."""
        self.one.join("bar", self.gil)
        self.log.pull()
        again = self.two.guest_with("gil", "second", "first")
        self.two.join("tea", again, self.other)
        self.one.join("bar", self.watcher)
        self.log.pull()
        self.one.end(self.gil)
        self.assertEqual(self.news(self.watcher), [["-gil#bar"]])
        for node, session in ((self.one, self.watcher), (self.two, self.other)):
            self.assertEqual(node.rooms_of(session, "gil"), ("lobby", "tea"))

    def test_private_message_to_the_later_session(self) -> None:
        """What people of any node write to the guest in private reaches the later session, also
        after the earlier one has ended."""
        three = self.node()
        friend = three.guest("friend")
        again = self.two.guest_with("gil", "second", "first")
        for end in (lambda: None, lambda: self.one.end(self.gil)):
            end()
            for node, session in (
                (self.one, self.watcher),
                (three, friend),
                (self.two, self.other),
            ):
                self.log.pull()
                again.outbox.take()
                node.run_now(node.chat.direct(session, "gil", "psst"))
                self.log.pull()
                self.assertEqual(again.outbox.heard(), ["psst"])

    def test_private_message_to_the_earlier_session(self) -> None:
        """If the later session ends first, messages reach the earlier one again."""
        again = self.two.guest_with("gil", "second", "first")
        self.log.pull()
        self.two.end(again)
        self.log.pull()
        self.gil.outbox.take()
        for node, session in ((self.one, self.watcher), (self.two, self.other)):
            node.run_now(node.chat.direct(session, "gil", "psst"))
            self.log.pull()
        self.assertEqual(self.gil.outbox.heard(), ["psst", "psst"])

    def test_after_death(self) -> None:
        """The name is taken over also from a node that has died, before that is known and after."""
        self.one.die()
        again = self.two.guest_with("gil", "second", "first")
        self.log.bury(self.one.number)
        self.assertEqual(self.news(self.other), [["-watcher"]])
        self.assertEqual(self.two.users(self.other), ["gil", "other"])
        three = self.node()
        friend = three.guest("friend")
        three.run_now(three.chat.direct(friend, "gil", "psst"))
        self.log.pull()
        self.assertEqual(again.outbox.heard(), ["psst"])

    def test_by_renaming_and_gone_first(self) -> None:
        """If the session that took the name over ends before the earlier one, the guest stays until
        that one ends too."""
        session = Someone()
        session.token, session.former = "second", "first"
        hold = self.two.run_now(self.two.accounts.hold_guest_number())
        self.two.run_now(self.two.chat.come_as_guest(session, hold))
        self.two.run_now(self.two.chat.rename_guest(session, "gil"))
        self.news(self.watcher, self.other)
        self.two.end(session)
        self.assertEqual(self.news(self.watcher, self.other), [[], []])
        for node, watcher in ((self.one, self.watcher), (self.two, self.other)):
            self.assertEqual(node.users(watcher), ["gil", "other", "watcher"])
        self.one.end(self.gil)
        self.assertEqual(self.news(self.watcher, self.other), [["-gil"]] * 2)

    def test_earlier_session_becomes_an_account(self) -> None:
        """If the earlier session logs in to an account before it is ended, the account comes, and
        the guest stays with the later session, in its rooms."""
        self.one.registered("alice")
        again = self.two.guest_with("gil", "second", "first")
        self.one.log_in(self.gil, "alice")
        self.assertEqual(self.news(self.watcher, self.other), [["+alice"]] * 2)
        for node, watcher in ((self.one, self.watcher), (self.two, self.other)):
            self.assertEqual(node.users(watcher), ["alice", "gil", "other", "watcher"])
            self.assertEqual(node.rooms_of(watcher, "gil"), ("lobby",))
            self.assertEqual(node.rooms_of(watcher, "alice"), ("lobby", "tea"))
        self.one.end(self.gil)
        self.two.end(again)
        told = [["-alice", "-gil"]]
        self.assertEqual([sorted(words) for words in self.news(self.watcher, self.other)], told * 2)

    def test_earlier_session_becomes_an_account_that_is_here(self) -> None:
        """The same if the account is here already: nobody is told of anything."""
        self.two.account("alice")
        again = self.two.guest_with("gil", "second", "first")
        self.news(self.watcher, self.other)
        self.one.log_in(self.gil, "alice")
        self.assertEqual(self.news(self.watcher, self.other), [[], []])
        self.one.end(self.gil)
        self.two.end(again)
        self.assertEqual(self.news(self.watcher, self.other), [["-gil"]] * 2)

    def test_after_a_registration_that_failed(self) -> None:
        """A guest who tried in vain to register can be taken over still."""
        self.one.hasher.refusal = Refusal("busy", "too many")
        mine = self.one.hold(self.gil)
        self.one.refusal(self.one.accounts.register("gil", PASSWORD, SHARED, mine=mine))
        self.two.guest_with("gil", "second", "first")

    def test_after_it_was_taken_for_dead(self) -> None:
        """A guest whose node was taken for dead and lives can be taken over still."""
        self.log.bury(self.one.number)
        self.log.pull()
        self.two.guest_with("gil", "second", "first")

    def test_by_renaming(self) -> None:
        """A session that came with a generated name may take over the name of the session whose
        token it has."""
        session = Someone()
        session.token, session.former = "second", "first"
        self.two.run_now(
            self.two.chat.come_as_guest(
                session, self.two.run_now(self.two.accounts.hold_guest_number())
            )
        )
        self.news(self.watcher, self.other, session)
        self.two.run_now(self.two.chat.rename_guest(session, "gil"))
        self.assertEqual(self.news(self.watcher, self.other), [["-guest1"]] * 2)
        self.assertEqual(self.news(session), [["guest1>gil", "-guest1"]])
        self.two.chat.take_over("first")
        self.one.end(self.gil)
        self.assertEqual(self.news(self.watcher, self.other), [[], []])
        for node, watcher in ((self.one, self.watcher), (self.two, self.other)):
            self.assertEqual(node.users(watcher), ["gil", "other", "watcher"])
        self.two.end(session)
        self.log.pull()
        for node, watcher in ((self.one, self.watcher), (self.two, self.other)):
            self.assertEqual(node.users(watcher), ["other", "watcher"])


class BecomingTests(NodesTestCase):
    """A guest becomes an account."""

    def setUp(self) -> None:
        super().setUp()
        self.watcher = self.two.guest("watcher")

    def test_registers(self) -> None:
        """A guest who registers its name is told of as an account at other nodes, in its rooms."""
        gil = self.one.guest("gil")
        self.one.join("tea", gil)
        self.two.join("tea", self.watcher)
        self.news(self.watcher)
        self.one.run_now(
            self.one.accounts.register("gil", PASSWORD, SHARED, mine=self.one.hold(gil))
        )
        self.one.log_in(gil, "gil")
        (told,) = self.told(self.watcher)
        self.assertEqual([e for e in told if isinstance(e, Renamed)], told)
        self.assertEqual(
            [(e.name, e.to, e.account) for e in told if isinstance(e, Renamed)],
            [("gil", "gil", True)],
        )
        self.assertEqual(self.two.users(self.watcher, "tea"), ["gil", "watcher"])
        listed = self.two.chat.users(self.watcher, "lobby").people
        self.assertEqual(listed, (("gil", True), ("watcher", False)))
        self.one.end(gil)
        self.assertEqual(self.news(self.watcher), [["-gil"]])
        self.assertEqual(self.two.users(self.watcher, "tea"), ["watcher"])

    def test_logs_in(self) -> None:
        """A guest who logs in to an account that is not here is renamed."""
        self.one.registered("alice")
        gil = self.one.guest("gil")
        self.news(self.watcher)
        self.one.log_in(gil, "alice")
        self.assertEqual(self.news(self.watcher), [["gil>alice"]])
        self.assertEqual(self.two.users(self.watcher), ["alice", "watcher"])
        self.assertEqual(self.two.run_now(self.two.accounts.hold("gil")).name, "gil")

    def test_logs_in_to_an_account_that_is_here(self) -> None:
        """A guest who logs in to an account that is with another node leaves, everywhere."""
        desk = self.two.account("alice")
        near = self.one.guest("near")
        gil = self.one.guest("gil")
        self.news(self.watcher, near)
        self.one.log_in(gil, "alice")
        self.assertEqual(self.news(self.watcher, near), [["-gil"], ["-gil"]])
        self.two.end(desk)
        self.assertEqual(self.news(self.watcher, near), [[], []])
        self.one.end(gil)
        self.assertEqual(self.news(self.watcher, near), [["-alice"], ["-alice"]])

    def test_registers_while_somebody_logs_in_elsewhere(self) -> None:
        """If somebody logs in to a name that a guest of another node has just registered, before
        the guest has become the account, the account is here once, and leaves once."""
        gil = self.one.guest("gil")
        self.news(self.watcher)
        self.one.run_now(
            self.one.accounts.register("gil", PASSWORD, SHARED, mine=self.one.hold(gil))
        )
        phone = self.two.account("gil")
        self.assertEqual(self.news(self.watcher), [["-gil", "+gil"]])
        self.one.log_in(gil, "gil")
        self.log.pull()
        near = self.one.guest("near")
        self.log.pull()
        for node, session in ((self.one, near), (self.two, self.watcher)):
            listed = node.chat.users(session, "lobby").people
            self.assertEqual(listed, (("gil", True), ("near", False), ("watcher", False)))
        self.news(self.watcher, near)
        self.two.end(phone)
        self.assertEqual(self.news(self.watcher, near), [[], []])
        self.one.end(gil)
        self.assertEqual(self.news(self.watcher, near), [["-gil"], ["-gil"]])

    def test_guest_goes_on_while_the_account_is_elsewhere(self) -> None:
        """What a guest does whose name is an account's by now puts the account into no room and
        takes it out of none."""
        gil = self.one.guest("gil")
        self.one.run_now(
            self.one.accounts.register("gil", PASSWORD, SHARED, mine=self.one.hold(gil))
        )
        self.two.join("bar", self.two.account("gil"))
        self.one.join("tea", gil)
        self.one.end(gil)
        self.log.pull()
        self.assertEqual(self.two.rooms_of(self.watcher, "gil"), ("bar", "lobby"))


class PasswordTests(NodesTestCase):
    """Passwords that are changed at another node."""

    def setUp(self) -> None:
        super().setUp()
        self.desk, self.phone = self.one.account("alice"), self.two.account("alice")
        self.log.pull()

    def change(self, farewell: str) -> None:
        """Change the password at the first node."""
        self.one.run_now(
            self.one.accounts.change_password(
                "alice", PASSWORD, "new and longer", SHARED, farewell=farewell
            )
        )

    def test_sessions_end(self) -> None:
        """The account's sessions at other nodes are ended with the farewell, and nobody else's."""
        bob = self.two.account("bob")
        self.change("the password was changed")
        self.log.pull()
        self.assertEqual(self.phone.face.farewells, ["the password was changed"])
        self.assertEqual((self.desk.face.farewells, bob.face.farewells), ([], []))

    def test_sessions_stay(self) -> None:
        """With no farewell they stay."""
        self.change("")
        self.log.pull()
        self.assertEqual(self.phone.face.farewells, [])

    def test_login_under_way(self) -> None:
        """A login with the old password is refused if the password was changed at another node
        after it was checked."""
        credential = self.two.run_now(self.two.accounts.authenticate("alice", PASSWORD, SHARED))
        self.two.store.hold()
        session = Someone()
        login = self.two.begin(self.two.chat.log_in(session, credential.account))
        self.change("bye")
        self.two.store.release()
        refusal = self.failureResultOf(login, Refusal).value
        self.assertEqual(refusal.code, "wrong-password")
        self.assertIsNone(session.person)

    def test_password_under_check(self) -> None:
        """A password that is being checked while it is changed at another node is wrong."""
        self.two.hasher.held = True
        checking = self.two.begin(self.two.accounts.authenticate("alice", PASSWORD, SHARED))
        self.change("bye")
        self.log.pull()
        self.two.hasher.release()
        self.assertEqual(self.failureResultOf(checking, Refusal).value.code, "wrong-password")

    def test_two_changes_at_once(self) -> None:
        """Of two changes at two nodes at once, the second is refused."""
        self.two.hasher.held = True
        changing = self.two.begin(
            self.two.accounts.change_password("alice", PASSWORD, "other words", SHARED)
        )
        self.change("")
        while self.two.hasher.waiting:
            self.two.hasher.release()
            self.clock.advance(60)
        self.assertEqual(self.failureResultOf(changing, Refusal).value.code, "wrong-password")
        self.one.run_now(self.one.accounts.authenticate("alice", "new and longer", SHARED))

    def test_same_name_as_a_guest(self) -> None:
        """A change ends no session of a guest who has had the name since."""
        self.change("bye")
        self.assertEqual(self.two.users(self.phone), ["alice"])


class GuardTests(NodesTestCase):
    """What is limited by address is counted over all nodes."""

    limits = Limits(
        wrong_passwords=3, registrations_per_address=2, rooms_per_address=2, max_rooms=20
    )
    source = Source("192.0.2.7")

    def setUp(self) -> None:
        super().setUp()
        self.one.registered("alice")

    def guess(self, node: Node, password: str = "wrong") -> str:
        """Try a password at a node; give the code of the refusal."""
        guessing = node.begin(node.accounts.authenticate("alice", password, self.source))
        while not guessing.called:
            self.clock.advance(1)
        self.log.pull()
        return str(self.failureResultOf(guessing, Refusal).value.code)

    def test_wrong_passwords(self) -> None:
        """Wrong passwords that were tried at one node count at the others."""
        codes = [self.guess(node) for node in (self.one, self.two, self.one, self.two)]
        self.assertEqual(codes[:3], ["wrong-password"] * 3)
        codes = [self.guess(node) for node in (self.one, self.two)]
        self.assertEqual(codes, ["throttled"] * 2)

    def test_wrong_passwords_of_an_account(self) -> None:
        """Wrong passwords for an account that were tried at one node, from anywhere, delay the
        answer at the others."""
        for number in range(4):
            self.source = Source(f"192.0.2.{number}")
            self.guess(self.one)
        checking = self.two.begin(self.two.accounts.authenticate("alice", PASSWORD, SHARED))
        self.assertNoResult(checking)
        self.clock.advance(60)
        self.successResultOf(checking)

    def test_registrations(self) -> None:
        """Registrations at one node count at the others; those that fail do not."""
        for node, name, password in (
            (self.one, "bob", PASSWORD),
            (self.one, "alice", PASSWORD),
            (self.two, "carol", PASSWORD),
        ):
            try:
                node.run_now(node.accounts.register(name, password, self.source))
            except Refusal as refusal:
                self.assertEqual(refusal.code, "name-registered")
            self.log.pull()
        for node in (self.one, self.two):
            refused = node.refusal(node.accounts.register("dave", PASSWORD, self.source))
            self.assertEqual(refused.code, "throttled")

    def test_rooms(self) -> None:
        """Rooms that were made at one node count at the others."""
        sessions = [self.one.account("alice"), self.two.account("bob")]
        for session in sessions:
            session.source = self.source
        self.one.join("tea", sessions[0])
        self.log.pull()
        self.two.join("bar", sessions[1])
        self.log.pull()
        for node, session in zip(self.nodes, sessions, strict=True):
            self.assertEqual(node.refusal(node.chat.join(session, "pub")).code, "throttled")
