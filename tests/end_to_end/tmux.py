"""A program in a real terminal, tmux: what is typed into it, and what its screen shows."""

import os
import re
import select
import shlex
import subprocess
import tempfile
import time
from pathlib import Path

from tests.daemon import environment

from .terminal import TIMEOUT, program


class Tmux:
    """A terminal of its own.

    @ivar written: what the program has written since the first look, with all its escapes.
    """

    def __init__(self, *command: str, width: int = 80, height: int = 24, **env: str) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="chat-"))
        self._tmux = program("tmux")
        self.written = b""
        config = self._directory / "conf"
        config.write_text("set -g remain-on-exit on\nset -g default-terminal screen-256color\n")
        pipe = self._directory / "pipe"
        os.mkfifo(pipe)
        settings = [f"{name}={value}" for name, value in env.items()]
        self._do(
            *("-f", str(config), "new-session", "-d", "-x", str(width), "-y", str(height)),
            f'{shlex.join(["env", *settings, *command])}; echo "ended with $?"',
        )
        self._pipe = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        self._do("pipe-pane", f"exec cat > {shlex.quote(str(pipe))}")

    def close(self) -> None:
        self._do("kill-server")
        os.close(self._pipe)

    def type(self, text: str) -> None:
        """Type this, and Enter."""
        if text:
            self._do("send-keys", "-l", text)
        self.press("Enter")

    def press(self, *keys: str) -> None:
        """Press keys, by the names that tmux has for them; a single one may be a word to type."""
        self._do("send-keys", *keys)

    def paste(self, text: str) -> None:
        """Paste, as a terminal does: in brackets, if the program wants that."""
        self._do("set-buffer", text)
        self._do("paste-buffer", "-p")

    def resize(self, width: int, height: int) -> None:
        self._do("resize-window", "-x", str(width), "-y", str(height))

    def screen(self) -> str:
        """All rows, those that have been scrolled away first."""
        return self._trimmed("-J", "-S", "-")

    def rows(self) -> list[str]:
        """What is on the screen now, without the empty rows at its end."""
        return self._trimmed().rstrip("\n").split("\n")

    def all_rows(self) -> list[str]:
        """The same with those that have been scrolled away, as they were broken."""
        return self._trimmed("-S", "-").rstrip("\n").split("\n")

    def see(self, *expected: str) -> str:
        """Wait until all of this is on the screen, and return the whole screen."""
        return self.see_match(".*".join(map(re.escape, expected)))

    def see_match(self, pattern: str) -> str:
        """Wait until the pattern matches the screen."""
        deadline = time.monotonic() + TIMEOUT
        while True:
            screen = self.screen()
            if re.search(pattern, screen, re.DOTALL | re.MULTILINE):
                return screen
            self._wait(deadline, pattern, screen)

    def see_end(self, code: int) -> str:
        """Wait until the program has ended."""
        return self.see(f"ended with {code}")

    def has_written(self, data: bytes) -> None:
        """Wait until the program has written this."""
        deadline = time.monotonic() + TIMEOUT
        while data not in self.written:
            self._wait(deadline, repr(data), repr(self.written))

    def _trimmed(self, *options: str) -> str:
        return re.sub(" +$", "", self._do("capture-pane", "-p", *options), flags=re.MULTILINE)

    def _wait(self, deadline: float, wanted: str, found: str) -> None:
        """Wait until something is written."""
        left = deadline - time.monotonic()
        if left <= 0:
            raise AssertionError(f"{wanted} did not come, only:\n{found}")
        readable, _, _ = select.select([self._pipe], [], [], left)
        if readable:
            try:
                self.written += os.read(self._pipe, 65536)
            except BlockingIOError:
                pass

    def _do(self, *command: str) -> str:
        done = subprocess.run(
            [self._tmux, "-S", str(self._directory / "socket"), *command],
            env=environment(),
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        if done.returncode and command[0] != "kill-server":
            raise AssertionError(f"tmux {command}: {done.stderr}")
        return done.stdout
