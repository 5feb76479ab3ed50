"""Lets many people talk at once. Everyone must get every message, once and in order.

    python -m benchmarks.soak [--people 200] [--seconds 60] [--pace 1.0]

Prints a summary and exits with 1 if anything is missing, doubled or out of order.
"""

import argparse
import json
import random
import sys
from itertools import pairwise
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import connectionDone
from twisted.internet.task import LoopingCall, deferLater, react
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure

from tests.daemon import Daemon

_MARK = "soak"


class Talker(LineReceiver):
    """A guest in JSON mode that notes the C{seq} and text of each message."""

    delimiter = b"\n"
    MAX_LENGTH = 1024 * 1024

    def __init__(self, number: int) -> None:
        self.number = number
        self.said = 0
        self.got: list[tuple[int, str]] = []
        self.skipped = 0
        self.welcome: Deferred[None] = Deferred()
        self.ended: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        self.transport.write(b"/json on\n/guest\n")  # type: ignore[union-attr]

    def lineReceived(self, line: bytes) -> None:
        if not line.startswith(b"{"):
            return
        event: dict[str, Any] = json.loads(line)
        if event["event"] == "message" and not event["replay"]:
            if event["text"].startswith(_MARK):
                self.got.append((event["seq"], event["text"]))
        elif event["event"] == "history" and not self.welcome.called:
            self.welcome.callback(None)
        elif event["event"] == "skipped":
            self.skipped += event["lines"]

    def say(self) -> None:
        self.sendLine(f"{_MARK} {self.number} {self.said}".encode())
        self.said += 1

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if reason.check(ConnectionDone):
            self.ended.callback(None)
        else:
            self.ended.errback(reason)


async def soak(reactor: Any, people: int, seconds: float, pace: float) -> bool:
    """Run the test.

    @param pace: messages per second and person.
    @return: whether everyone got every message, once and in order.
    """
    with Daemon() as daemon:
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", daemon.port)
        talkers = [Talker(number) for number in range(people)]
        for talker in talkers:
            await connectProtocol(endpoint, talker)
        await gatherResults([talker.welcome for talker in talkers])

        loops = []
        for talker in talkers:
            loop = LoopingCall(talker.say)
            reactor.callLater(random.random() / pace, loop.start, 1 / pace, now=True)
            loops.append(loop)
        await deferLater(reactor, seconds)
        for loop in loops:
            loop.stop()
        said = sum(talker.said for talker in talkers)
        for _ in range(200):
            if all(len(talker.got) >= said for talker in talkers):
                break
            await deferLater(reactor, 0.05)
        for talker in talkers:
            talker.sendLine(b"/quit")
        await gatherResults([talker.ended for talker in talkers], consumeErrors=True)
        return _report(talkers, said, "".join(daemon.log))


def _report(talkers: list[Talker], said: int, log: str) -> bool:
    expected = talkers[0].got
    seqs = [seq for seq, _ in expected]
    faults = {
        "readers who miss or double messages": sum(len(t.got) != said for t in talkers),
        "readers with another stream than the first": sum(t.got != expected for t in talkers),
        "gaps or disorder in seq": sum(b != a + 1 for a, b in pairwise(seqs)),
        "texts that came twice": len(expected) - len({text for _, text in expected}),
        "lines skipped": sum(t.skipped for t in talkers),
        "tracebacks in the log": log.count("Traceback"),
    }
    print(f"{len(talkers)} people said {said} messages; {said * len(talkers)} deliveries")
    for fault, count in faults.items():
        print(f"  {fault}: {count}")
    return not any(faults.values())


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--pace", type=float, default=1.0)
    chosen = parser.parse_args()

    async def run(reactor: Any) -> None:
        if not await soak(reactor, chosen.people, chosen.seconds, chosen.pace):
            sys.exit(1)

    react(lambda reactor: Deferred.fromCoroutine(run(reactor)))


if __name__ == "__main__":
    main()
