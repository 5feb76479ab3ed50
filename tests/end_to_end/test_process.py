"""The daemon as a process: how it starts, refuses to, and ends."""

import json
import signal
import socket
import sqlite3
import subprocess
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.daemon import Daemon, ForkedDaemon, run_twistd, twistd

from .terminal import TIMEOUT, DaemonTestCase, Peer, pipe


class EndTest(DaemonTestCase):
    launch = Daemon

    def end(self, with_signal: signal.Signals) -> None:
        alice, bob = self.guest("alice"), self.guest("bob")
        bob.send("".join(f"line {n}\n" for n in range(200)))
        alice.see("line 199\n")
        code = self.daemon.stop(with_signal)
        self.assertTrue(alice.rest().endswith("* the server is going down; bye\n"))
        self.assertIn(code, (0, -with_signal))
        self.assertNoTraceback()
        self.daemon.start()
        self.assertEqual(pipe(self.daemon.port, "\n/history 500\n").count("] bob: line"), 220)

    def test_SIGTERM(self) -> None:
        """Everyone gets a bye line, and what was accepted is kept."""
        self.end(signal.SIGTERM)

    def test_SIGINT(self) -> None:
        """Ctrl-C ends the daemon as SIGTERM does."""
        self.end(signal.SIGINT)

    def test_a_reader_that_does_not_read_does_not_hold_it_up(self) -> None:
        """A reader that does not read is cut off."""
        stuck = socket.socket()
        self.addCleanup(stuck.close)
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stuck.connect(("127.0.0.1", self.daemon.port))
        stuck.sendall(b"/guest stuck\n")
        bob = self.guest("bob")
        for n in range(3000):
            bob.send(f"{n} {'x' * 1000}\n")
        bob.send("/users\n")
        bob.see("* 2 people are in the lobby")
        self.daemon.stop()
        self.assertTrue(bob.rest().endswith("* the server is going down; bye\n"))


