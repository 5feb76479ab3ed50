"""What becomes of an account's sessions when its password is changed, and of its hash at login."""

import re

from tests.faces.line.server import Peer, ServerTestCase

_ENDED = "* your password was changed; log in with the new one\n"
_CHANGED = "* your password was changed"


class PasswdTests(ServerTestCase):
    """C{/passwd} while alice has three sessions."""

    def setUp(self) -> None:
        super().setUp()
        self.register("alice", "wonderland")
        self.alice, *self.others = [self.log_in() for _ in range(3)]

    def log_in(self, password: str = "wonderland") -> Peer:
        peer = self.peer()
        self.say(peer, f"/login alice {password}\n")
        return peer

    def test_ends_the_other_sessions(self) -> None:
        """C{/passwd} ends the other sessions, which are told why; the one that changed it is told
        how many, and nobody that alice left."""
        bob = self.guest("bob")
        for other in self.others:
            other.take()
        answer = self.say(self.alice, "/passwd wonderland looking-glass\n")
        self.assertEqual(answer, f"{_CHANGED}; 2 other sessions have ended\n")
        for other in self.others:
            self.assertEqual(other.take(), _ENDED)
            self.assertTrue(other.gone)
        self.assertEqual(bob.take(), "")
        self.assertEqual(self.say(self.alice, "still here\n"), "")
        self.assertIn("alice: still here\n", bob.take())

    def test_one_other_session(self) -> None:
        """One other session is told of in the singular."""
        self.others[0].vanish()
        answer = self.say(self.alice, "/passwd wonderland looking-glass\n")
        self.assertEqual(answer, f"{_CHANGED}; 1 other session has ended\n")

    def test_no_other_session(self) -> None:
        """Without other sessions nothing is said of them."""
        for other in self.others:
            other.vanish()
        answer = self.say(self.alice, "/passwd wonderland looking-glass\n")
        self.assertEqual(answer, f"{_CHANGED}\n")

    def test_keep(self) -> None:
        """C{--keep} leaves the other sessions."""
        answer = self.say(self.alice, "/passwd --keep wonderland looking-glass\n")
        self.assertEqual(answer, f"{_CHANGED}\n")
        self.say(self.others[0], "hello\n")
        self.assertIn("alice: hello\n", self.others[1].take())
        self.assertIn("Welcome, alice", self.say(self.peer(), "/login alice looking-glass\n"))

    def test_refused(self) -> None:
        """A refused change ends no session."""
        for line in ("/passwd wrong-one looking-glass", "/passwd wonderland short"):
            self.assertIn("! ", self.say(self.alice, f"{line}\n"))
        self.assertEqual([other.take() for other in self.others], ["", ""])

    def test_what_they_sent_before_is_said(self) -> None:
        """Posts of the other sessions that were accepted are said; queued lines are not carried
        out."""
        bob = self.guest("bob")
        self.store.hold()
        self.others[0].send("before\n/join tea\nafter\n")
        self.settle()
        self.alice.send("/passwd wonderland looking-glass\n")
        self.settle()
        self.store.release()
        self.settle()
        self.let_go()
        said = bob.take()
        self.assertIn("alice: before\n", said)
        self.assertTrue(self.others[0].gone)

    def test_question_that_is_open(self) -> None:
        """A session that is ended at a question is told why, and its typing is shown again."""
        one, other = self.others
        self.assertIn("rivate message to", self.say(one, "DM\n"))
        self.assertTrue(self.say(other, "/passwd\n").endswith("Old password: \x1b[8m"))
        self.say(self.alice, "/passwd wonderland looking-glass\n")
        self.assertEqual(one.take(), _ENDED)
        self.assertRegex(other.take(), rf"^\x1b\[0m\n?{re.escape(_ENDED)}$")
        self.assertTrue(one.gone and other.gone)

    def test_asked_for(self) -> None:
        """Passwords that are asked for end the other sessions too; C{--keep} goes without them."""
        answers = "wonderland\nlooking-glass\nlooking-glass\n"
        self.assertIn(_CHANGED + "\n", self.say(self.alice, f"/passwd --keep\n{answers}"))
        answers = "looking-glass\nwonderland\nwonderland\n"
        self.assertIn("; 2 other sessions have", self.say(self.alice, f"/passwd\n{answers}"))

    def test_programs_are_told(self) -> None:
        """A program whose session is ended gets a C{bye} event."""
        robot = self.peer()
        self.say(robot, "/json on\n/login alice wonderland\n")
        self.say(self.alice, "/passwd wonderland looking-glass\n")
        (bye,) = robot.take_events()
        self.assertEqual(bye["event"], "bye")
        self.assertEqual(bye["text"], "your password was changed; log in with the new one")

    def test_one_who_is_coming_in(self) -> None:
        """A login with the old password that is under way, at any step, is refused."""
        for steps in range(12):
            self.serve()
            self.register("alice", "wonderland")
            alice, late = self.log_in(), self.peer()
            late.take()
            self.store.hold()
            self.hasher.held = True
            alice.send("/passwd wonderland looking-glass\n")
            self.settle()
            for _ in range(steps):
                self.step()
            late.send("/login alice wonderland\n")
            self.settle()
            self.let_go()
            self.assertIn(_CHANGED, alice.take(), steps)
            told = late.take()
            self.assertTrue(late.gone or "! " in told, (steps, told))
            if late.gone:
                self.assertTrue(told.endswith(_ENDED), told)

    def test_the_one_who_changed_it_is_gone(self) -> None:
        """The other sessions are ended also if the session that changed the password has ended."""
        self.hasher.held = True
        self.alice.send("/passwd wonderland looking-glass\n")
        self.settle()
        self.alice.vanish()
        self.let_go()
        self.assertTrue(all(other.gone for other in self.others))

    def test_two_at_once(self) -> None:
        """Of two changes at once, the first ends the session of the other."""
        self.hasher.held = True
        for peer in self.alice, self.others[0]:
            peer.send("/passwd wonderland looking-glass\n")
        self.settle()
        self.let_go()
        self.assertIn("; 2 other sessions have ended\n", self.alice.take())
        self.assertTrue(all(other.gone for other in self.others))


