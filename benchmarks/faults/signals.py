"""New certificates, many SIGHUPs, and SIGTERM, while people chat."""

import os
import signal
import sqlite3
import threading
import time
from collections import Counter
from contextlib import closing

from .outcome import Outcome
from .tls import Talker, TlsDaemon, make_certificate


def run(short: bool) -> Outcome:
    """Run all three on one daemon, with and without TLS."""
    outcome = Outcome()
    with TlsDaemon() as daemon:
        _certificates(daemon, outcome, 2 if short else 20)
        _hang_ups(daemon, outcome, 50 if short else 1000)
        _end(daemon, outcome, 2 if short else 10)
        outcome.promise("Traceback" not in "".join(daemon.log), "there was a traceback")
    return outcome


def _certificates(daemon: TlsDaemon, outcome: Outcome, rounds: int) -> None:
    """Measure how soon a new certificate is used, without a signal and with one."""
    times: list[float] = []
    with Talker(daemon, "alice", over_tls=True) as alice:
        for number in range(rounds):
            old = daemon.shown()
            make_certificate(daemon.certificate, f"chat{number}.example")
            began = time.monotonic()
            if number % 2:
                os.kill(daemon.pid, signal.SIGHUP)
            while (same := daemon.shown() == old) and time.monotonic() - began < 10:
                time.sleep(0.01)
            outcome.promise(not same, "a new certificate was not shown")
            times.append(time.monotonic() - began)
        alice.send("/users\n")
        alice.see("1 person is in the lobby")
    worst = max(times)
    outcome.target(worst <= 1.1, f"a new certificate was shown after {worst:.2f} s")
    outcome.figures[f"{rounds} new certificates"] = f"each shown within {worst:.2f} s"


def _hang_ups(daemon: TlsDaemon, outcome: Outcome, count: int) -> None:
    """Check that nobody is disconnected, and no message lost."""
    with (
        Talker(daemon, "alice", over_tls=True) as alice,
        Talker(daemon, "bob", over_tls=False) as bob,
    ):
        began = time.monotonic()
        for number in range(count):
            os.kill(daemon.pid, signal.SIGHUP)
            if number % 10 == 0:
                alice.send(f"message {number}.\n")
        took = time.monotonic() - began
        try:
            for number in range(0, count, 10):
                bob.see(f"] alice: message {number}.\n")
        except (ConnectionError, TimeoutError) as error:
            outcome.broken.append(f"{count} SIGHUPs: {error}")
    outcome.figures[f"{count} SIGHUPs"] = f"in {took:.2f} s, nobody dropped"


class _Sender:
    """Somebody who talks all the time, and counts the receipts."""

    def __init__(self, daemon: TlsDaemon, number: int) -> None:
        self.name = f"sender{number}"
        self._talker = Talker(daemon, self.name, over_tls=bool(number % 2))
        self._talker.send("/json on\n")
        self._talker.see('"event":"hello"')
        self.kept = 0
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> int:
        """Wait until the connection has ended, and return the number of receipts."""
        self._thread.join(30)
        return self.kept

    def _run(self) -> None:
        mine = f'"from":"{self.name}"'.encode()
        said = 0
        rest = b""
        try:
            while True:
                while said < self.kept + 100:
                    self._talker.send(f"message {said}.\n")
                    said += 1
                data = self._talker.socket.recv(65536)
                if not data:
                    return
                *lines, rest = (rest + data).split(b"\n")
                self.kept += sum(mine in line for line in lines)
        except OSError:
            return


def _end(daemon: TlsDaemon, outcome: Outcome, senders: int) -> None:
    """Send SIGTERM under load; then look for the message of every receipt in the history."""
    everyone = [_Sender(daemon, number) for number in range(senders)]
    for sender in everyone:
        sender.start()
    while min(sender.kept for sender in everyone) < 200:
        time.sleep(0.01)
    began = time.monotonic()
    daemon.stop()
    took = time.monotonic() - began
    receipts = {sender.name: sender.end() for sender in everyone}
    outcome.target(took <= 2, f"it took {took:.2f} s to end")
    outcome.figures[f"SIGTERM while {senders} talk"] = f"ended within {took:.2f} s"
    stored = _stored(daemon)
    missing = sum(max(0, count - stored[name]) for name, count in receipts.items())
    outcome.promise(not missing, f"{missing} messages with a receipt were lost")
    outcome.figures["messages with a receipt"] = f"{sum(receipts.values()):,}, all kept"


def _stored(daemon: TlsDaemon) -> Counter[str]:
    """Return the number of messages of each sender in the database."""
    with closing(sqlite3.connect(daemon.directory / "chat.db")) as database:
        rows = database.execute(
            "SELECT author, count(DISTINCT text) FROM entries WHERE kind = 'said' GROUP BY author"
        )
        return Counter(dict(rows))
