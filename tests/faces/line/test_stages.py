"""A connection that ends at each stage of a dialogue."""

from collections.abc import Callable, Iterator, Sequence
from itertools import count, islice

from .server import (
    Peer,
    ServerTestCase,
)

_DIALOGUES: dict[str, Sequence[str]] = {
    "a new name is registered": ("alice\n", "wonderland\n", "wonderland\n"),
    "a new name becomes a guest": ("alice\n", "\n"),
    "a generated name": ("\n",),
    "a registered name": ("bob\n", "builder-pw\n"),
    "a wrong password": ("bob\n", "wrong\n", "bob\n"),
    "registered in one line": ("/register alice wonderland\n",),
    "logged in in one line": ("/login bob builder-pw\n",),
    "a guest in one line": ("/guest alice\n",),
    "a guest registers": ("/guest alice\n", "/register alice wonderland\n"),
    "a guest becomes another's account": ("/guest alice\n", "/login bob builder-pw\n"),
    "a guest takes another name": ("/guest carol\n", "/nick alice\n"),
    "a new password": ("/login bob builder-pw\n", "/passwd builder-pw looking-glass\n"),
    "a password is asked for": ("/login bob\n", "wrong\n", "builder-pw\n"),
    "a name and a password": ("/register alice\n", "wonderland\n", "wonderland\n"),
    "a guest, and a password": ("/guest alice\n", "/register alice\n", *("wonderland\n",) * 2),
    "passwords": ("/login bob\n", "builder-pw\n", "/passwd\n", "builder-pw\n", "new-pw-9\n", "\n"),
    "a room is joined": ("/guest alice\n", "/join tea\n", "/topic tea time\n"),
    "PM": ("/guest alice\n", "PM\n", "hello\n"),
    "PM and a command": ("/guest alice\n", "PM\n", "/users\n", "y\n"),
    "DM": ("/guest alice\n", "DM\n", "bob\n", "hello\n"),
    "talk": ("/guest alice\n", "one\n", "/dm bob two\n", "three\n/users\n", "/history\n"),
    "quit": ("/guest alice\n", "one\n/quit\n"),
}


class StagesTests(ServerTestCase):
    """A connection that ends at each stage of a dialogue, wherever the server waits."""

    def stages(self, end: Callable[[Peer], None]) -> Iterator[tuple[str, Peer]]:
        """Each dialogue, again and again, up to each of its stages, where the peer ends so; a
        stage is a line that is sent, or an answer of the store or the hasher."""
        for name, lines in _DIALOGUES.items():
            for stage in count():
                self.serve()
                self.register("bob", "builder-pw")
                self.store.hold()
                self.hasher.held = True
                peer = self.peer()
                done = len(list(islice(self.dialogue(peer, lines), stage)))
                end(peer)
                self.let_go()
                yield f"{name}, stage {stage}", peer
                if done < stage:
                    break

    def dialogue(self, peer: Peer, lines: Sequence[str]) -> Iterator[None]:
        """Say the lines, each when the server waits for it."""
        for line in lines:
            peer.send(line)
            self.settle()
            yield
            while self.step():
                yield

    def test_dialogues_have_stages(self) -> None:
        """Registering waits for a name, a look-alike twice, the hash, the account, and more."""
        seen = [stage for stage, _ in self.stages(Peer.vanish)]
        registering = [stage for stage in seen if stage.startswith("a new name is registered")]
        self.assertGreater(len(registering), 8)

    def test_vanishing(self) -> None:
        """A peer that vanishes at any stage leaves nobody behind, no name and no error."""
        for stage, peer in self.stages(Peer.vanish):
            self.assertTrue(peer.gone)
            prober = self.peer()
            answer = self.say(prober, "/guest alice\n/login alice wonderland\n/users\n")
            self.assertNotIn("is taken", answer, stage)
            self.assertRegex(answer, r"\* 1 person is in the lobby: alice", stage)
            prober.vanish()
            self.assertEqual(self.clock.getDelayedCalls(), [], stage)
            self.assertEqual(self.flushLoggedErrors(), [], stage)

    def test_half_close(self) -> None:
        """A peer that half-closes at any stage gets the pending answers and a bye."""
        for stage, peer in self.stages(Peer.end):
            self.assertTrue(peer.gone, stage)
            self.assertTrue(peer.take().endswith("* bye\n"), stage)
            prober = self.peer()
            answer = self.say(prober, "/guest alice\n/login alice wonderland\n/users\n")
            self.assertRegex(answer, r"\* 1 person is in the lobby: alice", stage)
            prober.vanish()
            self.assertEqual(self.flushLoggedErrors(), [], stage)