class RenewalTests(ServerTestCase):
    """The renewal of an outdated hash at login."""

    def setUp(self) -> None:
        super().setUp()
        self.store.add_account("alice", "alice", b"hash of wonderland", 0)
        self.hasher.outdated = {b"hash of wonderland"}
        self.hashed: list[str] = []
        really = self.hasher.hash

        async def note(password: str, network: str = "", /) -> bytes:
            self.hashed.append(password)
            await really(password, network)
            return b"new hash"

        self.patch(self.hasher, "hash", note)

    def password_hash(self) -> bytes:
        found = self.successResultOf(self.store.find_password("alice"))
        assert found is not None
        return found.password_hash

    def test_after_the_answer(self) -> None:
        """A login is complete before the password is hashed again."""
        for lines in ("/login alice wonderland\n/users\n", "alice\nwonderland\n/users\n"):
            self.serve()
            self.setUp()
            peer = self.peer()
            self.hasher.held = True
            peer.send(lines)
            self.settle()
            self.assertEqual(self.hashed, [])
            self.hasher.release()  # the password is right
            self.settle()
            self.assertIn("1 person is in the lobby: alice", peer.take())
            self.assertEqual(self.hashed, ["wonderland"])
            self.assertEqual(self.password_hash(), b"hash of wonderland")
            self.let_go()
            self.assertEqual(self.password_hash(), b"new hash")

    def test_wrong_password(self) -> None:
        """A wrong password renews nothing."""
        self.say(self.peer(), "/login alice looking-glass\n")
        self.assertEqual(self.hashed, [])

    def test_the_one_who_logged_in_is_gone(self) -> None:
        """The hash is renewed also if the session has ended meanwhile."""
        peer = self.peer()
        self.hasher.held = True
        peer.send("/login alice wonderland\n")
        self.settle()
        self.hasher.release()
        self.settle()
        peer.vanish()
        self.let_go()
        self.assertEqual(self.password_hash(), b"new hash")

    def test_failure(self) -> None:
        """A renewal that fails is logged, and the session goes on."""

        def fail(*_: object) -> None:
            raise ValueError("out of salt")

        self.patch(self.hasher, "hash", fail)
        peer = self.peer()
        self.assertIn("Welcome, alice", self.say(peer, "/login alice wonderland\n"))
        self.assertIn("1 person is in the lobby: alice", self.say(peer, "/users\n"))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
