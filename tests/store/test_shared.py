"""What becomes of commits and of the log when the connection to PostgreSQL is lost, when it lies,
and when nodes disagree. Each node is the engine alone: nothing happens by itself."""

from collections.abc import Callable, Sequence
from threading import Thread
from typing import Any

import psycopg
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from twisted.trial.unittest import SynchronousTestCase

from tests import postgres
from tests.contract.cases import LOBBY, said, stands, told
from tests.support import NOW
from twisted_chat.core.announcements import Announced, Delivered, Gone, Went
from twisted_chat.core.model import CREATED, TOPIC, Account, Aside, Entry, RoomRecord, RoomState
from twisted_chat.store import pull, sql
from twisted_chat.store.commit import CALL
from twisted_chat.store.engine import Item
from twisted_chat.store.items import LetGo, Mark
from twisted_chat.store.postgres import LOG, PostgresDatabase
from twisted_chat.store.trouble import Away, InDoubt, StoreError

_FAILURES = psycopg.Error, DBAPIError, StoreError

_LABEL = "label-of-16-characters"


class _AtOnce:
    """A reactor whose thread is the store's."""

    def callFromThread(self, call: Callable[..., object], *args: Any, **kwargs: Any) -> None:
        call(*args, **kwargs)


class Engine(PostgresDatabase):
    """A node.

    @ivar handed: what it has handed over, and with which numbers.
    @ivar told: the numbers of posts that were lost, and the codes.
    @ivar forks: how many messages the database has lost, and the rooms then.
    """

    def __init__(self, url: str) -> None:
        super().__init__(make_url(url), _AtOnce())  # type: ignore[arg-type]
        self.handed: list[tuple[int, Delivered]] = []
        self.told: list[tuple[int, str]] = []
        self.forks: list[tuple[int, Sequence[RoomState]]] = []
        self._next = 0
        self.subscribe(
            self.handed.extend,
            lambda numbers, code: self.told.extend((number, code) for number in numbers),
            lambda count, states: self.forks.append((count, states)),
        )
        self.open(sql.states)

    def commit(self, *items: Item, seen: int = 10**9) -> list[Delivered]:
        """Carry out a commit; return what it handed over.

        @param seen: the newest entry that the core had been handed over before the posts came; by
            default all that the node has read.
        """
        before = len(self.handed)
        numbers = []
        for item in items:
            if hasattr(item, "time"):
                self._next += 1
                numbers.append(self._next)
        self.handed.extend(self.append(items, numbers, seen))
        return [what for _, what in self.handed[before:]]

    def entry(self, item: Item) -> Entry:
        """Store a post; return its entry."""
        entry = self.commit(item)[-1]
        assert isinstance(entry, Entry)
        return entry

    @property
    def texts(self) -> list[tuple[int, str]]:
        """The entries that were handed over: their numbers and texts."""
        return [(number, what.text) for number, what in self.handed if isinstance(what, Entry)]

    def fail_commit(self, *, kept: bool, again: bool = False) -> None:
        """Have the connection be lost during the next commit."""
        execute = self._link.execute

        def fail(statement: str, *values: object) -> list[Any]:
            if statement != (CALL if not again else "COMMIT"):
                return execute(statement, *values)
            self._link.execute = execute  # type: ignore[method-assign]
            if kept:
                execute(statement, *values)
            self.lose_connection()
            return execute("SELECT 1")

        self._link.execute = fail  # type: ignore[method-assign]

    def lose_connection(self) -> None:
        """Lose the connection, without noticing."""
        self._link.cut()


class SharedCase(SynchronousTestCase):
    """Nodes on one database."""

    def setUp(self) -> None:
        self.url = postgres.database(self)

    def node(self) -> Engine:
        """Start a node."""
        engine = Engine(self.url)
        self.addCleanup(engine.close)
        return engine

    def nodes(self, count: int = 2) -> list[Engine]:
        """Start nodes, which know of each other's start."""
        return [self.node() for _ in range(count)]

    def execute(self, statement: str, *values: object) -> list[Any]:
        """Carry out a statement in the database, as the superuser."""
        return postgres.shared().execute(statement, self.url, *values)

    def account(self, engine: Engine, name: str) -> Account:
        """Add an account."""
        return engine.write(lambda connection: sql.add_account(connection, name, name, b"", NOW))

    def seqs(self) -> list[int]:
        """The numbers of the lobby's entries in the log."""
        return [seq for (seq,) in self.execute("SELECT seq FROM entries ORDER BY id")]


