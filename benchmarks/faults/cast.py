"""Everybody who talks and reads while something happens to their nodes. Compares what they saw with
the log."""

import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .outcome import Outcome
from .voices import Person, Reader, Said, Writer, start

ROOMS = ("lobby", "ann", "ben", "cy")

_PATIENCE = 60.0
"""Seconds until everybody has to have everything when the faults are over."""

_SETTLED = 10.0
"""Seconds until all nodes have to agree about who is here."""

_FROM = "FROM entries JOIN rooms ON rooms.id = room_id"
_ROOM = (
    "coalesce(name, '@' || author)"  # a private conversation, in which only one of the two talks
)
_HEADS = f"SELECT {_ROOM}, max(seq) {_FROM} GROUP BY {_ROOM}"
_ENTRIES = (
    f"SELECT entries.kind, {_ROOM}, seq, entries.id, author, text {_FROM} ORDER BY entries.id"
)


class Cast:
    """Everybody who takes part in a run."""

    def __init__(
        self,
        ports: Sequence[int],
        writers: int,
        ask: Callable[[str], list[Any]],
        outcome: Outcome,
        *,
        may_lose: bool,
    ) -> None:
        """
        @param ports: the ports of the nodes.
        @param ask: carries out a statement of SQL in the database, and returns the rows.
        @param may_lose: the database may lose messages that people were shown.
        """
        self._ports = ports
        self._ask = ask
        self._outcome = outcome
        self._may_lose = may_lose
        readers = [f"reader{n}" for n in range(2 * len(ports))]
        self._writers = [
            Writer(
                f"writer{n}",
                ("lobby", ROOMS[1 + n % (len(ROOMS) - 1)]),
                ports,
                account=bool(n & 1),
                patient=bool(n & 2),
                repeats=bool(n & 4),
                friend=readers[n % len(readers)] if n & 1 else None,
            )
            for n in range(writers)
        ]
        self._readers = [
            Reader(
                name,
                ROOMS,
                ports,
                account=bool(n & 1),
                patient=bool(n & 2),
                friends=[writer.name for writer in self._writers if writer.friend == name],
            )
            for n, name in enumerate(readers)
        ]
        for reader in self._readers:
            reader.may_skip = may_lose
        self._heads: dict[str, int] = {}

    def play(self, during: Callable[[], None]) -> None:
        """Have everybody talk and read while something happens; return when all have everything."""
        over = done = False
        late = time.monotonic() + 1e9
        for person in (*self._readers, *self._writers):
            person.come_in(lambda: False)
        reading = start(
            lambda reader=reader: reader.read(  # type: ignore[misc]
                lambda: done or time.monotonic() > late
            )
            for reader in self._readers
        )
        talking = start(
            lambda writer=writer: writer.talk(  # type: ignore[misc]
                lambda: over, lambda: time.monotonic() > late
            )
            for writer in self._writers
        )
        try:
            during()
        finally:
            over, late = True, time.monotonic() + _PATIENCE
            for thread in talking:
                thread.join()
            self._heads = dict(self._ask(_HEADS))
            while time.monotonic() < late and not all(map(self._is_complete, self._readers)):
                time.sleep(0.05)
            try:
                self._compare_presence()
            finally:
                done = True
                for thread in reading:
                    thread.join()

    def _is_complete(self, reader: Reader) -> bool:
        return reader.first.keys() >= set(ROOMS) and all(
            seq >= self._heads.get(room, 0) for room, seq in reader.last.items()
        )

    def _compare_presence(self) -> None:
        """Check that all nodes agree about who is here."""
        observers = [
            Person(f"observer{n}", ["lobby"], [port], account=False, patient=True)
            for n, port in enumerate(self._ports)
        ]
        here = {person.name for person in (*self._readers, *observers)}
        until = time.monotonic() + _SETTLED
        for observer in observers:
            observer.come_in(lambda: time.monotonic() > until)
        seen: list[set[str]] = []
        while time.monotonic() < until:
            seen = [observer.users() for observer in observers]
            if all(names == here for names in seen):
                break
            time.sleep(0.2)
        for number, names in enumerate(seen):
            wrong = sorted(names ^ here)
            self._outcome.promise(
                not wrong, f"node {number} is wrong about who is here: {wrong[:6]}"
            )
        for observer in observers:
            observer.leave()

    def compare(self, name: str) -> str:
        """Compare what everybody saw with the log.

        @param name: what their troubles begin with.
        @return: the figures, as text for people.
        """
        outcome = self._outcome

        def promise(kept: bool, sentence: str) -> None:
            outcome.promise(kept, f"{name}: {sentence}")

        entries = self._ask(_ENTRIES)
        log = [Said(*entry) for kind, *entry in entries if kind == "said"]
        places = {(said.room, said.seq): said for said in log}
        used = {(room, seq) for _, room, seq, *_ in entries}
        by_text = {said.text: said for said in log}
        everybody = (*self._readers, *self._writers)

        for person in everybody:
            for sentence in person.troubles[:3]:
                promise(False, sentence)
        twice = [text for text, count in Counter(said.text for said in log).items() if count > 1]
        promise(not twice, f"{len(twice)} were said twice: {twice[:3]}")
        lasts: dict[str, int] = defaultdict(int)
        for _, room, seq, *_ in entries:
            follows = seq > lasts[room] if self._may_lose else seq == lasts[room] + 1
            promise(follows, f"#{room}: {seq} comes after {lasts[room]}")
            lasts[room] = seq

        shown = {
            said for reader in self._readers for each in reader.heard.values() for said in each
        }
        shown |= {said for writer in self._writers for said in writer.receipts.values()}
        lost = {said for said in shown if places.get((said.room, said.seq)) != said}
        if self._may_lose:
            reused = [said for said in lost if (said.room, said.seq) in used]
            promise(not reused, f"{len(reused)} numbers were used twice: {reused[:3]}")
            told = [bye for person in everybody for bye in person.farewells if "lost" in bye]
            promise(not lost or bool(told), "nobody was told that messages were lost")
            outcome.figures[f"{name}: lost by the database"] = (
                f"{len(lost):,}; {len(told)} sessions were told so, first: {told[:1]}"
            )
        else:
            promise(
                not lost, f"{len(lost)} that were shown are not in the log so: {sorted(lost)[:3]}"
            )

        self._compare_writers(promise, log, by_text)
        for reader in self._readers:
            for room in {*ROOMS, *reader.first}:
                self._compare_reader(promise, reader, room, log, lost)

        return self._summary(log, by_text)

    def _compare_writers(
        self, promise: Callable[[bool, str], None], log: Sequence[Said], by_text: Mapping[str, Said]
    ) -> None:
        said_by: dict[str, list[str]] = defaultdict(list)
        for said in log:
            said_by[said.author].append(said.text)
        for writer in self._writers:
            kept = sorted(writer.refused & by_text.keys())
            promise(not kept, f"{len(kept)} were refused and said nevertheless: {kept[:3]}")
            # Nobody knows when a line lands that is neither answered nor repeated.
            mine = [text for text in said_by[writer.name] if text not in writer.unknown]
            promise(mine == sorted(mine), f"what {writer.name} said is out of order")
            if writer.repeats and not self._may_lose:
                missing = writer.said - len(mine)
                promise(not missing, f"{missing} of {writer.name}'s are missing")

    def _compare_reader(
        self,
        promise: Callable[[bool, str], None],
        reader: Reader,
        room: str,
        log: Sequence[Said],
        lost: set[Said],
    ) -> None:
        heard = [said for said in reader.heard[room] if said not in lost]
        first = reader.first.get(room)
        if first is None:
            promise(False, f"{reader.name} was never in #{room}")
            return
        wanted = [
            said
            for said in log
            if said.room == room
            and said.seq > first
            and not any(a < said.seq <= b for a, b in reader.omitted[room])
        ]
        if heard != wanted:
            missing, odd = set(wanted) - set(heard), set(heard) - set(wanted)
            promise(
                False,
                f"{reader.name} misses {len(missing)} of #{room}, has {len(odd)} that are not there"
                f"{'' if missing or odd else ', has another order'}: {sorted(missing | odd)[:3]}",
            )

    def _summary(self, log: Sequence[Said], by_text: Mapping[str, Said]) -> str:
        waits = sorted(wait for writer in self._writers for wait in writer.waits) or [0.0]
        unknown = {text for writer in self._writers for text in writer.unknown}
        omitted = sum(b - a for r in self._readers for each in r.omitted.values() for a, b in each)
        everybody = (*self._readers, *self._writers)
        parts = [
            f"log {len(log):,}",
            f"{sum(writer.refusals for writer in self._writers):,} refused for now",
            f"{sum(writer.repeated for writer in self._writers):,} repeated",
            f"{len(unknown):,} without an answer, {len(unknown & by_text.keys()):,} of them kept",
            f"receipts p50 {1000 * statistics.median(waits):.1f} ms, longest {waits[-1]:.2f} s",
            f"longest way to a node {max(p.longest_way for p in everybody):.2f} s",
        ]
        if omitted:
            parts.append(f"{omitted:,} behind the limit of a replay")
        return "; ".join(parts)
