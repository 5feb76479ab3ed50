"""The screen to talk: rooms, conversations in tabs, people, and the line that is typed."""

import tkinter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from tkinter import ttk

from .. import lines as written
from ..model import common
from ..show import COLOURS, name_style
from .conversations import Conversation, Conversations, Recall
from .looks import ACCENT, DIM, EDGE, INK, PAPER
from .text import ConversationText

_COLOURED = 300
"""People whose names are coloured, at most: more would take long."""

_MOST_UNSENT = 5
"""Lines without a receipt that are shown, at most; the newest."""

KEYS = (
    ("Enter", "sends the line; / begins a command, /help lists them"),
    ("Up, Down", "recall earlier lines"),
    ("Tab", "completes a name; otherwise goes on to the next part of the window"),
    ("Page Up, Page Down", "scroll; at the top, show earlier messages"),
    ("Ctrl-1 to Ctrl-9", "go to a tab; Ctrl-Page Up and Ctrl-Page Down to the one beside"),
    ("Ctrl-W", "closes a private conversation, or leaves a room"),
    ("Ctrl-J", "go to the field for joining a room"),
    ("Ctrl-A, Ctrl-C", "in a conversation: select all of it, copy"),
    ("Escape", "go back to the input field, and to the end of the conversation"),
    ("Ctrl-Q", "ends the program"),
)


@dataclass(frozen=True, slots=True)
class Actions:
    """What the screen calls.

    @ivar type: carries out a line that was typed in a conversation.
    @ivar look: is called when another conversation is in front.
    @ivar join: joins a room.
    @ivar close: closes a tab.
    @ivar earlier: gets the messages before the first one of a conversation.
    @ivar private: opens a private conversation with a person.
    """

    type: Callable[[Conversation, str], None]
    look: Callable[[], None]
    join: Callable[[str], None]
    close: Callable[[Conversation], None]
    earlier: Callable[[Conversation], None]
    private: Callable[[str], None]


