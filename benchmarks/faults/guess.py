"""Hundreds of wrong passwords a second while people log in and chat; and whether strangers can find
out which names are registered."""

import itertools
import random
import re
import select
import socket
import time
from collections import defaultdict
from collections.abc import Mapping

from tests.daemon import Daemon

from .outcome import Outcome
from .people import People, attackers, connect, percentile, ratio, see, spread

_PASSWORD = "correct horse"
_USUAL = "victim, from where they logged in before"
_ANSWER = re.compile(rb"! (wrong name|too many wrong|too many people)")
_KINDS = {b"wrong name": "wrong", b"too many wrong": "throttled", b"too many people": "busy"}

# Without the limits on connections and lines, which would take effect before that on passwords.
_OPEN_DOOR = ("--line-rate", "0", "--connections-per-minute", "0", "--max-waiting", "0")


def run(short: bool) -> Outcome:
    """Guess from one address, and from a hundred."""
    outcome = Outcome()
    for addresses in (5,) if short else (1, 100):
        _storm(outcome, short, addresses)
    _tell_apart(outcome, 20 if short else 400)
    return outcome


def _storm(outcome: Outcome, short: bool, addresses: int) -> None:
    seconds, cost = (0.6, "4") if short else (60.0, "12")
    what = f"from {addresses} addresses"
    with (
        Daemon(
            *(*_OPEN_DOOR, "--login-timeout", "0", "--max-per-address", "100"),
            *("--shared-networks", "", "--password-cost", cost),
            trusted="127.1.0.0/16",
        ) as daemon,
        attackers(2) as pool,
    ):
        for name in "victim", "clean":
            _register(daemon.port, name)
        log_in_often(daemon.port, 0.0)
        people = People(daemon.port, 20)
        quiet = people.chat(seconds / 3, 20)
        guessing = pool.submit(guess, daemon.port, addresses, 500, seconds)
        logins = pool.submit(log_in_often, daemon.port, seconds)
        storm = people.chat(seconds, 20)
        answers, waiting = guessing.result()
        times, figure = ratio([quiet], [storm])
        outcome.figures[f"{what}: chat"] = figure
        outcome.target(times <= 1.5, f"{what}: chat took {times:.2f} x as long")
        outcome.promise(not people.lost, f"{what}: {people.lost} deliveries were lost")
        for kind, latencies in sorted(answers.items()):
            outcome.figures[f"{what}: {len(latencies)} {kind}"] = spread(latencies)
            if kind != "wrong":
                late = percentile(latencies, 0.99)
                outcome.target(late <= 0.01, f"{what}: {kind} took {1000 * late:.0f} ms (p99)")
        outcome.figures[f"{what}: most that waited at once"] = str(waiting)
        for name, (took, refused) in logins.result().items():
            outcome.figures[f"{what}: {len(took)} logins as {name}"] = (
                f"{spread(took)}; refused as busy before: {refused}"
            )
            late = percentile(took, 0.99)
            outcome.target(late <= 2, f"{what}: logging in as {name} took {late:.1f} s (p99)")
        outcome.promise("Traceback" not in "".join(daemon.log), f"{what}: a traceback")
        people.close()


def guess(
    port: int, addresses: int, pace: int, seconds: float
) -> tuple[Mapping[str, list[float]], int]:
    """Try this many wrong passwords a second, half of them for one account, half for names that
    nobody has. Each connection tries the next one when the last was answered.

    @return: for each kind of answer, the seconds that the answers took; and the most tries that
        had no answer at the same time.
    """
    free: list[socket.socket] = []
    by_fd: dict[int, socket.socket] = {}
    asked: dict[int, float] = {}
    epoll = select.epoll()
    for n in range(max(80, 2 * addresses)):
        address = n % addresses
        sock = connect(port, f"127.2.{address // 250}.{1 + address % 250}")
        see(sock, b"Name: ")
        free.append(sock)
        by_fd[sock.fileno()] = sock
        epoll.register(sock.fileno(), select.EPOLLIN)
    answers: defaultdict[str, list[float]] = defaultdict(list)
    most = 0
    began = due = time.perf_counter()
    tries = itertools.count()
    while due < began + seconds:
        while due <= time.perf_counter() and free:
            sock = free.pop(0)
            number = next(tries)
            name = "victim" if number % 2 else f"nobody{number}"
            asked[sock.fileno()] = time.perf_counter()
            sock.sendall(f"/login {name} wrong{number}\n".encode())
            due += 1 / pace
        if not free:
            due = max(
                due, time.perf_counter()
            )  # all of them wait, and the tries of this time are not made up for
        most = max(most, len(asked))
        for fd, _ in epoll.poll(max(0.0, due - time.perf_counter()) if free else 0.1):
            sock = by_fd[fd]
            match = _ANSWER.search(sock.recv(4096))
            if match:  # otherwise it is the prompt after an answer
                answers[_KINDS[match[1]]].append(time.perf_counter() - asked.pop(fd))
                free.append(sock)
        if time.perf_counter() > began + seconds:
            break
    return answers, most


