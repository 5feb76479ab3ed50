"""A server that starts on a database of version 0.1."""

import json
import tempfile
from pathlib import Path
from typing import Any

import bcrypt
from twisted.trial.unittest import SynchronousTestCase

from tests.daemon import ForkedDaemon
from tests.store.databases import restore

from .terminal import pipe

_PASSWORD = "wonderland"


class UpgradeTest(SynchronousTestCase):
    def test_everything_is_where_it_was(self) -> None:
        """Somebody logs in with their password, is told what they have not read, and finds rooms,
        topics, histories and resume points."""
        directory = Path(tempfile.mkdtemp(prefix="chat-"))
        secret = bcrypt.hashpw(_PASSWORD.encode(), bcrypt.gensalt(4)).hex()
        restore(
            "0004",
            directory / "chat.db",
            f"UPDATE accounts SET password_hash = x'{secret}' WHERE name = 'alice'",
        )
        script = (
            "/json on",
            "/since lobby=8 @bob=2",
            f"/login alice {_PASSWORD}",
            "/history 2 @bob",
            "/rooms",
            "/since dev=1",
            "/join dev",
            "the log goes on",
        )
        with ForkedDaemon(directory=directory) as daemon:
            lines = pipe(daemon.port, "".join(f"{line}\n" for line in script)).splitlines()
        events: list[dict[str, Any]] = [json.loads(line) for line in lines if line[:1] == "{"]
        self.assertIn("upgrading the database: 0 of 19 messages (0 %)", "".join(daemon.log))

        def told(event: str, *fields: str) -> list[tuple[Any, ...]]:
            return [tuple(e[f] for f in fields) for e in events if e["event"] == event]

        self.assertEqual(
            told("message", "room", "seq", "id", "from", "text"),
            [
                ("lobby", 9, 23, "dave", "bye again"),
                ("dev", 2, 9, "alice", "reviews"),
                ("dev", 3, 14, "carol", "\u4f60\u597d \U0001f600"),
                ("dev", 5, 25, "alice", "the log goes on"),
            ],
        )
        since, unread, asked = [(15, 3), (20, 4)], [(13, 1), (16, 1)], [(15, 3), (20, 4)]
        self.assertEqual(told("dm", "id", "seq"), [*since, *unread, *asked])
        self.assertEqual(told("unread", "count"), [(2,)])
        self.assertEqual(told("topic", "room", "topic"), [("dev", "release on friday")])
        (rooms,) = [e["rooms"] for e in events if e["event"] == "rooms" and "joined" not in e]
        self.assertEqual(
            {room["room"] for room in rooms}, {"lobby", "dev", "attic", "caf\xe9", "\u0501ev"}
        )
        self.assertNotIn("Traceback", "".join(daemon.log))
