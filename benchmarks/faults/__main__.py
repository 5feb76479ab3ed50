"""Inflicts faults on a daemon, and prints the result of each.

    python -m benchmarks.faults [--short] [NAME ...]

Each fault is a module of this package with a function C{run(short)}. Exits with 1 if a promise is
not kept or a target is missed.
"""

import argparse
import importlib
import sys
import time

from .outcome import Outcome

FAULTS = {
    "kill": "R1",
    "fsync": "R2",
    "stuck": "R4",
    "storm": "R3",
    "flood": "R7",
    "guess": "R8, R9, S7",
    "resets": "R17",
    "descriptors": "descriptors",
    "signals": "R15",
    "handshakes": "R16",
    "disk": "R13",
    "eio": "R25",
    "clock": "R14",
    "fuzz": "R5",
    "endless": "R6",
    "race": "R12",
    "telnet": "R24",
    "link": "R19",
    "unread": "R27",
    "nearest": "R24",
    "ghosts": "R26",
    "upgrade": "R21",
    "cluster": "R20",
    "move": "R28",
}
"""Module -> the rows of docs/reliability.md that it measures."""


def run(name: str, *, short: bool) -> Outcome:
    """Run one of the faults."""
    outcome = importlib.import_module(f"{__package__}.{name}").run(short)
    assert isinstance(outcome, Outcome)
    return outcome


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.faults",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--short", action="store_true", help="only to see that it works")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(FAULTS))
    chosen = parser.parse_args()
    unknown = [name for name in chosen.names if name not in FAULTS]
    if unknown:
        parser.error(f"there is no fault {unknown[0]}; there are {', '.join(FAULTS)}")
    bad = False
    for name in chosen.names or FAULTS:
        began = time.monotonic()
        outcome = run(name, short=chosen.short)
        print(f"{FAULTS[name]} {name} ({time.monotonic() - began:.0f} s)")
        for figure, value in outcome.figures.items():
            print(f"  {figure}: {value}")
        for sentence in outcome.broken:
            print(f"  BROKEN: {sentence}")
        for sentence in outcome.missed:
            print(f"  missed: {sentence}")
        sys.stdout.flush()
        bad = bad or bool(outcome.broken or outcome.missed)
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
