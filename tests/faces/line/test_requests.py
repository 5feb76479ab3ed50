"""Requests in JSON: what they are answered with, what refuses them, and what their bytes mean."""

import json
from typing import Any, get_args

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail

from twisted_chat.core.errors import Code, Refusal
from twisted_chat.core.limits import Limits
from twisted_chat.faces.line.dialogue import Settings
from twisted_chat.protocol.commands import COMMANDS
from twisted_chat.protocol.jsonlines import MAX_REQUEST, encode

from .server import Json, Peer, ServerTestCase

fuzzed = settings(deadline=None, max_examples=150, derandomize=True)

PASSWORD = "s3cret-pw"
_CLOSED = Settings("chat", allow_guests=False, allow_registration=False)
LABEL = "0123456789abcdef"

_ELSEWHERE = {"unavailable", "internal", "busy", "closed", "full"}
"""The codes that have tests of their own."""


class RequestTestCase(ServerTestCase):
    """Alice and bob have accounts; alice speaks JSON."""

    def setUp(self) -> None:
        super().setUp()
        self.register("alice", PASSWORD)
        self.register("bob", PASSWORD)
        self.alice = self.peer()
        self.tell(self.alice, f"/json on\n/login alice {PASSWORD}\n")

    def do(self, peer: Peer | None = None, **fields: Any) -> list[Json]:
        """The answer to a request."""
        return self.events(peer or self.alice, encode(fields))

    def kinds(self, peer: Peer | None = None, **fields: Any) -> str:
        """The events that a labelled request is answered with; those without its label in
        brackets."""
        answer = self.do(peer, **fields, label="7")
        return " ".join(
            event["event"] if event.get("label") == "7" else f"({event['event']})"
            for event in answer
        )


