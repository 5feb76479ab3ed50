"""A server that means harm, or is none: whatever it writes, the client goes on."""

import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_chat.client import lines, show
from twisted_chat.client.window.conversations import Conversation, Conversations

from .test_conversation import Talk

_ROOM = {"room": "lobby"}
_MESSAGE = {
    **_ROOM,
    "id": 1,
    "seq": 1,
    "from": "bob",
    "text": "hi bot",
    "action": False,
    "replay": False,
}
_KINDS: dict[str, dict[str, Any]] = {
    "hello": {"protocol": 2, "server": "test", "session": "x"},
    "welcome": {**_ROOM, "name": "bot", "account": True},
    "message": _MESSAGE,
    "dm": {"id": 2, "from": "bob", "to": "bot", "text": "psst", "replay": False},
    "joined": {**_ROOM, "name": "bob", "account": True},
    "left": {**_ROOM, "count": 40},
    "renamed": {"name": "bob", "to": "rob", "account": True},
    "topic": {**_ROOM, "topic": "x", "from": "bob"},
    "users": {**_ROOM, "users": [{"name": "bob", "account": False}]},
    "rooms": {"rooms": [{**_ROOM, "members": 2, "topic": "x"}]},
    "help": {"commands": [{"usage": "/dm NAME", "also": ["/msg"], "text": "x"}]},
    "history": {**_ROOM, "count": 0},
    "skipped": {"lines": 3},
    "error": {"code": "full", "text": "x", "command": "/join"},
    "notice": {"text": "x"},
    "done": {"label": "x", "room": "lobby", "seq": 1, "id": 1},
    "motd": {"lines": ["x"]},
    "away": {"name": "bob", "kept": True},
    "not-kept": {},
    "unread": {"count": 1, "more": False},
    "omitted": {},
    "crowd": {**_ROOM, "count": 60},
    "talking": _ROOM,
    "ping": {},
    "bye": {"text": "bye"},
    "unheard": {"of": 1},
    # Those are the client's own.
    "connected": {"name": "x", "account": True, "server": "x", "again": False},
    "disconnected": {"text": "x"},
    "reconnecting": {"seconds": 1.5},
    "paused": {"text": "x"},
    "gap": {**_ROOM, "first": 1, "last": 2},
}
_OWN = ("connected", "disconnected", "reconnecting", "paused", "gap")
_NAMES = sorted({name for fields in _KINDS.values() for name in fields} | {"time"})

_numbers = st.sampled_from([-1, 0, 2**31, 2**63, 2**64, -(2**63), 10**30, 1e308, 0.5])
_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | _numbers,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(_NAMES) | st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)


@st.composite
def _events(draw: st.DrawFn) -> bytes:
    """A line with an event in it, of which some fields are not as they should be."""
    kind = draw(st.sampled_from(sorted(_KINDS)))
    fields = {"event": kind, "time": "2026-11-21T09:00:00.000Z", **_KINDS[kind]}
    fields.update(draw(st.dictionaries(st.sampled_from(_NAMES), _values, max_size=3)))
    for name in draw(st.lists(st.sampled_from(_NAMES), max_size=1)):
        fields.pop(name, None)
    return (
        json.dumps(fields)
        .encode()
        .replace(b"Infinity", draw(st.sampled_from([b"1e999", b"Infinity"])))
    )


def _line(kind: str, **fields: object) -> bytes:
    return json.dumps({"event": kind, **_KINDS[kind], **fields}).encode()


class HostileTests(SynchronousTestCase):
    """Events that are not as the protocol has them."""

    @given(st.lists(_events(), min_size=1, max_size=4))
    @example([_line("reconnecting").replace(b"1.5", b"1e999")])
    @example([_line("connected"), _line("disconnected"), _line("gap", first=2**70)])
    @example([_line("rooms", rooms=[{"room": "x", "members": 0, "topic": 5}])])
    @example([_line("rooms").replace(b"2", b"1e999"), _line("rooms", room=[])])
    @example([_line("message", seq=2**63), _line("message", seq=2**64, replay=True)])
    @example([_line("dm", replay=True, seq="x"), _line("history")])
    @example([_line("notice", id="x"), _line("unheard", id={})])
    @example([_line("users", users=[{"name": [], "account": 1}]), _line("topic", room=[])])
    @example([_line("message").replace(b'"seq": 1', b'"seq": ' + b"9" * 5000)])
    @example([b'{"event":"left","room":"lobby"}', b'{"event":"joined","room":"lobby"}'])
    @example([b'{"event":"notice","text":' + b"[" * 100_000])
    @example([b'{"event":"unheard","x":' + b'{"x":' * 400 + b"1" + b"}" * 401])
    def test_goes_on(self, hostile: list[bytes]) -> None:
        """Whatever is in an event, known or not, the client raises nothing and goes on, and its own
        events stay its own."""
        talk = Talk(self)
        told = talk.told()
        all = Conversations("bot")
        for line in hostile:
            talk.protocol.dataReceived(line + b"\n")
            event = lines.event(line)
            if event is not None:
                json.dumps(event, ensure_ascii=False, allow_nan=False).encode()
                self.window_takes(all, event)
        "".join(talk.screen.shown).encode()
        self.assertNoResult(talk.ended)
        self.assertEqual(talk.told(), told)
        self.assertTrue(talk.has_link)
        talk.end()
        self.assertEqual(self.flushLoggedErrors(), [])

    def window_takes(self, all: Conversations, event: lines.Event) -> None:
        """Have the window's part of the client learn from an event, as it does there."""
        all.take(event)
        Conversation("x").add(event)
        show.day_of(event)
        for conversation in all:
            for each in conversation.events:
                show.lines(each, show.Reader("bot", conversation.name))

    def test_own_events(self) -> None:
        """A server cannot send events that are the client's own."""
        for kind in _OWN:
            self.assertIsNone(lines.event(_line(kind)), kind)
