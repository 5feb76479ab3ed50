"""The beginning of a connection, until it is clear that a person or a program of ours has it."""

from collections.abc import Callable, Iterable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from twisted_chat.protocol import strangers

_PEER_FIRST = 0.05
"""Seconds for which a peer may speak first. A browser or an IRC client does, and is answered in its
own protocol, which has no place for a greeting."""

_PERSON = 0.2
"""Seconds of silence, after the greeting, that tell a person from a program."""


class Greeting:
    """When to greet a peer, and whether it speaks another protocol. Dropped after its first words.

    @ivar is_said: the peer has been greeted.
    @ivar has_begun: something has come from the peer.
    @ivar has_spoken: a line that is not empty has come, and was none of another protocol.
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
        @param welcome: called once, to say what this server is.
        @param ask_person: called when a person seems to have read it.
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
        """Greet the peer now, if it was not greeted."""
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
        """Look at the first bytes that come.

        @return: the answer if they begin a TLS handshake, else nothing; L{None} if that cannot be
            told before more has come.
        """
        if data == strangers.HANDSHAKE:
            return None
        self.has_begun = bool(data)
        if data.startswith(strangers.CLIENT_HELLO):
            return strangers.tls_answer()
        if data and self.is_said:
            self.stop()
        return b""

    def answer(self, line: bytes, behind: Iterable[bytes]) -> bytes:
        """Look at one of the first lines.

        @param behind: the lines that have come after it. Empty lines may stand before a request.
        @return: the answer if the peer speaks HTTP or IRC, else nothing.
        """
        first = line or next(filter(None, behind), b"")
        if strangers.is_http(first):
            return strangers.http_answer(tls=self._is_tls)
        if strangers.is_irc(first) and not self.has_spoken:
            return strangers.irc_answer(tls=self._is_tls)
        self.has_spoken = self.has_spoken or bool(line)
        return b""

    def stop(self) -> None:
        """Give up what was to happen later."""
        if self._call is not None and self._call.active():
            self._call.cancel()
        self._call = None
