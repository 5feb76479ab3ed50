"""What was typed, kept between runs: without passwords, and readable by its owner only."""

import os
from collections.abc import Iterable
from pathlib import Path

from prompt_toolkit.history import History

from twisted_chat.protocol.grammar import is_secret

MOST = 1000
"""Lines that are kept."""


def state_path() -> Path:
    """Give the file that the lines are kept in."""
    base = os.environ.get("XDG_STATE_HOME", "")
    home = Path(base) if os.path.isabs(base) else Path.home() / ".local" / "state"
    return home / "twisted-chat" / "history"


class Recall(History):
    """A history in a file, a line for each. Errors of the file are ignored: the history is a
    convenience, and no reason not to chat."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def load_history_strings(self) -> Iterable[str]:
        try:
            kept = self._path.read_text("utf-8", "replace").splitlines()
        except OSError:
            return []
        safe = [line for line in kept if not is_secret(line)]  # an older client was less careful
        if len(kept) > 2 * MOST or len(safe) < len(kept):
            self._write(safe[-MOST:], os.O_TRUNC)
        return reversed(safe[-MOST:])

    def keep(self, line: str) -> None:
        """Keep a line, unless it may hold a password."""
        if not is_secret(line) and line != next(iter(reversed(self.get_strings())), None):
            super().append_string(line)

    def append_string(self, string: str) -> None:
        """Keep nothing: prompt_toolkit calls this for everything that is accepted, also for the
        answer to a question, which may be a password."""

    def store_string(self, string: str) -> None:
        self._write([string], os.O_APPEND)

    def _write(self, lines: list[str], how: int) -> None:
        data = "".join(f"{line}\n" for line in lines).encode("utf-8", "replace")
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = os.open(self._path, os.O_WRONLY | os.O_CREAT | how, 0o600)
            try:
                os.fchmod(file, 0o600)
                os.write(file, data)
            finally:
                os.close(file)
        except OSError:
            pass
