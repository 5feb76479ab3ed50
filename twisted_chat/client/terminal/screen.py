"""The terminal with prompt_toolkit: lines appear above the one that is being typed."""

import asyncio
import os
import sys
from collections import deque
from typing import Any

from prompt_toolkit import PromptSession
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.data_structures import Size
from prompt_toolkit.enums import DEFAULT_BUFFER
from prompt_toolkit.filters import Condition, has_focus
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys
from prompt_toolkit.output import ColorDepth
from prompt_toolkit.output.vt100 import Vt100_Output
from prompt_toolkit.renderer import print_formatted_text
from prompt_toolkit.styles import Style
from prompt_toolkit.utils import get_cwidth
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from .. import lines as written
from ..model import common
from ..show import COLOURS, Line
from .conversation import Left, Paste
from .recall import Recall, state_path
from .status import Status

_STYLE = Style.from_dict(
    {
        **COLOURS,
        "own": "bold",
        "mention": f"{COLOURS['mention']} bold",
        "error": f"{COLOURS['error']} bold",
        "prompt": "bold",
        "bottom-toolbar": "noreverse",
    }
)

_INDENT = 6
"""Columns before the second row of a line, so that nobody can have one look like a line."""

_MOST_WAITING = 5
"""Lines without a receipt that are shown; of more, the newest."""

_log = Logger()


class PromptScreen:
    """A screen that is redrawn while lines arrive and are typed."""

    dates = False

    def __init__(self, status: Status, *, bell: bool) -> None:
        self._told = status
        self._bell = bell
        self._typed: deque[str | Paste] = deque()
        self._waiting: Deferred[None] | None = None
        self._question = ""
        self._secret = False
        self._answer: Deferred[str] | None = None
        self._left = False
        self._lines: list[Line] = []
        self._printing = False
        self._depth = ColorDepth.DEPTH_1_BIT if os.environ.get("NO_COLOR") else None
        self._output = _Output(sys.stdout, _size, os.environ.get("TERM"), enable_cpr=False)
        self._recall = Recall(state_path())
        self._session: PromptSession[str] = PromptSession(
            self._prompt,
            bottom_toolbar=self._status,
            history=self._recall,
            is_password=Condition(lambda: self._secret),
            enable_suspend=True,
            reserve_space_for_menu=0,
            key_bindings=self._keys(),
            style=_STYLE,
            color_depth=self._depth,
            output=self._output,
        )
        # Enter is not the only key that accepts a line: so do Alt-Enter, Ctrl-O and Alt-#.
        self._session.default_buffer.accept_handler = self._accept
        self._loop = asyncio.get_event_loop()
        future = asyncio.ensure_future(self._session.prompt_async(), loop=self._loop)
        self._ended = Deferred.fromFuture(future).addCallbacks(lambda _: None, self._broken)

    # What a conversation asks for

    def show(self, line: Line) -> None:
        self._lines.append(line)
        if not self._session.app.is_running:
            self._print()
        elif not self._printing:
            self._printing = True
            self._loop.call_soon(self._print)

    def alert(self) -> None:
        if self._bell:
            self._output.bell()
            self._output.flush()

    def refresh(self) -> None:
        self._session.app.invalidate()

    async def line(self) -> str | Paste:
        while not self._typed:
            if self._left:
                raise Left
            self._waiting = Deferred()
            await self._waiting
        return self._typed.popleft()

    async def ask(self, question: str, *, secret: bool = False) -> str:
        if self._left:
            raise Left
        buffer = self._session.default_buffer
        draft = buffer.document
        buffer.reset()
        self._question, self._secret = question, secret
        self._answer = Deferred()
        self.refresh()
        try:
            return await self._answer
        finally:
            self._answer = None
            self._question, self._secret = "", False
            buffer.reset(draft)
            self.refresh()

    def put_back(self, text: str) -> None:
        self._session.default_buffer.insert_text(text)

    async def close(self) -> None:
        self._left = True
        self._print()
        is_bare = not (self._told.unsent or self._session.default_buffer.text)
        self._session.app.erase_when_done = is_bare  # only what somebody typed is left to be seen
        if self._session.app.is_running:
            self._session.app.exit(result="")
        await self._ended

    # Drawing

    def _prompt(self) -> FormattedText:
        width = self._output.get_size().columns
        typed = [each for each in self._typed if isinstance(each, str)]
        waiting = written.waiting([*self._told.unsent, *typed], _MOST_WAITING)
        rows = "".join(f"{cut(f'not sent yet: {each}', width - 1)}\n" for each in waiting)
        prompt = f"{self._question}: " if self._question else "> "
        return FormattedText([("class:notice", rows), ("class:prompt", prompt)])

    def _status(self) -> FormattedText:
        return FormattedText(
            [("class:notice", self._told.line(self._output.get_size().columns - 1))]
        )

    def _print(self) -> None:
        """Print the lines of this turn of the loop above the one that is being typed. Not with
        C{patch_stdout} or C{run_in_terminal}: they let the terminal echo what is typed at that
        moment, which may be a password."""
        self._printing = False
        lines, self._lines = self._lines, []
        if not lines:
            return
        app = self._session.app
        if app.is_running:
            app.renderer.erase()
            # Which has ended bracketed paste until the next rendering: in a paste that comes in
            # between, each line would be taken for one that was typed.
            self._output.enable_bracketed_paste()
        width = self._output.get_size().columns
        pieces = [piece for line in lines for piece in [*wrapped(line, width), ("", "\n")]]
        print_formatted_text(
            self._output,
            FormattedText((style and f"class:{style}", text) for style, text in pieces),
            _STYLE,
            color_depth=self._depth or self._output.get_default_color_depth(),
        )
        self._output.flush()
        if app.is_running:
            app.invalidate()

    # Keys

    def _keys(self) -> KeyBindings:
        keys = KeyBindings()
        typing = has_focus(DEFAULT_BUFFER)
        for key, press in (
            (Keys.ControlM, self._enter),
            (Keys.ControlJ, self._enter),
            (Keys.ControlC, self._cancel),
            (Keys.Tab, self._complete),
            (Keys.BracketedPaste, self._paste),
        ):
            keys.add(key, filter=typing, eager=True)(press)
        empty = Condition(lambda: not self._session.default_buffer.text)
        keys.add(Keys.ControlD, filter=typing & empty, eager=True)(self._leave)
        keys.add(Keys.SIGINT)(self._cancel)
        return keys

    def _enter(self, event: KeyPressEvent) -> None:
        self._accept(event.current_buffer)

    def _accept(self, buffer: Buffer) -> bool:
        """Take what was typed, as an answer if there is a question.

        @return: true, so that prompt_toolkit leaves the buffer as it is.
        """
        typed = buffer.text
        if self._answer is not None:
            buffer.reset()
            self._answer.callback(typed)
        elif typed.strip():
            self._recall.keep(typed)
            buffer.reset()
            self._type(typed)
        return True

    def _cancel(self, event: KeyPressEvent) -> None:
        event.current_buffer.reset()
        if self._answer is not None:
            self._answer.callback("")

    def _leave(self, event: KeyPressEvent) -> None:
        self._go()

    def _paste(self, event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        text = event.data.replace("\r\n", "\n").replace("\r", "\n").strip("\n")
        if self._answer is not None:
            text = text.split("\n", 1)[0]
        if "\n" not in text:
            buffer.insert_text(text)
            return
        draft = buffer.text
        document = buffer.document
        whole = f"{document.text_before_cursor}{text}{document.text_after_cursor}"
        buffer.reset()
        self._type(Paste([line for line in whole.split("\n") if line.strip()], draft))

    def _complete(self, event: KeyPressEvent) -> None:
        if self._answer is not None:
            return
        buffer = event.current_buffer
        begun, whole = self._told.completions(buffer.document.text_before_cursor)
        if not whole:
            return
        more = common(whole)[len(begun) :]
        if more:
            buffer.insert_text(more)
        elif len(whole) > 1:
            self.show([("notice", "  ".join(each.rstrip(": ") for each in whole))])

    def _type(self, typed: str | Paste) -> None:
        self._typed.append(typed)
        self._wake()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)

    def _go(self) -> None:
        self._left = True
        answer, self._answer = self._answer, None
        if answer is not None:
            answer.errback(Left())
        self._wake()

    def _broken(self, failure: Any) -> None:
        """The terminal is gone, or drawing on it has failed."""
        if not failure.check(EOFError):
            _log.failure("the terminal", failure)
        self._go()