class DoubtTests(SharedCase):
    """Commits during which the connection was lost."""

    def test_kept(self) -> None:
        """A commit that was kept is handed over with its numbers, in its place in the log, when the
        node is back."""
        ann, bob = self.nodes()
        bob.commit(said(LOBBY, "1"))
        ann.fail_commit(kept=True)
        self.assertRaises(InDoubt, ann.commit, said(LOBBY, "2"), said(LOBBY, "3"))
        self.assertTrue(ann.is_away)
        bob.commit(said(LOBBY, "4"))
        self.assertFalse(ann.come_back().is_anew)
        self.assertEqual(ann.texts, [(0, "1"), (1, "2"), (2, "3"), (0, "4")])
        self.assertEqual(ann.told, [])
        self.assertEqual(ann.entry(said(LOBBY, "5")).seq, 5)

    def test_not_kept(self) -> None:
        """The posts of a commit that was not kept are lost, and leave no gap."""
        ann, bob = self.nodes()
        ann.fail_commit(kept=False)
        self.assertRaises(InDoubt, ann.commit, said(LOBBY, "1"))
        bob.commit(said(LOBBY, "2"))
        self.assertEqual(ann.told, [])
        ann.come_back()
        self.assertEqual((ann.texts, ann.told), ([(0, "2")], [(1, "unavailable")]))
        self.assertEqual(ann.entry(said(LOBBY, "3")).seq, 2)

    def test_everything_else_in_it(self) -> None:
        """Messages with guests and rooms whose names are taken come back with their numbers too;
        announcements of our own are not handed back."""
        ann, bob = self.nodes()
        alice = self.account(ann, "alice")
        tea = RoomRecord(0, "public", "tea")
        ann.commit(said(tea, "", kind=CREATED))
        aside = Aside(None, "gil", alice.id, "alice", None, NOW, "psst")
        ann.fail_commit(kept=True)
        ann.handed.clear()
        items = [
            Went("gil"),
            aside,
            said(tea, "", kind=CREATED),
            told(alice, alice, "note"),
            Mark(alice.id, LOBBY.id, 1),
            said(RoomRecord(0, "public", "bar"), "", alice, kind=CREATED),
        ]
        self.assertRaises(InDoubt, ann.commit, *items)
        ann.come_back()
        found = dict(ann.handed)
        self.assertEqual(sorted(found), [2, 3, 4, 5])
        self.assertEqual((found[2], found[3], ann.told), (aside, None, []))
        note, made = found[4], found[5]
        assert isinstance(note, Entry)
        assert isinstance(made, Entry)
        self.assertEqual((note.text, made.room.name), ("note", "bar"))
        bob.pull()
        self.assertIn((0, Announced(ann.node, Went("gil"))), bob.handed)
        self.assertIn((0, aside), bob.handed)

    def test_away(self) -> None:
        """While a node is away, posts and questions fail at once, and pass as trouble."""
        ann = self.node()
        postgres.shared().terminate(self.url)
        self.assertIsNotNone(ann.trouble(self.assertRaises(_FAILURES, ann.read, sql.newest_time)))
        for call in (
            lambda: ann.commit(said(LOBBY, "1")),
            lambda: ann.read(sql.newest_time),
            lambda: ann.write(lambda connection: None),
            ann.pull,
        ):
            self.assertIsNotNone(ann.trouble(self.assertRaises(Away, call)))
        ann.come_back()
        self.assertEqual(ann.entry(said(LOBBY, "1")).seq, 1)

    def test_terminated(self) -> None:
        """A backend that is terminated while it waits for the log has stored nothing."""
        ann = self.node()
        with postgres.shared().connect(self.url) as other:
            other.execute("SELECT pg_advisory_lock(%s)", [LOG])
            raised: list[BaseException] = []
            appending = Thread(target=self.catch, args=(raised, ann.commit, said(LOBBY, "1")))
            appending.start()
            waits = "wait_event_type = 'Lock' AND wait_event = 'advisory'"
            while not postgres.shared().terminate(self.url, waits):
                pass
            appending.join()
        self.assertIsInstance(raised[0], InDoubt)
        ann.come_back()
        self.assertEqual((ann.told, self.seqs()), ([(1, "unavailable")], []))

    def test_frozen(self) -> None:
        """A commit that still waits for the log, on a connection that was cut off, comes before the
        node is back, and is found."""
        ann = self.node()
        with postgres.shared().connect(self.url) as other:
            other.execute("SELECT pg_advisory_lock(%s)", [LOG])
            raised: list[BaseException] = []
            appending = Thread(target=self.catch, args=(raised, ann.commit, said(LOBBY, "1")))
            appending.start()
            while not self.execute("SELECT 1 FROM pg_locks WHERE NOT granted"):
                pass
            ann.cut()
            appending.join()
        self.assertIsInstance(raised[0], InDoubt)
        ann.come_back()
        self.assertEqual((ann.texts, ann.told), ([(1, "1")], []))

    def test_answer_that_cannot_be_read(self) -> None:
        """A commit that was made is in doubt, not lost, if what is before it cannot be read: it is
        handed over with its numbers when the node is back."""
        ann, bob = self.nodes()
        bob.commit(said(LOBBY, "1"))
        read, failed = ann._reader.read, psycopg.errors.QueryCanceled("canceled by an operator")
        self.patch(ann._reader, "read", lambda *asked: self.fail_with(failed))
        self.assertRaises(InDoubt, ann.commit, said(LOBBY, "2"), Went("gil"))
        self.assertTrue(ann.is_away)
        self.patch(ann._reader, "read", read)
        ann.come_back()
        self.assertEqual((ann.texts, ann.told), ([(0, "1"), (1, "2")], []))
        self.assertEqual([type(what) for _, what in ann.handed], [Entry, Entry])

    def fail_with(self, error: Exception) -> None:
        raise error

    def test_registration_in_doubt(self) -> None:
        """A node whose connection is lost while it comes back still is the same one."""
        ann, _ = self.nodes()
        node = ann.node
        ann.fail_commit(kept=False)
        self.assertRaises(InDoubt, ann.commit, said(LOBBY, "1"))
        for kept in True, False:
            ann.fail_commit(kept=kept, again=True)
            self.assertRaises(InDoubt, ann.come_back)
            self.assertEqual(ann.told, [])
        self.assertFalse(ann.come_back().is_anew)
        self.assertEqual((ann.node, ann.told), (node, [(1, "unavailable")]))
        self.assertEqual(ann.entry(said(LOBBY, "2")).seq, 1)

    def test_change_in_doubt(self) -> None:
        """A change during whose commit the connection was lost is in doubt, whatever came of it."""
        ann = self.node()
        ann.fail_commit(kept=True, again=True)
        self.assertRaises(InDoubt, self.account, ann, "alice")
        ann.come_back()
        found = ann.read(lambda connection: sql.find_account(connection, "alice"))
        self.assertIsNotNone(found)

    def catch(self, raised: list[BaseException], call: Callable[..., object], *args: Any) -> None:
        """Call something, and keep what it raises."""
        try:
            call(*args)
        except _FAILURES as error:
            raised.append(error)


