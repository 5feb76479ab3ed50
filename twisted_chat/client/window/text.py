"""One conversation as text that scrolls."""

import tkinter
from collections import deque
from collections.abc import Callable
from datetime import date
from tkinter import ttk

from .. import show
from ..lines import Event
from .conversations import Conversation
from .looks import INK, MARK, PAPER, tags

_AT_ONCE = 200
"""Events that are drawn at a time, so that the rest of the program does not wait."""

_SCROLLS = ("<Button-4>", "<Button-5>", "<MouseWheel>", "<KeyRelease>", "<ButtonRelease-1>")


class ConversationText(ttk.Frame):
    """Shows a conversation, and stays at its end unless the person has scrolled away.

    @param typed: is called with a character that is typed here, where nothing can be typed.
    @param earlier: is called when the person scrolls beyond the beginning.
    """

    def __init__(
        self,
        parent: tkinter.Misc,
        conversation: Conversation,
        typed: Callable[[str], None],
        earlier: Callable[[Conversation], None],
    ) -> None:
        super().__init__(parent)
        self.conversation = conversation
        self._typed = typed
        self._earlier = earlier
        self._lines: deque[int] = deque()  # how many each event that is drawn takes
        self._day: date | None = None
        self._follows = True
        self._topic = ttk.Label(self, style="Topic.TLabel", padding=(10, 5))
        self._text = tkinter.Text(
            self,
            wrap="word",
            state="disabled",
            font="TkTextFont",
            background=PAPER,
            foreground=INK,
            selectbackground=MARK,
            selectforeground=INK,
            inactiveselectbackground=MARK,
            borderwidth=0,
            highlightthickness=0,
            padx=10,
            pady=6,
            spacing1=2,
            width=60,
            height=20,
            cursor="arrow",
            takefocus=True,
        )
        tags(self._text)
        self._text.tag_configure("said", lmargin2=44)
        bar = ttk.Scrollbar(self, command=self._scroll)
        self._text.configure(yscrollcommand=bar.set)
        bar.pack(side="right", fill="y")
        self._text.pack(side="bottom", fill="both", expand=True)
        for event in _SCROLLS:
            self._text.bind(event, self._moved, add=True)
        self._text.bind("<Configure>", lambda _: self._follow())
        self._text.bind("<Key>", self._key)
        self._text.bind("<Control-a>", self._select_all)

    def _scroll(self, *how: str) -> None:
        self._text.yview(*how)
        self._moved(None)

    def page(self, by: int) -> None:
        """Scroll by pages."""
        if by < 0 and self._text.yview()[0] <= 0:
            self._earlier(self.conversation)
        self._text.yview_scroll(by, "pages")
        self._moved(None)

    def unselect(self) -> None:
        self._text.tag_remove("sel", "1.0", "end")

    def to_end(self) -> None:
        self._follows = True
        self._follow()

    def _moved(self, event: "tkinter.Event[tkinter.Text] | None") -> None:
        if event is not None and event.num == 4 and self._text.yview()[0] <= 0:
            self._earlier(self.conversation)

        def look() -> None:
            self._follows = self._text.yview()[1] >= 1

        self._text.after_idle(look)

    def _follow(self) -> None:
        if self._follows:
            self._text.see("end")

    def _key(self, event: "tkinter.Event[tkinter.Text]") -> str | None:
        controls = int(event.state) & 0x4 or int(event.state) & 0x8
        if event.keysym in ("Prior", "Next") and not controls:
            self.page(-1 if event.keysym == "Prior" else 1)
            return "break"
        if event.char and event.char.isprintable() and not controls:
            self._typed(event.char)
            return "break"
        return None

    def _select_all(self, _: object) -> str:
        self._text.tag_add("sel", "1.0", "end-1c")
        return "break"

    def draw(self, name: str) -> bool:
        """Show what is new.

        @param name: our name.
        @return: whether everything is shown.
        """
        conversation = self.conversation
        if conversation.topic:
            self._topic.configure(text=conversation.topic)
            self._topic.pack(side="top", fill="x", before=self._text)
        else:
            self._topic.pack_forget()
        reader = show.Reader(name, conversation.name)
        self._text.configure(state="normal")
        top, height = self._line("@0,0"), self._line("end")
        anew = conversation.changed
        if anew:
            self._text.delete("1.0", "end")
            self._lines.clear()
            self._day = None
            conversation.changed, conversation.dropped = False, 0
        gone = 0
        while conversation.dropped:
            conversation.dropped -= 1
            gone += self._lines.popleft() if self._lines else 0
        if gone:
            self._text.delete("1.0", f"{gone + 1}.0")
        # If all is drawn again, it is drawn at once: the part that is read must not move.
        end = None if anew else len(self._lines) + _AT_ONCE
        new = conversation.events[len(self._lines) : end]
        pieces: list[str | tuple[str, ...]] = []
        for event in new:
            lines = self._dated(event, reader)
            self._lines.append(len(lines))
            for line in lines:
                hangs = ("said",) if line[0][0] == "time" else ()
                for style, text in line:
                    pieces += [text, (style, *hangs)]
                pieces += ["\n", ()]
        if pieces:
            self._text.insert("end", *pieces)  # type: ignore[arg-type]
        if anew and not self._follows:
            self._text.yview(top + self._line("end") - height)
        self._text.configure(state="disabled")
        self._follow()
        return len(self._lines) >= len(conversation.events)

    def _line(self, index: str) -> int:
        return int(self._text.index(index).partition(".")[0])

    def _dated(self, event: Event, reader: show.Reader) -> list[show.Line]:
        """Give the lines of an event, with one before them where a day begins."""
        if event["event"] == "dm" and self.conversation.person:
            event = {**event, "event": "message", "room": reader.room, "action": False}
        lines = [line for line in show.lines(event, reader) if line]
        day = show.day_of(event)
        if day is not None and day != self._day:
            self._day = day
            lines = [show.day(day), *lines]
        return lines
