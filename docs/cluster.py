"""Runs three nodes on a PostgreSQL of their own, on this machine: C{make cluster}.

If HAProxy is installed, it gives each connection to one of the nodes. What is killed is started
again, so that everything may be tried. Ctrl-C ends it all, and nothing is left behind.
"""

import argparse
import contextlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from unittest import SkipTest

from tests.postgres import Server

_SCRIPTS = Path(sys.executable).parent
_PROXY = "127.0.0.2"
"""From where HAProxy connects, so that people can connect to a node from 127.0.0.1 as well."""

_PATIENCE = 30.0
"""Seconds until a program that does not listen counts as broken."""

_HAPROXY = """
defaults
    mode tcp
    timeout connect 1s
    timeout client 1h
    timeout server 1h
    retries 3
    option redispatch
listen chat
    bind 127.0.0.1:{port}
    balance leastconn
    source {source}
    default-server check inter 500ms fall 1 rise 1 send-proxy-v2
{servers}
"""


class Program:
    """A program that runs until it is ended, or ends by itself.

    @ivar name: its name for people.
    @ivar log: the file with its output.
    """

    def __init__(self, name: str, command: Sequence[str], directory: Path) -> None:
        """Start it.

        @param directory: where it runs; its log is next to that.
        """
        directory.mkdir(exist_ok=True)
        self.name = name
        self.command = command
        self.directory = directory
        self.log = directory.with_suffix(".log")
        self._start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def start_again(self) -> bool:
        """Start it again if it has ended. Return whether it had."""
        if self.is_running:
            return False
        self._start()
        return True

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def end(self) -> None:
        """Ask it to end, and wait until it has ended."""
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command,
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # an interrupt from the keyboard is not for it
            )


def node(number: int, port: int, url: str, directory: Path) -> Program:
    """Start a node on a port of loopback."""
    name = f"node{number}"
    listening = ("--port", f"tcp:{port}:interface=127.0.0.1", "--proxies", _PROXY)
    twistd = (str(_SCRIPTS / "twistd"), "-n", "--pidfile=", "chat")
    options = ("--database", url, "--name", name, "--password-cost", "4")
    return Program(name, (*twistd, *listening, *options), directory / name)


def see_it_listen(program: Program, port: int) -> None:
    """Wait until a program listens on a port.

    @raise SystemExit: if it ends instead.
    """
    until = time.monotonic() + _PATIENCE
    while program.is_running and time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            time.sleep(0.05)
        else:
            return
    raise SystemExit(f"{program.name} did not start:\n{program.log.read_text()}")


def haproxy(port: int, nodes: Sequence[int], directory: Path) -> Program:
    """Start HAProxy in front of the nodes with these ports."""
    servers = "\n".join(
        f"    server node{number} 127.0.0.1:{each}" for number, each in enumerate(nodes, 1)
    )
    file = directory / "haproxy.cfg"
    file.write_text(_HAPROXY.format(port=port, source=_PROXY, servers=servers))
    program = shutil.which("haproxy")
    assert program is not None, "it was found"
    return Program("HAProxy", (program, "-db", "-f", str(file)), directory / "haproxy")


def free_port() -> int:
    """Return a port of loopback on which nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextlib.contextmanager
def cluster(port: int) -> Iterator[Callable[[], None]]:
    """Run everything, say what to type, and yield what starts again whatever has ended.

    @param port: the port of HAProxy.
    @raise SystemExit: if something does not start.
    """
    try:
        database = Server(on_disk=True)
    except SkipTest as missing:
        raise SystemExit(f"{missing}; on Debian: apt install postgresql") from None
    programs: list[Program] = []
    with tempfile.TemporaryDirectory(prefix="chat-cluster-") as name, contextlib.ExitStack() as end:
        directory = Path(name)
        end.callback(database.close)
        database.execute("CREATE DATABASE chat OWNER chat TEMPLATE template0")
        ports = [free_port() for _ in range(3)]
        for number, each in enumerate(ports, 1):
            programs.append(node(number, each, database.url("chat"), directory))
            end.callback(programs[-1].end)
        if shutil.which("haproxy"):
            programs.append(haproxy(port, ports, directory))
            end.callback(programs[-1].end)
        else:
            port = ports[0]
        for program, each in zip(programs, (*ports, port), strict=False):
            see_it_listen(program, each)
        say(database, programs, ports, port, directory)

        def look() -> None:
            for program in programs:
                if program.start_again():
                    print(f"{program.name} has ended; started again as process {program.pid}")
            if not database.is_running:
                database.start()
                print(f"PostgreSQL has ended; started again as process {database.pid}")
            sys.stdout.flush()

        try:
            yield look
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # it would leave something behind
            print("ending", flush=True)


def say(
    database: Server, programs: Sequence[Program], ports: Sequence[int], port: int, directory: Path
) -> None:
    """Tell people what there is, and what to type."""
    print(f"One chat on three nodes, and a PostgreSQL (process {database.pid}):")
    for program, each in zip(programs, ports, strict=False):
        print(f"  {program.name}: process {program.pid}, port {each}")
    if len(programs) > len(ports):
        print(f"  HAProxy gives each connection to port {port} to one of them")
    else:
        print("  HAProxy is not installed, so choose a port yourself")
    print("In other terminals, type:")
    for command in ("telnet", "nc", str(_SCRIPTS / "twisted-chat")):
        print(f"  {command} localhost {port}")
    print(f"Then kill a node, or PostgreSQL: kill -9 {programs[0].pid}; it is started again.")
    print(f"The logs are in {directory} and {database.directory}. Ctrl-C ends everything.")
    sys.stdout.flush()


def main() -> None:
    """Run it until it is interrupted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=5000, help="of HAProxy; 0 for any free one")
    chosen = parser.parse_args()
    for number in signal.SIGTERM, signal.SIGHUP:
        signal.signal(number, lambda *_: sys.exit(0))
    with contextlib.suppress(KeyboardInterrupt), cluster(chosen.port or free_port()) as look:
        while True:
            time.sleep(0.5)
            look()


if __name__ == "__main__":
    main()