class AnswerTests(RequestTestCase):
    """The answers to every command."""

    def test_every_command(self) -> None:
        """Every command's answers have its label, and the last is done. Events that everybody in a
        room is told have none."""
        self.tell(self.peer(), f"/login bob {PASSWORD}\n/dm alice psst\n")
        steps: list[tuple[str, Json]] = [
            ("message done", {"do": "say", "message": "hi"}),
            ("message done", {"do": "say", "room": "lobby", "message": "hi"}),
            ("message done", {"do": "bc", "message": "hi"}),
            ("message done", {"do": "me", "action": "waves"}),
            ("dm done", {"do": "dm", "name": "bob", "message": "psst"}),
            ("dm done", {"do": "r", "message": "psst"}),
            ("joined history users talking done", {"do": "join", "room": "tea"}),
            ("talking done", {"do": "join", "room": "tea"}),
            ("talking done", {"do": "to", "room": "lobby"}),
            ("talking done", {"do": "to", "room": "#Tea"}),
            ("where done", {"do": "where"}),
            ("(topic) done", {"do": "topic", "text": "cake"}),
            ("topic done", {"do": "topic"}),
            ("(topic) done", {"do": "topic", "room": "tea", "text": ""}),
            ("users done", {"do": "users"}),
            ("rooms done", {"do": "rooms"}),
            ("notice history done", {"do": "history"}),
            ("message history done", {"do": "history", "count": 1, "of": "lobby"}),
            ("(dm) dm dm history done", {"do": "history", "of": "@bob"}),
            ("left talking done", {"do": "leave"}),
            ("done", {"do": "read"}),
            ("done", {"do": "read", "of": "@bob", "seq": 3}),
            ("done", {"do": "since", "places": {"tea": 0}}),
            ("dm history done", {"do": "since", "places": {"@bob": 2}}),
            ("history dm dm history done", {"do": "since", "places": {"lobby": 99, "@bob": 1}}),
            ("help done", {"do": "help"}),
            ("help done", {"do": "help", "command": "bc"}),
            ("message done", {"do": "type", "line": "hi"}),
            ("rooms done", {"do": "type", "line": "/rooms"}),
            ("dm done", {"do": "type", "line": "/dm bob psst"}),
            ("notice done", {"do": "passwd", "old": PASSWORD, "new": f"{PASSWORD}2"}),
            ("(hello) done", {"do": "json", "switch": "on"}),
            ("done (bye)", {"do": "quit"}),
        ]
        for answer, fields in steps:
            self.assertEqual(self.kinds(**fields), answer, fields)
        done = {str(fields["do"]) for _, fields in steps}
        self.assertEqual(
            {row.word for row in COMMANDS if row.in_json} - done,
            {"register", "login", "guest", "nick"},
        )

    def test_ways_in(self) -> None:
        """The commands that log in answer with the welcome, and then done."""
        came_in = "welcome history done"
        came_back = "welcome history rooms done"
        for fields, answer in (
            ({"do": "login", "name": "bob", "password": PASSWORD}, came_back),
            ({"do": "guest"}, came_in),
            ({"do": "guest", "name": "zoe"}, came_in),
            ({"do": "register", "name": "carol", "password": PASSWORD}, f"notice {came_back}"),
        ):
            peer = self.peer()
            self.tell(peer, "/json on\n")
            self.assertEqual(self.kinds(peer, **fields), answer, fields)
        guest = self.robot("zed")
        self.assertEqual(self.kinds(guest, do="nick", name="zack"), "(renamed) done")
        login = {"do": "login", "name": "alice", "password": PASSWORD}
        self.assertEqual(self.kinds(guest, **login), "welcome rooms (left) done")

    def test_other_words(self) -> None:
        """Every other word for a command works as C{do}."""
        self.assertEqual(self.kinds(do="who"), "users done")
        self.assertEqual(self.kinds(do="exit"), "done (bye)")

    def test_text_from_now_on(self) -> None:
        """Done is told before the switch to text, which has no words for it."""
        told = self.say(self.alice, encode({"do": "json", "switch": "off", "label": "7"}))
        done, text = told.splitlines()
        self.assertEqual(json.loads(done)["event"], "done")
        self.assertEqual(text, "* text output from now on")

    def test_without_a_label(self) -> None:
        """A request without a label is answered as a line is, without done."""
        steps: list[tuple[Json, list[str]]] = [
            ({"do": "rooms"}, ["rooms"]),
            ({"do": "bc", "message": "x"}, ["message"]),
        ]
        for fields, kinds in steps:
            answer = self.do(**fields)
            self.assertEqual([event["event"] for event in answer], kinds)
            self.assertNotIn("label", answer[0])

    def test_label_of_the_request_before(self) -> None:
        """What a plain line is answered with has no label, also behind a refused request."""
        stranger = self.newcomer()
        self.tell(stranger, "/json on\n")
        self.assertEqual(self.kinds(stranger, do="help", command="nothing"), "error")
        welcome, *others = self.events(stranger, "\n")
        self.assertEqual(welcome["event"], "welcome")
        self.assertEqual([event for event in (welcome, *others) if "label" in event], [])

    def test_receipt(self) -> None:
        """Done of a post tells the message's place, when it is in the log; other readers see no
        label."""
        robot = self.robot("zoe")
        self.store.hold()
        self.assertEqual(self.do(do="say", message="hi", label="7"), [])
        self.store.release()
        message, done = map(json.loads, self.alice.take().splitlines())
        self.assertEqual((message["event"], message["label"]), ("message", "7"))
        place = {"room": "lobby", "seq": 1, "id": message["id"]}
        self.assertEqual(done, {"event": "done", "time": done["time"], "label": "7", **place})
        (heard,) = robot.take_events()
        self.assertNotIn("label", heard)

    def test_receipts_of_private_messages(self) -> None:
        """Done of a private message to a person who is away has an id, and to a guest it has
        none."""
        told, away, done = self.do(do="dm", name="bob", message="psst", label="7")
        self.assertEqual([told["label"], away["label"]], ["7", "7"])
        self.assertEqual((away["event"], away["kept"]), ("away", True))
        self.assertEqual((done["to"], done["id"]), ("bob", told["id"]))
        self.guest("zoe")
        *_, done = self.do(do="dm", name="zoe", message="psst", label="7")
        self.assertEqual((done["to"], done["id"]), ("zoe", None))

    def test_lost(self) -> None:
        """A post that could not be kept is refused, with its label, and may be repeated."""
        self.store.hold()
        self.do(do="say", message="hi", label=LABEL)
        self.store.fail()
        (error,) = self.alice.take_events()
        self.assertEqual(
            (error["event"], error["code"], error["label"]), ("error", "unavailable", LABEL)
        )
        self.store.release()
        self.assertEqual(len(self.do(do="say", message="hi", label=LABEL)), 2)

    def test_repeated(self) -> None:
        """A long label is answered as before and not done again; a short one is only answered."""
        _, first = self.do(do="say", message="hi", label=LABEL)
        self.assertEqual(self.do(do="say", message="hi", label=LABEL), [first])
        self.do(do="say", message="ho", label="7")
        self.do(do="say", message="ho", label="7")
        self.assertEqual([m.text for m in self.messages], ["hi", "ho", "ho"])

    def test_done_comes_last(self) -> None:
        """Done of a request that does not post comes after all that was sent before is answered."""
        self.store.hold()
        self.alice.send(encode({"do": "say", "message": "hi", "label": "1"}))
        self.alice.send(encode({"do": "rooms", "label": "2"}))
        self.settle()
        self.assertEqual(self.alice.take_events(), [])
        self.store.release()
        self.settle()
        labels = [event["label"] for event in self.alice.take_events()]
        self.assertEqual(labels, ["1", "1", "2", "2"])

    def test_others_meanwhile(self) -> None:
        """Events of other people during a request have no label."""
        bob = self.guest("zoe")
        self.store.hold()
        self.assertEqual(self.do(do="history", label="7"), [])
        self.say(bob, "hello\n")
        self.store.release()
        told = {event["event"]: event.get("label") for event in self.alice.take_events()}
        self.assertEqual(told, {"notice": "7", "history": "7", "message": None, "done": "7"})

    def test_typed(self) -> None:
        """C{type} does what typing the line would: speech goes to the current room, without quotes;
        a missing password is refused."""
        self.do(do="join", room="tea")
        message, _ = self.do(do="type", line='"/quit"', label="7")
        self.assertEqual((message["room"], message["text"]), ("tea", "/quit"))
        message, _ = self.do(do="type", line='{"do":"quit"}', label="7")
        self.assertEqual(message["text"], '{"do":"quit"}')

    def test_empty_room(self) -> None:
        """A C{room} that is empty is not the current one, but refused."""
        self.do(do="join", room="tea")
        for (error,) in (
            self.do(do="say", room="", message="secret"),
            self.do(do="me", room="", action="waves"),
            self.do(do="topic", room="", text="secret"),
            self.do(do="history", of=""),
        ):
            self.assertEqual((error["event"], error.get("code")), ("error", "bad-arguments"))
        self.assertEqual(self.messages, [])

    def test_said_literally(self) -> None:
        """Every character of a C{message} is said as it is."""
        for text in ("/quit", "//x", '"x"', "PM", "{}", "!who", "exit"):
            (message,) = self.do(do="say", message=text)
            self.assertEqual(message["text"], text)

    def test_a_line_of_text(self) -> None:
        """Lines of text mean the same in JSON mode as in text mode."""
        (message,) = self.events(self.alice, "hello\n")
        self.assertEqual(message["text"], "hello")
        self.assertEqual(self.events(self.alice, "/rooms\n")[0]["event"], "rooms")

    def test_answer_to_a_question(self) -> None:
        """An open question takes a line with a brace as its answer."""
        (question,) = self.events(self.alice, "PM\n")
        self.assertEqual(question["event"], "notice")
        (message,) = self.events(self.alice, '{"do":"quit"}\n')
        self.assertEqual(message["text"], '{"do":"quit"}')

    def test_behind_a_word_joiner(self) -> None:
        """In JSON mode a line with a brace behind a word joiner is said."""
        (message,) = self.events(self.alice, '\u2060{"do":"quit"}\n')
        self.assertEqual(message["text"], '{"do":"quit"}')

    def test_in_text_mode(self) -> None:
        """In text mode a line with a brace is said."""
        zoe = self.guest("zoe")
        self.assertEqual(self.say(zoe, '{"do":"quit"}\n'), "")
        self.assertEqual(self.messages[-1].text, '{"do":"quit"}')


