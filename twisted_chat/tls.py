"""Ports with TLS: certificates that may change while the server runs, and handshakes with a
deadline."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)
from OpenSSL import SSL
from twisted.internet.interfaces import (
    IDelayedCall,
    IOpenSSLServerConnectionCreator,
    IProtocolFactory,
    IReactorTime,
)
from twisted.internet.protocol import connectionDone
from twisted.internet.ssl import CertificateOptions, TLSVersion
from twisted.logger import Logger
from twisted.protocols.tls import (
    BufferingTLSTransport,
    TLSMemoryBIOFactory,
    TLSMemoryBIOProtocol,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_chat.protocol import strangers
from twisted_chat.protocol.grammar import MAX_LINE
from twisted_chat.transport import LastWord

HANDSHAKE = 10.0
"""Seconds that a handshake may take."""

SILENCE = 5.0
"""Seconds until a peer that sends nothing is told that the port speaks TLS. A TLS client sends at
once; this leaves time to send its first packet again, twice (RFC 6298)."""

_LOOK_EVERY = 0.5
"""Seconds between two looks at the files, at least."""

_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.+?-----END \1-----", re.DOTALL)
_KEY = re.compile(rb"-----BEGIN ((?:[A-Z]+ )*PRIVATE KEY)-----.+?-----END \1-----", re.DOTALL)
_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)

_CIPHERS = b"ECDHE+AESGCM:ECDHE+CHACHA20"
"""For TLS 1.2; all ciphers of TLS 1.3 are good (RFC 8446, section 9.1)."""

_log = Logger()


class CertificateError(Exception):
    """The certificates cannot be used; the text is a sentence that says why."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate with its key.

    @ivar context: serves it.
    @ivar names: the host names, in lower case, and the addresses that it is for.
    @ivar since: when it becomes valid.
    @ivar until: when it expires.
    @ivar fingerprint: its SHA-256.
    """

    context: SSL.Context
    names: Sequence[str]
    since: datetime
    until: datetime
    fingerprint: bytes


def load(paths: Sequence[Path]) -> Sequence[Certificate]:
    """Load all keys from PEM files, each with its certificate and the chain of certificates above
    it. It does not matter which file has which of them.

    @raise CertificateError: if a file cannot be used, a key has no certificate, or there is no key.
    """
    keys: list[tuple[Path, Any]] = []
    found: list[x509.Certificate] = []
    for path in paths:
        try:
            data = path.read_bytes()
            if b"-----" in _BLOCK.sub(b"", data):
                raise ValueError("it is truncated")
            # Validating an RSA key takes long, and the handshake finds out as much.
            keys += (
                (path, load_pem_private_key(m[0], None, unsafe_skip_rsa_key_validation=True))
                for m in _KEY.finditer(data)
            )
            found += (x509.load_pem_x509_certificate(m[0]) for m in _CERTIFICATE.finditer(data))
        except OSError as error:
            raise CertificateError(f"cannot read {path}: {error.strerror}") from None
        except TypeError:
            raise CertificateError(f"cannot use {path}: its key has a password") from None
        except (ValueError, UnsupportedAlgorithm) as error:
            raise CertificateError(f"cannot use {path}: {_first_line(error)}") from None
    if not keys:
        raise CertificateError("there is no private key")
    return [_certificate(path, key, found) for path, key in keys]


def _certificate(path: Path, key: Any, found: Sequence[x509.Certificate]) -> Certificate:
    public = _public_bytes(key.public_key())
    own = [each for each in found if _public_bytes(each.public_key()) == public]
    if not own:
        raise CertificateError(f"the key in {path} has no certificate")
    leaf = max(own, key=lambda each: each.not_valid_after_utc)
    try:
        context = _context()
        context.use_certificate(leaf)
        context.use_privatekey(key)
        for each in _above(leaf, found):
            context.add_extra_chain_cert(each)
    except (SSL.Error, TypeError, ValueError) as error:
        raise CertificateError(f"cannot use the key in {path}: {_reason(error)}") from None
    return Certificate(
        context,
        tuple(_names(leaf)),
        leaf.not_valid_before_utc,
        leaf.not_valid_after_utc,
        leaf.fingerprint(hashes.SHA256()),
    )


def _public_bytes(key: Any) -> bytes:
    data = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert isinstance(data, bytes)
    return data


def _above(leaf: x509.Certificate, found: Sequence[x509.Certificate]) -> Iterator[x509.Certificate]:
    """Find the certificates that a client needs besides, up to the root, which it has itself."""
    rest = [each for each in found if each.issuer != each.subject]
    above: x509.Certificate | None = leaf
    while above is not None:
        rest = [each for each in rest if each.subject != above.subject]
        above = next((each for each in rest if each.subject == above.issuer), None)
        if above is not None:
            yield above


def _names(leaf: x509.Certificate) -> Iterator[str]:
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        for name in leaf.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME):
            yield str(name.value).lower()
        return
    yield from (name.lower() for name in names.get_values_for_type(x509.DNSName))
    yield from map(str, names.get_values_for_type(x509.IPAddress))


def _context() -> SSL.Context:
    """Make a context for TLS 1.2 and newer, with forward secrecy, without compression, sessions and
    tickets."""
    context: SSL.Context = CertificateOptions(raiseMinimumTo=TLSVersion.TLSv1_2).getContext()
    context.set_cipher_list(_CIPHERS)
    context.set_info_callback(_note)
    context.set_alpn_select_callback(_no_protocol)
    context.set_options(SSL.OP_NO_RENEGOTIATION)
    return context


def _note(connection: SSL.Connection, where: int, result: int) -> None:
    """Call what waits for the end of a handshake. OpenSSL calls this after each step."""
    if where & SSL.SSL_CB_HANDSHAKE_DONE:
        done = connection.get_app_data()
        if done is not None:
            done()


def _no_protocol(connection: SSL.Connection, offered: list[bytes]) -> Any:
    """Agree on none of the protocols that a browser or curl offers (RFC 7301), and go on: its
    request is answered later. Twisted's own callback ends the handshake with an internal error."""
    return SSL.NO_OVERLAPPING_PROTOCOLS


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].partition(". ")[0]


