"""Strings that somebody could send to do harm, and what must come of none of them."""

import json
import re
from pathlib import Path

_LIST = Path(__file__).parent / "data" / "blns.json"

_CONTROLS = [chr(number) for number in (*range(0x20), *range(0x7F, 0xA0))]
_SEQUENCES = (
    "\x1b[2J\x1b[1;1H", "\x1b]0;owned\x07", "\x1b]2;owned\x1b\\", "\x1b[8m", "\x1b[31m", "\x1b[1A",
    "\x1bc", "\x1b[?1049h", "\x1bP+q544e\x1b\\", "\x1b_x\x1b\\", "\x9b2J", "\x9d0;owned\x9c",
    "\x1b]52;c;b3duZWQ=\x07", "\x1b[6n", "\x1b(0", "\x0e", "\x1b#8", "\x1b[5i", "a\rb", "a\x0bb",
    "hidden\x08\x08\x08\x08\x08\x08", "\r[12:00] bob: forged", "\x85* bob left", "\u2028* bob left",
)  # fmt: skip
_UNSEEN = (
    *("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"), "\u200b\u200b", "\u200d\u200d",
    "\u200e", "\u200f", "\u061c", "\u00ad", "\ufeff", "\u2060", "\u3164", "\u115f", "\uffa0",
    "\U000e0041\U000e007f", "\ufff9\ufffa\ufffb", "\u180e", "\u034f", "\ufe0f", "\U000e0100",
)  # fmt: skip
_MARKS = (
    "Z\u0351\u036b\u0343\u0334\u0302\u036a" * 3, "e" + "\u0301" * 200, "\u0301" * 50,
    "\u20dd\u20e0", "a" + "\u0334\u200d" * 50, "\u0e49" * 40, "\u0488\u0489",
)  # fmt: skip
_WIDE = (
    "你好" * 60,
    "ＦＵＬＬ",
    "\ufdfd",
    "\U00012031",
    "👩\u200d👩\u200d👧\u200d👦" * 30,
    "🇩🇪" * 50,
    "\U0001fae8",
)
_FORGED = (
    "[12:00] bob: forged", "* bob left", "! this server is full", "Name: ", "Password: ",
    "… 5 lines skipped", "{\"event\":\"bye\"}", "\n[12:00] bob: forged", "bob -> you: hi",
)  # fmt: skip

NASTY = tuple(
    one
    for nasty in (*_CONTROLS, *_SEQUENCES, *_UNSEEN, *_MARKS, *_WIDE, *_FORGED)
    for one in (nasty, f"abc{nasty}def")
    if one != "\x04"  # ends the session
)
"""Controls, escape sequences, what cannot be seen, marks, wide characters and forged lines."""

NAUGHTY: tuple[str, ...] = (*NASTY, *json.loads(_LIST.read_text("utf-8")))
"""The same, and the Big List of Naughty Strings."""

RAW = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufffd\ud800-\udfff]|\ufeff|\u200b"
)
"""What must not be on anyone's screen or in any log."""