class RefusalTests(RequestTestCase):
    """The refusals of requests."""

    def check(self, code: Code, peer: Peer | None = None, **fields: Any) -> Json:
        """Check that a request is refused with this code, and with nothing else."""
        (error,) = self.do(peer, **fields, label="7")
        self.assertEqual((error["event"], error.get("label")), ("error", "7"), error)
        self.assertEqual((error["code"], error["command"]), (code, fields["do"]), error)
        self.codes.add(code)
        return error

    def setUp(self) -> None:
        super().setUp()
        self.codes: set[str] = set()

    def test_every_code(self) -> None:
        """A refusal has a sentence, the code, the command and its fields."""
        stranger, guest = self.newcomer(), self.robot("zoe")
        self.tell(stranger, "/json on\n")
        check = self.check
        check("unknown-command", do="frob")
        check("bad-arguments", do="join")
        check("bad-arguments", do="join", room=7)
        check("bad-arguments", do="join", room="tea", rom="x")
        check("bad-arguments", do="say", message="")
        check("bad-arguments", do="type", line="/login bob")
        check("bad-arguments", do="type", line="PM")
        check("bad-arguments", do="history", count=0)
        for fields in ({"do": "rooms"}, {"do": "say", "message": "x"}, {"do": "type", "line": "x"}):
            check("not-logged-in", stranger, **fields)
        check("already-logged-in", do="login", name="bob", password=PASSWORD)
        check("already-logged-in", guest, do="guest")
        check("bad-name", do="join", room="a b")
        check("bad-name", do="since", places={"a b": 1})
        check("bad-name", guest, do="nick", name="root")
        check("name-taken", stranger, do="guest", name="zoe")
        check("name-registered", stranger, do="register", name="bob", password=PASSWORD)
        check("wrong-password", stranger, do="login", name="bob", password="wrong")
        check("bad-password", stranger, do="register", name="carol", password="x")
        error = check("no-such-person", do="dm", name="bbo", message="x")
        self.assertEqual(error["name"], "bbo")
        error = check("no-such-room", do="say", room="loby", message="x")
        self.assertEqual((error["name"], error["nearest"]), ("loby", "lobby"))
        self.say(guest, encode({"do": "join", "room": "tea"}))
        error = check("not-in-room", do="say", room="tea", message="x")
        self.assertEqual(error["room"], "tea")
        error = check("too-long", do="say", message="x" * 4097)
        self.assertEqual(error["limit"], 4096)
        for text in ("a\nb", "a\x1b[A", "\x7f", "\x08"):
            check("bad-encoding", do="say", message=text)
        check("forbidden", do="leave", room="lobby")
        check("forbidden", do="nick", name="carol")
        check("forbidden", guest, do="passwd", old="x", new="y")
        far = self.newcomer(IPv4Address("TCP", "203.0.113.1", 1234))
        self.tell(far, "/json on\n/guest far\n")
        for room in range(20):
            self.do(far, do="join", room=f"r{room}")
        check("throttled", far, do="join", room="other")
        self.assertEqual(self.codes, set(get_args(Code)) - _ELSEWHERE)

    def test_full(self) -> None:
        """A join beyond the limit of rooms is refused with C{full}."""
        self.serve(Limits(line_rate=0, max_joined=1))
        robot = self.robot("zoe")
        self.assertEqual(self.check("full", robot, do="join", room="tea")["limit"], 1)

    def test_busy(self) -> None:
        """A login is refused with C{busy} if too many passwords wait."""
        stranger = self.newcomer()
        self.tell(stranger, "/json on\n")
        self.hasher.refusal = Refusal("busy", "later")
        self.check("busy", stranger, do="login", name="bob", password=PASSWORD)

    def test_unavailable(self) -> None:
        """While the store cannot be asked, a login is refused with C{unavailable}, and a plain line
        behind it is not taken for a name."""
        stranger = self.newcomer()
        self.tell(stranger, "/json on\n")

        def find_password(name: str) -> "Deferred[None]":
            return fail(Refusal("unavailable", "later"))

        self.patch(self.store, "find_password", find_password)
        self.check("unavailable", stranger, do="login", name="bob", password=PASSWORD)
        (error,) = self.events(stranger, "hello\n")
        self.assertEqual(error["code"], "not-logged-in")

    def test_internal(self) -> None:
        """A defect is logged and answered with C{internal} and the label, and the session goes
        on."""
        self.hasher.refusal = ZeroDivisionError()
        stranger = self.newcomer()
        self.tell(stranger, "/json on\n")
        self.check("internal", stranger, do="login", name="bob", password=PASSWORD)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_closed_server(self) -> None:
        """Where nobody may register or be a guest, both are refused with C{forbidden}."""
        self.patch(self.face, "settings", _CLOSED)
        stranger = self.newcomer()
        self.tell(stranger, "/json on\n")
        self.check("forbidden", stranger, do="guest")
        self.check("forbidden", stranger, do="register", name="carol", password=PASSWORD)

    def test_failed_login(self) -> None:
        """A plain line behind a failed login is not taken for a name."""
        stranger = self.newcomer()
        login = encode({"do": "login", "name": "bob", "password": "wrong"})
        told = self.say(stranger, b"/json on\n" + login + b"hello\n")
        codes = [json.loads(line).get("code") for line in told.splitlines() if line[:1] == "{"]
        self.assertEqual(codes, [None, "wrong-password", "not-logged-in"])

    def test_alias(self) -> None:
        """The command of an error is the main word, whichever was used."""
        requests: list[Json] = [{"do": "msg"}, {"do": "msg", "name": "nobody", "message": "x"}]
        for fields in requests:
            (error,) = self.do(**fields)
            self.assertEqual(error["command"], "dm")


