"""How a session ends when its connection does, over a transport in memory."""

import socket
from typing import ClassVar

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, ISystemHandle
from zope.interface import implementer

from twisted_chat.core.limits import Limits
from twisted_chat.faces.line.dialogue import Dialogue

from .server import MemoryTransport, Peer, ServerTestCase

_QUEUED = 64
"""Lines that wait to be carried out before no more are read."""

_LONGEST = 15
"""Seconds that a session outlasts its connection at most."""

_FLOOD = b"x\n" * 20_000


@implementer(ISystemHandle)
class SocketTransport(MemoryTransport):
    """A transport with the descriptor of one of a pair of real sockets, to which it writes nothing.

    @ivar far: the other end.
    """

    def __init__(self, peer: IAddress) -> None:
        super().__init__(peer)
        self.near, self.far = socket.socketpair()

    def fileno(self) -> int:
        return self.near.fileno()

    def close(self) -> None:
        """Close both ends."""
        self.near.close()
        self.far.close()


class EndsTestCase(ServerTestCase):
    limits: ClassVar[Limits] = Limits(connections_per_minute=0)
    far = IPv4Address("TCP", "192.0.2.1", 4000)
    trusted = IPv4Address("TCP", "192.0.2.129", 4000)

    def come(self, name: str, address: IAddress | None = None) -> Peer:
        """Make a guest to whom the limit on lines applies."""
        peer = self.peer(address or self.far)
        self.tell(peer, f"/guest {name}\n")
        return peer

    def wait(self, seconds: float) -> None:
        """Let time pass, in small steps."""
        for _ in range(round(seconds * 10)):
            self.clock.advance(0.1)
            self.settle()

    def said(self) -> int:
        return len(self.messages)

    def here(self) -> str:
        """The people in the lobby, as a newcomer sees them."""
        answer = self.say(self.peer(), "/guest zz\n/users\n/quit\n")
        return next(line for line in answer.splitlines() if " in the lobby: " in line)


class ClosedTests(EndsTestCase):
    """The whole connection is closed in an orderly way while lines wait, as with TLS or PROXY."""

    def flood(self, peer: Peer) -> None:
        """Send more than can be said in an hour, and close."""
        peer.send(_FLOOD)
        peer.read()
        peer.hang_up()

    def test_what_was_queued_is_said_and_no_more(self) -> None:
        """Lines that were queued are said at the usual pace, and no more; then the name is free."""
        alice = self.come("alice")
        self.clock.advance(60)
        self.flood(alice)
        self.assertEqual(self.said(), 20)
        self.wait(1)
        self.assertEqual(self.said(), 25)
        self.assertIn("alice", self.here())
        self.wait(_LONGEST)
        self.assertEqual(self.said(), _QUEUED)
        self.assertNotIn("alice", self.here())
        self.assertIn("Welcome, alice", self.say(self.peer(), "/guest alice\n"))

    def test_last_line_without_an_end_is_said(self) -> None:
        """A last line without an end is said."""
        alice = self.come("alice")
        alice.send("one\ntwo")
        self.store.hold()
        alice.read()
        alice.hang_up()
        self.let_go()
        self.assertEqual([message.text for message in self.messages], ["one", "two"])

    def test_slow_commands_do_not_make_it_last(self) -> None:
        """After a while no more commands are carried out, however slow they are."""
        self.serve(Limits(line_rate=1, connections_per_minute=0))
        alice = self.come("alice")
        self.flood(alice)
        self.wait(_LONGEST + 0.1)
        said = self.said()
        self.assertLess(said, 20 + _LONGEST + 1)
        self.assertNotIn("alice", self.here())
        self.wait(60)
        self.assertEqual(self.said(), said)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_of_the_trusted_all_is_said(self) -> None:
        """All lines of a trusted peer are said, as that takes no time."""
        bot = self.come("bot", self.trusted)
        bot.send("".join(f"{number}\n" for number in range(500)))
        bot.read()
        bot.hang_up()
        self.settle()
        said = [message.text for message in self.messages]
        self.assertEqual(said, [str(number) for number in range(500)])

    def test_in_the_middle_of_a_login(self) -> None:
        """Lines behind a login are said after it, and then the name is free."""
        self.register("alice", "wonderland")
        self.hasher.held = True
        peer = self.peer(self.far)
        peer.send(b"/login alice wonderland\n" + _FLOOD)
        peer.read()
        peer.hang_up()
        self.hasher.held = False
        self.hasher.release()
        self.wait(_LONGEST)
        self.assertEqual(self.said(), _QUEUED - 1)
        self.assertNotIn("alice", self.here())

    def test_login_that_takes_too_long(self) -> None:
        """If a login ends after the session, nobody is logged in."""
        self.register("alice", "wonderland")
        self.hasher.held = True
        peer = self.peer(self.far)
        peer.send(b"/login alice wonderland\nhello\n")
        peer.read()
        peer.hang_up()
        self.wait(_LONGEST + 1)
        self.assertEqual(self.admission._count, 0)
        self.let_go()
        self.assertEqual(self.said(), 0)
        self.assertNotIn("alice", self.here())

    def test_it_counts_until_the_session_is_over(self) -> None:
        """A closed connection counts until its session is over, so an address cannot have more
        sessions than connections."""
        refused = []
        for number in range(90):
            peer = self.peer(self.far)
            if "connections; close one first" in peer.take():
                refused.append(number)
                continue
            self.tell(peer, f"/guest ghost{number}\n")
            self.flood(peer)
        self.assertEqual(refused, [*range(50, 90)])
        for peer in self.peers:
            peer.vanish()
        self.assertEqual(self.admission._count, 50)
        self.wait(_LONGEST)
        self.assertEqual(self.admission._count, 0)
        self.assertEqual(self.admission._by_network, {})

    def test_what_is_on_its_way_to_the_log(self) -> None:
        """Posts in flight are waited for, and the connection counts meanwhile."""
        alice = self.come("alice")
        self.store.hold()
        alice.send("one\n")
        self.settle()
        alice.vanish()
        self.assertEqual(self.admission._count, 1)
        self.let_go()
        self.assertEqual(self.admission._count, 0)

    def test_it_is_counted_once(self) -> None:
        """A connection is counted off once, also if another session ends its session while a post
        is in flight."""
        self.register("alice", "secret99")
        alice, other = self.peer(self.far), self.peer(self.far)
        for peer in alice, other:
            self.tell(peer, "/login alice secret99\n")
        self.store.hold()
        self.tell(alice, "one\n")
        alice.vanish()
        self.chat.end_others(other.protocol.dialogue.session, "alice", "bye")
        self.let_go()
        self.assertEqual(self.admission._count, 1)

    def test_server_goes_down(self) -> None:
        """A server that goes down does not wait for lines of closed connections."""
        self.flood(self.come("alice"))
        self.face.pause()
        ended = self.face.hang_up("bye", 1.0)
        self.assertIsNone(self.successResultOf(Deferred.fromCoroutine(ended)))
        self.wait(_LONGEST)


