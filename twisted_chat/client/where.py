"""Where a server is, and how to make sure that it is the right one."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from OpenSSL import SSL, crypto
from service_identity import VerificationError
from twisted.internet import error as e
from twisted.internet.abstract import isIPv6Address
from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint, wrapClientTLS
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IStreamClientEndpoint
from twisted.internet.ssl import (
    Certificate,
    CertificateOptions,
    optionsForClientTLS,
    trustRootFromCertificates,
)
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_chat.protocol.jsonlines import safe

PORT = 5000
"""The default port."""

_HOST = re.compile(r"[\w.-]+", re.ASCII)
_PEM_END = b"-----END CERTIFICATE-----"


class BadWhere(Exception):
    """The server's address, or how to reach it, is not valid; the text says why."""


@dataclass(frozen=True, slots=True)
class Where:
    """Where a server is.

    @ivar tls: speak TLS, with a certificate that the system trusts.
    @ivar ca: speak TLS, with a certificate that one of those in this PEM file has signed, or one of
        those; empty: the system's.
    @ivar pin: speak TLS, with the certificate of this SHA-256 fingerprint, in hexadecimal with or
        without colons, whoever signed it and for whichever name; empty: any trusted one.
    @ivar unix: the path of a UNIX socket, which makes host and port meaningless; empty: TCP.
    """

    host: str = "localhost"
    port: int = PORT
    tls: bool = False
    ca: str = ""
    pin: str = ""
    unix: str = ""

    def __str__(self) -> str:
        return self.unix or f"{self.host}:{self.port}"

    @property
    def is_tls(self) -> bool:
        return not self.unix and bool(self.tls or self.ca or self.pin)

    def check(self) -> None:
        """Check the address without connecting to it.

        @raise BadWhere: if the host name or the fingerprint is not valid, the file has no
            certificate, or TLS is asked for on a UNIX socket.
        """
        if self.unix and (self.tls or self.ca or self.pin):
            raise BadWhere("a UNIX socket has no TLS; leave one of the two out, or say --no-tls")
        if not self.unix:
            self._host()
        if self.is_tls:
            self._creator()

    def endpoint(self, reactor: Any, timeout: float) -> IStreamClientEndpoint:
        """Make the endpoint that connects there.

        @param timeout: seconds that connecting may take.
        @raise BadWhere: as L{check}.
        """
        if self.unix:
            return UNIXClientEndpoint(reactor, self.unix, timeout)
        plain = HostnameEndpoint(reactor, self._host(), self.port, timeout)
        return wrapClientTLS(self._creator(), plain) if self.is_tls else plain

    def _host(self) -> str:
        """Give the host as DNS has it.

        @raise BadWhere: if it is not a host name.
        """
        try:
            host = self.host.encode("idna").decode()
        except UnicodeError:
            host = ""
        if not (_HOST.fullmatch(host) or isIPv6Address(host)):
            hint = "; write HOST PORT, without a scheme" if ":" in self.host else ""
            raise BadWhere(f'"{safe(self.host)}" is not a host name{hint}')
        return host

    def _creator(self) -> Any:
        if self.pin:
            return _Pinned(fingerprint(self.pin), self.host)
        trust = None
        if self.ca:
            try:
                trust = trustRootFromCertificates(_certificates(self.ca))
            except (OSError, ValueError, crypto.Error) as error:
                reason = getattr(error, "strerror", None) or "it has no certificate in PEM"
                raise BadWhere(f"cannot use {self.ca}: {reason}") from None
        return optionsForClientTLS(self.host, trustRoot=trust)


def fingerprint(text: str) -> str:
    """Give a SHA-256 fingerprint as OpenSSL writes it.

    @raise BadWhere: if the text is no fingerprint.
    """
    digits = text.strip().upper().removeprefix("SHA256:").replace(":", "")
    if len(digits) != 64 or not set(digits) <= set("0123456789ABCDEF"):
        raise BadWhere("a pin is the SHA-256 fingerprint of a certificate: 64 hexadecimal digits")
    return ":".join(digits[i : i + 2] for i in range(0, 64, 2))


def _certificates(path: str) -> list[Certificate]:
    parts = Path(path).read_bytes().split(_PEM_END)[:-1]
    if not parts:
        raise ValueError
    return [Certificate.loadPEM(part + _PEM_END) for part in parts]


class WrongCertificate(Exception):
    """The server's certificate is not the pinned one; it has this fingerprint."""


@implementer(IOpenSSLClientConnectionCreator)
class _Pinned:
    """Trusts one certificate, no matter who signed it."""

    def __init__(self, pin: str, host: str) -> None:
        self._pin = pin
        self._host = host

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        context = CertificateOptions().getContext()

        def verify(
            connection: SSL.Connection, certificate: crypto.X509, error: int, depth: int, ok: int
        ) -> bool:
            if depth:
                return True
            shown = certificate.digest("sha256").decode()
            if shown != self._pin:
                tlsProtocol.failVerification(Failure(WrongCertificate(shown)))
            return shown == self._pin

        context.set_verify(SSL.VERIFY_PEER, verify)
        connection = SSL.Connection(context, None)
        connection.set_app_data(tlsProtocol)
        connection.set_tlsext_host_name(self._host.encode("idna"))
        connection.set_connect_state()
        return connection


def why(error: BaseException | None) -> str:
    """Tell why there is no connection, as the end of a sentence; safe to show."""
    if isinstance(error, e.DNSLookupError):
        return "there is no host of this name"
    if isinstance(error, e.ConnectionRefusedError):
        return "nothing listens there"
    if isinstance(error, e.TimeoutError):
        return "no answer"
    if isinstance(error, e.ConnectionDone):
        return "the server closed the connection"
    if isinstance(error, e.ConnectionLost | e.ConnectionAborted):
        return "the connection was lost"
    if isinstance(error, SSL.Error):
        return "the port does not speak TLS, or no version of it that twisted-chat speaks"
    system = getattr(error, "osError", None)
    if isinstance(error, e.ConnectError) and isinstance(system, int):
        return os.strerror(system).lower()
    return safe(str(error)) or "the connection was lost"


def bad_certificate(error: BaseException | None, where: Where) -> str:
    """Tell what is wrong with the server's certificate; empty if nothing is."""
    host = safe(where.host)
    if isinstance(error, WrongCertificate):
        return f"{host} has another certificate than the pinned one: its fingerprint is {error}"
    if isinstance(error, VerificationError):
        return f"the certificate of {host} is for another name"
    if isinstance(error, SSL.Error) and "certificate verify failed" in str(error):
        return (
            f"the certificate of {host} is not signed by anyone trusted, or has expired;"
            " --ca FILE or --pin SHA256 says which one to trust"
        )
    return ""