class FenceTests(SharedCase):
    """Nodes that others have taken for dead."""

    def test_evicted(self) -> None:
        """A node that was evicted stores nothing more, until it is back under the same number; the
        others are told that it is gone, and so is the node itself."""
        ann, bob = self.nodes()
        ann.write(
            lambda connection: connection.exec_driver_sql(
                f"INSERT INTO held VALUES ('x', 'x', {ann.node}, '')"
            )
        )
        node = ann.node
        self.assertEqual(bob.evict([node, 77]), [node])
        self.assertEqual(self.execute("SELECT * FROM held"), [])
        for call in (
            lambda: ann.commit(said(LOBBY, "1")),
            lambda: ann.write(lambda connection: None),
        ):
            error = self.assertRaises(_FAILURES, call)
            self.assertIsNotNone(ann.trouble(error))
            self.assertNotIsInstance(error, InDoubt)
            self.assertTrue(ann.is_away)
            self.assertTrue(ann.come_back().is_anew)
            bob.evict([node])
        ann.come_back()
        self.assertEqual((ann.node, ann.told, ann.texts), (node, [], []))
        bob.pull()
        gone = (0, Announced(bob.node, Gone(node)))
        self.assertIn(gone, ann.handed)
        self.assertIn(gone, bob.handed)

    def test_late_commit(self) -> None:
        """A commit of an earlier connection that comes after the node is back is refused."""
        ann = self.node()
        late: list[Sequence[object]] = []
        execute = ann._link.execute

        def lose(statement: str, *values: object) -> list[Any]:
            if statement == CALL:
                late.append(values)
                ann.lose_connection()
                return execute("SELECT 1")
            return execute(statement, *values)

        self.patch(ann._link, "execute", lose)
        self.assertRaises(InDoubt, ann.commit, said(LOBBY, "1"))
        self.patch(ann._link, "execute", execute)
        ann.come_back()
        self.assertEqual(ann.told, [(1, "unavailable")])
        with postgres.shared().connect(self.url) as zombie:
            error = self.assertRaises(psycopg.Error, zombie.execute, CALL, late[0])
        self.assertEqual(error.sqlstate, "CHFEN")
        self.assertEqual(self.seqs(), [])

    def test_closed(self) -> None:
        """A node that ends says so."""
        ann, bob = self.nodes()
        node = ann.node
        ann.close()
        bob.pull()
        self.assertEqual(bob.handed[-1], (0, Announced(node, Gone(node))))
        self.assertEqual(bob.live(), [])


