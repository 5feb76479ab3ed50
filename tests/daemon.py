"""A daemon in a process of its own, on a port and a database of its own."""

import functools
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol

from sqlalchemy import create_engine

from twisted_chat.store.schema import create

from . import forks
from .forks import Forked

_STARTED = re.compile(r"ready on port (\d+)")


class _Process(Protocol):
    """What is asked of a C{subprocess.Popen}, or of what stands in for one.

    @ivar stdout: the lines that it writes.
    """

    @property
    def pid(self) -> int: ...

    @property
    def stdout(self) -> Iterable[str] | None: ...

    def poll(self) -> int | None: ...

    def wait(self, timeout: float | None = None) -> int: ...

    def kill(self) -> None: ...

    def send_signal(self, sig: int, /) -> None: ...


class Daemon:
    """C{twistd -n chat} on loopback. May be killed and started again on the same database.

    Loopback is trusted, so that the limits on strangers do not stand in the way, unless it is told
    to trust nobody.

    @ivar host: the address where it listens.
    @ivar under: a command that runs it; has to become it in the end, under the same process id.
    @ivar log: what it has logged so far, over all starts.
    """

    def __init__(
        self,
        *options: str,
        directory: Path | None = None,
        trusted: str = "127.0.0.0/8,::1",
        host: str = "127.0.0.1",
        port: int = 0,
        under: Sequence[str] = (),
    ) -> None:
        """@param port: where it listens; 0: the system chooses."""
        self.directory = directory or Path(tempfile.mkdtemp(prefix="chat-"))
        self.host = host
        self.under = under
        self._port = port
        self.log: list[str] = []
        self._logged = threading.Condition()
        self._options = ("--trusted-networks", trusted, *options)
        self._process: _Process | None = None

    def __enter__(self) -> "Daemon":
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill()

    @property
    def port(self) -> int:
        """Where it listens; the same after a restart."""
        return self._port

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it and wait until it listens.

        @raise RuntimeError: if it ends instead.
        """
        port = f"tcp:{self._port}:interface={self.host}:backlog=4096"
        self._process = self._run(twistd("--port", port, "--password-cost", "4", *self._options))
        listening = threading.Event()
        reader = threading.Thread(target=self._read, args=(self._process, listening), daemon=True)
        reader.start()
        listening.wait(30)
        if not self._port or self._process.poll() is not None:
            raise RuntimeError("the daemon did not start:\n" + "".join(self.log))

    def _run(self, command: Sequence[str]) -> _Process:
        return _spawn([*self.under, *command], self.directory)

    def kill(self) -> None:
        """C{kill -9}."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self, with_signal: signal.Signals = signal.SIGTERM, timeout: float = 30) -> int:
        """Ask it to end; gives back its exit code."""
        assert self._process is not None
        self._process.send_signal(with_signal)
        return self.wait(timeout)

    def wait(self, timeout: float = 30) -> int:
        """Wait until it has ended by itself; gives back its exit code."""
        assert self._process is not None
        return self._process.wait(timeout)

    def wait_for(self, words: str, since: int = 0, timeout: float = 30) -> None:
        """Wait until it has logged this.

        @param since: lines of the log that do not count.
        @raise RuntimeError: if it does not.
        """
        with self._logged:
            if not self._logged.wait_for(
                lambda: any(words in line for line in self.log[since:]), timeout
            ):
                raise RuntimeError(f"{words!r} is not in the log:\n" + "".join(self.log[since:]))

    def _read(self, process: _Process, listening: threading.Event) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            with self._logged:
                self.log.append(line)
                self._logged.notify_all()
            match = _STARTED.search(line)
            if match:
                self._port = int(match[1])
                listening.set()
        listening.set()


class ForkedDaemon(Daemon):
    """A daemon that is forked, and begins with a copy of a new database."""

    def _run(self, command: Sequence[str]) -> _Process:
        database = self.directory / "chat.db"
        if not database.exists():
            shutil.copy(_new_database(), database)
        return _ForkedTwistd(command, self.directory)


def run_twistd(*options: str, directory: Path, under: Sequence[str] = ()) -> tuple[int, str]:
    """Run a daemon that is to end by itself; gives back its exit code and all its output.

    @param under: as in L{Daemon}.
    """
    command = twistd(*options)
    process = _spawn([*under, *command], directory) if under else _ForkedTwistd(command, directory)
    assert process.stdout is not None
    end = threading.Timer(30, process.kill)
    end.start()
    output = "".join(process.stdout)
    end.cancel()
    return process.wait(30), output


def _spawn(command: Sequence[str], directory: Path) -> _Process:
    return subprocess.Popen(
        command,
        cwd=directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
    )


class _ForkedTwistd(Forked):
    """What L{_spawn} gives back, forked."""

    def __init__(self, command: Sequence[str], directory: Path) -> None:
        read, write = os.pipe()
        with open(os.devnull) as nothing:
            streams = (nothing.fileno(), write, write)
            super().__init__(forks.twistd, command, cwd=directory, env=os.environ, streams=streams)
        os.close(write)
        self.stdout = os.fdopen(read, errors="replace")


@functools.cache
def _new_database() -> Path:
    """The file of a new database."""
    path = Path(tempfile.mkdtemp(prefix="chat-")) / "chat.db"
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        create(connection)
    engine.dispose()
    path.chmod(0o600)
    return path


def twistd(*options: str) -> Sequence[str]:
    """The command line of a daemon in the foreground."""
    return [str(Path(sys.executable).with_name("twistd")), "-n", "--pidfile=", "chat", *options]


def environment(**variables: str) -> dict[str, str]:
    """This process's environment, with a plain terminal that tells its own size."""
    inherited = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}
    return {**inherited, "TERM": "xterm", "LC_ALL": "C.UTF-8", **variables}
