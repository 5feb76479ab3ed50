"""A way to a server, on which what is sent can be held up or lost."""

import socket
import threading
from pathlib import Path


class Wire:
    """A TCP port on loopback that leads to a UNIX socket.

    @ivar port: the port.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._requests_pass = threading.Event()
        self._answers_pass = threading.Event()
        self._open: set[socket.socket] = set()
        self.release()
        threading.Thread(target=self._accept, daemon=True).start()

    def hold(self, *, requests: bool = True) -> None:
        """Let nothing through from now on; what is sent waits here.

        @param requests: hold the requests up, too, and not only the answers.
        """
        self._answers_pass.clear()
        if requests:
            self._requests_pass.clear()

    def release(self) -> None:
        """Let everything through, also what waits here."""
        self._requests_pass.set()
        self._answers_pass.set()

    def cut(self) -> None:
        """End all connections. What waits here is lost. New connections can be made."""
        for sock in list(self._open):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it has ended by itself
        self.release()

    def lead_to(self, path: Path) -> None:
        """Lead to another UNIX socket. Connections that there are stay as they are."""
        self._path = path

    def close(self) -> None:
        """Take no more connections, and end all."""
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.socket(socket.AF_UNIX)
            try:
                far.connect(str(self._path))
            except OSError:
                near.close()
                continue
            near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._open |= {near, far}
            for source, target, passes in (
                (near, far, self._requests_pass),
                (far, near, self._answers_pass),
            ):
                threading.Thread(
                    target=self._carry, args=(source, target, passes), daemon=True
                ).start()

    def _carry(self, source: socket.socket, target: socket.socket, passes: threading.Event) -> None:
        try:
            while data := source.recv(262144):
                passes.wait()
                target.sendall(data)
        except OSError:
            pass
        for sock in source, target:
            self._open.discard(sock)
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