class LabelTests(SharedCase):
    """Posts with the same label at several nodes."""

    def test_repeated_elsewhere(self) -> None:
        """A post that is in the log already, above what the node knows, is not stored again: the
        node hands over what is there, as its own."""
        ann, bob = self.nodes()
        first = ann.entry(said(LOBBY, "hello", label=_LABEL))
        stored = bob.commit(said(LOBBY, "1"), said(LOBBY, "hello", label=_LABEL), said(LOBBY, "2"))
        self.assertEqual(
            [what.text for what in stored if isinstance(what, Entry)], ["hello", "1", "2"]
        )
        self.assertEqual(bob.handed[-3], (2, first))
        self.assertEqual(bob.texts[-2:], [(1, "1"), (3, "2")])
        self.assertEqual(self.seqs(), [1, 2, 3])

    def test_repeated_before_it_was_handed_over(self) -> None:
        """A post that came before the node had handed over what it repeats is not stored again
        either, though the node has read that by the time of the commit."""
        ann, bob = self.nodes()
        first = ann.entry(said(LOBBY, "hello", label=_LABEL))
        ann.entry(said(LOBBY, "1"))
        bob.pull()
        stored = bob.commit(said(LOBBY, "hello", label=_LABEL), seen=first.id - 1)
        self.assertEqual(stored, [first])
        self.assertEqual(bob.handed[-1], (1, first))
        self.assertEqual(self.seqs(), [1, 2])

    def test_repeated_room(self) -> None:
        """What a repeated post would change besides the log is not changed again."""
        ann, bob = self.nodes()
        alice = self.account(ann, "alice")
        first = ann.entry(said(LOBBY, "Assam", alice, kind=TOPIC, label=_LABEL))
        ann.commit(said(LOBBY, "Darjeeling", kind=TOPIC))
        bob.commit(said(LOBBY, "Assam", alice, kind=TOPIC, label=_LABEL))
        self.assertIn((1, first), bob.handed)
        self.assertEqual(self.execute("SELECT topic FROM rooms WHERE id = 1"), [("Darjeeling",)])

    def test_others(self) -> None:
        """Another author's label, and a short one, are no repetition."""
        ann, bob = self.nodes()
        alice = self.account(ann, "alice")
        for one, other in ("gil", "zoe"), ("gil", alice), (str(alice.id), alice), (alice, "alice"):
            ann.pull()
            ann.commit(said(LOBBY, "x", one, label=_LABEL), said(LOBBY, "x", one, label="short"))
            bob.commit(said(LOBBY, "x", other, label=_LABEL), said(LOBBY, "x", one, label="short"))
        self.assertEqual(self.seqs(), [*range(1, 17)])

    def test_in_doubt(self) -> None:
        """A post in doubt that another node has stored meanwhile, and this one did not, is lost
        only for its author to ask again: the label is known then."""
        ann, bob = self.nodes()
        bob.commit(said(LOBBY, "hello", label=_LABEL))
        ann.fail_commit(kept=True)
        self.assertRaises(InDoubt, ann.commit, said(LOBBY, "hello", label=_LABEL))
        ann.come_back()
        self.assertEqual((ann.texts, ann.told), ([(0, "hello")], [(1, "unavailable")]))
        self.assertEqual(self.seqs(), [1])