class CutTests(EndsTestCase):
    """The session is ended in the middle of something."""

    def test_what_was_queued_is_no_answer(self) -> None:
        """If the session ends before a question is asked, a queued line is not taken for its
        answer."""
        carol = self.peer(self.far)
        self.store.hold()
        self.tell(carol, "carol\nsecret99\n")
        carol.vanish()
        self.let_go()
        answer = self.say(self.peer(), "/login carol secret99\n")
        self.assertIn("wrong name or password", answer)
        self.assertEqual(self.admission._count, 1)

    def test_command_that_waited(self) -> None:
        """A command that waits for posts in flight is not carried out if the session is ended."""
        self.register("alice", "secret99")
        alice, other = self.peer(self.far), self.peer(self.far)
        for peer in alice, other:
            self.tell(peer, "/login alice secret99\n")
        self.store.hold()
        self.tell(alice, "one\n/register carol secret99\n")
        self.chat.end_others(other.protocol.dialogue.session, "alice", "bye")
        self.let_go()
        answer = self.say(self.peer(), "/login carol secret99\n")
        self.assertIn("wrong name or password", answer)

    def test_lines_that_are_slowed(self) -> None:
        """If another session ends a closed one, its slowed lines are not waited for."""
        self.register("alice", "secret99")
        alice, other = self.peer(self.far), self.peer(self.far)
        for peer in alice, other:
            self.tell(peer, "/login alice secret99\n")
        alice.send("x\n" * 60)
        self.settle()
        alice.hang_up()
        self.chat.end_others(other.protocol.dialogue.session, "alice", "bye")
        self.assertEqual(self.clock.getDelayedCalls(), [])


