"""Clients in pipes while their server is killed."""

import json
import subprocess

from tests.end_to_end import test_client_pipe
from tests.end_to_end.terminal import TIMEOUT
from tests.end_to_end.test_client_pipe import Child


class KilledTests(test_client_pipe.ClientTestCase):
    """The daemon is killed with -9 while lines pass, and started again, twice."""

    # Nothing slows the poster here, so the follower may miss more than the default of /since.
    options = ("--max-history", "3000", "--outbox", str(16 * 2**20))
    lines = 1500

    def test_poster_and_follower(self) -> None:
        """Every line is in the log once and in order, and reached the follower so."""
        follower = self.child("--room", "ops", "--json", stdout=subprocess.PIPE)
        assert follower.stdout is not None
        self.see(follower, "connected")
        poster = self.child(
            "--room", "ops", "--name", "deploy", stdin=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert poster.stdin is not None
        followed: list[int] = []
        every = self.lines // 3 + 1
        for n in range(self.lines):
            poster.stdin.write(b"%d\n" % n)
            poster.stdin.flush()
            if n % every == every - 1:  # most of the last 500 are on their way now
                while len(followed) < n - every // 2:
                    self.follow(follower, followed)
                self.daemon.kill()
                self.daemon.start()
        poster.stdin.close()
        while len(followed) < self.lines:
            self.follow(follower, followed)
        self.assertEqual(poster.wait(TIMEOUT), 0)
        self.assertEqual(followed, list(range(self.lines)))
        self.assertEqual(self.said("ops", self.lines), [str(n) for n in range(self.lines)])

    def see(self, child: Child, kind: str) -> None:
        assert child.stdout is not None
        while json.loads(child.stdout.readline())["event"] != kind:
            pass

    def follow(self, child: Child, followed: list[int]) -> None:
        assert child.stdout is not None
        event = json.loads(child.stdout.readline())
        self.assertNotEqual(event["event"], "gap")
        if event["event"] == "message":
            followed.append(int(event["text"]))
