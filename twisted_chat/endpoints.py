"""What C{--port} may say, and where the server listens then."""

import re
import socket
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.endpoints import TCP4ServerEndpoint, TCP6ServerEndpoint, serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import (
    IListeningPort,
    IProtocolFactory,
    IStreamServerEndpoint,
)
from zope.interface import implementer

from .tls import Certificates, certificates_for

BACKLOG = 4096
"""Connections that may wait in the kernel to be accepted, if the system allows so many and the
description says nothing else."""

_REUSE = "reuse:"


@dataclass(frozen=True, slots=True)
class _Kind:
    """A kind of TCP port.

    @ivar needs: the fields that it must have. They need no names if they stand in this order.
    @ivar takes: the other fields that it may have.
    @ivar interface: where it listens if nothing else is said. As with Twisted's own endpoints,
        C{tls:} listens on IPv6 and C{ssl:} on IPv4.
    """

    needs: Sequence[str]
    takes: Set[str]
    interface: str = ""


_PLACE = frozenset({"interface", "backlog"})
_KINDS: Mapping[str, _Kind] = {
    "tcp": _Kind(["port"], _PLACE),
    "tcp6": _Kind(["port"], _PLACE, "::"),
    "ssl": _Kind(["port", "privateKey"], _PLACE | {"certKey", "extraCertChain"}),
    "tls": _Kind(["path", "port"], _PLACE, "::"),
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where to listen.

    @ivar endpoint: listens there, without TLS.
    @ivar certificates: those of a port with TLS; otherwise L{None}.
    """

    endpoint: IStreamServerEndpoint
    certificates: Certificates | None = None


@implementer(IStreamServerEndpoint)
class ReuseEndpoint:
    """Listens on a TCP port together with other processes of the same user, among which the kernel
    divides the connections (socket(7), SO_REUSEPORT)."""

    def __init__(self, reactor: Any, port: int, backlog: int, interface: str) -> None:
        self._reactor = reactor
        self._port = port
        self._backlog = backlog
        self._interface = interface

    def listen(self, factory: IProtocolFactory) -> "Deferred[IListeningPort]":
        """Begin to listen.

        @return: fires with the port, or fails with L{CannotListenError}.
        """
        family = socket.AF_INET6 if ":" in self._interface else socket.AF_INET
        try:
            with socket.socket(family) as listening:
                for option in socket.SO_REUSEADDR, socket.SO_REUSEPORT:
                    listening.setsockopt(socket.SOL_SOCKET, option, 1)
                listening.bind((self._interface, self._port))
                listening.listen(self._backlog)
                listening.setblocking(False)
                # The port has a copy of the descriptor.
                return succeed(self._reactor.adoptStreamPort(listening.fileno(), family, factory))
        except OSError as error:
            return fail(CannotListenError(self._interface, self._port, error))


def place(reactor: Any, description: str) -> Place:
    """Find out where to listen.

    @param description: a port number, perhaps with fields, or an endpoint string. If C{reuse:}
        stands before it, other processes may listen on the same port.
    @raise ValueError: if it makes no sense; the text says why.
    @raise CertificateError: if the certificate of a port with TLS cannot be used.
    """
    reuse = description.startswith(_REUSE)
    what = description.removeprefix(_REUSE)
    kind, *parts = _split(f"tcp:{what}" if what.partition(":")[0].isdecimal() else what)
    if kind == "haproxy":
        raise ValueError("haproxy: is not needed; leave it out, and name the proxy in --proxies")
    if kind not in _KINDS:
        if reuse:
            raise ValueError(f"reuse: goes with a port number, or one of {':, '.join(_KINDS)}:")
        return Place(serverFromString(reactor, description))
    fields = _fields(kind, parts)
    if "privateKey" in fields or "path" in fields:
        return Place(_tcp(reactor, kind, fields, reuse=reuse), certificates_for(fields, reactor))
    return Place(_tcp(reactor, kind, fields, reuse=reuse))


def _tcp(
    reactor: Any, kind: str, fields: Mapping[str, str], *, reuse: bool
) -> IStreamServerEndpoint:
    port, backlog = int(fields["port"]), int(fields.get("backlog", BACKLOG))
    interface = fields.get("interface", _KINDS[kind].interface)
    if reuse:
        return ReuseEndpoint(reactor, port, backlog, interface)
    endpoint = TCP6ServerEndpoint if ":" in interface else TCP4ServerEndpoint
    return endpoint(reactor, port, backlog, interface)


def _fields(kind: str, parts: Sequence[str]) -> Mapping[str, str]:
    """Tell the fields of a description by name.

    @raise ValueError: if some are missing, unknown or wrong.
    """
    needs, takes = _KINDS[kind].needs, _KINDS[kind].takes
    positions = iter(needs)
    fields: dict[str, str] = {}
    for part in parts:
        named = re.match(r"(\w+)=", part)
        name = named[1] if named else next(positions, part)
        if name not in takes and name not in needs:
            raise ValueError(f'{kind}: has no "{name}"')
        fields[name] = _unquoted(part[named.end() :] if named else part)
    for name in needs:
        if not fields.get(name):
            raise ValueError(f"{kind}: needs a {name}")
    if not fields["port"].isdecimal() or int(fields["port"]) > 65535:
        raise ValueError(f"there is no port {fields['port']}; ports go up to 65535")
    if not fields.get("backlog", "1").isdecimal():
        raise ValueError("backlog= needs a whole number")
    return fields


def _split(description: str) -> list[str]:
    """Split a description at its colons, except those behind a backslash."""
    return re.findall(r"((?:[^\\:]|\\.)*)(?::|$)", description)[:-1] or [""]


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)
