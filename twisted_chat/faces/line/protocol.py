"""The bytes of a connection of the line protocol: telnet, lines, and how each direction ends."""

import select
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IHalfCloseableProtocol,
    IHandshakeListener,
    IProtocol,
    IProtocolFactory,
    ISSLTransport,
)
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_chat.core.addresses import Source
from twisted_chat.faces.connection import State
from twisted_chat.faces.outbox import Outbox
from twisted_chat.protocol.grammar import MAX_LINE
from twisted_chat.transport import LastWord, hang_ups, keep_alive

from .dialogue import Dialogue, LineFace
from .telnet import Received, TelnetAbuse, TelnetFilter, is_plain

_PARTING = 15.0
"""Seconds that a session outlasts its connection at most, to carry out what was queued."""

_COMMANDS = 512
"""Bytes of telnet commands that count as a line. No more of them, or of anything else that is not
text as it stands, are looked at in one turn of the reactor."""


@implementer(IProtocol, IHalfCloseableProtocol, IHandshakeListener)
class LineProtocol:
    """Turns the bytes of a connection into lines for its L{Dialogue}.

    There are thousands of idle connections, so this has slots, where a LineReceiver would have a
    dict, and a telnet filter only once it has needed one.

    @ivar is_paused: the transport is not read from.
    @ivar ends_in_crlf: the last line ended in CR LF.
    @ivar is_endless: a line over L{MAX_LENGTH} ended the input.
    @ivar is_half_closed: the kernel has a FIN of the peer, perhaps behind what is not read.
    """

    MAX_LENGTH = 64 * 1024
    """A line over L{MAX_LINE} is refused; this much without an end of line ends the session."""

    transport: Any
    dialogue: Dialogue

    __slots__ = (
        "_at_line_start",
        "_face",
        "_last_word",
        "_parting",
        "_reading",
        "_rest",
        "_source",
        "_telnet",
        "_unread",
        "dialogue",
        "ends_in_crlf",
        "is_endless",
        "is_half_closed",
        "is_paused",
        "transport",
    )

    def __init__(self, face: LineFace, source: Source) -> None:
        self._face = face
        self._source = source
        self._telnet: TelnetFilter | None = None
        self._at_line_start = True
        self._unread = b""  # what has arrived and was not looked at yet
        self._rest = b""  # what was looked at, and is no line yet, or not while nothing is read
        self._reading: IDelayedCall | None = None  # when what is owed has been paid
        self._parting: IDelayedCall | None = None  # the end of a session that is lost
        self._last_word: LastWord | None = None
        self.ends_in_crlf = False
        self.is_endless = False
        self.is_half_closed = False
        self.is_paused = False

    def makeConnection(self, transport: Any) -> None:
        self.transport = transport
        self.connectionMade()

    def connectionMade(self) -> None:
        face = self._face
        keep_alive(self.transport, face.limits.keepalive, face.limits.stuck_after)
        outbox = Outbox(self.transport, face.text, face.outbox_limits)
        is_tls = bool(ISSLTransport.providedBy(self.transport))
        self.dialogue = Dialogue(face, self, outbox, self._source, is_tls=is_tls)
        if not is_tls:
            self.handshakeCompleted()

    def handshakeCompleted(self) -> None:
        """Give the peer a moment to speak first, which a program does at once."""
        if self.dialogue.greeting is not None:
            self.dialogue.greeting.start()

    # Reading

    def dataReceived(self, data: bytes) -> None:
        if self._last_word is not None:
            self._last_word.ignore(data)
            return
        if self._unread or self._reading is not None:
            data, self._unread = b"", self._unread + data
        if self._reading is None:
            self._read_on(data)

    def _read_on(self, data: bytes = b"") -> None:
        """Look at what has arrived, at a pace that bounds what telnet commands cost the others."""
        if self._unread:
            data, self._unread = self._unread, b""
        greeting = self.dialogue.greeting
        if greeting is not None and not greeting.has_begun:
            answer = greeting.begin(data)
            if answer is None:
                self._unread = data
                return
            if answer:
                self.turn_away(answer)
                return
        if data and self.dialogue.state is not State.OPEN:
            self._pace(len(data) / MAX_LINE)
            return
        if len(data) > _COMMANDS:
            most = self._first_special(data) + _COMMANDS
            data, self._unread = data[:most], data[most:]
        self._pace(self._take_in(data) / _COMMANDS)

    def _take_in(self, data: bytes) -> int:
        """Make lines of what was read.

        @return: the number of bytes of it that were telnet commands.
        """
        dialogue = self.dialogue
        try:
            received = self._without_telnet(data)
        except TelnetAbuse:
            dialogue.close()
            self.transport.abortConnection()
            return len(data)
        if self.speaks_telnet:
            dialogue.telnet_spoke()
            received.replies += self.telnet.ask()
        if received.replies:
            dialogue.outbox.write(received.replies)
        self._rest += received.data
        self._cut_lines()
        if received.interrupted and not dialogue.intake.is_asking:
            dialogue.notice("/quit leaves")
        if received.ended:
            self._end_input()
        if dialogue.state is State.ENDING:
            self.more()
        dialogue.intake.go_on()
        return received.commands

    def _cut_lines(self) -> None:
        """Take the lines that have ended, as long as the transport is read from."""
        data, start = self._rest, 0
        while not self.is_paused and self.dialogue.state is not State.CLOSED:
            end = data.find(b"\n", start)
            if (len(data) if end < 0 else end) - start > self.MAX_LENGTH:
                self.is_endless = True  # the lines before this one are carried out first
                self._end_input()
                start = len(data) if end < 0 else start
            if end < 0:
                break
            line, start = data[start:end], end + 1
            self.ends_in_crlf = line.endswith(b"\r")
            is_full = self.dialogue.put(line.removesuffix(b"\r"))
            if is_full or len(line) > MAX_LINE + 1:  # with its CR
                self.pauseProducing()
        self._rest = data[start:]

    def _end_input(self) -> None:
        if self.dialogue.state is State.OPEN:
            self.dialogue.state = State.ENDING

    # Telnet

    @property
    def telnet(self) -> TelnetFilter:
        """What takes telnet out of what comes; made when it is first needed."""
        if self._telnet is None:
            self._telnet = TelnetFilter(at_line_start=self._at_line_start)
        return self._telnet

    @property
    def speaks_telnet(self) -> bool:
        """Whether the peer is known to be telnet."""
        return self._telnet is not None and self._telnet.spoken

    def _first_special(self, data: bytes) -> int:
        if self._telnet is None and is_plain(data, at_line_start=self._at_line_start):
            return len(data)
        return self.telnet.first_special(data)

    def _without_telnet(self, data: bytes) -> Received:
        if self._telnet is None and is_plain(data, at_line_start=self._at_line_start):
            if data:
                self._at_line_start = data.endswith(b"\n")
            return Received(data)
        return self.telnet.receive(data)

    # When to read

    def _pace(self, lines: float) -> None:
        """Charge for what is no line, and read nothing more while that is owed."""
        dialogue = self.dialogue
        wait = 0.0
        if lines and not dialogue.is_free:
            dialogue.charge(lines)
            wait = dialogue.intake.owed
        if (wait or self._unread) and dialogue.state is not State.CLOSED:
            self._stop_waiting_to_read()  # begun for what came next, while this was carried out
            self.pauseProducing()
            self._reading = self._face.clock.callLater(wait, self._resume)

    def _resume(self) -> None:
        self._reading = None
        if self._unread:
            self._read_on()
        if self._reading is None and not self.dialogue.intake.waiting:
            self._next_bytes()

    def _next_bytes(self) -> None:
        """Read on, unless there is a reason not to."""
        if self.is_paused and self._reading is None and self._takes_more:
            self.resumeProducing()

    @property
    def _takes_more(self) -> bool:
        """Whether more may be queued; for a lost connection only if that does not make it last."""
        dialogue = self.dialogue
        if self._face.is_closing or (dialogue.state is State.CLOSED and self._last_word is None):
            return False
        return dialogue.is_free or not dialogue.is_lost

    def _stop_waiting_to_read(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None

    def more(self) -> None:
        """Read on if all lines are carried out; at the end take a line that was not ended, too."""
        is_ending = self.dialogue.state is State.ENDING
        if is_ending:
            self._stop_waiting_to_read()
        if not self.dialogue.intake.waiting:
            self._next_bytes()
        intake = self.dialogue.intake
        if is_ending and not self.is_paused:
            rest, self._rest = self._rest, b""
            if rest:
                intake.put(rest)
            intake.end()
        elif is_ending and not (intake.waiting or self._takes_more):
            intake.end()

    # While nothing is read

    def pauseProducing(self) -> None:
        """Stop reading, and have the peer looked after."""
        self.is_paused = True
        self.transport.pauseProducing()
        self._face.watch(self.dialogue)

    def resumeProducing(self) -> None:
        """Read on, beginning with what was read already."""
        self.is_paused = False
        self.transport.resumeProducing()
        self.dataReceived(b"")

    @property
    def is_deaf(self) -> bool:
        """Whether the transport is not read from, and so does not notice that the peer is gone."""
        dialogue = self.dialogue
        return not dialogue.is_lost and (self.is_paused or dialogue.state is not State.OPEN)

    def look(self) -> None:
        """Find out whether the peer has ended the connection, without reading."""
        events = hang_ups(self.transport)
        if events & (select.POLLHUP | select.POLLERR):
            self.transport.abortConnection()
        else:
            self.is_half_closed |= bool(events)

    # The end

    def readConnectionLost(self) -> None:
        """The peer has sent all that it had to send, and waits for the answers."""
        if self._last_word is not None:
            self.transport.loseConnection()
            return
        self._stop_waiting_to_read()
        data, self._unread = self._unread, b""
        if self.dialogue.state is State.OPEN:
            if self.dialogue.greeting is not None:
                self.dialogue.greeting.has_begun = True
            self._take_in(data)
        self._end_input()
        self._face.watch(self.dialogue)
        self.more()
        self.dialogue.intake.go_on()

    def writeConnectionLost(self) -> None:
        """Nobody reads any more; or we have said all that a stranger is told."""
        if self._last_word is None:
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        dialogue = self.dialogue
        dialogue.outbox.drop()
        dialogue.stop_greeting()
        if self._last_word is not None:
            self._last_word.connection_lost()
        is_orderly = (
            dialogue.state is State.ENDING or self.is_half_closed or reason.check(ConnectionDone)
        )
        dialogue.lost()
        if dialogue.state is not State.CLOSED and is_orderly:
            # The peer had sent all that it had to send, and TLS knows no half-close. So what was
            # queued before the end is still carried out, for a while.
            self._parting = self._face.clock.callLater(_PARTING, dialogue.close)
            self.readConnectionLost()
        else:
            dialogue.close()
            self._stop_waiting_to_read()

    def closed(self) -> None:
        """Stop all that was to happen later, as the session has ended."""
        self._stop_waiting_to_read()
        if self._parting is not None and self._parting.active():
            self._parting.cancel()

    def turn_away(self, answer: bytes) -> None:
        """Answer a peer that speaks another protocol, and end the connection."""
        self.dialogue.close()
        self._unread = self._rest = b""
        self._last_word = LastWord(self.transport, self._face.clock)
        self.dialogue.outbox.write(answer)
        self.dialogue.outbox.close(reading=True)
        self._next_bytes()

    def cut_soon(self) -> None:
        """Cut the peer off if it does not read why the session ends."""
        if self._last_word is None and not self.dialogue.is_lost:
            self._last_word = LastWord(self.transport, self._face.clock)


@implementer(IProtocolFactory)
class LineFactory:
    """Accepts connections for a L{LineFace}."""

    def __init__(self, face: LineFace) -> None:
        self.face = face

    def buildProtocol(self, addr: IAddress | None) -> IProtocol | None:
        source = self.face.admission.source(addr)
        sentence = self.face.refusal(source)
        if sentence is None:
            return LineProtocol(self.face, source)
        return self.face.refuse(f"! {sentence}\n".encode())

    def doStart(self) -> None:
        """Do nothing: a port begins to listen."""

    def doStop(self) -> None:
        """Do nothing: a port no longer listens."""
