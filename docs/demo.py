"""Shows a server and three people who talk, side by side: C{make demo}.

If tmux is installed, the clients run there, on terminals; otherwise in three windows. The
demonstration ends when tmux is left or the windows are closed, and leaves nothing behind.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

_SCRIPTS = Path(sys.executable).parent
_READY = re.compile(r"ready on port (\d+)")
_PEOPLE = ("alice", "bob", "carol")
_SAID = (
    ("alice", "hello! this is a server on your own machine"),
    ("bob", "hi alice :-) and these are three clients of it"),
    ("carol", "/me waves"),
    ("bob", "carol: try /dm alice psst, or /join tea"),
    ("alice", "type here, all of it works; /help lists the commands, /quit leaves"),
)
_OPTIONS = {
    "mouse": "on",
    "status-left": " Ctrl-B and an arrow: another person. Ctrl-B d: end ",
    "status-left-length": "80",
    "status-right": "",
    "window-status-current-format": "",
}


@contextlib.contextmanager
def server(directory: Path) -> Iterator[int]:
    """Run a server on a free port of loopback, and yield the port."""
    log = directory / "log"
    options = ["-n", "--pidfile=", f"--logfile={log}", "chat", "--password-cost", "4"]
    process = subprocess.Popen(
        [str(_SCRIPTS / "twistd"), *options, "--port", "tcp:0:interface=127.0.0.1"], cwd=directory
    )
    try:
        while not (match := _READY.search(log.read_text() if log.exists() else "")):
            if process.poll() is not None:
                raise SystemExit("the server did not start")
            time.sleep(0.05)
        yield int(match[1])
    finally:
        process.terminate()
        process.wait()


def client(name: str, port: int, *options: str) -> list[str]:
    """Return the command that starts somebody's client."""
    who = ["--guest", "--name", name, "localhost", str(port)]
    return [str(_SCRIPTS / "twisted-chat"), *options, *who]


def in_tmux(directory: Path, port: int) -> None:
    """Show three panes, until tmux is left."""
    # A tmux server of its own, without the user's configuration.
    tmux = ["tmux", "-f", os.devnull, "-S", str(directory / "tmux")]
    environment = {name: value for name, value in os.environ.items() if name != "TMUX"}

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [*tmux, *arguments], check=True, env=environment, capture_output=True, text=True
        )
        return done.stdout

    columns, rows = shutil.get_terminal_size((120, 32))
    panes = [client(name, port) for name in _PEOPLE]
    try:
        run("new-session", "-d", "-s", "demo", "-x", str(columns), "-y", str(rows), *panes[0])
        for option, value in _OPTIONS.items():
            run("set-option", "-t", "demo", option, value)
        run("split-window", "-h", "-t", "demo:0.0", *panes[1])
        run("split-window", "-v", "-t", "demo:0.1", *panes[2])
        for number in range(len(panes)):
            while "connected to" not in run("capture-pane", "-p", "-t", f"demo:0.{number}"):
                time.sleep(0.05)
        for who, line in _SAID:
            pane = f"demo:0.{_PEOPLE.index(who)}"
            run("send-keys", "-t", pane, "-l", line)
            run("send-keys", "-t", pane, "Enter")
            time.sleep(0.3)  # so that the answer comes after the question
        run("select-pane", "-t", "demo:0.0")
        subprocess.run([*tmux, "attach-session", "-t", "demo"], check=False, env=environment)
    finally:
        subprocess.run(
            [*tmux, "kill-server"], check=False, env=environment, stderr=subprocess.DEVNULL
        )


def in_windows(port: int) -> None:
    """Show three windows, until all are closed."""
    windows = [subprocess.Popen(client(name, port, "--gui")) for name in _PEOPLE]
    try:
        for who, line in _SAID[-1:]:
            subprocess.run(client(f"{who}s-pipe", port), input=f"{line}\n", text=True, check=False)
        for window in windows:
            window.wait()
    finally:
        for window in windows:
            window.terminate()
            window.wait()


def main() -> None:
    """Run the demonstration."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.signal(signal.SIGHUP, lambda *_: sys.exit(0))
    with tempfile.TemporaryDirectory(prefix="chat-demo-") as name:
        directory = Path(name)
        with contextlib.suppress(KeyboardInterrupt), server(directory) as port:
            if shutil.which("tmux"):
                in_tmux(directory, port)
            else:
                in_windows(port)


if __name__ == "__main__":
    main()