class PausedTests(EndsTestCase):
    """A peer that is not read from because its lines wait."""

    def setUp(self) -> None:
        super().setUp()
        self.patch(Peer, "transport_class", SocketTransport)

    def peer(self, address: IAddress | None = None) -> Peer:
        peer = super().peer(address)
        if isinstance(peer.transport, SocketTransport):
            self.addCleanup(peer.transport.close)
        return peer

    def flood(self, peer: Peer) -> SocketTransport:
        """Send more than is read, and more than can be said in an hour."""
        self.clock.advance(60)
        for _ in range(100):
            peer.send(_FLOOD)
        self.settle()
        self.assertTrue(peer.paused)
        peer.take()
        assert isinstance(peer.transport, SocketTransport)
        return peer.transport

    def test_gone(self) -> None:
        """A peer that is gone is noticed within a second, and none of its waiting lines is said."""
        alice = self.come("alice")
        self.flood(alice).far.close()
        self.wait(1)
        said = self.said()
        self.assertLessEqual(said, 25)
        self.assertTrue(alice.gone)
        self.assertNotIn("alice", self.here())
        self.assertEqual(self.admission._count, 0)
        self.wait(60)
        self.assertEqual(self.said(), said)

    def test_half_closed(self) -> None:
        """A half-closed peer is not cut off; now and then it is told that its lines are still being
        read, which shows whether it is there."""
        alice = self.come("alice")
        transport = self.flood(alice)
        self.wait(5)
        self.assertEqual(alice.take(), "")
        transport.far.shutdown(socket.SHUT_WR)
        self.wait(30)
        self.assertFalse(alice.gone)
        self.assertEqual(
            alice.take(), "* your input has ended; the remaining lines are still being read\n" * 3
        )
        self.assertEqual(self.said(), 20 + 35 * 5)
        alice.vanish()
        self.wait(_LONGEST)

    def test_silent_for_long(self) -> None:
        """A peer that is not read from is written to now and then; if it is gone, its kernel
        answers with a reset."""
        alice, program = self.come("alice"), self.come("program")
        self.tell(program, "/json on\n")
        self.flood(alice)
        self.flood(program)
        alice.take()
        self.wait(31)
        self.assertEqual(alice.take().count("* still reading what you sent; nothing is lost\n"), 3)
        self.assertGreaterEqual(program.take().count('"event":"ping"'), 3)
        alice.vanish()
        program.vanish()
        self.wait(_LONGEST)

    def test_half_closed_and_then_gone(self) -> None:
        """If a half-closed peer goes, its queued lines are said, and then the session is over."""
        alice = self.come("alice")
        transport = self.flood(alice)
        transport.far.shutdown(socket.SHUT_WR)
        self.wait(1)
        transport.far.close()
        self.wait(1)
        self.assertTrue(alice.gone)
        self.wait(_LONGEST)
        self.assertEqual(self.said(), _QUEUED)
        self.assertNotIn("alice", self.here())

    def test_all_read_and_then_gone(self) -> None:
        """A peer that goes after the end of its input was read is noticed."""
        alice = self.come("alice")
        self.clock.advance(60)
        alice.send(b"x\n" * 60)
        alice.end()
        self.settle()
        self.assertFalse(alice.paused)
        assert isinstance(alice.transport, SocketTransport)
        alice.transport.far.close()
        self.wait(1)
        self.assertTrue(alice.gone)
        self.wait(_LONGEST)
        self.assertEqual(self.said(), 60)
        self.assertNotIn("alice", self.here())

    def test_while_a_commit_is_waited_for(self) -> None:
        """If a peer goes while a commit is under way, its further lines are not said."""
        self.serve(Limits(line_rate=0, max_in_flight=10, connections_per_minute=0))
        alice = self.come("alice")
        self.store.hold()
        transport = self.flood(alice)
        transport.far.close()
        self.wait(1)
        self.assertTrue(alice.gone)
        self.assertEqual(self.admission._count, 1)
        self.let_go()
        self.assertLessEqual(self.said(), 11)
        self.assertNotIn("alice", self.here())
        self.assertEqual(self.admission._count, 0)

    def test_another_while_connections_are_looked_at(self) -> None:
        """If the last paused peer goes and another one pauses during a look, the connections are
        still looked at once a second."""
        alice, bob = self.come("alice"), self.come("bob")
        self.flood(alice)
        looks: list[float] = []
        self.patch(Dialogue, "look", lambda dialogue: looks.append(self.clock.seconds()))
        self.clock.advance(1)
        alice.vanish()
        bob.protocol.pauseProducing()
        self.wait(5)
        self.assertEqual(len(looks), 5)
        bob.vanish()
        self.wait(5)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_read_again(self) -> None:
        """A connection that is read from is not looked at."""
        alice = self.come("alice")
        self.clock.advance(60)
        alice.send(b"x\n" * 100)
        self.settle()
        self.assertTrue(alice.paused)
        self.wait(20)
        self.assertFalse(alice.paused)
        self.assertEqual(self.clock.getDelayedCalls(), [])