def _reason(error: Exception) -> str:
    """Give OpenSSL's reason for an error, without the place in its source."""
    if isinstance(error, SSL.Error) and error.args and error.args[0]:
        return str(error.args[0][-1][-1])
    return _first_line(error)


@implementer(IOpenSSLServerConnectionCreator)
class Certificates:
    """The certificates of a port. A client is shown the one for the name that it asks for (RFC
    6066, section 3), or the first one.

    When a client connects, the files are looked at. If they have changed, this client and later
    ones are shown the new certificates; if those cannot be used, the old ones stay.
    """

    def __init__(self, find: Callable[[], Sequence[Path]], clock: IReactorTime) -> None:
        """
        @param find: finds the files.
        @raise CertificateError: if they cannot be used.
        """
        self._find = find
        self._clock = clock
        self._looked = 0.0
        self._broken = False
        # Connections start on this context. OpenSSL keeps calling its callback after set_context(),
        # through a raw pointer, so this object must outlive them.
        self._first = _context()
        self._first.set_tlsext_servername_callback(self._choose)
        self._seen = self._state()
        self._take(load(find()))

    def serverConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """Make a connection with the certificates as they are now."""
        now = self._clock.seconds()
        if not 0 <= now - self._looked < _LOOK_EVERY:  # clocks are set back, too
            self._looked = now
            if self._state() != self._seen:
                self._reload()
        connection = SSL.Connection(self._first)
        connection.set_context(self._certificates[0].context)
        return connection

    def reread(self) -> None:
        """Look at the files now; try again those that could not be used."""
        if self._broken or self._state() != self._seen:
            self._reload()

    def describe(self) -> None:
        """Log the certificates that are served."""
        now = datetime.now(timezone.utc)
        for each in self._certificates:
            names, until = ", ".join(each.names), each.until.date()
            _log.info("certificate of {names}, until {until}", names=names, until=until)
            if each.until < now:
                _log.warn("the certificate of {names} has expired", names=names)
            elif each.since > now:
                _log.warn(
                    "the certificate of {names} is not valid before {since}",
                    names=names,
                    since=each.since,
                )

    def _state(self) -> object:
        return [(path, _state(path)) for path in self._find()]

    def _reload(self) -> None:
        self._seen = self._state()  # first, so that a change while they are read is seen later
        try:
            loaded = load(self._find())
        except CertificateError as error:
            self._broken = True
            _log.error("keeping the old certificate: {error}", error=error)
            return
        self._broken = False
        before = [each.fingerprint for each in self._certificates]
        self._take(loaded)
        if [each.fingerprint for each in loaded] != before:
            self.describe()

    def _take(self, loaded: Sequence[Certificate]) -> None:
        self._certificates = loaded
        # Of two for one name, the one that is valid for longer is served.
        by_time = sorted(loaded, key=lambda each: each.until)
        self._by_name = {name: each for each in by_time for name in each.names}

    def _choose(self, connection: SSL.Connection) -> None:
        """Choose the certificate for the name that the client asks for, if it asks for one."""
        name = (connection.get_servername() or b"").decode("ascii", "replace").lower()
        wildcard = f"*.{name.partition('.')[2]}"
        chosen = self._by_name.get(name) or self._by_name.get(wildcard)
        if chosen is not None:
            connection.set_context(chosen.context)


