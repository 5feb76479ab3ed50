"""A server that is killed a hundred times under people who repeat what has no answer."""

import json
import random
import socket
import sqlite3
from contextlib import closing
from typing import Any

from twisted.trial.unittest import TestCase

from tests.daemon import ForkedDaemon

_KILLS = 100
_WINDOW = 40
"""Posts without an answer that a person has at once."""


class _Poster:
    """Somebody who numbers what they say, and repeats it until it is answered.

    @ivar answers: for each post that was answered, by label, its C{seq} and C{id}.
    """

    def __init__(self, name: str, where: dict[str, str]) -> None:
        """@param where: the command and the place of the posts."""
        self.name = name
        self.answers: dict[str, tuple[int, int]] = {}
        self._where = where
        self._unanswered: dict[str, bytes] = {}
        self._said = 0
        self._rest = b""

    def connect(self, port: int, *, is_new: bool) -> None:
        """Log in, be in the room, and repeat what was not answered."""
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self._rest = b""
        do = "register" if is_new else "login"
        self._send(b"/json on\n")
        self._ask(do=do, name=self.name, password="s3cret-pw", label="in")
        self._ask(do="join", room="dev", label="joined")
        while self._read() != "joined":
            pass
        self._send(b"".join(self._unanswered.values()))

    def talk(self, answers: int) -> None:
        """Say more, until so many more posts are answered."""
        wanted = len(self.answers) + answers
        while len(self.answers) < wanted:
            more = []
            while len(self._unanswered) < _WINDOW:
                label = f"{self.name}-{'0' * 16}{self._said:06}"
                post = {**self._where, "message": f"{self.name} {self._said}", "label": label}
                more.append(json.dumps(post).encode() + b"\n")
                self._unanswered[label] = more[-1]
                self._said += 1
            if more:
                self._send(b"".join(more))
            self._read()

    def say(self) -> None:
        """Say more, and do not wait for the answers."""
        label = f"{self.name}-{'0' * 16}{self._said:06}"
        post = {**self._where, "message": f"{self.name} {self._said}", "label": label}
        self._unanswered[label] = json.dumps(post).encode() + b"\n"
        self._said += 1
        self._send(self._unanswered[label])

    def lose(self) -> None:
        """Read what still comes from a server that is dead."""
        try:
            while self._read() is not None:
                pass
        except ConnectionError:
            pass
        self._socket.close()

    def _ask(self, **request: str) -> None:
        self._send(json.dumps(request).encode() + b"\n")

    def _send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def _read(self) -> str | None:
        """Read an event; give the label of a C{done}, an empty string for any other event, and
        L{None} at the end."""
        while b"\n" not in self._rest:
            data = self._socket.recv(65536)
            if not data:
                return None
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        event: dict[str, Any] = json.loads(line) if line.startswith(b"{") else {}
        if event.get("event") == "error":
            raise AssertionError(f"refused: {event}")
        if event.get("event") != "done":
            return ""
        label = str(event["label"])
        if self._unanswered.pop(label, None) is not None or label in self.answers:
            answer = event["seq"], event["id"]
            assert self.answers.setdefault(label, answer) == answer, "answered differently"
        return label


class RepeatTest(TestCase):
    def test_nothing_is_said_twice(self) -> None:
        """What is repeated until it is answered is in the log once, at the place that the answer
        names, however often the server is killed."""
        chance = random.Random(11)
        daemon = ForkedDaemon()
        self.addCleanup(daemon.kill)
        posters = [
            _Poster("anna", {"do": "say", "room": "lobby"}),
            _Poster("ben", {"do": "say", "room": "dev"}),
            _Poster("carl", {"do": "dm", "name": "anna"}),
        ]
        for kill in range(_KILLS + 1):
            daemon.start()
            for poster in posters:
                poster.connect(daemon.port, is_new=not kill)
            for poster in posters:
                poster.talk(chance.randrange(1, 120))
            for poster in posters[: chance.randrange(4)]:
                poster.say()
            daemon.kill()
            for poster in posters:
                poster.lose()
        answers = {label: at for poster in posters for label, at in poster.answers.items()}
        with closing(sqlite3.connect(daemon.directory / "chat.db")) as database:
            rows = database.execute(
                "SELECT label, seq, id, author, text, room_id FROM entries"
                " WHERE label IS NOT NULL ORDER BY id"
            ).fetchall()
            gaps = database.execute(
                "SELECT room_id FROM entries GROUP BY room_id HAVING max(seq) <> count(*)"
            ).fetchall()
        self.assertEqual(gaps, [])
        kept = {label: (seq, id) for label, seq, id, *_ in rows}
        self.assertEqual(len(kept), len(rows), "something was said twice")
        self.assertEqual({label: kept.get(label) for label in answers}, answers)
        for poster in posters:
            texts = [text for *_, author, text, _ in rows if author == poster.name]
            self.assertEqual(texts, [f"{poster.name} {n}" for n in range(len(texts))])
        self.assertGreater(len(rows), 50 * _KILLS)