class ByteTests(RequestTestCase):
    """What the bytes of a line mean, and what is no request."""

    def refused(self, line: str | bytes) -> str:
        """The code that a line is refused with."""
        *_, error = self.events(self.alice, line)
        self.assertEqual(error["event"], "error")
        self.assertEqual(self.messages, [])
        return str(error["code"])

    def test_no_request(self) -> None:
        """A line that begins like a request and is none is refused, and never said."""
        for line in (
            '{"do":"say","message":"s3cret-pw"\n',
            '{"do":"login","name":"bob","password":"s3cret-pw"} x\n',
            "{login bob s3cret-pw}\n",
            "  {\n",
            '\u3000{"do":"login","name":"bob","password":"s3cret-pw"}\n',
            '\u200b{"do":"quit"}\n',
            '\x1b[A{"do":"quit"}\n',
            'x\x7f{"do":"quit"}\n',
            "\ufeff{}\n",
            '{"do":"say","message":"a\tb"}\n',
            '{"do":"say","message":"a\x08\x08\x08b"}\n',
            '{"do":"say","message":"a\x15/quit"}\n',
            '{"do":"say","message":"\x1b[A"}\n',
        ):
            self.assertEqual(self.refused(line), "bad-arguments", line)
        self.assertEqual(self.refused(b'{"do":"say","message":"\xe9"}\n'), "bad-encoding")

    def test_not_edited(self) -> None:
        """A request is taken as it came: nothing is erased, and no escape sequence removed."""
        self.assertEqual(self.refused('{"do":"frob"}\x15{"do":"quit"}\n'), "bad-arguments")
        self.assertEqual(self.refused('{"do":"say","message":"x\x7f"}\n'), "bad-encoding")
        self.assertEqual(self.refused(b'{"do":"say","message":"\xff\xf8"}\n'), "bad-arguments")

    def test_long(self) -> None:
        """A request may be longer than a line, up to its own limit."""
        long = encode({"do": "say", "message": "", "x": "y" * MAX_REQUEST})
        self.assertEqual(self.refused(long), "too-long")
        self.assertEqual(self.refused("x" * 4097 + "\n"), "too-long")
        text = "\u00e9" * 4096
        (message,) = self.do(do="say", message=text)
        self.assertEqual(message["text"], text)
        escaped = json.dumps({"do": "say", "message": "\u00e9" * 2500}).encode() + b"\n"
        self.assertEqual(self.events(self.alice, escaped)[0]["text"], "\u00e9" * 2500)

    def test_in_pieces(self) -> None:
        """A request may be cut anywhere, and end in LF or CR LF."""
        for end in (b"\n", b"\r\n"):
            request = encode({"do": "say", "message": "h\u00e9"}).removesuffix(b"\n") + end
            told = self.say(self.alice, request, 1)
            self.assertEqual(json.loads(told)["text"], "h\u00e9")

    @fuzzed
    @given(st.binary(max_size=60), st.sampled_from([b"{", b'{"do":', b'{"do":"dm",', b' {"']))
    def test_garbage(self, data: bytes, start: bytes) -> None:
        """Garbage ends no session and is never said; the next request is answered."""
        garbage = start + data.translate(None, b"\r\n\xff") + b"\n"
        self.tell(self.alice, garbage)
        self.assertEqual(self.messages, [])
        self.assertEqual(self.private, [])
        self.assertIn("done", self.kinds(do="rooms"))

    @fuzzed
    @given(
        st.sampled_from([row.word for row in COMMANDS if row.word not in ("quit", "json")]),
        st.dictionaries(
            st.sampled_from(sorted({p.name for row in COMMANDS for p in row.parameters})),
            st.sampled_from(
                ["tea", "@bob", "bob", "", "/join x", "PM", "\x00", 1, -1, True, None, {}, {"a": 1}]
            ),
            max_size=3,
        ),
    )
    def test_any_request_is_answered_once(self, word: str, fields: Json) -> None:
        """Any request is answered with exactly one done or error, which comes last."""
        told = self.do(**{**fields, "do": word, "label": LABEL[:7]})
        ends = [event for event in told if event["event"] in ("done", "error")]
        self.assertEqual(ends, told[-1:], (word, fields, told))
        self.assertEqual(ends[0]["label"], LABEL[:7])