class ForkTests(SharedCase):
    """Failovers that lose what was shown."""

    def lose_after(self, id: int) -> None:
        """Have the database lose what was committed after an id, as a standby does that was
        behind, and end all connections."""
        for table, column in ("entries", "id"), ("news", "id"), ("commits", "last_id"):
            self.execute(f"DELETE FROM {table} WHERE {column} > %s", id)
        postgres.shared().terminate(self.url)

    def come_back(self, *nodes: Engine) -> None:
        """Have nodes notice that their connections are lost, and come back."""
        for node in nodes:
            self.assertRaises(_FAILURES, node.pull)
        for node in nodes:
            node.come_back()

    def test_lost(self) -> None:
        """What was shown and is lost is counted, and no id, C{seq} or time of it is used again."""
        ann, bob = self.nodes()
        kept = ann.entry(said(LOBBY, "1"))
        bob.commit(said(LOBBY, "2", time=NOW + 1000))
        last = ann.entry(said(LOBBY, "topic", kind=TOPIC))
        self.lose_after(kept.id)
        self.come_back(ann)
        ((count, states),) = ann.forks
        self.assertEqual(count, 1)
        self.assertEqual([state.last_seq for state in states], [last.seq])
        again = ann.entry(said(LOBBY, "3"))
        self.assertGreater(again.id, last.id)
        self.assertEqual(again.seq, last.seq + 1)
        self.assertGreater(again.time, last.time)
        self.assertEqual([number for number, _ in ann.handed if number], [1, 2, 3])
        self.flushLoggedErrors()

    def test_only_once(self) -> None:
        """A node that is back after a loss does not report it again, and one that has shown nothing
        of what was lost does not report it at all."""
        ann, bob = self.nodes()
        bob.commit(said(LOBBY, "1"))
        self.lose_after(ann._cursor)
        self.come_back(ann, bob)
        self.assertEqual((len(ann.forks), len(bob.forks)), (0, 1))
        self.assertEqual(ann.entry(said(LOBBY, "2")).seq, 2)
        postgres.shared().terminate(self.url)
        self.come_back(ann, bob)
        self.assertEqual((len(ann.forks), len(bob.forks)), (0, 1))
        self.assertEqual(bob.texts[-1], (0, "2"))

    def test_commit_in_doubt(self) -> None:
        """A commit in doubt is lost, if a fork is found."""
        ann = self.node()
        head = ann._cursor
        ann.commit(said(LOBBY, "1"))
        ann.fail_commit(kept=True)
        self.assertRaises(InDoubt, ann.commit, said(LOBBY, "2"))
        self.lose_after(head)
        ann.come_back()
        self.assertEqual((len(ann.forks), ann.told), (1, [(2, "unavailable")]))

    def test_waits_for_all(self) -> None:
        """After a failover nothing is stored until every node has come back or is evicted, as one
        of them may have shown what is lost."""
        ann, bob = self.nodes()
        self.execute("UPDATE nodes SET timeline = timeline - 1 WHERE id = %s", bob.node)
        error = self.assertRaises(psycopg.Error, ann.commit, said(LOBBY, "1"))
        self.assertIsNotNone(ann.trouble(error))
        self.assertFalse(ann.is_away)
        bob.lose_connection()
        self.come_back(bob)
        self.assertEqual(ann.entry(said(LOBBY, "2")).seq, 1)
        self.execute("UPDATE nodes SET timeline = timeline - 1 WHERE id = %s", bob.node)
        self.assertRaises(psycopg.Error, ann.commit, said(LOBBY, "3"))
        ann.evict([bob.node])
        self.assertEqual(ann.entry(said(LOBBY, "4")).seq, 2)

    def test_away_for_too_long(self) -> None:
        """A node that was away for longer than commits are kept begins anew, and says of a commit
        in doubt that it cannot tell."""
        ann, bob = self.nodes()
        ann.fail_commit(kept=True)
        self.assertRaises(InDoubt, ann.commit, said(LOBBY, "1"))
        bob.commit(said(LOBBY, "2"))
        self.execute("UPDATE commits SET time = 0")
        bob.commit(said(LOBBY, "3"))
        bob.prune()
        ann.come_back()
        ((count, states),) = ann.forks
        self.assertEqual((count, [state.last_seq for state in states]), (0, [3]))
        self.assertEqual(ann.told, [(1, "internal")])
        self.assertEqual(ann.entry(said(LOBBY, "4")).seq, 4)