class RefusalTest(SynchronousTestCase):
    """What makes the daemon not start: one clear line, and an exit code."""

    def setUp(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="chat-"))

    def refuse(self, *options: str) -> str:
        code, output = run_twistd(*options, directory=self.directory)
        self.assertEqual(code, 1, output)
        self.assertNotIn("Traceback", output)
        said = [line for line in output.splitlines() if "twistd chat: " in line]
        self.assertEqual(len(said), 1, output)
        return said[0].partition("twistd chat: ")[2]

    def test_busy_port(self) -> None:
        """The daemon does not start on a port that is taken."""
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            self.assertEqual(
                self.refuse("--port", f"tcp:{port}:interface=127.0.0.1"),
                f"cannot listen on port tcp:{port}:interface=127.0.0.1:"
                " [Errno 98] Address already in use",
            )

    def test_wrong_option(self) -> None:
        """An unknown option is refused."""
        self.assertEqual(self.refuse("--prot", "5000"), "option --prot not recognized")

    def test_wrong_number(self) -> None:
        """A number that is none is refused."""
        self.assertIn("--max-rooms", self.refuse("--max-rooms", "many"))

    def test_wrong_port(self) -> None:
        """A port number that cannot be is refused."""
        self.assertIn("there is no port 70000", self.refuse("--port", "70000"))

    def test_wrong_endpoint(self) -> None:
        """An endpoint string that makes no sense is refused."""
        self.assertIn("cannot use the port nonsense:1", self.refuse("--port", "nonsense:1"))

    def test_argument(self) -> None:
        """An argument that is no option is refused."""
        self.assertIn('"5000" is not an option', self.refuse("5000"))

    def test_not_a_database(self) -> None:
        """A file that is no database is refused."""
        (self.directory / "chat.db").write_text("shopping list\n" * 1000)
        self.assertIn("file is not a database", self.refuse("--port", "0"))

    def test_no_such_directory(self) -> None:
        """A database in a directory that does not exist is refused."""
        self.assertIn(
            "unable to open database file",
            self.refuse("--port", "0", "--database", "sqlite:////nonexistent/chat.db"),
        )

    def test_other_database(self) -> None:
        """A URL of a database that is not supported is refused."""
        self.assertIn(
            "mysql databases are not supported",
            self.refuse("--database", "mysql://localhost/chat"),
        )

    def test_newer_database(self) -> None:
        """A database that a newer version has upgraded is refused."""
        with ForkedDaemon(directory=self.directory):
            pass
        with sqlite3.connect(self.directory / "chat.db") as database:
            database.execute("UPDATE alembic_version SET version_num = '9999'")
        database.close()
        self.assertIn("install a newer twisted-chat", self.refuse("--port", "0"))

    def test_database_of_another_program(self) -> None:
        """A database of another program is refused, also in the background, where no process
        stays."""
        with sqlite3.connect(self.directory / "chat.db") as database:
            database.execute("CREATE TABLE recipes (name)")
        database.close()
        self.assertEqual(
            self.refuse("--port", "0"),
            "cannot use the database sqlite:///chat.db:"
            " it is the database of another program; choose another database",
        )
        self.assert_no_process_stays()

    def test_database_without_a_lobby(self) -> None:
        """A database without a lobby is refused, and no process stays."""
        with ForkedDaemon(directory=self.directory):
            pass
        with sqlite3.connect(self.directory / "chat.db") as database:
            database.execute("DELETE FROM rooms")
        database.close()
        self.assertIn("it has no lobby", self.refuse("--port", "0"))
        self.assert_no_process_stays()

    def assert_no_process_stays(self) -> None:
        """Where it is to go to the background, it ends there, too; the pid file goes last."""
        twistd_, _, _, chat, *options = twistd("--port", "0")
        command = [twistd_, "--pidfile=twistd.pid", "--logfile=log", chat, *options]
        done = subprocess.run(
            command, cwd=self.directory, stderr=subprocess.PIPE, timeout=TIMEOUT, check=False
        )
        self.assertEqual(done.returncode, 1)
        self.assertFalse((self.directory / "twistd.pid").exists())

    def test_database_in_use(self) -> None:
        """A database that another daemon has open is refused."""
        with ForkedDaemon(directory=self.directory):
            self.assertIn("another process has it open", self.refuse("--port", "0"))

    def test_motd_unreadable(self) -> None:
        """A message of the day that cannot be read is refused."""
        self.assertIn("cannot read the --motd file", self.refuse("--motd", "missing.txt"))


class OptionsTest(SynchronousTestCase):
    def test_several_ports_a_name_and_a_motd(self) -> None:
        """The daemon listens wherever it is told to, and says what it is told to."""
        directory = Path(tempfile.mkdtemp(prefix="chat-"))
        (directory / "motd").write_text("Be kind.\n")
        path = directory / "chat.sock"
        daemon = ForkedDaemon(
            "--port", f"unix:{path}", "--name", "the lab", "--motd", "motd", directory=directory
        )
        self.addCleanup(daemon.kill)
        daemon.start()
        with Peer(path) as here, Peer(daemon.port) as there:
            here.send("/guest alice\n")
            here.see("* Welcome, alice.")
            there.see("* Welcome to the lab.")
            there.send("/guest bob\n")
            there.see("* Be kind.\n")
            there.send("/users\n")
            there.see("2 people are in the lobby: alice (guest), bob (guest)")

    def test_old_messages_are_deleted(self) -> None:
        """--history-days deletes what is older, and the numbering goes on."""
        directory = Path(tempfile.mkdtemp(prefix="chat-"))
        with ForkedDaemon(directory=directory) as daemon:
            pipe(daemon.port, "\nold\nnot so old\n")
            daemon.stop()
        with sqlite3.connect(directory / "chat.db") as database:
            database.execute("UPDATE entries SET time = time - 3 * 24 * 3600 * 1000 WHERE seq = 1")
        database.close()
        with ForkedDaemon("--history-days", "2", directory=directory) as daemon:
            lines = pipe(daemon.port, "/json on\n/guest alice\nnew\n").splitlines()
            events = [json.loads(line) for line in lines if line.startswith("{")]
            messages = [event for event in events if event["event"] == "message"]
            self.assertEqual(
                [(m["seq"], m["text"]) for m in messages], [(2, "not so old"), (3, "new")]
            )
