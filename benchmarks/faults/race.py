"""Many people register one name at the same moment: one succeeds, and the others are told so."""

import json
from typing import Any

from tests.daemon import Daemon

from .outcome import Outcome
from .peer import Peer

_PEOPLE = 200

_SPELLINGS = (
    "racer{0}",
    "RACER{0}",
    "Racer{0}",
    "ｒａｃｅｒ{0}",
    "ＲＡＣＥＲ{0}",
    "rac\u0435r{0}",
    "racer{1}",
)
"""Variants of one name: in case and width, and with a look-alike letter and digit."""

_DIGITS = (("0", "o"), ("1", "l"))
"""Pairs of names that look alike."""

_TAKEN = frozenset({"name-taken", "name-registered"})


def run(short: bool) -> Outcome:
    """Run the race once, or ten times with different names."""
    outcome = Outcome()
    with Daemon() as daemon:
        for race in range(1 if short else 10):
            _race(daemon.port, outcome, race)
        outcome.promise("Traceback" not in "".join(daemon.log), "there is a traceback in the log")
    return outcome


def _race(port: int, outcome: Outcome, race: int) -> None:
    """Let all of them register at once, then find out who has the name."""
    one, other = _DIGITS[race % 2]
    names = [s.format(f"-{race}-{one}", f"-{race}-{other}") for s in _SPELLINGS]
    people = [Peer(port) for _ in range(_PEOPLE)]
    for person in people:
        person.send("/json on\n")
        person.see(b'"hello"')
    for number, person in enumerate(people):
        person.send(f"/register {names[number % len(names)]} password{number}\n")
    answers = [_answer(person) for person in people]
    winners = [number for number, answer in enumerate(answers) if answer["event"] == "welcome"]
    told = [answer for answer in answers if answer.get("code") in _TAKEN and answer["text"]]
    outcome.figures[f"race {race + 1}"] = f"{len(winners)} of {_PEOPLE} got it, {len(told)} told"
    outcome.promise(len(winners) == 1, f"race {race + 1}: {len(winners)} got the name")
    outcome.promise(
        len(told) == _PEOPLE - 1, f"race {race + 1}: only {len(told)} were told that it is taken"
    )
    for person in people:
        person.close()
    if winners:
        winner, name = winners[0], answers[winners[0]]["name"]
        loser = (winner + 1) % _PEOPLE
        for number, right in ((winner, True), (loser, False)):
            with Peer(port) as person:
                person.send(f"/json on\n/login {name} password{number}\n")
                answer = _answer(person)
                outcome.promise(
                    (answer["event"] == "welcome") == right,
                    f"race {race + 1}: the password of {'the winner' if right else 'a loser'}"
                    f" was answered with {answer}",
                )


def _answer(person: Peer) -> dict[str, Any]:
    """Return the answer to the registration. Notices may come before it."""
    while True:
        line = person.line()
        if line.startswith(b"{"):
            answer: dict[str, Any] = json.loads(line)
            if answer["event"] in ("welcome", "error"):
                return answer
