"""The looks of the window: its colours, fonts and styles."""

import tkinter
from collections.abc import Mapping
from tkinter import font, ttk

from ..show import COLOURS

PAPER, GROUND, EDGE, INK, DIM = "#ffffff", "#eef1f5", "#c9d1db", "#1f2933", "#69737f"
ACCENT, GOOD, BAD, MARK = "#2f6fad", "#2e8540", "#b3261e", "#fff3c4"


def dress(root: tkinter.Tk) -> list[font.Font]:
    """Give every widget of this window its looks.

    @return: its fonts. Tk forgets them when nothing refers to them any more.
    """
    for name, size in (("TkDefaultFont", 10), ("TkTextFont", 11), ("TkHeadingFont", 10)):
        font.nametofont(name, root).configure(size=size)
    body = font.nametofont("TkTextFont", root).actual()
    family = body["family"]
    fonts = [
        font.Font(root, name="chat-bold", family=family, size=11, weight="bold"),
        font.Font(root, name="chat-small", family=family, size=9),
        font.Font(root, name="chat-title", family=family, size=18, weight="bold"),
    ]
    root.configure(background=GROUND)
    root.event_delete("<<LineStart>>", "<Control-a>")  # what it is to Tk on X11
    root.event_add("<<SelectAll>>", "<Control-a>")
    style = ttk.Style(root)
    style.theme_use("clam")
    style.configure(
        ".",
        background=GROUND,
        foreground=INK,
        bordercolor=EDGE,
        lightcolor=GROUND,
        darkcolor=GROUND,
        troughcolor=GROUND,
        focuscolor=ACCENT,
    )
    style.configure("TEntry", fieldbackground=PAPER, padding=5, lightcolor=PAPER)
    style.map("TEntry", bordercolor=[("focus", ACCENT)], lightcolor=[("focus", ACCENT)])
    style.map("TEntry", fieldbackground=[("disabled", GROUND)])
    style.configure("TButton", padding=(12, 5), background=PAPER)
    style.configure("Main.TButton", background=ACCENT, foreground=PAPER, bordercolor=ACCENT)
    style.map(
        "Main.TButton",
        background=[("disabled", EDGE), ("active", "#275d92")],
        lightcolor=[("active", "#275d92")],
        darkcolor=[("active", "#275d92")],
    )
    style.configure("TNotebook", borderwidth=0, tabmargins=(0, 4, 0, 0))
    style.configure("TNotebook.Tab", padding=(12, 5), background=GROUND, foreground=DIM)
    style.map(
        "TNotebook.Tab",
        background=[("selected", PAPER)],
        foreground=[("selected", INK)],
        lightcolor=[("selected", PAPER)],
        padding=[("selected", (12, 5))],
    )
    style.configure(
        "Treeview", background=PAPER, fieldbackground=PAPER, rowheight=24, borderwidth=0
    )
    # A list, not a tree: nothing to unfold.
    style.layout(
        "Treeview.Item",
        [("Treeitem.padding", {"children": [("Treeitem.text", {"sticky": "w"})]})],
    )
    style.configure("Treeview.Item", padding=(6, 0))
    style.configure("Treeview", indent=0)
    style.map("Treeview", background=[("selected", ACCENT)], foreground=[("selected", PAPER)])
    style.configure("Vertical.TScrollbar", background=EDGE, arrowcolor=DIM, borderwidth=0)
    style.map("Vertical.TScrollbar", background=[("disabled", GROUND), ("active", "#aab4c0")])
    style.configure("TRadiobutton", background=GROUND)
    style.map("TRadiobutton", background=[("active", GROUND)])
    style.configure("TCheckbutton", background=GROUND)
    style.map("TCheckbutton", background=[("active", GROUND)])
    for name, options in _LABELS.items():
        style.configure(f"{name}.TLabel", **options)
    return fonts


_LABELS: Mapping[str, Mapping[str, str]] = {
    "Title": {"font": "chat-title"},
    "Heading": {"foreground": DIM, "font": "chat-small"},
    "Hint": {"foreground": DIM, "font": "chat-small"},
    "Error": {"foreground": BAD, "font": "chat-small"},
    "Target": {"foreground": ACCENT, "font": "chat-bold"},
    "Topic": {"foreground": DIM, "background": PAPER},
    "Good": {"foreground": GOOD},
    "Waiting": {"foreground": "#9a6700"},
    "Bad": {"foreground": BAD},
}


def tags(text: tkinter.Text) -> None:
    """Give a text widget a tag for each style of L{show}."""
    for style, colour in COLOURS.items():
        bold = "chat-bold" if style.startswith("name-") else ""
        text.tag_configure(style, foreground=colour, font=bold)
    text.tag_configure("own", foreground=INK, font="chat-bold")
    text.tag_configure("time", foreground=DIM, font="chat-small")
    text.tag_configure("mention", background=MARK, foreground=INK, font="chat-bold")
    text.tag_configure("error", foreground=BAD)
    text.tag_configure("day", foreground=DIM, font="chat-small", justify="center", spacing1=8)
    text.tag_raise("sel")