class Talk(ttk.Frame):
    """The screen. It shows the conversations as they are when L{draw} is called."""

    def __init__(
        self, parent: tkinter.Misc, conversations: Conversations, actions: Actions
    ) -> None:
        super().__init__(parent, padding=8)
        self._conversations = conversations
        self._actions = actions
        self._texts: dict[Conversation, ConversationText] = {}
        self._recall = Recall()
        self._question: tuple[str, Callable[[str], None]] | None = None
        self._keys: list[str] = []
        self._listed: object = None
        self._named: object = None

        bottom = ttk.Frame(self)
        self._status = ttk.Label(bottom)
        self._status.pack(side="left")
        ttk.Label(bottom, style="Hint.TLabel", text="F1 shows the keys").pack(side="right")
        bottom.pack(side="bottom", fill="x", pady=(6, 0))
        panes = ttk.PanedWindow(self, orient="horizontal")
        panes.pack(fill="both", expand=True)
        panes.add(self._make_rooms(panes), weight=0)
        panes.add(self._make_tabs(panes), weight=1)
        panes.add(self._make_people(panes), weight=0)
        self._bind()

    def _make_rooms(self, parent: tkinter.Misc) -> ttk.Frame:
        pane = ttk.Frame(parent)
        self._rooms = ttk.Treeview(pane, columns=("n",), show="tree", selectmode="browse")
        self._rooms.column("#0", width=124, stretch=True)
        self._rooms.column("n", width=36, anchor="e", stretch=False)
        self._rooms.tag_configure("elsewhere", foreground=DIM)
        self._rooms.tag_configure("unread", font="chat-bold")
        self._rooms.tag_configure("mentioned", foreground=COLOURS["mention"], font="chat-bold")
        self._join = ttk.Entry(pane, width=12)
        self._join_error = ttk.Label(pane, style="Error.TLabel", wraplength=150)
        ttk.Label(pane, text="ROOMS", style="Heading.TLabel").pack(anchor="w", pady=(2, 2))
        self._join_error.pack(side="bottom", anchor="w")
        self._join.pack(side="bottom", fill="x", pady=(2, 0))
        label = ttk.Label(pane, text="join a room", style="Heading.TLabel")
        label.pack(side="bottom", anchor="w", pady=(6, 0))
        self._rooms.pack(fill="both", expand=True)
        return pane

    def _make_tabs(self, parent: tkinter.Misc) -> ttk.Frame:
        pane = ttk.Frame(parent)
        self._tabs = ttk.Notebook(pane, takefocus=False)
        line = ttk.Frame(pane)
        self._target = ttk.Label(line, style="Target.TLabel")
        self.entry = ttk.Entry(line, font="TkTextFont")
        line.pack(side="bottom", fill="x", pady=(6, 0))
        self._unsent = ttk.Label(pane, style="Hint.TLabel")
        self._target.pack(side="left", padx=(4, 6))
        self.entry.pack(side="left", fill="x", expand=True)
        self._tabs.pack(fill="both", expand=True)
        return pane

    def _make_people(self, parent: tkinter.Misc) -> ttk.Frame:
        pane = ttk.Frame(parent)
        self._people_title = ttk.Label(pane, style="Heading.TLabel")
        bar = ttk.Scrollbar(pane)
        self._people = tkinter.Listbox(
            pane,
            width=16,
            activestyle="none",
            background=PAPER,
            foreground=INK,
            selectbackground=ACCENT,
            selectforeground=PAPER,
            highlightthickness=1,
            highlightbackground=EDGE,
            highlightcolor=ACCENT,
            borderwidth=0,
            exportselection=False,
            font="TkTextFont",
            yscrollcommand=bar.set,
        )
        bar.configure(command=self._people.yview)
        self._people_title.pack(anchor="w", pady=(2, 2))
        bar.pack(side="right", fill="y")
        self._people.pack(fill="both", expand=True)
        return pane

    def _bind(self) -> None:
        entry = self.entry
        entry.bind("<Return>", lambda _: self._entered())
        entry.bind("<KP_Enter>", lambda _: self._entered())
        entry.bind("<Up>", lambda _: self._recalled(-1))
        entry.bind("<Down>", lambda _: self._recalled(1))
        entry.bind("<Tab>", lambda _: self._complete())
        entry.bind("<<Paste>>", lambda _: self._pasted())
        entry.bind("<Prior>", lambda _: self._page(-1))
        entry.bind("<Next>", lambda _: self._page(1))
        # Otherwise the bindings of the two lines above would apply.
        entry.bind("<Control-Prior>", lambda _: self._go_by(-1))
        entry.bind("<Control-Next>", lambda _: self._go_by(1))
        self._join.bind("<Return>", lambda _: self._join_typed())
        self._join.bind("<Key>", lambda _: self._join_error.configure(text=""), add=True)
        self._rooms.bind("<Return>", lambda _: self._room_chosen())
        self._rooms.bind("<Double-1>", lambda _: self._room_chosen())
        self._rooms.bind("<ButtonRelease-1>", lambda _: self._room_chosen(only_ours=True))
        self._people.bind("<Return>", lambda _: self._person_chosen())
        self._people.bind("<Double-1>", lambda _: self._person_chosen())
        self._tabs.bind("<<NotebookTabChanged>>", lambda _: self._turned())
        for number in range(9):
            self._on(f"<Control-Key-{number + 1}>", partial(self._go, number))
        self._on("<Control-Prior>", lambda _: self._go_by(-1))
        self._on("<Control-Next>", lambda _: self._go_by(1))
        self._on("<Control-w>", lambda _: self._actions.close(self.current))
        self._on("<Control-j>", lambda _: self._focus(self._join))
        self._on("<Escape>", lambda _: self._escape())
        self._on("<F1>", lambda _: self._show_keys())

    def _on(self, key: str, do: Callable[["tkinter.Event[tkinter.Misc]"], object]) -> None:
        """Have a key do something wherever in the window it is pressed."""
        self.winfo_toplevel().bind(key, do)
        self._keys.append(key)

    def destroy(self) -> None:
        for key in self._keys:
            self.winfo_toplevel().unbind(key)
        super().destroy()

    # What it shows

    @property
    def current(self) -> Conversation:
        """The conversation whose tab is in front."""
        chosen = self._tabs.select()
        for conversation, text in self._texts.items():
            if str(text) == chosen:
                return conversation
        return next(iter(self._conversations))

    @property
    def expects(self) -> str:
        """What the next line is: the answer to a question, or a message to a room or a person."""
        return self._question[0] if self._question is not None else self.current.label

    def status(self, style: str, text: str) -> None:
        """Show how the connection is."""
        self._status.configure(text=f"● {text}", style=f"{style}.TLabel")

    def draw(self) -> bool:
        """Show everything as it is now.

        @return: whether all of it was drawn; if not, call this again soon.
        """
        self._fit_tabs()
        drawn = [text.draw(self._conversations.name) for text in self._texts.values()]
        self._list_rooms()
        self._list_people()
        self._show_unsent()
        return all(drawn)

    def show(self, conversation: Conversation) -> None:
        """Bring a conversation to the front."""
        self._fit_tabs()
        if conversation in self._texts:
            self._tabs.select(str(self._texts[conversation]))

    def _fit_tabs(self) -> None:
        """One tab for each conversation."""
        for gone in [each for each in self._texts if each not in list(self._conversations)]:
            text = self._texts.pop(gone)
            if not gone.person and self._tabs.select() == str(text):
                # The room was left, perhaps in another session. Where the server takes lines then,
                # they go here, too, and not to the neighbour, who may be a person.
                self._tabs.select(str(self._texts[self._conversations.lobby]))
            self._tabs.forget(text)
            text.destroy()
        for conversation in self._conversations:
            text_ = self._texts.get(conversation)
            label = _short(conversation.label)
            if conversation.unread:
                label += f" ({conversation.unread})"
            if text_ is None:
                text_ = self._texts[conversation] = ConversationText(
                    self._tabs, conversation, self._typed_elsewhere, self._actions.earlier
                )
                self._tabs.add(text_, text=label)
            elif self._tabs.tab(text_, "text") != label:
                self._tabs.tab(text_, text=label)

    def _list_rooms(self) -> None:
        rows: list[tuple[str, str, str, str]] = []
        for conversation in self._conversations:
            tag = "unread" if conversation.unread else ""
            tag = "mentioned" if conversation.mentioned else tag
            count = str(conversation.unread or "")
            rows.append((conversation.name, conversation.label, count, tag))
        for room, members in self._conversations.rooms.items():
            if room not in self._conversations.all:
                rows.append((room, f"#{room}", f"{members}", "elsewhere"))
        if rows != self._listed:
            self._listed = rows
            chosen = self._rooms.selection()
            self._rooms.delete(*self._rooms.get_children())
            for name, label, count, tag in rows:
                self._rooms.insert("", "end", name, text=label, values=(count,), tags=(tag,))
            self._rooms.selection_set([each for each in chosen if self._rooms.exists(each)])
        self._mark_room()

    def _show_unsent(self) -> None:
        """Show the lines that have no receipt yet above the one that is being typed."""
        waiting = written.waiting(self.current.unsent, _MOST_UNSENT)
        rows = [f"not sent yet: {_short(line, 80)}" for line in waiting]
        if not rows:
            self._unsent.pack_forget()
        else:
            self._unsent.configure(text="\n".join(rows))
            self._unsent.pack(side="bottom", anchor="w", padx=4, before=self._tabs)

    def _mark_room(self) -> None:
        """Mark the conversation in front, unless the list has the focus."""
        name = self.current.name
        if self.focus_get() is not self._rooms and self._rooms.exists(name):
            if self._rooms.selection() != (name,):
                self._rooms.selection_set(name)
            self._rooms.focus(name)

    def _list_people(self) -> None:
        conversation = self.current
        us = self._conversations.name
        people = conversation.people
        if conversation.person:
            people = {us: True, conversation.person: True}
        names = sorted(people.items())
        if names == self._named:
            return
        self._named = names
        title = f"PEOPLE · {len(names)}" if names else "PEOPLE"
        self._people_title.configure(text=title)
        top = self._people.yview()[0]
        active = self._people.index("active")
        self._people.delete(0, "end")
        self._people.insert(
            "end", *(f" {name}" if account else f" {name} (guest)" for name, account in names)
        )
        for row, (name, _) in enumerate(names[:_COLOURED]):
            colour = INK if name == us else COLOURS[name_style(name)]
            self._people.itemconfigure(row, foreground=colour)
        self._people.yview_moveto(top)
        self._people.activate(active)

    # What is done with it

    def ask(self, question: str, answered: Callable[[str], None]) -> None:
        """Take the next line as the answer to a question. An empty line, and Escape, cancel it."""
        self._question = question, answered
        self._show_target()
        self.entry.focus_set()

    def give_back(self, conversation: Conversation, line: str) -> None:
        """Put back a line that was refused, to be edited."""
        if self.current is conversation and not self.entry.get():
            self.entry.insert(0, line)

    def join_refused(self, text: str) -> None:
        self._join_error.configure(text=text)
        self._join.focus_set()

    def _show_target(self) -> None:
        style = "Target.TLabel" if self._question is None else "Waiting.TLabel"
        self._target.configure(text=_short(self.expects, 48), style=style)
        self._actions.look()

    def _turned(self) -> None:
        """Show the tab that is in front now."""
        self._question = None
        self._show_target()
        self.draw()
        self.entry.focus_set()

    def _entered(self) -> str:
        line = self.entry.get()
        self.entry.delete(0, "end")
        if self._question is not None:
            answered = self._question[1]
            self._question = None
            self._show_target()
            if line.strip():
                answered(line.strip())
        elif line.strip():
            self._recall.add(line)
            self._texts[self.current].to_end()
            self._actions.type(self.current, line)
        return "break"

    def _recalled(self, by: int) -> str:
        if self._question is None:
            line = self._recall.move(by, self.entry.get())
            self.entry.delete(0, "end")
            self.entry.insert(0, line)
        return "break"

    def _complete(self) -> str | None:
        """Complete the name or room before the cursor. Without one, Tab moves the focus."""
        cursor = self.entry.index("insert")
        word = self.entry.get()[:cursor].rpartition(" ")[2]
        if not word:
            return None
        stem = word.lower()
        everyone = {name for each in self._conversations for name in each.people}
        rooms = [f"#{room}" for room in self._conversations.rooms]
        found = sorted(name for name in [*everyone, *rooms] if name.startswith(stem))
        if not found:
            return None
        end = common(found)
        if len(found) == 1:
            end += ": " if cursor == len(word) and not end.startswith("#") else " "
        self.entry.delete(cursor - len(word), cursor)
        self.entry.insert(cursor - len(word), end)
        return "break"

    def _pasted(self) -> str | None:
        """Ask before several lines are pasted, and send each of them."""
        try:
            lines = [line for line in self.clipboard_get().splitlines() if line.strip()]
        except tkinter.TclError:
            return None  # there is nothing to paste
        if len(lines) < 2 or self._question is not None:
            return None
        conversation = self.current

        def answered(answer: str) -> None:
            if answer.lower() in ("y", "yes"):
                for line in lines:
                    self._actions.type(conversation, line)

        self.ask(f"send {len(lines)} lines to {conversation.label}? y or n:", answered)
        return "break"

    def _page(self, by: int) -> str:
        self._texts[self.current].page(by)
        return "break"

    def _typed_elsewhere(self, character: str) -> None:
        self.entry.focus_set()
        self.entry.insert("insert", character)

    def _join_typed(self) -> None:
        room = self._join.get().strip()
        if room:
            self._join.delete(0, "end")
            self._actions.join(room)

    def _room_chosen(self, *, only_ours: bool = False) -> str | None:
        for name in self._rooms.selection():
            conversation = self._conversations.all.get(name)
            if conversation is not None:
                self.show(conversation)
                self.entry.focus_set()
            elif not only_ours:
                self._actions.join(name)
        return None if only_ours else "break"

    def _person_chosen(self) -> str:
        names = self._named
        row = self._people.curselection() or (self._people.index("active"),)
        if isinstance(names, list) and 0 <= row[0] < len(names):
            self._actions.private(names[row[0]][0])
        return "break"

    def _go(self, number: int, _: object) -> str:
        tabs: Sequence[str] = self._tabs.tabs()
        if number < len(tabs):
            self._tabs.select(tabs[number])
        return "break"

    def _go_by(self, by: int) -> str:
        tabs: Sequence[str] = self._tabs.tabs()
        if tabs:
            self._tabs.select(tabs[(tabs.index(self._tabs.select()) + by) % len(tabs)])
        return "break"

    def _focus(self, widget: tkinter.Misc) -> str:
        widget.focus_set()
        return "break"

    def _escape(self) -> None:
        self._question = None
        self._show_target()
        self._texts[self.current].unselect()
        self._texts[self.current].to_end()
        self.entry.focus_set()

    def _show_keys(self) -> None:
        for keys, does in KEYS:
            self.current.add({"event": "notice", "text": f"{keys}: {does}"})
        self.draw()


def _short(text: str, most: int = 18) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
