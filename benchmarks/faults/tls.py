"""A daemon with TLS, and clients of it."""

import re
import shutil
import socket
import ssl
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType

from tests.daemon import Daemon


def make_certificate(path: Path, name: str) -> None:
    """Write a key and a self-signed certificate to a file, atomically."""
    new = path.with_suffix(".new")
    openssl = shutil.which("openssl")
    assert openssl is not None
    key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout"
    own = f"-days 30 -subj /CN={name} -addext subjectAltName=DNS:{name} -out"
    certificate = new.with_suffix(".certificate")
    subprocess.run(
        [openssl, "req", "-x509", *key.split(), str(new), *own.split(), str(certificate)],
        check=True,
        capture_output=True,
    )
    new.write_bytes(new.read_bytes() + certificate.read_bytes())
    certificate.unlink()
    new.rename(path)


class TlsDaemon(Daemon):
    """A daemon that also listens with TLS.

    @ivar certificate: the file with its key and certificate.
    """

    def __init__(self, *options: str) -> None:
        directory = Path(tempfile.mkdtemp(prefix="chat-"))
        self.certificate = directory / "chat.pem"
        make_certificate(self.certificate, "localhost")
        super().__init__("--port", f"tls:{directory}:0:interface=127.0.0.1", *options)

    def __enter__(self) -> "TlsDaemon":
        self.start()
        return self

    @property
    def tls_port(self) -> int:
        found = re.search(r"port (\d+) of \S+ with TLS", "".join(self.log))
        assert found is not None
        return int(found[1])

    @property
    def descriptors(self) -> int:
        """Return the number of its open files."""
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    def connect(self, source: str = "127.0.0.1") -> socket.socket:
        """Connect to the port with TLS, without sending anything."""
        return socket.create_connection(("127.0.0.1", self.tls_port), 30, (source, 0))

    def shown(self) -> bytes:
        """Return the certificate that a new connection gets."""
        with client_context().wrap_socket(self.connect()) as sock:
            shown = sock.getpeercert(binary_form=True)
        assert shown is not None
        return shown


class Talker:
    """Somebody who has joined, on a plain connection or with TLS."""

    def __init__(self, daemon: TlsDaemon, name: str, *, over_tls: bool) -> None:
        if over_tls:
            self.socket: socket.socket = client_context().wrap_socket(daemon.connect())
        else:
            self.socket = socket.create_connection(("127.0.0.1", daemon.port), 30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = b""
        self.send(f"/guest {name}\n")
        self.see("the commands.\n")

    def __enter__(self) -> "Talker":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.socket.close()

    def send(self, text: str) -> None:
        self.socket.sendall(text.encode())

    def see(self, expected: str) -> None:
        """Read until these bytes have come.

        @raise ConnectionError: if the connection has ended.
        """
        wanted = expected.encode()
        while wanted not in self._received:
            data = self.socket.recv(65536)
            if not data:
                raise ConnectionError(f"the end, and no {expected!r}")
            self._received += data
        self._received = self._received.partition(wanted)[2]


def hello() -> bytes:
    """Return the first message of a TLS client."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context().wrap_bio(incoming, outgoing)
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


def client_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
