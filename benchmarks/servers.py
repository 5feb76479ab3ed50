"""The servers that are measured: how to start, join and use each of them."""

import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from tests.daemon import twistd

MAX_CLIENTS = 12_000
_HERE = Path(__file__).parent


class Missing(Exception):
    """Something that a server needs is not installed. The text names it."""


class Server:
    """A chat server in a process of its own, on loopback.

    @cvar name: its name in the table.
    @ivar port: the port that it listens on.
    """

    name: ClassVar[str]

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="chat-bench-"))
        self.directory.chmod(0o755)
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def command(self) -> Sequence[str]:
        """Return the command that runs the server in the foreground.

        @raise Missing: if the server is not installed.
        """
        raise NotImplementedError

    def hello(self, number: int) -> Sequence[tuple[bytes, bytes]]:
        """Return what the client of this number sends to log in, with the answers it waits for."""
        return ()

    def idle(self, number: int) -> Sequence[tuple[bytes, bytes]]:
        """Return the same for a client that will say nothing and hear nothing."""
        return self.hello(number)

    most_idle: ClassVar[int] = 500
    """Connections for the figure of memory. More of them take longer."""

    prefix: ClassVar[bytes] = b""
    """The bytes before a message that is sent to the server."""

    @classmethod
    def version(cls) -> str:
        """Return the version of the server."""
        return ""

    def start(self) -> float:
        """Start the server.

        @return: seconds until it accepts a connection.
        """
        command = self.command()  # may compile something
        began = time.perf_counter()
        self._process = subprocess.Popen(
            command,
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return time.perf_counter() - began
            except ConnectionRefusedError:
                if self._process.poll() is not None or time.perf_counter() - began > 20:
                    raise RuntimeError(f"{self.name} did not start") from None
                time.sleep(0.005)

    def end(self, with_signal: int) -> None:
        """Send a signal, and wait until the server has ended."""
        assert self._process is not None
        self._process.send_signal(with_signal)
        self._process.wait(60)

    def stop(self) -> None:
        """Kill the server, and remove its files."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)


class TwistedChat(Server):
    """This server, with all its features: accounts, history, C{synchronous=FULL}."""

    name = "twisted-chat"
    most_idle = 10_000

    def command(self) -> Sequence[str]:
        return twistd(
            *("--port", f"tcp:{self.port}:interface=127.0.0.1:backlog=4096"),
            *("--trusted-networks", "127.0.0.0/8"),
        )

    def hello(self, number: int) -> Sequence[tuple[bytes, bytes]]:
        return [(b"/guest bench%d\n" % number, b"the commands.\n")]


class InspIRCd(Server):
    """InspIRCd from Debian, with its limits on floods and queues off."""

    name = "InspIRCd"
    prefix = b"PRIVMSG #bench :"

    def command(self) -> Sequence[str]:
        program = shutil.which("inspircd")
        if program is None:
            raise Missing("Debian's package inspircd is not installed")
        config = self.directory / "inspircd.conf"
        config.write_text(
            f"""
<server name="bench.example" description="bench" network="bench">
<admin name="bench" nick="bench" email="bench@example.org">
<bind address="127.0.0.1" port="{self.port}" type="clients">
<connect allow="*" fakelag="no" commandrate="1000000000" threshold="1000000" timeout="600"
         pingfreq="3600" softsendq="100M" hardsendq="200M" recvq="100M" localmax="{MAX_CLIENTS}"
         globalmax="{MAX_CLIENTS}" maxchans="10" resolvehostnames="no" useident="no"
         usednsbl="no" uniqueusername="no">
<performance softlimit="{MAX_CLIENTS}" somaxconn="4096" netbuffersize="65534"
             clonesonconnect="no" quietbursts="yes">
<options allowmismatch="yes">
<limits maxnick="30">
<pid file="{self.directory}/inspircd.pid">
<log method="file" type="*" level="error" target="{self.directory}/log">
"""
        )
        return [program, "--runasroot", "--nofork", "--config", str(config)]

    def hello(self, number: int) -> Sequence[tuple[bytes, bytes]]:
        return _irc(number)

    def idle(self, number: int) -> Sequence[tuple[bytes, bytes]]:
        return _irc(number)[:1]

    @classmethod
    def version(cls) -> str:
        return _first_line("inspircd", "--version")


class NgIRCd(Server):
    """ngIRCd from Debian, with its penalties and limits off."""

    name = "ngIRCd"
    prefix = b"PRIVMSG #bench :"

    def command(self) -> Sequence[str]:
        program = shutil.which("ngircd")
        if program is None:
            raise Missing("Debian's package ngircd is not installed")
        config = self.directory / "ngircd.conf"
        user = pwd.getpwuid(os.getuid()).pw_name
        config.write_text(
            f"""
[Global]
Name = bench.example
Info = bench
Listen = 127.0.0.1
Ports = {self.port}
ServerUID = {user}
ServerGID = {os.getgid()}
MotdPhrase = bench
[Limits]
MaxConnections = 0
MaxConnectionsIP = 0
MaxJoins = 0
MaxPenaltyTime = 0
MaxNickLength = 31
PingTimeout = 3600
PongTimeout = 3600
[Options]
DNS = no
Ident = no
PAM = no
"""
        )
        return [program, "--nodaemon", "--config", str(config)]

    def hello(self, number: int) -> Sequence[tuple[bytes, bytes]]:
        return _irc(number)

    def idle(self, number: int) -> Sequence[tuple[bytes, bytes]]:
        return _irc(number)[:1]

    @classmethod
    def version(cls) -> str:
        return _first_line("ngircd", "--version")


class NaiveTwisted(Server):
    """An obvious server with L{LineReceiver}: no names, no history, no limits."""

    name = "Twisted sendLine"

    def command(self) -> Sequence[str]:
        return [sys.executable, str(_HERE / "naive.py"), "twisted", str(self.port)]


class NaiveAsyncio(Server):
    """An obvious server with asyncio streams: no names, no history, no limits."""

    name = "asyncio streams"

    def command(self) -> Sequence[str]:
        return [sys.executable, str(_HERE / "naive.py"), "asyncio", str(self.port)]


class Floor(Server):
    """A bare loop in C, with epoll and send()."""

    name = "bare C send()"

    def command(self) -> Sequence[str]:
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            raise Missing("there is no C compiler")
        program = self.directory / "floor"
        subprocess.run([compiler, "-O2", "-o", str(program), str(_HERE / "floor.c")], check=True)
        return [str(program), str(self.port)]


ALL: Sequence[type[Server]] = (Floor, TwistedChat, InspIRCd, NgIRCd, NaiveTwisted, NaiveAsyncio)


def _irc(number: int) -> Sequence[tuple[bytes, bytes]]:
    # RFC 2812: 001 is RPL_WELCOME, 366 is RPL_ENDOFNAMES.
    return [
        (b"NICK b%d\r\nUSER b 0 * :b\r\n" % number, b" 001 "),
        (b"JOIN #bench\r\n", b" 366 "),
    ]


def _first_line(*command: str) -> str:
    """Return the first line of a program's output, or nothing if it is not installed."""
    if shutil.which(command[0]) is None:
        return ""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout or done.stderr).partition("\n")[0].split(" (")[0]


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