def _state(path: Path) -> object:
    """Give a value that changes when the file does; L{None} if it cannot be read."""
    try:
        now = path.stat()
    except OSError:
        return None
    return now.st_ino, now.st_size, now.st_mtime_ns, now.st_ctime_ns


class _Door(BufferingTLSTransport):
    """Recognises what is not TLS before OpenSSL gets it, and answers in plain text."""

    transport: Any
    _first = b""
    _is_tls = False
    _clock: IReactorTime
    _silence: IDelayedCall | None = None
    _last_word: LastWord | None = None

    def await_hello(self, clock: IReactorTime) -> None:
        """Give the peer time to begin a handshake."""
        self._clock = clock
        self._silence = clock.callLater(SILENCE, self._turn_away)

    def dataReceived(self, bytes: bytes) -> None:
        if self._is_tls:
            super().dataReceived(bytes)
        elif self._last_word is not None:
            self._last_word.ignore(bytes)
        else:
            self._first += bytes
            if self._first.startswith(strangers.HANDSHAKE):
                self._is_tls = True
                self._stop_waiting()
                super().dataReceived(self._first)
                self._first = b""
            elif b"\n" in self._first or len(self._first) > MAX_LINE:
                self._turn_away()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._stop_waiting()
        if self._last_word is not None:
            self._last_word.connection_lost()
        super().connectionLost(reason)

    def _turn_away(self) -> None:
        """Say that this port speaks TLS, and end the connection."""
        self._stop_waiting()
        self._last_word = LastWord(self.transport, self._clock)
        self._last_word.say(strangers.plain_answer(self._first))

    def _stop_waiting(self) -> None:
        if self._silence is not None and self._silence.active():
            self._silence.cancel()
        self._silence = None


class TlsFactory(TLSMemoryBIOFactory):
    """Speaks TLS on the connections of another factory. A peer that does not end the handshake in
    time is cut off."""

    protocol = _Door

    def __init__(
        self, certificates: Certificates, factory: IProtocolFactory, clock: IReactorTime
    ) -> None:
        super().__init__(certificates, False, factory, clock)
        self._reactor = clock
        self._deadlines: dict[TLSMemoryBIOProtocol, IDelayedCall] = {}

    def registerProtocol(self, p: _Door) -> None:
        super().registerProtocol(p)
        if p in self._deadlines:
            return  # it is registered once for TLS and once more as a wrapper
        p.getHandle().set_app_data(partial(self._forget, p))
        self._deadlines[p] = self._reactor.callLater(HANDSHAKE, p.abortConnection)
        p.await_hello(self._reactor)

    def unregisterProtocol(self, p: TLSMemoryBIOProtocol) -> None:
        super().unregisterProtocol(p)
        self._forget(p)

    def _forget(self, p: TLSMemoryBIOProtocol) -> None:
        deadline = self._deadlines.pop(p, None)
        if deadline is not None and deadline.active():
            deadline.cancel()


def certificates_for(fields: Mapping[str, str], clock: IReactorTime) -> Certificates:
    """Load the certificates of a port.

    @param fields: those of the port's description: C{path}, or C{privateKey} and perhaps others.
    @raise CertificateError: if they cannot be used.
    """
    return Certificates(_finder(fields), clock)


def _finder(fields: Mapping[str, str]) -> Callable[[], Sequence[Path]]:
    """Make what finds the files. Their paths are absolute, as the process may change its directory
    later.

    @raise CertificateError: if the directory does not exist.
    """
    if "path" not in fields:
        names = [fields.get(name) for name in ("privateKey", "certKey", "extraCertChain")]
        paths = [Path(name).absolute() for name in dict.fromkeys(names) if name]
        return lambda: paths
    directory = Path(fields["path"]).absolute()
    if not directory.is_dir():
        raise CertificateError(f"there is no directory {directory}")
    return lambda: sorted(directory.rglob("*.pem"))