def log_in_often(port: int, seconds: float) -> Mapping[str, tuple[list[float], int]]:
    """Log in every half second: from a clean address, to an account that nobody attacks and to the
    one under attack; and to the latter from an address from which it logged in before. A login that
    is refused as C{busy} is tried again.

    @return: for each of these, the seconds that the logins took, and how often they were refused.
    """
    took: dict[str, tuple[list[float], int]] = {
        "clean": ([], 0),
        "victim": ([], 0),
        _USUAL: ([], 0),
    }
    began = time.perf_counter()
    for number in itertools.count():
        if time.perf_counter() > began + seconds and number >= len(took):
            return took
        who = [*took][number % len(took)]
        name = who.partition(",")[0]
        source = "127.4.0.1" if who == _USUAL else f"127.3.{number // 250}.{1 + number % 250}"
        start = time.perf_counter()
        refused = 0
        with connect(port, source) as sock:
            while True:
                sock.sendall(f'/login {name} "{_PASSWORD}"\n'.encode())
                received = b""
                while b"Welcome, " not in received and b"! " not in received:
                    received += sock.recv(4096)
                if b"Welcome, " in received:
                    break
                refused += 1
                time.sleep(0.25)
        latencies, before = took[who]
        took[who] = [*latencies, time.perf_counter() - start], before + refused
        time.sleep(max(0.0, start + 0.5 - time.perf_counter()))
    return took


def _register(port: int, name: str) -> None:
    with connect(port, "127.1.0.1") as sock:
        sock.sendall(f'/register {name} "{_PASSWORD}"\n'.encode())
        see(sock, b"Welcome, ")


def _tell_apart(outcome: Outcome, tries: int) -> None:
    """Try wrong passwords for a registered name and for an unknown one, in random order, without
    limits."""
    with (
        Daemon("--password-cost", "6", "--max-login-delay", "0", trusted="127.0.0.0/8") as daemon,
    ):
        _register(daemon.port, "somebody")
        took: dict[str, list[float]] = {"somebody": [], "whomever": []}
        said: defaultdict[str, set[bytes]] = defaultdict(set)
        order = [name for name in took for _ in range(tries)]
        random.shuffle(order)
        with connect(daemon.port, "127.1.0.1") as sock:
            see(sock, b"Name: ")
            for name in order:
                began = time.perf_counter()
                sock.sendall(f"/login {name} wrong\n".encode())
                answer = see(sock, b": ")
                took[name].append(time.perf_counter() - began)
                said[name].add(answer)
        known, unknown = sorted(took["somebody"]), sorted(took["whomever"])
        apart = 1e6 * (known[tries // 2] - unknown[tries // 2])
        above = sum(k > u for k in known for u in unknown) / tries**2
        outcome.figures["a registered name and another: medians differ by"] = f"{apart:.0f} us"
        outcome.figures["the registered one takes longer"] = (
            f"in {100 * above:.1f}% of all pairs, of {tries} tries each"
        )
        outcome.promise(said["somebody"] == said["whomever"], "the answers tell them apart")
        if tries >= 100:
            outcome.target(abs(above - 0.5) < 0.05, f"told apart in {100 * above:.0f}% of pairs")
