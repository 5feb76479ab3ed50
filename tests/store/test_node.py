"""Nodes that share a PostgreSQL database."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy.engine import URL
from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogEvent, capturedLogs, formatEvent
from twisted.trial.unittest import TestCase

from tests import postgres
from tests.contract.cases import LOBBY, said, texts
from tests.support import NOW
from twisted_chat.core.announcements import (
    Announced,
    Asked,
    Came,
    Delivered,
    Gone,
    Present,
    Visitor,
)
from twisted_chat.core.errors import Refusal
from twisted_chat.core.model import Entry
from twisted_chat.store import DatabaseTooNew, SqlStore, StoreError, node, server
from twisted_chat.store import postgres as postgres_store
from twisted_chat.store.postgres import LOG, NODES

reactor: Any = _reactor

_LISTENING = "application_name = 'twisted-chat listening'"

_KILLED = """
import os, sys
from twisted.internet import reactor
from twisted_chat.store import SqlStore

async def claim():
    print(await store.claim("dora", "dora", "", ""), store.node, flush=True)
    os.kill(os.getpid(), 9)

def begin():
    from twisted.internet.defer import Deferred
    Deferred.fromCoroutine(claim())

store = SqlStore(sys.argv[1], reactor)
store.open()
reactor.callWhenRunning(begin)
reactor.run()
"""


class Paced:
    """The reactor, with a clock that only tests move."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.callLater = self.clock.callLater
        self.seconds = self.clock.seconds

    def __getattr__(self, name: str) -> Any:
        return getattr(reactor, name)