class _Output(Vt100_Output):
    """Does not ask the terminal where its cursor is: the answer would arrive among what is typed,
    and some terminals never answer."""

    def get_rows_below_cursor_position(self) -> int:
        """Give any number, so that the last line is drawn."""
        return 1


def _size() -> Size:
    try:
        columns, rows = os.get_terminal_size(sys.stdout.fileno())
    except OSError:
        columns = rows = 0
    return Size(rows or 24, columns or 80)


def cut(text: str, width: int) -> str:
    """Give as much of a text as fits into one row."""
    if get_cwidth(text) <= width:
        return text
    while text and get_cwidth(text) >= width:
        text = text[:-1]
    return f"{text}…"


def wrapped(line: Line, width: int) -> Line:
    """Break a line at spaces into rows of a terminal, all but the first of them indented."""
    indent = " " * min(_INDENT, max(width // 8, 1))
    characters = [(style, character) for style, text in line for character in text]
    rows: Line = []
    row: Line = []
    used = space = 0
    for style, character in characters:
        columns = get_cwidth(character)
        if used + columns > width:
            cut = space or len(row)
            rows += [*row[:cut], ("", f"\n{indent}")]
            row = row[cut:]
            while row and row[0][1] == " ":
                del row[0]
            used = len(indent) + sum(get_cwidth(each) for _, each in row)
            space = 0
        row.append((style, character))
        used += columns
        if character == " ":
            space = len(row)
    return _joined([*rows, *row])


def _joined(pieces: Line) -> Line:
    joined: Line = []
    for style, text in pieces:
        if joined and joined[-1][0] == style:
            joined[-1] = (style, joined[-1][1] + text)
        else:
            joined.append((style, text))
    return joined
