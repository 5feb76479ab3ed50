"""Guests from one address who ask for people and rooms that do not exist but have names similar to
existing ones: finding what they meant must not delay anybody else."""

import socket
import time

from tests.daemon import Daemon

from .outcome import Outcome
from .people import attackers, log_in
from .pulse import Pulse

_GUESTS = 49
_LENGTH = 32
_PACE = 10_000
"""Bytes a second, of all guests together."""

_TYPED = ("/dm {} x\n", "/users {}\n", "/leave {}\n", "/history {}\n")


def run(short: bool) -> Outcome:
    """Measure somebody at another address who talks, before and meanwhile."""
    outcome = Outcome()
    seconds, rounds = (0.5, 1) if short else (15.0, 3)
    with (
        Daemon(
            "--shared-networks", "", "--connections-per-minute", "0", trusted="127.0.0.1"
        ) as daemon,
        attackers() as others,
    ):
        for number in range(rounds):
            with Pulse(daemon.port) as quiet:
                time.sleep(seconds)
            attack = others.submit(_ask, daemon.port, "abcdef"[number], seconds + 2)
            time.sleep(2)  # until they have joined, with another address and other names each time
            with Pulse(daemon.port) as meanwhile:
                time.sleep(seconds)
            outcome.figures[f"round {number + 1}, quiet"] = _figures(quiet)
            outcome.figures[f"round {number + 1}, meanwhile"] = _figures(meanwhile)
            asked = attack.result()
            outcome.figures[f"round {number + 1}, asked for"] = f"{asked:,} that are not there"
            outcome.promise(bool(meanwhile.trips), "nothing that was said meanwhile came back")
            if quiet.trips and meanwhile.trips:
                usual, then = (
                    quiet.trips[len(quiet.trips) // 2],
                    meanwhile.trips[len(meanwhile.trips) // 2],
                )
                outcome.target(
                    then <= 2 * usual + 1, f"half of them took over {usual:.1f} ms: {then:.1f} ms"
                )
        outcome.promise("Traceback" not in "".join(daemon.log), "a traceback")
    return outcome


def _figures(pulse: Pulse) -> str:
    if not pulse.trips:
        return "none came back"
    half = pulse.trips[len(pulse.trips) // 2]
    return f"p50 {half:.1f} ms, {pulse}"


def _ask(port: int, letter: str, seconds: float) -> int:
    """Be the guests for this many seconds. Returns how many lines were answered."""
    guests = [
        log_in(port, letter * (_LENGTH - 2) + f"{number:02}", f"127.0.5.{ord(letter)}")
        for number in range(_GUESTS)
    ]
    for guest in guests:
        guest.setblocking(False)
    words = [(2 * letter + "z") * (_LENGTH // 3), letter * (_LENGTH - 1) + "zz"]
    lines = [typed.format(word).encode() for typed in _TYPED for word in words]
    began, sent, turn, answers = time.monotonic(), 0, 0, 0
    while (now := time.monotonic() - began) < seconds:
        while sent < _PACE * now:
            line = lines[turn // _GUESTS % len(lines)]
            sent += _send(guests[turn % _GUESTS], line)
            turn += 1
        for guest in guests:
            try:
                answers += guest.recv(65536).count(b"\n! ")
            except BlockingIOError:
                pass
        time.sleep(0.01)
    for guest in guests:
        guest.close()
    return answers


def _send(guest: socket.socket, line: bytes) -> int:
    try:
        guest.send(line)
    except BlockingIOError:
        pass  # it is not read from now
    return len(line)