class Peer:
    """A node whose core does no more than say who is with it.

    @ivar said: what its store has handed over, without the numbers.
    @ivar numbers: of those that were handed over for posts of its own.
    @ivar lost: the numbers of posts that were not kept, and the codes.
    """

    def __init__(self, url: str, name: str, answers: bool = True) -> None:
        self._paced = Paced()
        self._name = name
        self._answers = answers
        self._waiting: list[tuple[Callable[[], bool], Deferred[None]]] = []
        self.said: list[Delivered] = []
        self.numbers: list[int] = []
        self.lost: list[tuple[int, str]] = []
        self.store = SqlStore(url, self._paced)
        self._is_closed = False

    def open(self) -> None:
        """Start the node."""
        self.store.open()
        self.store.subscribe(self._feed, self._lose, self._damaged)

    def say(self, text: str, number: int = 1) -> None:
        """Post a message."""
        self.store.append(said(LOBBY, text, self._name), number)

    async def look(self, times: int = 1) -> None:
        """Have the node look after its connections, and do what it finds to be done."""
        for _ in range(times):
            self._paced.clock.advance(node._LOOK)
            await self.idle()

    def look_only(self, times: int) -> None:
        """Have it look, while its thread is stuck."""
        for _ in range(times):
            self._paced.clock.advance(node._LOOK)

    async def tick(self, times: int = 1) -> None:
        """Have it ask the database what it missed, and who has died."""
        await self.look(times * node._TICK)

    async def close(self) -> None:
        """End the node in good order. Does nothing if it has ended already."""
        if not self._is_closed:
            self._is_closed = True
            self.store.hasten()
            await self.store.settle()
            await self.store.close()

    async def until_back(self) -> None:
        """Have it look until it has noticed that its connections are lost, and has new ones."""
        while self._node._ears is not None and not self.is_away:
            await self.idle()
        while self.is_away or self._node._ears is None:
            await self.look()

    @property
    def is_away(self) -> bool:
        """Whether the connection of its store is lost."""
        return bool(self._database.is_away)

    @property
    def is_busy(self) -> bool:
        """Whether its store waits for the database."""
        return self._database.busy_since is not None

    @property
    def _database(self) -> Any:
        return self.store._database

    @property
    def _node(self) -> Any:
        return self.store._node

    async def idle(self) -> None:
        """Wait until the store's thread has done what it has to do, and what follows from that."""
        for _ in range(2):
            await self.store._worker.run(lambda: None)

    async def until_deaf(self) -> None:
        """Wait until it has noticed that the connection that listens is lost."""
        while self._node._ears is not None:
            await self.idle()

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until what was handed over makes something hold."""
        if not holds():
            told: Deferred[None] = Deferred()
            self._waiting.append((holds, told))
            await told

    async def hears(self, text: str) -> None:
        """Wait until a message is handed over."""
        await self.until(lambda: text in self.texts)

    @property
    def texts(self) -> list[str]:
        """The messages that were handed over."""
        return texts([what for what in self.said if isinstance(what, Entry)])

    @property
    def announced(self) -> list[Announced]:
        """What nodes have said, without what they say by themselves when they start."""
        every = [what for what in self.said if isinstance(what, Announced)]
        return [each for each in every if not isinstance(each.what, Asked | Present)]

    def _feed(self, batch: Sequence[tuple[int, Delivered]]) -> None:
        for number, what in batch:
            self.said.append(what)
            if number:
                self.numbers.append(number)
            if self._answers and isinstance(what, Announced) and isinstance(what.what, Asked):
                self.store.announce(Present((Visitor(self._name),), True, True))
        self._told()

    def _lose(self, numbers: Sequence[int], code: str) -> None:
        self.lost.extend((number, code) for number in numbers)
        self._told()

    def _told(self) -> None:
        waiting, self._waiting = self._waiting, []
        for holds, told in waiting:
            if holds():
                told.callback(None)
            else:
                self._waiting.append((holds, told))

    def _damaged(self, why: str) -> None:
        raise AssertionError(why)


class NodeCase(TestCase):
    """Two nodes, which are closed after the test."""

    timeout = 60

    def setUp(self) -> None:
        self.url = postgres.database(self)
        self.server = postgres.shared()

    def peer(self, name: str, answers: bool = True) -> Peer:
        """Start a node."""
        peer = Peer(self.url, name, answers)
        peer.open()
        self.addCleanup(peer.close)
        return peer

    async def two(self) -> tuple[Peer, Peer]:
        """Start two nodes, and wait until they know of each other."""
        ann = self.peer("ann")
        await ann.idle()
        bob = self.peer("bob")
        await bob.idle()
        return ann, bob

    def rows(self, table: str) -> int:
        """Count the rows of a table."""
        ((count,),) = self.server.execute(f"SELECT count(*) FROM {table}", self.url)
        return int(count)

    def backend(self, peer: Peer, name: str) -> int:
        """Return the process of PostgreSQL that serves a connection of a node, which is the only
        one."""
        ((pid,),) = self.server.execute(
            "SELECT pid FROM pg_stat_activity WHERE application_name = %s"
            " AND datname = current_database()",
            self.url,
            name,
        )
        return int(pid)


class OrderTests(NodeCase):
    async def test_one_order(self) -> None:
        """Nodes hand over what all of them have stored and said in one order."""
        ann, bob = await self.two()
        for number in range(1, 51):
            for peer in (ann, bob):
                peer.say(f"{peer._name} {number}", number)
                peer.store.announce(Came(Visitor(f"{peer._name}{number}")))
        for peer in (ann, bob):
            await peer.until(lambda peer=peer: len(peer.texts) == 100)  # type: ignore[misc]
            await peer.until(lambda peer=peer: len(peer.announced) == 50)  # type: ignore[misc]
        self.assertEqual(ann.texts, bob.texts)
        for peer in (ann, bob):
            self.assertEqual(peer.numbers, list(range(1, 51)))
            entries = [what for what in peer.said if isinstance(what, Entry)]
            self.assertEqual([entry.seq for entry in entries], list(range(1, 101)))
        # Each has come after what was said before, at the other node too.
        order = [
            what.text if isinstance(what, Entry) else what.what.visitor.name  # type: ignore
            for what in bob.said
            if isinstance(what, Entry) or what in bob.announced
        ]
        for number in range(1, 50):
            self.assertLess(order.index(f"ann {number}"), order.index(f"ann{number}"))
            self.assertLess(order.index(f"ann{number}"), order.index(f"ann {number + 1}"))

    async def test_notified(self) -> None:
        """What is said at one node is handed over at the other, which does not look for it."""
        ann, bob = await self.two()
        ann.say("hello")
        await bob.hears("hello")

    async def test_lost_notification(self) -> None:
        """What a notification was lost of is found at the next tick."""
        self.patch(node, "_ANSWERS", 0.0)
        self.patch(node.Node, "_heard", lambda self, what: None)
        ann, bob = await self.two()
        await bob.tick()
        ann.say("hello")
        await ann.hears("hello")
        await bob.idle()
        self.assertEqual(bob.texts, [])
        await bob.tick()
        self.assertEqual(bob.texts, ["hello"])

    async def test_own_notifications(self) -> None:
        """A node does not read what it has stored itself, when it is notified of that."""
        ann = self.peer("ann")
        await ann.idle()
        pulled: list[None] = []
        self.patch(ann._node, "_pull", lambda *head: pulled.append(None))
        ann.say("hello")
        await ann.hears("hello")
        listener = self.server.connect(self.url)
        listener.execute("LISTEN chat")
        ann.say("again")
        for _ in listener.notifies(stop_after=1):
            pass
        listener.close()
        ann._node._ears.doRead()
        self.assertEqual(pulled, [])

    async def test_notified_meanwhile(self) -> None:
        """What is said while a node reads on is read after that."""
        ann, bob = await self.two()
        pull, pulls = bob._database.pull, 0

        def slow(head: int) -> None:
            nonlocal pulls
            pulls += 1
            pull(head)
            if pulls == 1:  # its commit is notified of before the first pull is over
                reactor.callFromThread(ann.say, "second", 2)
                is_there.wait(30)

        is_there = threading.Event()
        self.patch(bob._database, "pull", slow)
        heard = bob._node._heard

        def hear(what: str) -> None:
            heard(what)
            if pulls:
                is_there.set()

        self.patch(bob._node._ears, "_heard", hear)
        ann.say("first")
        await bob.hears("second")
        self.assertEqual(bob.texts, ["first", "second"])

    async def test_answered_after_reading_on(self) -> None:
        """A question is answered after what other nodes had stored before is handed over."""
        self.patch(node, "_ANSWERS", 0.0)
        self.patch(node.Node, "_heard", lambda self, what: None)
        ann, bob = await self.two()
        ann.say("hello")
        await ann.hears("hello")
        (entry,) = await bob.store.history(LOBBY.id, 10)
        self.assertEqual(bob.texts, ["hello"])
        self.assertEqual(entry.text, "hello")


class StartTests(NodeCase):
    async def test_who_is_there(self) -> None:
        """The first question is answered after it is known who is with the other nodes."""
        ann = self.peer("ann")
        await ann.idle()
        bob = self.peer("bob")
        await bob.store.newest()
        here = Announced(ann.store.node, Present((Visitor("ann"),), True, True))
        self.assertEqual(bob.said, [here])

    async def test_who_does_not_answer(self) -> None:
        """The start does not wait for long for a node that does not say who is with it."""
        self.patch(node, "_ANSWERS", 0.0)
        ann = self.peer("ann", answers=False)
        await ann.idle()
        bob = self.peer("bob")
        await bob.store.newest()
        self.assertEqual(bob.said, [])

    async def test_who_is_dead(self) -> None:
        """The start does not wait for a node that has died, and has not been found out yet."""
        self.patch(node, "_ANSWERS", 3600.0)
        ann = self.peer("ann")
        await ann.idle()
        self.server.execute("INSERT INTO nodes SELECT 77, 1, timeline FROM nodes LIMIT 1", self.url)
        bob = self.peer("bob")
        await bob.store.newest()

    async def test_who_died_before_a_failover(self) -> None:
        """A node starts after a failover in which another one has died, and takes that one out of
        the database: nothing could be stored as long as it is waited for."""
        first = self.peer("first")
        await first.idle()
        await first.close()
        self.server.execute(
            "INSERT INTO nodes VALUES (77, 1, (pg_control_checkpoint()).timeline_id - 1)", self.url
        )
        ann = self.peer("ann")
        await ann.tick(node._ABSENCES + 2)
        self.assertEqual(self.rows("nodes"), 1)
        ann.say("hello")
        await ann.hears("hello")

    async def test_at_once(self) -> None:
        """Nodes may start on an empty database at the same time."""
        ann, bob = self.peer("ann"), self.peer("bob")
        await ann.idle()
        await bob.idle()
        ann.say("hello")
        await bob.hears("hello")
        self.assertNotEqual(ann.store.node, bob.store.node)
        self.assertTrue(ann.store.node and bob.store.node)

    async def test_good_order(self) -> None:
        """A node that ends tells the others at once, and leaves nothing in the database."""
        ann, bob = await self.two()
        self.assertIsNone(await bob.store.claim("dora", "dora", "", ""))
        number = bob.store.node
        await bob.close()
        await ann.until(lambda: bool(ann.announced))
        self.assertEqual([each.what for each in ann.announced], [Gone(number)])
        self.assertEqual((self.rows("nodes"), self.rows("held")), (1, 0))


class RefusedTests(TestCase):
    def refused(self, url: str, kind: type[Exception] = StoreError) -> str:
        return str(self.assertRaises(kind, SqlStore(url, Paced()).open))

    def test_no_server(self) -> None:
        """The sentence says where no server listens, and does not repeat the password."""
        said = self.refused("postgresql+psycopg://chat:secret@127.0.0.1:1/chat")
        self.assertIn("port 1 failed: Connection refused", said)
        self.assertNotIn("secret", said)

    def test_check(self) -> None:
        """What cannot be shared is refused before anything is written."""
        url = postgres.shared().database(self, "ENCODING 'LATIN1'")
        self.assertIn("its encoding is LATIN1", self.refused(url))
        tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
        self.assertEqual(postgres.shared().execute(tables, url), [(0,)])

    def test_no_rights(self) -> None:
        """The sentence says how a role gets the rights that it lacks."""
        url = postgres.database(self)
        server = postgres.shared()
        server.execute("CREATE ROLE newcomer LOGIN")
        self.addCleanup(server.execute, "DROP ROLE newcomer")
        server.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC", url)
        refused = self.refused(url.replace("chat@", "newcomer@"))
        self.assertIn("permission denied for schema public; make the role its owner", refused)

    async def test_too_new(self) -> None:
        """A database of a newer version is refused."""
        url = postgres.database(self)
        store = SqlStore(url, Paced())
        store.open()
        await store.close()
        postgres.shared().execute("UPDATE alembic_version SET version_num = '9999'", url)
        self.assertIn("install a newer twisted-chat", self.refused(url, DatabaseTooNew))

    def test_other_program(self) -> None:
        """The database of another program is refused."""
        url = postgres.database(self)
        postgres.shared().execute("CREATE TABLE invoices ()", url)
        self.assertIn("it is the database of another program", self.refused(url))

    def test_no_psycopg(self) -> None:
        """The sentence says what to install where psycopg is missing."""
        code = (
            "import sys; sys.modules['psycopg'] = None\n"
            "from twisted_chat.store import SqlStore\n"
            "SqlStore('postgresql+psycopg://chat@/chat', None)"
        )
        done = subprocess.run(
            (sys.executable, "-c", code),
            cwd=Path(__file__).parents[2],
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        self.assertIn("run pip install 'twisted-chat[postgresql]'", done.stderr)


class AwayTests(NodeCase):
    def setUp(self) -> None:
        super().setUp()
        self.lines: list[LogEvent] = []

    def away(self, lines: Sequence[LogEvent]) -> list[str]:
        """Return what was logged of the database being away and back."""
        every = [formatEvent(line) for line in lines]
        return [" ".join(line.split()[:4]) for line in every if "database is" in line]

    async def test_terminated(self) -> None:
        """A node whose connections are lost comes back, and nothing is lost or doubled."""
        ann, bob = await self.two()
        ann.say("before")
        await bob.hears("before")
        with capturedLogs() as logged:
            self.assertEqual(self.server.terminate(self.url), 4)
            for peer in (ann, bob):
                await self.turn(peer)
                await peer.until_back()
        self.assertEqual(self.away(logged), ["the database is away:", "the database is back;"] * 2)
        bob.say("after")
        await ann.hears("after")
        await bob.hears("after")
        for peer in (ann, bob):
            self.assertEqual(peer.texts, ["before", "after"])
            self.assertEqual([each.what for each in peer.announced], [])

    async def turn(self, peer: Peer) -> None:
        """Have the node find out what has become of its connection, and let the reactor turn."""
        try:
            await peer.store.newest()
        except Refusal:
            pass

    async def test_own_core_is_asked(self) -> None:
        """After coming back a node's own core is asked who is with it, and the others hear it:
        what it had announced while the database was away was dropped."""
        ann, bob = await self.two()
        self.server.terminate(self.url, "application_name = 'twisted-chat'")
        self.said_before = len(ann.said), len(bob.said)
        await self.turn(ann)
        while ann.is_away:
            await ann.look()
        own = Announced(ann.store.node, Asked())
        await ann.until(lambda: own in ann.said)
        await self.turn(bob)
        while bob.is_away:
            await bob.look()
        here = Announced(ann.store.node, Present((Visitor("ann"),), True, True))
        await bob.until(lambda: here in bob.said[self.said_before[1] :])

    async def test_deaf(self) -> None:
        """A node whose listening connection alone is lost listens again, and locks again."""
        ann, bob = await self.two()
        self.assertEqual(self.server.terminate(self.url, _LISTENING), 2)
        await bob.until_back()
        ann.say("hello")
        await bob.hears("hello")
        locks = f"pg_locks WHERE locktype = 'advisory' AND classid = {NODES}"
        self.assertEqual(self.rows(f"{locks} AND objid = {bob.store.node}"), 1)

    async def test_waits_after_a_failover(self) -> None:
        """The core of a node that is back after a failover is not told before all nodes are: what
        it answers would not be stored."""
        ann = self.peer("ann")
        await ann.idle()
        self.server.execute("INSERT INTO nodes SELECT 77, 1, timeline - 1 FROM nodes", self.url)
        self.server.terminate(self.url, "application_name = 'twisted-chat'")
        await self.turn(ann)
        own = Announced(ann.store.node, Asked())
        while ann.is_away:
            await ann.look()
        await ann.tick()
        self.assertNotIn(own, ann.said)
        self.server.execute("DELETE FROM nodes WHERE id = 77", self.url)
        await ann.tick(2)
        self.assertIn(own, ann.said)
        ((body,),) = self.server.execute(
            "SELECT body FROM news WHERE kind = 'present' ORDER BY id DESC LIMIT 1", self.url
        )
        self.assertIn('"ann"', body)

    async def test_stays_deaf(self) -> None:
        """A node that cannot listen again reads on at each attempt to, and says so in the log
        once."""
        ann, bob = await self.two()
        self.server.execute("ALTER ROLE chat CONNECTION LIMIT 1")
        self.addCleanup(self.server.execute, "ALTER ROLE chat CONNECTION LIMIT -1")
        with capturedLogs() as logged:
            self.server.terminate(self.url, _LISTENING)
            await bob.until_deaf()
            await bob.look()
            ann.say("hello")
            await ann.hears("hello")
            await bob.look(2 * node._LONGEST)
        self.assertEqual(bob.texts, ["hello"])
        lines = [formatEvent(line) for line in logged]
        (line,) = [line for line in lines if "cannot listen to the other nodes" in line]
        self.assertIn("too many connections", line)
        self.assertEqual(self.away(logged), [])

    async def test_attempts(self) -> None:
        """While the server is down, attempts to connect become fewer, but do not stop; the log has
        one line when that begins and one when it ends, also if nobody asks the store anything."""
        ann = self.peer("ann", answers=False)
        await ann.idle()
        tried: list[None] = []
        connect = server.connect

        def count(url: URL, name: str) -> Any:
            tried.append(None)
            return connect(url, name)

        self.patch(server, "connect", count)
        with capturedLogs() as logged:
            self.server.stop()
            try:
                await self.turn(ann)
                await ann.until_deaf()
                await ann.look(10 * node._LONGEST)
                self.assertTrue(10 <= len(tried) <= 30, len(tried))
            finally:
                self.server.start()
            await ann.until_back()
        self.assertEqual(self.away(logged), ["the database is away:", "the database is back;"])

    async def test_restart(self) -> None:
        """Posts are refused while the server is down, and it goes on by itself afterwards, with one
        line in the log when it begins and one when it ends."""
        ann, bob = await self.two()
        ann.say("before")
        await bob.hears("before")
        with capturedLogs() as logged:
            self.server.stop()
            self.addCleanup(self.server.execute, "SELECT 1")
            try:
                await self.turn(ann)
                ann.say("meanwhile", 2)
                await ann.until(lambda: bool(ann.lost))
                self.assertEqual(ann.lost, [(2, "unavailable")])
                await self.failed(ann.store.history(LOBBY.id, 1))
                await self.failed(ann.store.claim("dora", "dora", "", ""))
                await ann.look(30)
            finally:
                self.server.start()
            while ann.is_away:
                await ann.look()
            ann.say("after", 3)
            await ann.hears("after")
        self.assertEqual(self.away(logged), ["the database is away:", "the database is back;"])
        await self.turn(bob)
        await bob.until_back()
        await bob.hears("after")
        for peer in (ann, bob):
            self.assertEqual(peer.texts, ["before", "after"])
        self.assertEqual(ann.numbers, [1, 3])

    async def failed(self, answer: Deferred[Any]) -> None:
        refusal = await self.assertFailure(answer, Refusal)
        self.assertEqual(refusal.code, "unavailable")

    async def test_no_answer(self) -> None:
        """A connection that does not answer is cut off, and the post that was under way is told to
        be lost when it is known that it is not in the log."""
        ann = self.peer("ann")
        await ann.idle()
        pid = self.backend(ann, "twisted-chat")
        os.kill(pid, signal.SIGSTOP)
        self.addCleanup(os.kill, pid, signal.SIGCONT)
        ann.say("hello")
        while not ann.is_busy:
            await self.pause()
        ann.look_only(node._PATIENCE + 1)
        await ann.idle()
        while ann.is_away:
            await ann.look()
        await ann.until(lambda: bool(ann.lost))
        self.assertEqual(ann.lost, [(1, "unavailable")])
        ann.say("again", 2)
        await ann.hears("again")

    def pause(self) -> Deferred[None]:
        """Let other threads run."""
        paused: Deferred[None] = Deferred()
        reactor.callLater(0.001, paused.callback, None)
        return paused

    async def test_lock_held(self) -> None:
        """The log says which process of PostgreSQL keeps the nodes from storing anything, once, and
        the node goes on when that has ended."""
        self.patch(postgres_store, "_PATIENCE", "50ms")
        ann = self.peer("ann")
        await ann.idle()
        holder = self.server.connect(self.url)
        self.addCleanup(holder.close)
        holder.execute("SELECT pg_advisory_lock(%s)", [LOG])
        with capturedLogs() as logged:
            ann.say("hello")
            while not ann.is_busy:
                await self.pause()
            ann.look_only(node._PATIENCE + 1)
            await ann.idle()
            self.assertTrue(ann.is_away)
            for _ in range(2):
                while not ann.is_busy:
                    ann.look_only(1)
                    await self.pause()
                await ann.idle()
            told = "the log has been waiting for 5 s: PostgreSQL's process"
            lines = [formatEvent(line) for line in logged]
            (line,) = [line for line in lines if line.startswith(told)]
            self.assertIn(f"{told} {holder.info.backend_pid} holds its lock", line)
            holder.close()
            await ann.until_back()
        self.assertEqual(self.away(logged), ["the database is away:", "the database is back;"])
        await ann.until(lambda: bool(ann.lost or ann.numbers))
        ann.say("again", 2)
        await ann.hears("again")

    async def test_former_connection(self) -> None:
        """A node that comes back takes its lock from an earlier connection of its own, of which
        PostgreSQL does not know yet that it is lost."""
        ann = self.peer("ann")
        await ann.idle()
        self.server.terminate(self.url, _LISTENING)
        former = self.server.connect(self.url, "chat")
        self.addCleanup(former.close)
        former.execute("SELECT pg_advisory_lock(%s, %s)", [NODES, ann.store.node])
        await ann.until_back()
        lock = f"pg_locks WHERE locktype = 'advisory' AND classid = {NODES} AND granted"
        self.assertEqual(self.rows(f"{lock} AND objid = {ann.store.node}"), 1)


class DeathTests(NodeCase):
    async def test_killed(self) -> None:
        """The claims of a node whose process was killed are free, and its people gone, after it has
        been missing for some ticks."""
        ann = self.peer("ann")
        await ann.idle()
        done = subprocess.run(
            (sys.executable, "-c", _KILLED, self.url),
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        claimed, number = done.stdout.split()
        self.assertEqual(claimed, "None")
        self.assertEqual(await ann.store.claim("Dora", "dora", "", ""), "dora")
        with capturedLogs() as logged:
            await ann.tick(node._ABSENCES - 1)
            self.assertEqual(self.rows("nodes"), 2)
            await ann.tick()
        self.assertIn(f"node {number} has died", [formatEvent(line) for line in logged])
        self.assertEqual(self.rows("nodes"), 1)
        await ann.until(lambda: bool(ann.announced))
        self.assertEqual([each.what for each in ann.announced], [Gone(int(number))])
        self.assertIsNone(await ann.store.claim("Dora", "dora", "", ""))

    async def test_missing_for_a_moment(self) -> None:
        """A node that is missing only now and then is not taken for dead."""
        ann, bob = await self.two()
        for _ in range(2):
            self.server.terminate(self.url, f"pid = {self.listener(bob)}")
            await ann.tick(node._ABSENCES - 1)
            await bob.until_back()
            await ann.tick()
        self.assertEqual(self.rows("nodes"), 2)

    def listener(self, peer: Peer) -> int:
        """Return the process of PostgreSQL that a node listens to."""
        ((pid,),) = self.server.execute(
            "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND classid = %s AND objid = %s"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
            self.url,
            NODES,
            peer.store.node,
        )
        return int(pid)

    async def test_lives_on(self) -> None:
        """A node that was taken for dead and lives stores nothing before it is registered anew, and
        its core hears that it was gone."""
        ann, bob = await self.two()
        self.assertIsNone(await bob.store.claim("dora", "dora", "", ""))
        locks = f"pg_locks WHERE locktype = 'advisory' AND classid = {NODES}"
        self.server.terminate(self.url, f"pid = {self.listener(bob)}")
        while self.rows(f"{locks} AND objid = {bob.store.node}"):
            pass  # the process ends when it gets to it
        await ann.tick(node._ABSENCES)
        self.assertEqual((self.rows("nodes"), self.rows("held")), (1, 0))
        self.assertIsNone(await ann.store.claim("dora", "dora", "", ""))
        bob.say("too late")
        await bob.until_back()
        await bob.until(lambda: bool(bob.lost))
        self.assertEqual(bob.lost, [(1, "unavailable")])
        await bob.until(lambda: Announced(bob.store.node, Gone(bob.store.node)) in bob.said)
        self.assertEqual(await bob.store.claim("dora", "dora", "", ""), "dora")
        bob.say("now", 2)
        await ann.hears("now")
        self.assertEqual(ann.texts, ["now"])


class ClaimTests(NodeCase):
    async def test_one_node_has_it(self) -> None:
        """A name that a node has claimed is no other's, until it lets it go."""
        ann, bob = await self.two()
        self.assertIsNone(await ann.store.claim("dora", "dora", "", ""))
        self.assertEqual(await bob.store.claim("D0RA", "dora", "", ""), "dora")
        self.assertIsNone(await ann.store.claim("Dora", "dora", "", ""), "its own")
        ann.store.let_go("dora")
        await ann.idle()
        self.assertIsNone(await bob.store.claim("D0RA", "dora", "", ""))

    async def test_at_once(self) -> None:
        """One of two nodes that claim the same name at once gets it."""
        ann, bob = await self.two()
        claims = [peer.store.claim(peer._name, "x", "", "") for peer in (ann, bob)]
        results = {await claim for claim in claims}
        self.assertIn(results, ({None, "ann"}, {None, "bob"}))

    async def test_in_order(self) -> None:
        """A name that is let go and claimed again in one turn stays claimed."""
        ann, bob = await self.two()
        await ann.store.claim("dora", "dora", "", "")
        ann.store.let_go("dora")
        self.assertIsNone(await ann.store.claim("dora", "dora", "", ""))
        self.assertEqual(await bob.store.claim("dora", "dora", "", ""), "dora")

    async def test_taken_over(self) -> None:
        """Whoever has the token of the session that has the name takes it over at another node, and
        the node that had it cannot let it go any more."""
        ann, bob = await self.two()
        await ann.store.claim("dora", "dora", "first", "")
        self.assertEqual(await bob.store.claim("dora", "dora", "second", "wrong"), "dora")
        self.assertIsNone(await bob.store.claim("dora", "dora", "second", "first"))
        ann.store.let_go("dora")
        self.assertEqual(await ann.store.claim("dora", "dora", "third", ""), "dora")

    async def test_no_token(self) -> None:
        """A claim without a token is taken over by nobody."""
        ann, bob = await self.two()
        await ann.store.claim("dora", "dora", "", "")
        self.assertEqual(await bob.store.claim("dora", "dora", "second", ""), "dora")

    async def test_registered(self) -> None:
        """A name that was registered meanwhile cannot be claimed."""
        ann, bob = await self.two()
        await ann.store.add_account("Dora", "dora", b"hash", NOW)
        self.assertEqual(await bob.store.claim("D0RA", "dora", "", ""), "Dora")

    async def test_guest_numbers(self) -> None:
        """No number for a guest is given out twice, over all nodes."""
        ann, bob = await self.two()
        numbers = [await peer.store.guest_number() for _ in range(150) for peer in (ann, bob)]
        self.assertEqual(len(set(numbers)), 300)


class StopTests(NodeCase):
    async def test_away(self) -> None:
        """A node ends while the database is away."""
        ann = self.peer("ann")
        await ann.idle()
        self.server.stop()
        try:
            ann.say("hello")
            await ann.idle()
            with capturedLogs() as logged:
                await ann.close()
        finally:
            self.server.start()
        lines = [formatEvent(line) for line in logged]
        self.assertIn("not known whether the last posts (1)", "\n".join(map(str, lines)))

    async def test_no_answer(self) -> None:
        """A node ends while the database does not answer, and says what it does not know."""
        ann = self.peer("ann")
        await ann.idle()
        pid = self.backend(ann, "twisted-chat")
        os.kill(pid, signal.SIGSTOP)
        self.addCleanup(os.kill, pid, signal.SIGCONT)
        with capturedLogs() as logged:
            ann.say("hello")
            ended = Deferred.fromCoroutine(ann.close())
            while not ann.is_busy:
                paused: Deferred[None] = Deferred()
                reactor.callLater(0.001, paused.callback, None)
                await paused
            ann.look_only(node._PATIENCE + 1)
            await ended
        lines = [formatEvent(line) for line in logged]
        self.assertIn("not known whether the last posts (1)", "\n".join(map(str, lines)))