class PaceTests(RequestTestCase):
    """The pace of requests."""

    limits = Limits(line_burst=20, line_rate=5)

    def test_fast(self) -> None:
        """After the burst requests wait, and a notice says so once, if one of them says
        something."""
        many = b"".join(encode({"do": "say", "message": str(n)}) for n in range(30))
        told = self.events(self.alice, many)
        notices = [event["text"] for event in told if event["event"] == "notice"]
        self.assertEqual(
            notices, ["you're sending fast: the server takes 5 lines a second now; nothing is lost"]
        )
        self.assertLess(len(told), 30)

    def test_coming_back_is_free(self) -> None:
        """Resuming an account's rooms, or joining the rooms that a guest resumes, does not use up
        the burst."""
        rooms = [f"r{number}" for number in range(15)]
        for room in rooms:
            self.do(do="join", room=room)
            self.clock.advance(60)
        self.settle()
        resume: Json = {"do": "since", "places": dict.fromkeys(rooms, 0)}
        talk: list[Json] = [{"do": "say", "message": str(number)} for number in range(17)]
        joins: list[Json] = [{"do": "join", "room": room} for room in rooms]
        for asked in (
            [resume, {"do": "login", "name": "alice", "password": PASSWORD}, *talk],
            [resume, {"do": "guest"}, *joins, *talk],
        ):
            again = self.newcomer()
            told = self.say(again, b"/json on\n" + b"".join(map(encode, asked)))
            events = [json.loads(line) for line in told.splitlines() if line[:1] == "{"]
            kinds = [event["event"] for event in events]
            live = [event for event in events if event.get("replay") is False]
            self.assertEqual(len([event for event in live if event["event"] == "message"]), 17)
            self.assertNotIn("notice", kinds)
            ends = [event["room"] for event in events if event["event"] == "history"]
            self.assertEqual(sorted(ends), sorted(["lobby", *rooms]))

    def test_names_that_nobody_has(self) -> None:
        """A request with a name that nobody has counts as more than a line."""
        many = encode({"do": "dm", "name": "nobody", "message": "x"}) * 9
        told = [event["event"] for event in self.events(self.alice, many)]
        self.assertEqual(told, [*["error"] * 6, "notice"])
