"""A hundred people send as fast as they can to one room, while others chat."""

import re
import select
import socket
import time
from collections import defaultdict

from tests.daemon import Daemon

from .outcome import Outcome
from .people import PATIENCE, People, attackers, log_in, ratio

_SAID = re.compile(rb"(bounded\d+): line (\d+)\n")


def run(short: bool) -> Outcome:
    """Measure people in the same room and in the lobby, a paste, and floods that end."""
    outcome = Outcome()
    flooders, bounded, lines = (10, 3, 24) if short else (100, 20, 120)
    warm = 0.3 if short else 2.0
    rounds, seconds = (1, 0.3) if short else (3, 15.0)
    with (
        Daemon("--shared-networks", "", "--line-burst", "20", trusted="127.1.0.0/16") as daemon,
        attackers() as pool,
    ):
        for where, room in (("the room", "talk"), ("the lobby", "")):
            people = People(daemon.port, 20, where[4:], room)
            quiet, storm = [], []
            for number in range(rounds):
                quiet.append(people.chat(seconds, 20))
                flooding = pool.submit(
                    flood, daemon.port, f"{where[4]}{number}", flooders, seconds + warm
                )
                people.chat(warm, 20)  # until they have joined
                storm.append(people.chat(seconds, 20))
                flooding.result()
            times, figure = ratio(quiet, storm)
            what = f"chat in {where} with {flooders} flooders"
            outcome.figures[what] = figure
            outcome.target(times <= 2, f"{what} took {times:.2f} x as long")
            outcome.promise(not people.lost, f"{what}: {people.lost} deliveries were lost")
            people.close()
        flooding = pool.submit(flood, daemon.port, "paste", flooders, seconds)
        time.sleep(warm)
        took = _paste(daemon.port)
        outcome.figures["a paste of 20 lines in the midst of it"] = f"{1000 * took:.0f} ms"
        outcome.promise(took < PATIENCE, "a paste of 20 lines did not arrive")
        wrong = _bounded(daemon.port, bounded, lines)
        outcome.figures[f"{bounded} of {lines} lines and a half-close each"] = (
            f"{wrong} of them lost something or came in another order"
        )
        outcome.promise(not wrong, f"{wrong} flooders who ended lost something")
        flooding.result()
        outcome.promise("Traceback" not in "".join(daemon.log), "a traceback")
    return outcome


def flood(port: int, name: str, count: int, seconds: float) -> int:
    """Send as fast as the server takes it, and read its answers. Returns the bytes sent."""
    poll = select.epoll()
    by_fd = {}
    for n in range(count):
        sock = log_in(port, f"flood{name}x{n}", f"127.2.{n // 25}.{1 + n % 25}", "talk")
        sock.setblocking(False)
        by_fd[sock.fileno()] = sock
        poll.register(sock.fileno(), select.EPOLLIN | select.EPOLLOUT)
    data = b"a line of a flood\n" * 100
    until = time.monotonic() + seconds
    sent = 0
    while time.monotonic() < until:
        for fd, events in poll.poll(0.1):
            try:
                if events & select.EPOLLIN:
                    by_fd[fd].recv(1024 * 1024)
                if events & select.EPOLLOUT:
                    sent += by_fd[fd].send(data)
            except BlockingIOError:
                continue
    for sock in by_fd.values():
        sock.close()
    return sent


def _paste(port: int) -> float:
    """Paste twenty lines as a newcomer. Returns the seconds until somebody else has all."""
    writer = log_in(port, "paster", "127.3.0.1", "talk")
    reader = log_in(port, "reader", "127.1.0.1", "talk")
    time.sleep(1)  # until the lines of the login do not count any more
    began = time.perf_counter()
    writer.sendall(b"".join(b"pasted %d\n" % n for n in range(20)))
    wanted = [b"paster: pasted %d\n" % n for n in range(20)]
    received = b""
    while time.perf_counter() < began + PATIENCE:
        received += reader.recv(65536)
        if wanted[-1] in received:
            break
    took = time.perf_counter() - began
    for sock in writer, reader:
        sock.close()
    return took if re.findall(rb"paster: pasted \d+\n", received) == wanted else PATIENCE


def _bounded(port: int, count: int, lines: int) -> int:
    """Let people flood with a number of lines each and then half-close.

    @return: how many of them lost a line, or had one doubled or out of order.
    """
    witness = log_in(port, "witness", "127.1.0.1", "talk")
    flooders = [log_in(port, f"bounded{n}", f"127.4.0.{1 + n}", "talk") for n in range(count)]
    for sock in flooders:
        sock.sendall(b"".join(b"line %d\n" % n for n in range(lines)))
        sock.shutdown(socket.SHUT_WR)
    heard: defaultdict[bytes, list[int]] = defaultdict(list)
    rest = b""
    until = time.monotonic() + PATIENCE + lines / 5
    while sum(map(len, heard.values())) < count * lines and time.monotonic() < until:
        rest += witness.recv(65536)
        whole, newline, rest = rest.rpartition(b"\n")
        for match in _SAID.finditer(whole + newline):
            heard[match[1]].append(int(match[2]))
    for sock in (*flooders, witness):
        sock.close()
    return count - sum(said == [*range(lines)] for said in heard.values())
