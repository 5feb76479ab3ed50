"""The beginning of a connection, until the peer's first words show whether it means this server."""

from collections.abc import Callable, Iterable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from twisted_chat.protocol import proxy, strangers

_PEER_FIRST = 0.05
"""Seconds for which the server waits for the peer to speak first. Browsers and IRC clients do; they
are answered in their own protocol, which has no place for a greeting."""

_PERSON = 0.2
"""Seconds of silence after the greeting that show that the peer is a person, not a program."""


class Greeting:
    """Decides when to greet a peer, and recognises clients of other protocols. It is dropped after
    the peer's first words.

    @ivar is_said: the peer has been greeted.
    @ivar has_begun: bytes have come from the peer.
    @ivar has_spoken: a line has come that is not empty and does not belong to another protocol.
    """

    __slots__ = (
        "_ask_person",
        "_call",
        "_clock",
        "_is_tls",
        "_welcome",
        "has_begun",
        "has_spoken",
        "is_said",
    )

    def __init__(
        self,
        clock: IReactorTime,
        welcome: Callable[[], None],
        ask_person: Callable[[], None],
        *,
        is_tls: bool,
    ) -> None:
        """
        @param welcome: called once, to greet the peer.
        @param ask_person: called when the peer seems to be a person.
        @param is_tls: the connection has TLS.
        """
        self._clock = clock
        self._welcome = welcome
        self._ask_person = ask_person
        self._is_tls = is_tls
        self._call: IDelayedCall | None = None
        self.is_said = False
        self.has_begun = False
        self.has_spoken = False

    def start(self) -> None:
        """Wait for the peer to speak first, and greet it if it does not."""
        self._call = self._clock.callLater(_PEER_FIRST, self.say)

    def say(self) -> None:
        """Greet the peer now, if that has not been done yet."""
        if self.is_said:
            return
        self.is_said = True
        self.stop()
        self._welcome()
        if not self.has_begun:
            self._call = self._clock.callLater(_PERSON, self._ask)

    def _ask(self) -> None:
        self._call = None
        self._ask_person()

    def begin(self, data: bytes) -> bytes | None:
        """Look at the first bytes from the peer.

        @return: the answer if they begin a TLS handshake or are the header of a proxy, otherwise
            nothing; L{None} if more bytes are needed to decide.
        """
        if data == strangers.HANDSHAKE:
            return None
        self.has_begun = bool(data)
        if data.startswith(strangers.CLIENT_HELLO):
            return strangers.tls_answer()
        if proxy.is_header(data):
            return strangers.proxy_answer()
        if data and self.is_said:
            self.stop()
        return b""

    def answer(self, line: bytes, behind: Iterable[bytes]) -> bytes:
        """Look at one of the first lines from the peer.

        @param behind: the lines that have come after it. Empty lines may stand before a request.
        @return: the answer if the peer speaks HTTP or IRC, otherwise nothing.
        """
        first = line or next(filter(None, behind), b"")
        if strangers.is_http(first):
            return strangers.http_answer(tls=self._is_tls)
        if strangers.is_irc(first) and not self.has_spoken:
            return strangers.irc_answer(tls=self._is_tls)
        self.has_spoken = self.has_spoken or bool(line)
        return b""

    def stop(self) -> None:
        """Cancel the greeting, or the question, that is due later."""
        if self._call is not None and self._call.active():
            self._call.cancel()
        self._call = None
