"""C{make cluster}: three nodes that are one chat, and nothing left of them."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests import postgres
from tests.end_to_end.terminal import Peer

_ROOT = Path(__file__).parent.parent


class ClusterTest(SynchronousTestCase):
    skip = postgres.missing()

    def test_three_nodes(self) -> None:
        """People at the three nodes and behind HAProxy hear each other; a node that is killed is
        started again; the end leaves nothing behind."""
        directory = Path(tempfile.mkdtemp(prefix="chat-"))
        directory.chmod(0o755)
        cluster = subprocess.Popen(
            [sys.executable, "-m", "docs.cluster", "--port", "0"],
            cwd=_ROOT,
            env={**os.environ, "TMPDIR": str(directory)},
            stdout=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(cluster.wait)
        self.addCleanup(cluster.terminate)
        assert cluster.stdout is not None
        self.addCleanup(cluster.stdout.close)
        said = ""
        while "Ctrl-C ends everything" not in said:
            line = cluster.stdout.readline()
            self.assertTrue(line, said)
            said += line
        ports = [int(port) for port in re.findall(r"port (\d+)", said)]
        pids = [int(pid) for pid in re.findall(r"process (\d+)", said)]
        peers = []
        for number, port in enumerate(ports):
            peers.append(peer := Peer(port))
            self.addCleanup(peer.socket.close)
            peer.send(f"/guest person{number}\n")
            peer.see("the commands.\n")
        peers[0].send("hello everybody\n")
        for peer in peers[1:]:
            peer.see("] person0: hello everybody\n")

        os.kill(pids[1], signal.SIGKILL)  # the first is PostgreSQL's
        self.assertIn("node1 has ended; started again", cluster.stdout.readline())
        cluster.terminate()
        self.assertEqual(cluster.wait(60), 0)
        for pid in pids:
            with self.assertRaises(ProcessLookupError):
                os.kill(pid, 0)
        until = time.monotonic() + 20
        while list(directory.iterdir()) and time.monotonic() < until:
            time.sleep(0.05)
        self.assertEqual(list(directory.iterdir()), [])
