"""The project's programs, forked from a process that has imported them but has no reactor yet.

They start in a fifth of the time, so that each test may have its own. Each is a real process with
its own reactor; but functions that are registered with C{atexit} are not run at its end.
"""

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    ["twisted.scripts.twistd", "twisted_chat.tap", "twisted_chat.client.main"]
)


def twistd() -> None:
    """Run C{twistd}."""
    from twisted.scripts.twistd import run  # noqa: PLC0415 - where it is forked already

    run()


def client() -> None:
    """Run C{twisted-chat}."""
    from twisted_chat.client.main import main  # noqa: PLC0415

    main()


class Forked:
    """A process, with as much of C{subprocess.Popen} as the tests need.

    @ivar pid: its process id.
    """

    def __init__(
        self,
        program: Callable[[], None],
        command: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        streams: tuple[int, int, int],
    ) -> None:
        """Start it.

        @param command: its command line, with its own name.
        @param streams: the descriptors that become its input, output and error output.
        """
        copies = [Connection(os.dup(stream)) for stream in streams]
        self._process = _CONTEXT.Process(
            target=_become, args=(program, command, cwd, dict(env), copies), daemon=True
        )
        self._process.start()
        for copy in copies:
            copy.close()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it has ended; gives back its exit code, as C{Popen.wait} does.

        @raise subprocess.TimeoutExpired: if it does not end within so many seconds.
        """
        self._process.join(timeout)
        code = self._process.exitcode
        if code is None:
            raise subprocess.TimeoutExpired(self._process.name, timeout or 0)
        return code

    def kill(self) -> None:
        self._process.kill()

    def send_signal(self, sig: int, /) -> None:
        os.kill(self.pid, sig)


def _become(
    program: Callable[[], None],
    command: Sequence[str],
    directory: Path,
    environment: Mapping[str, str],
    streams: Sequence[Connection],
) -> None:
    for number, stream in enumerate(streams):
        os.dup2(stream.fileno(), number)
        stream.close()
    sys.stdin = os.fdopen(0, closefd=False)
    sys.argv = list(command)
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environment)
    program()
