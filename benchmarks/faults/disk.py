"""A full disk: the daemon confirms no message that is not kept, shows what is in the log, and goes
on by itself when there is space again.

The disk is a small tmpfs in a mount namespace, in which this module runs as a program. Where that
is not permitted, the short form limits the size of the daemon's files, which the daemon takes for a
failing disk.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any
from unittest import SkipTest

from tests.daemon import Daemon
from twisted_chat.core.errors import NOT_CHANGED, NOT_SENT

from .confirmed import Confirmed
from .guests import Guest, ask, hear_out, talk
from .outcome import Outcome

_MIB = 2**20

_PATIENCE = 20.0

_MOUNT = 'mount -t tmpfs -o size="$1" none "$2" && cd "$2" && shift 2 && exec "$@"'

_NOT_KEPT = NOT_SENT["unavailable"]
_CANNOT = NOT_CHANGED["unavailable"]


def run(short: bool) -> Outcome:
    """Fill the disk under load, twice, and kill the daemon the second time."""
    directory = tempfile.mkdtemp(prefix="chat-")
    size = 20 if short else 64
    mounted = ["unshare", "-m", "sh", "-c", _MOUNT, "sh", f"{size}m", directory]
    try:
        permitted = subprocess.run([*mounted, "true"], check=False, capture_output=True)
    except FileNotFoundError:
        permitted = None
    if permitted is None or permitted.returncode:
        if not short:
            raise SkipTest("mounting is not permitted")
        return _limited(Path(directory))
    root = str(Path(__file__).parents[2])
    program = f"import sys; sys.path.insert(0, {root!r}); import {__name__} as m; m.main()"
    done = subprocess.run(
        [*mounted, sys.executable, "-c", program, str(size * _MIB * 3 // 10)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    outcome = Outcome(**json.loads(done.stdout))
    if short:
        limited = _limited(Path(directory))
        outcome.broken += limited.broken
    return outcome


def main() -> None:
    """Fill the disk of the current directory."""
    outcome = Outcome()
    size = int(sys.argv[1])
    ballast = [Path(f"ballast{n}") for n in range(2)]
    for path in ballast:
        path.write_bytes(b"\0" * size)
    with Daemon(directory=Path.cwd()) as daemon:
        _fill(daemon, lambda: None, ballast[0].unlink, outcome, kill=False)
        _fill(daemon, lambda: None, ballast[1].unlink, outcome, kill=True)
    json.dump(asdict(outcome), sys.stdout)


def _limited(directory: Path) -> Outcome:
    outcome = Outcome()
    with Daemon(directory=directory) as daemon:

        def limit(size: int) -> None:
            _, hard = resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (size, hard))

        _fill(
            daemon,
            lambda: limit(64 * 1024),
            lambda: limit(resource.RLIM_INFINITY),
            outcome,
            kill=False,
        )
    return outcome


def _text(guest: Guest, n: int) -> str:
    return f"{guest.name} {n:06} {'x' * 300}"


def _fill(
    daemon: Daemon,
    fill: Callable[[], None],
    give_back: Callable[[], None],
    outcome: Outcome,
    *,
    kill: bool,
) -> None:
    """Fill the disk, check the daemon, free space and check again.

    @param fill: reduces the free space; people then talk until there is none.
    @param kill: kill the daemon while the disk is full, and start it again.
    """
    confirmed = Confirmed(outcome)
    round = "second" if kill else "first"
    name = f"alice-{round}"
    login = f"/login {name} wonderland"
    ask(daemon.port, f"/register {name} wonderland")
    guests = [Guest(daemon.port, f"{round}{n}", ("lobby", "dev")[n % 2]) for n in range(4)]
    talk(guests, _text, lambda: sum(guest.receipts for guest in guests) >= 500)
    fill()
    deadline = time.monotonic() + _PATIENCE
    talk(
        guests,
        _text,
        lambda: sum(g.refused for g in guests) >= 2000 or time.monotonic() > deadline,
    )
    hear_out(guests)
    kept, refused = sum(g.receipts for g in guests), sum(g.refused for g in guests)
    outcome.figures[f"{round} time"] = f"{kept:,} messages kept, {refused:,} refused"
    outcome.promise(refused >= 2000, "the disk did not become full, or nobody was told")
    if kill:
        daemon.kill()
        daemon.start()
    _look_around(daemon, login, kept, outcome)
    give_back()
    if kill:
        _check_sentences(guests, confirmed, outcome)
        guests = [Guest(daemon.port, f"after{n}", ("lobby", "dev")[n % 2]) for n in range(4)]
        kept = 0
    began = time.monotonic()
    talk(
        guests,
        _text,
        lambda: (
            sum(g.receipts for g in guests) > kept + 500 or time.monotonic() > began + _PATIENCE
        ),
    )
    hear_out(guests)
    outcome.promise(sum(g.receipts for g in guests) > kept + 500, "it did not recover")
    _check_sentences(guests, confirmed, outcome)
    rows = confirmed.check(daemon.directory, gaps=True)
    outcome.figures[f"in the log after the {round} time"] = f"{rows:,}"
    log = "".join(daemon.log)
    outcome.promise("Traceback" not in log, "there was a traceback")
    # More than once, because small batches still fit when big ones do not; but not for each batch.
    outcome.promise(
        0 < log.count("the database cannot store messages") < 50, "the log tells too often"
    )
    outcome.promise("stores messages again" in log, "the log does not say when it was over")
    for guest in guests:
        guest.socket.close()


def _look_around(daemon: Daemon, login: str, kept: int, outcome: Outcome) -> None:
    """Check what works while the disk is full."""
    answers = ask(daemon.port, login, "/history 100", "/users", "/topic " + "t" * 200)
    seen: dict[str, Any] = {answer["event"]: answer for answer in answers}
    outcome.promise(seen.get("welcome", {}).get("account") is True, "an account could not log in")
    shown = seen.get("history", {}).get("count", 0)
    outcome.promise(shown == min(kept, 100), f"/history showed {shown}")
    outcome.promise("users" in seen, "/users was not answered")
    outcome.promise(
        "topic" in seen or seen.get("error", {}).get("text") == _CANNOT,
        f"/topic was answered with {seen.get('error')}",
    )


def _check_sentences(guests: list[Guest], confirmed: Confirmed, outcome: Outcome) -> None:
    for guest in guests:
        events = guest.take()
        said = {event["text"] for event in events if event["event"] == "error"}
        outcome.promise(said <= {_NOT_KEPT}, f"it said {', '.join(said)}")
        confirmed.note(events)
