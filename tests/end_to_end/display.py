"""A display without a screen, and what a person does at one: look, type, press keys."""

import atexit
import functools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from twisted.trial.unittest import SkipTest

from tests.daemon import environment

from .terminal import TIMEOUT, program

_PROGRAMS = ("Xvfb", "openbox", "xdotool", "xclip")


def wait_until(
    reached: Callable[[], bool], what: Callable[[], str], patience: float = TIMEOUT
) -> None:
    """Look until it is so.

    @param what: what there is to see instead, in the end.
    """
    deadline = time.monotonic() + patience
    while not reached():
        if time.monotonic() > deadline:
            raise AssertionError(what())


class Display:
    """An X server of its own, with a window manager."""

    def __init__(self, size: str = "1100x760x24") -> None:
        for name in _PROGRAMS:
            program(name)
        try:
            import tkinter  # noqa: F401, PLC0415 - not every Python has it
        except ImportError:
            raise SkipTest("this Python has no tkinter") from None
        read, write = os.pipe()
        # Servers that choose the number themselves, at the same time, may choose the same.
        number = f":{1000 + os.getpid() % 50_000}"
        self._processes: list[subprocess.Popen[str]] = [
            subprocess.Popen(
                [
                    "Xvfb",
                    number,
                    "-displayfd",
                    str(write),
                    "-screen",
                    "0",
                    size,
                    "-nolisten",
                    "tcp",
                ],
                pass_fds=(write,),
                stderr=subprocess.DEVNULL,
                text=True,
            )
        ]
        os.close(write)
        with os.fdopen(read) as ready:
            self.name = f":{ready.readline().strip()}"
        self.environment = environment(DISPLAY=self.name, XDG_CONFIG_HOME=tempfile.mkdtemp())
        self._processes.append(self.start("openbox", output=subprocess.DEVNULL))
        # It gives the focus only to windows that come after it.
        wait_until(lambda: bool(self.run("xdotool", "get_desktop")), lambda: "no window manager")

    def close(self) -> None:
        for process in reversed(self._processes):
            process.kill()
            process.wait()

    def start(self, *command: str, output: int | None = None) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command, env=self.environment, text=True, stdout=output, stderr=output
        )

    def run(self, *command: str) -> str:
        """A short command's output; empty if it fails."""
        done = subprocess.run(
            command,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        return done.stdout

    def press(self, *keys: str) -> None:
        self.run("xdotool", "key", "--delay", "4", *keys)

    def type(self, text: str) -> None:
        self.run("xdotool", "type", "--delay", "4", text)

    def clip(self, text: str) -> None:
        """Put something onto the clipboard."""
        subprocess.run(
            ["xclip", "-selection", "clipboard", "-in"],
            input=text,
            env=self.environment,
            stdout=subprocess.DEVNULL,
            text=True,
            check=True,
        )

    def clipboard(self) -> str:
        return self.run("xclip", "-selection", "clipboard", "-out")


@functools.cache
def shared_display() -> Display:
    """A display for all tests; it ends with the process."""
    display = Display()
    atexit.register(display.close)
    return display


class Window:
    """C{twisted-chat --gui} on a display, and in front there."""

    def __init__(self, display: Display, *options: str) -> None:
        self._display = display
        command = str(Path(sys.executable).with_name("twisted-chat"))
        self.process = display.start(command, "--gui", *options)
        wait_until(self._is_in_front, lambda: "the window did not come to the front")

    def _is_in_front(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"the window ended with {self.process.returncode}")
        return "twisted-chat" in self.title()

    def title(self) -> str:
        return self._display.run("xdotool", "getwindowfocus", "getwindowname").strip()

    def text(self) -> str:
        """The conversation, as somebody copies it who has no mouse."""
        unlikely = "nothing was copied"
        self._display.clip(unlikely)
        copied = unlikely
        again = 0.0

        def is_copied() -> bool:
            nonlocal copied, again
            if time.monotonic() >= again:  # a key may come when the focus is on its way
                self._display.press("Escape", "shift+Tab", "ctrl+a", "ctrl+c", "Escape")
                again = time.monotonic() + 2
            copied = self._display.clipboard()
            return copied != unlikely

        wait_until(is_copied, lambda: unlikely)
        return copied

    def wait_for_keys(self, field: str) -> None:
        """Wait until keys reach the field that has the focus. Those that come before Tk has drawn
        it are lost.

        @param field: what stands in it. This is left as it is.
        """
        keys = ("ctrl+slash", "ctrl+c") if field else ("x", "ctrl+slash", "ctrl+x")
        self._display.clip("nothing was copied")
        again = 0.0

        def is_copied() -> bool:
            nonlocal again
            if time.monotonic() >= again:
                self._display.press(*keys)
                again = time.monotonic() + 1
            return self._display.clipboard() == (field or "x")

        wait_until(is_copied, lambda: "no key reached the window")

    def see(self, expected: str, patience: float = TIMEOUT) -> str:
        """Wait until this is in the conversation; gives back all of it."""
        seen = ""

        def is_there() -> bool:
            nonlocal seen
            seen = self.text()
            return expected in seen

        wait_until(is_there, lambda: f"{expected!r} is not in {seen!r}", patience)
        return seen

    def see_title(self, expected: str) -> None:
        wait_until(
            lambda: expected in self.title(), lambda: f"{expected!r} is not in {self.title()!r}"
        )

    def press(self, *keys: str) -> None:
        self._display.press(*keys)

    def type(self, line: str) -> None:
        """Type a line, and press Enter."""
        self._display.type(line)
        self._display.press("Return")

    def paste(self, text: str) -> None:
        self._display.clip(text)
        self._display.press("ctrl+v")

    def end(self) -> int:
        """Wait until the program has ended; gives back its exit code."""
        return self.process.wait(TIMEOUT)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