class NewsTests(SharedCase):
    """What nodes tell each other through the log."""

    def test_order(self) -> None:
        """Entries, messages with guests and announcements come in the order in which they were
        said, to others with the number 0."""
        ann, bob = self.nodes()
        aside = Aside(None, "gil", None, "zoe", 7, NOW, "psst")
        ann.commit(said(LOBBY, "1"), aside, Went("gil"), said(LOBBY, "2"))
        bob.pull()
        first, second = [what for _, what in ann.handed if isinstance(what, Entry)]
        gone = Announced(ann.node, Went("gil"))
        self.assertEqual(ann.handed, [(1, first), (2, aside), (3, second)])
        self.assertEqual(bob.handed, [(0, each) for each in (first, aside, gone, second)])

    def test_own_after_others(self) -> None:
        """What others have stored before is handed over with the answer to a commit, and a question
        has it handed over before."""
        ann, bob = self.nodes()
        ann.commit(said(LOBBY, "1"))
        bob.commit(said(LOBBY, "2"))
        self.assertEqual(bob.texts, [(0, "1"), (1, "2")])
        seen: list[object] = []
        ann.read(lambda connection: seen.extend(ann.texts))
        self.assertEqual(seen, [(1, "1"), (0, "2")])

    def test_room_of_another_node(self) -> None:
        """An entry of a room or a conversation that another node has made comes with its record."""
        ann, bob = self.nodes()
        alice, carol = self.account(ann, "alice"), self.account(bob, "carol")
        made = ann.entry(said(RoomRecord(0, "public", "tea"), "", alice, kind=CREATED))
        ann.commit(stands(made.room, carol, "member"), told(alice, carol, "psst"))
        bob.pull()
        self.assertEqual([what for _, what in bob.handed], [what for _, what in ann.handed])

    def test_claims_end(self) -> None:
        """A claim that is let go is free for others."""
        ann = self.node()
        ann.write(
            lambda connection: connection.exec_driver_sql(
                f"INSERT INTO held VALUES ('x', 'x', {ann.node}, ''), ('y', 'y', 77, '')"
            )
        )
        ann.commit(LetGo("x"), LetGo("y"))
        self.assertEqual(self.execute("SELECT skeleton FROM held"), [("y",)])

    def test_pieces(self) -> None:
        """A log of many thousand entries is handed over in pieces, in order, once."""
        ann, bob = self.nodes()
        for first in range(0, 12_000, 1_000):
            ann.commit(*(said(LOBBY, str(n)) for n in range(first, first + 1_000)))
        bob.pull()
        self.assertEqual(bob.texts, [(0, str(n)) for n in range(12_000)])

    def test_commit_in_doubt_between_two_pieces(self) -> None:
        """A commit in doubt is found as a whole, also where a piece would end in the middle."""
        for before in range(1, 7):
            ann, bob = self.nodes()
            self.patch(pull, "_MOST", 5)
            bob.commit(*(said(LOBBY, f"b{n}") for n in range(before)))
            ann.fail_commit(kept=True)
            mine = [said(LOBBY, f"a{n}") for n in range(4)]
            self.assertRaises(InDoubt, ann.commit, *mine)
            bob.commit(*(said(LOBBY, f"c{n}") for n in range(3)))
            ann.come_back()
            theirs = [(0, f"b{n}") for n in range(before)], [(0, f"c{n}") for n in range(3)]
            own = [(n + 1, f"a{n}") for n in range(4)]
            self.assertEqual((ann.texts, ann.told), ([*theirs[0], *own, *theirs[1]], []))
            ann.close()
            bob.close()

    def test_prune(self) -> None:
        """Commits and news that are older than an hour are deleted, but never the last commit; what
        is stored then is handed over as before."""
        ann, bob = self.nodes()
        ann.commit(said(LOBBY, "1"), Went("gil"))
        bob.pull()
        self.execute("UPDATE commits SET time = 0")
        node = self.node()
        node._pruned = 0
        node.prune()
        ((left,),) = self.execute("SELECT count(*) FROM commits")
        self.assertEqual(left, 1)
        ann.commit(said(LOBBY, "2"), Went("zoe"))
        for _ in range(2):
            node.prune()
        self.assertEqual(self.execute("SELECT body FROM news"), [('["zoe"]',)])
        bob.pull()
        self.assertEqual(bob.texts, [(0, "1"), (0, "2")])

    def test_forgotten_rooms(self) -> None:
        """Rooms whose records were forgotten are looked up again."""
        ann, bob = self.nodes()
        ann.commit(said(LOBBY, "1"))
        bob.pull()
        bob._reader._rooms.clear()
        ann.commit(said(LOBBY, "2"))
        bob.pull()
        self.assertEqual(bob.texts, [(0, "1"), (0, "2")])
