"""A client's session, played line by line: login, resume, labels, receipts and answers."""

from collections.abc import Sequence
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from twisted_chat.client import entries, login, requests
from twisted_chat.client.identity import Identity
from twisted_chat.client.lines import Refused
from twisted_chat.client.state import Drop

from .peer import BOT, Bare


class LoginTests(SynchronousTestCase):
    """Logging in."""

    def test_comes_in(self) -> None:
        """The session waits for hello, logs in, joins the rooms, and is in once all of that is
        answered."""
        server = Bare(BOT, "dev")
        self.assertEqual(server.written(), [b"/json on"])
        server.hello()
        login = {"do": "login", "name": "bot", "password": "s3cret-pw"}
        self.assertEqual(server.read(), [login])
        server.welcome()
        server.history()
        server.done("login")
        self.assertEqual(server.read(), [{"do": "join", "room": "dev"}])
        self.assertFalse(server.session.is_in)
        server.joined("dev")
        self.assertTrue(server.session.is_in)
        self.assertEqual(server.of("connected")[0]["server"], "test")

    def test_other_protocol(self) -> None:
        """A server of another protocol is told apart, and no password is sent to it."""
        for protocol, way in ((1, "upgrade the server"), (3, "upgrade the client")):
            server = Bare()
            server.hello(protocol=protocol)
            assert server.drop is not None
            self.assertIn(f"this server speaks protocol {protocol}", server.drop.reason)
            self.assertIn(way, server.drop.reason)
            self.assertTrue(server.drop.is_hopeless)
            self.assertEqual(server.written(), [b"/json on"])

    def test_passwords_are_sent_as_they_are(self) -> None:
        """Whatever is in a password, it is one value, and it is in nothing that is logged."""
        password = ' two "words", --keep \\'
        server = Bare(Identity("bot", password))
        server.hello()
        self.assertEqual(server.read()[0]["password"], password)
        server.session.connected()
        server.session.received(b'{"event":"hello","protocol":2,"server":"test"}')
        asked = server.session.ask("register", name="bot", password="s3cret-pw")
        self.assertNotIn("s3cret", repr(asked))
        self.assertNotIn("words", repr(server.session.take()))

    def test_refused(self) -> None:
        """A wrong password ends the client; a refusal that may be over in a moment does not."""
        for code, is_hopeless in (("wrong-password", True), ("throttled", False), ("busy", False)):
            server = Bare()
            server.hello()
            server.refuse("login", code, "wrong \x1b[1mname")
            assert server.drop is not None
            self.assertEqual(server.drop, Drop("wrong [1mname", code, is_hopeless))

    def test_registers_once(self) -> None:
        """If the name is registered already, the session logs in."""
        server = Bare(Identity("bot", "s3cret-pw", register=True))
        server.hello()
        self.assertEqual([each["do"] for each in server.read()], ["register"])
        server.refuse("register", "name-registered")
        self.assertEqual([each["do"] for each in server.read()], ["login"])
        self.assertIsNone(server.drop)

    def test_guest_waits_for_its_name(self) -> None:
        """A guest who comes back asks for its name again and again, and in the end for any."""
        server = Bare(Identity("bot"))
        server.let_in(account=False)
        for _ in range(login._NAME_TRIES):
            server.lose()
            server.connect()
            server.hello()
            self.assertEqual(server.read()[-1], {"do": "guest", "name": "bot"})
            server.refuse("guest", "name-taken")
            assert server.drop is not None
            self.assertFalse(server.drop.is_hopeless)
        server.lose()
        server.connect()
        server.hello()
        server.refuse("guest", "name-taken")
        self.assertEqual(server.read(), [{"do": "guest"}])
        server.welcome("guest3", account=False)
        server.done("guest")
        self.assertEqual(server.session.name, "guest3")
        self.assertNotIn("quiet", server.of("welcome")[-1])

    def test_room_that_is_full(self) -> None:
        """A room that refuses the client is told, and forgotten."""
        server = Bare(BOT, "dev")
        server.hello()
        server.welcome()
        server.done("login")
        server.refuse("join", "full")
        self.assertTrue(server.session.is_in)
        self.assertEqual([event["code"] for event in server.of("error")], ["full"])
        self.assertEqual((server.session.room, server.session.rooms), ("lobby", ("lobby",)))

    def test_skipped_while_coming_in(self) -> None:
        """A login of which a part was skipped is made again."""
        server = Bare()
        server.hello()
        server.tell("skipped", lines=3)
        self.assertIsNotNone(server.drop)

    def test_login_in_the_session(self) -> None:
        """A guest who logs in comes back as the account, and a new password is used from then
        on."""
        server = Bare(Identity("bot"))
        server.let_in(account=False)
        server.session.ask("login", name="Alice", password="s3cret-pw")
        server.tell("welcome", name="alice", account=True, room="lobby")
        server.done("login")
        server.session.ask("passwd", old="s3cret-pw", new="n3w-s3cret")
        server.done("passwd")
        server.lose()
        server.connect()
        server.hello()
        login = {"do": "login", "name": "alice", "password": "n3w-s3cret"}
        self.assertEqual(server.read()[-1], login)

    def test_keepalive(self) -> None:
        """The server says how often it shows that it is there; nonsense counts as never."""
        for said, taken in ((60, 60), (None, 0), (0, 0), (10**9, 0)):
            server = Bare()
            server.hello(keepalive=said)
            self.assertEqual(server.session.keepalive, taken)


class AnswerTests(SynchronousTestCase):
    """Every request gets its own answer."""

    def setUp(self) -> None:
        self.server = Bare()
        self.server.let_in()
        self.server.read()

    def test_receipt(self) -> None:
        """A post is answered with the message that it has become, once it is in the log."""
        asked = self.server.say("/quit")
        self.assertEqual(self.server.read(), [{"do": "say", "room": "lobby", "message": "/quit"}])
        self.assertGreaterEqual(len(asked.label), 16)
        self.server.message(1, "/quit", label=asked.label)
        self.assertIsNone(self.server.answer(asked))
        self.server.done("say", room="lobby", seq=1, id=1)
        self.assertEqual(self.server.receipt(asked)["seq"], 1)

    def test_receipt_without_message(self) -> None:
        """The receipt is whole, though the message itself was skipped."""
        said, did = self.server.say("hi"), self.server.session.ask("me", room="dev", action="x")
        told = self.server.session.ask("dm", name="bob", message="psst")
        self.server.done("say", room="lobby", seq=4, id=9)
        self.server.done("me", room="dev", seq=2, id=10)
        self.server.done("dm", to="bob", id=None)
        for asked, expected in (
            (said, {"event": "message", "room": "lobby", "seq": 4, "text": "hi", "action": False}),
            (did, {"event": "message", "room": "dev", "seq": 2, "text": "x", "action": True}),
            (told, {"event": "dm", "to": "bob", "id": None, "text": "psst"}),
        ):
            receipt = self.server.receipt(asked)
            self.assertEqual({**receipt, **expected, "from": "bot"}, receipt)

    def test_same_text(self) -> None:
        """Posts of the same text have receipts of their own, in whichever order they arrive."""
        one, two = self.server.say("x"), self.server.say("x")
        self.server.done("say", -1, room="lobby", seq=2, id=2)
        self.assertIsNone(self.server.answer(one))
        self.assertEqual(self.server.receipt(two)["seq"], 2)
        self.server.done("say", -2, room="lobby", seq=1, id=1)
        self.assertEqual(self.server.receipt(one)["seq"], 1)

    def test_refusal_among_others(self) -> None:
        """A refusal goes to the request that it is about."""
        asked = [self.server.say(text) for text in "abc"]
        self.server.read()
        self.server.refuse("say", "too-long", index=-2)
        self.assertEqual(self.server.code(asked[1]), "too-long")
        self.assertIsNone(self.server.answer(asked[0]))
        self.assertEqual(self.server.of("error"), [])

    def test_hello_means_nothing(self) -> None:
        """Another hello answers nothing."""
        users = self.server.session.ask("users", room="lobby")
        self.server.hello()
        self.server.hello()
        self.assertIsNone(self.server.answer(users))

    def test_quiet(self) -> None:
        """Answers to what nobody has typed are marked, and no others; nor can a server mark."""
        self.server.session.ask("users", quiet=True, room="lobby")
        self.server.tell("users", room="lobby", users=[], label=self.server.label("users"))
        self.server.tell("users", room="lobby", users=[], quiet=True)
        self.assertEqual([each.get("quiet") for each in self.server.of("users")], [True, None])

    def test_unknown_labels(self) -> None:
        """An answer to nothing is passed over."""
        self.server.tell("done", label="nobody-has-asked-that")
        self.server.tell("error", label="nor-that", code="full", text="x", command="")
        self.assertEqual([each["code"] for each in self.server.of("error")], ["full"])

    def test_window(self) -> None:
        """Only so many posts are without an answer at a time; everything keeps its order."""
        self.patch(requests, "_WINDOW", 2)
        for text in "abc":
            self.server.say(text)
        self.server.session.ask("rooms")
        self.assertEqual([each["message"] for each in self.server.read()], ["a", "b"])
        self.server.done("say", -2, room="lobby", seq=1, id=1)
        self.assertEqual([each["do"] for each in self.server.read()], ["say", "rooms"])

    def test_room_that_is_not_named(self) -> None:
        """What names no room is about the session's own, which the server's may not be."""
        self.server.session.room = "dev"
        self.server.session.ask("say", message="x")
        self.server.session.ask("history")
        self.server.session.ask("leave")
        self.assertEqual(
            self.server.read(),
            [
                {"do": "say", "room": "dev", "message": "x"},
                {"do": "history", "of": "dev"},
                {"do": "leave", "room": "dev"},
            ],
        )
        self.server.done("leave")
        self.assertEqual(self.server.session.room, "lobby")

    def test_other_words(self) -> None:
        """Another word of a command is as good as its main one; what is none is refused at once."""
        self.server.session.ask("part", room="dev")
        self.assertEqual(self.server.read(), [{"do": "leave", "room": "dev"}])
        with self.assertRaises(Refused) as refused:
            self.server.session.ask("frob")
        self.assertEqual(refused.exception.code, "unknown-command")
        self.server.say("a")
        self.assertEqual([each["do"] for each in self.server.read()], ["say"])

    def test_too_long(self) -> None:
        """A request that no server would take is refused at once."""
        with self.assertRaises(Refused):
            self.server.session.ask("topic", room="dev", text="x" * 17_000)
        self.assertEqual(self.server.read(), [])


class ResumeTests(SynchronousTestCase):
    """After a connection was lost, nothing is lost, and nothing is done twice."""

    def setUp(self) -> None:
        self.server = Bare()
        self.server.let_in()
        self.server.read()

    def back(
        self, *replay: tuple[int, str], after: int = 0, rooms: Sequence[str] = (), **fields: Any
    ) -> None:
        """Lose the connection, and come back; this is in the lobby's replay, and these are the
        other rooms."""
        self.server.lose()
        self.server.connect()
        self.server.hello(session="another")
        self.server.welcome()
        for seq, text in replay:
            self.server.message(seq, text, replay=True, **{"from_": "eve", **fields})
        seq = replay[-1][0] if replay else 0
        self.server.history(count=len(replay), after=after, seq=seq)
        nothing = (0, 0, 0)
        self.server.rooms(lobby=nothing, **dict.fromkeys(rooms, nothing))
        self.server.done("login")

    def test_goes_on_where_it_was(self) -> None:
        """After a reconnect the session asks for what came after what it has told, and takes its
        old session over."""
        self.server.message(1, "a", from_="eve", id=7)
        self.server.dm(4, "b", from_="eve", id=8)
        self.server.lose()
        self.server.connect()
        self.server.hello()
        since, login = self.server.read()
        places = {"lobby": 1, "@eve": 4}
        self.assertEqual(since, {"do": "since", "places": places, "session": "token"})
        self.assertEqual(login["do"], "login")

    def test_lost_while_coming_back(self) -> None:
        """The session that is taken over is the last one that was in."""
        self.server.lose()
        self.server.connect()
        self.server.hello(session="half")
        self.server.lose()
        self.server.connect()
        self.server.hello(session="whole")
        self.assertEqual(self.server.read()[0]["session"], "token")

    def test_posts_are_repeated(self) -> None:
        """What has no answer is repeated with its label, in its order, ahead of what is new."""
        first, second = self.server.say("a"), self.server.say("b")
        labels = [first.label, second.label]
        self.back()
        self.server.say("c")
        repeated = [each["message"] for each in self.server.read() if each["do"] == "say"]
        self.assertEqual(repeated, ["a", "b", "c"])
        self.assertEqual(self.server.labels["say"][-3:-1], labels)
        self.server.done("say", -3, room="lobby", seq=4, id=4)
        self.assertEqual(self.server.receipt(first)["seq"], 4)

    def test_repeated_first(self) -> None:
        """What is repeated goes ahead of what was never sent: everything keeps its order."""
        self.patch(requests, "_WINDOW", 2)
        for text in "abc":
            self.server.say(text)
        self.server.read()
        self.back()
        self.assertEqual([each.get("message") for each in self.server.read()][-2:], ["a", "b"])
        self.server.done("say", -2, room="lobby", seq=1, id=1)
        self.assertEqual([each["message"] for each in self.server.read()], ["c"])

    def test_found_in_the_replay(self) -> None:
        """What the replay shows to be in the log is not repeated."""
        said = self.server.say("a")
        self.back((1, "a"), from_="bot", label=said.label)
        self.assertEqual(self.server.receipt(said)["seq"], 1)
        self.assertNotIn("say", [each["do"] for each in self.server.read()])

    def test_somebody_elses_label(self) -> None:
        """Nobody else's message is a receipt, whatever its label."""
        said = self.server.say("a")
        self.back((1, "a"), from_="eve", label=said.label)
        self.assertIsNone(self.server.answer(said))

    def test_too_late_to_repeat(self) -> None:
        """A post that the server may have forgotten is not repeated; that is said."""
        said = self.server.say("a")
        self.server.read()
        self.server.now += 500
        late = self.server.say("b")
        self.back()
        self.assertEqual(self.server.code(said), "lost")
        self.assertIsNone(self.server.answer(late))

    def test_under_another_name(self) -> None:
        """A post is not repeated under another name, under which the server does not know it."""
        server = Bare(Identity("bot"))
        server.let_in(account=False)
        said = server.say("a")
        server.read()
        server.lose()
        server.connect()
        server.hello()
        server.welcome("guest3", account=False)
        server.done("guest")
        self.assertEqual(server.code(said), "lost")

    def test_name_that_is_not_known(self) -> None:
        """Nothing is said while it is not known under which name: if the answer is lost, it could
        not be told whether the server knows the post, and it might be said twice."""
        server = Bare(Identity("bot"))
        server.let_in(account=False)
        renaming = server.session.ask("nick", name="bob")
        server.session.ask("rooms")
        said = server.say("a")
        self.assertEqual([each["do"] for each in server.read()][-2:], ["nick", "rooms"])
        server.done("nick")
        self.assertEqual([each["do"] for each in server.read()], ["say"])
        self.assertEqual((said.by, server.receipt(renaming)["event"]), ("bob", "done"))

    def test_password_that_is_not_known(self) -> None:
        """If it is not known whether a password was changed, or a name registered, the new one is
        tried once the old way in is refused."""
        change = self.server.session.ask("passwd", old="s3cret-pw", new="n3w-secret")
        self.server.read()
        self.server.lose()
        self.assertEqual(self.server.code(change), "lost")
        self.server.connect()
        self.server.hello()
        self.server.refuse("login", "busy")
        self.server.lose()
        self.server.connect()
        self.server.hello()
        self.server.refuse("login", "wrong-password")
        self.assertIsNone(self.server.drop)
        again = {"do": "login", "name": "bot", "password": "n3w-secret"}
        self.assertEqual(self.server.read(), [again])
        self.server.refuse("login", "wrong-password")
        assert self.server.drop is not None
        self.assertTrue(self.server.drop.is_hopeless)

        server = Bare(Identity("zoe"))
        server.let_in("zoe", account=False)
        server.session.ask("register", name="zoe", password="s3cret-pw")
        server.read()
        server.lose()
        server.connect()
        server.hello()
        server.refuse("guest", "name-registered")
        again = {"do": "login", "name": "zoe", "password": "s3cret-pw"}
        self.assertEqual(server.read(), [again])

    def test_password_that_was_not_changed(self) -> None:
        """The new password is forgotten once the old one is right."""
        self.server.session.ask("passwd", old="s3cret-pw", new="n3w-secret")
        self.server.read()
        self.back()
        self.server.lose()
        self.server.connect()
        self.server.hello()
        self.server.refuse("login", "wrong-password")
        assert self.server.drop is not None
        self.assertTrue(self.server.drop.is_hopeless)

    def test_commands(self) -> None:
        """After a reconnect a query is repeated; of a command that changes something the caller is
        told that its result is not known."""
        asked = self.server.session.ask("users", room="lobby")
        see = self.server.session.ask("topic", room="lobby")
        change = self.server.session.ask("topic", room="lobby", text="x")
        self.server.read()
        self.server.lose()
        self.assertEqual(self.server.code(change), "lost")
        self.back()
        self.assertEqual([each["do"] for each in self.server.read()][-2:], ["users", "topic"])
        self.server.done("users")
        self.server.done("topic")
        self.assertIsInstance(self.server.answer(asked), dict)
        self.assertIsInstance(self.server.answer(see), dict)

    def test_asked_while_away(self) -> None:
        """What was not sent yet is sent once the session is in, in its order."""
        self.server.lose()
        self.server.say("a")
        self.server.session.ask("topic", room="lobby", text="x")
        self.assertEqual(self.server.read(), [])
        self.back()
        self.assertEqual([each["do"] for each in self.server.read()][-2:], ["say", "topic"])

    def test_quiet_when_back(self) -> None:
        """What is told on coming in is told quietly on coming back, but for the messages."""
        self.server.tell("joined", name="bot", account=True, room="dev")
        self.back((1, "new"), rooms=["dev"])
        self.assertTrue(self.server.of("welcome")[-1]["quiet"])
        self.assertTrue(self.server.of("history")[-1]["quiet"])
        self.assertNotIn("quiet", self.server.of("message")[-1])
        self.assertEqual(self.server.of("message")[-1]["new"], True)
        self.assertNotIn("join", self.server.labels)

    def test_gap(self) -> None:
        """Entries that the server shows no more are told to be missing; entries of a kind that the
        server does not know are not."""
        self.server.message(1, "a", from_="eve")
        self.back((902, "y"), after=899)
        (gap,) = self.server.of("gap")
        self.assertEqual((gap["first"], gap["last"]), (2, 899))
        self.assertEqual(self.server.texts(), ["a", "y"])

    def test_log_that_began_again(self) -> None:
        """A server with a new database is listened to all the same."""
        self.server.message(1, "a", from_="eve")
        self.server.message(2, "b", from_="eve")
        self.back()
        self.server.message(1, "new", from_="eve")
        self.server.message(2, "er", from_="eve")
        self.assertEqual(self.server.texts(), ["a", "b", "new", "er"])

    def test_many_rooms(self) -> None:
        """Places are asked for in as many requests as it takes; the first takes over."""
        server = Bare(BOT, *(f"room{n}" for n in range(25)))
        server.hello()
        server.welcome()
        server.history()
        server.done("login")
        server.read()
        for n, label in enumerate(server.labels["join"]):
            server.tell("history", room=f"room{n}", count=0, label=label)
            server.tell("done", label=label)
        self.assertTrue(server.session.is_in)
        server.lose()
        server.connect()
        server.hello()
        first, second, _ = server.read()
        self.assertEqual([len(each["places"]) for each in (first, second)], [20, 6])
        self.assertEqual(["session" in each for each in (first, second)], [True, False])


class PausedTests(SynchronousTestCase):
    """While the server cannot store messages, what was said is kept, and sent when it can."""

    def setUp(self) -> None:
        self.server = Bare()
        self.server.let_in()
        self.server.read()

    def said(self) -> list[Any]:
        """What was sent, as short as can be: texts, and the names of other commands."""
        return [each.get("message", each["do"]) for each in self.server.read()]

    def refuse(self, *indexes: int) -> None:
        """Refuse some of the posts that were sent, by their index among all; by default the
        last."""
        for index in indexes or (-1,):
            self.server.refuse("say", "unavailable", "the database is away", index)

    def resume(self) -> None:
        self.server.session.resume()

    def test_kept(self) -> None:
        """A post that is refused for now has no answer yet: it is sent again, with its label, after
        1, 2, 4 … 30 seconds."""
        said = self.server.say("a")
        label = self.server.label("say")
        for _ in range(7):
            self.refuse()
            self.assertIsNone(self.server.answer(said))
            self.assertEqual(self.said(), [])
            self.resume()
            self.assertEqual(self.said(), ["a"])
        self.assertEqual(self.server.waits, [1, 2, 4, 8, 16, 30, 30])
        self.assertEqual(set(self.server.labels["say"]), {label})
        self.server.done("say", room="lobby", seq=1, id=1)
        self.assertEqual(self.server.receipt(said)["seq"], 1)

    def test_told_once(self) -> None:
        """The person is told once, and again when it happens again later."""
        for _ in range(2):
            self.server.say("a")
            self.server.say("b")
            self.server.read()
            self.refuse(-2, -1)
            self.resume()
            self.server.read()
            self.refuse()
            self.resume()
            self.server.read()
            self.server.done("say", room="lobby", seq=1, id=1)
            self.server.read()
            self.server.done("say", room="lobby", seq=2, id=2)
        text = "the server can't store messages right now; yours are kept, and sent when it can"
        self.assertEqual(self.server.of("paused"), 2 * [{"event": "paused", "text": text}])

    def test_order(self) -> None:
        """One post shows whether the server takes posts again. The others follow in the order in
        which they were made, and after them what was asked for meanwhile."""
        for text in "abc":
            self.server.say(text)
        self.server.read()
        self.refuse(0, 1, 2)
        self.server.say("d")
        self.server.session.ask("leave", room="dev")
        self.resume()
        self.assertEqual(self.said(), ["a"])
        self.server.say("e")
        self.assertEqual(self.said(), [])
        self.server.done("say", room="lobby", seq=1, id=1)
        self.assertEqual(self.said(), ["b", "c", "d", "leave", "e"])

    def test_refused_among_others(self) -> None:
        """Posts that were on their way together keep their order, whichever answers come first."""
        for text in "abcd":
            self.server.say(text)
        self.server.read()
        self.refuse(0, 2)
        self.resume()
        self.assertEqual(self.said(), [])
        self.refuse(1, 3)
        self.resume()
        self.assertEqual(self.said(), ["a"])
        self.server.done("say", room="lobby", seq=1, id=1)
        self.assertEqual(self.said(), ["b", "c", "d"])

    def test_taken_again(self) -> None:
        """When the server takes another post meanwhile, nothing waits any longer."""
        self.server.say("a")
        self.server.say("b")
        self.server.read()
        self.refuse(-2)
        self.server.done("say", room="lobby", seq=1, id=1)
        self.assertEqual(self.said(), ["a"])

    def test_refused_for_good(self) -> None:
        """A post that is refused for another reason in the end is answered with that, and the
        others are sent."""
        said = self.server.say("a")
        for text in "bc":
            self.server.say(text)
        self.server.read()
        self.refuse(0, 1, 2)
        self.resume()
        self.server.read()
        self.server.refuse("say", "not-in-room")
        self.assertEqual(self.server.code(said), "not-in-room")
        self.assertEqual(self.said(), ["b", "c"])

    def test_questions(self) -> None:
        """What only asks does not wait for posts that are kept."""
        self.server.say("a")
        self.server.read()
        self.refuse()
        self.server.say("b")
        self.server.session.ask("users")
        self.assertEqual(self.said(), ["users"])

    def test_commands_are_refused(self) -> None:
        """Other commands are refused, and nobody is told that they are kept."""
        asked = self.server.session.ask("topic", room="lobby", text="x")
        self.server.refuse("topic", "unavailable")
        self.assertEqual(self.server.code(asked), "unavailable")
        self.assertEqual(self.server.of("paused"), [])

    def test_connection_is_lost(self) -> None:
        """On a new connection everything goes on in its order, what had no answer as well; the
        first post shows whether the server takes posts again."""
        for text in "abcd":
            self.server.say(text)
        self.server.read()
        self.refuse(2)
        self.server.lose()
        self.server.connect()
        self.server.let_in()
        self.assertEqual(self.said()[-1], "a")
        self.resume()
        self.assertEqual(self.said(), [])
        self.server.done("say", room="lobby", seq=1, id=1)
        self.assertEqual(self.said(), ["b", "c", "d"])

    def test_for_as_long_as_it_takes(self) -> None:
        """A post that the server has refused for now is never too old to be sent again, nor is it
        lost with its author's name: the server does not have it."""
        server = self.server = Bare(Identity("bot"))
        server.let_in(account=False)
        said = server.say("a")
        server.read()
        self.refuse()
        server.now += 5000
        server.lose()
        server.connect()
        server.hello()
        server.welcome("guest3", account=False)
        server.done("guest")
        self.assertEqual(self.said()[-1], "a")
        server.done("say", room="lobby", seq=1, id=1)
        self.assertEqual(server.receipt(said)["from"], "guest3")

    def test_too_late_to_repeat(self) -> None:
        """A post that had no answer before it was refused for now may be in the log, so it is given
        up when the server may have forgotten it."""
        said = self.server.say("a")
        self.server.lose()
        self.server.connect()
        self.server.let_in()
        self.server.read()
        self.refuse()
        self.server.now += 500
        self.resume()
        self.assertEqual(self.server.code(said), "lost")

    def test_coming_in(self) -> None:
        """If the server cannot let us in, or into a room, for now, the client comes back later for
        all of it."""
        self.server = Bare(BOT, "dev")
        self.server.hello()
        self.server.refuse("login", "unavailable")
        self.assertEqual(self.server.drop, Drop("no", "unavailable"))
        self.server.lose()
        self.server.connect()
        self.server.hello()
        self.server.welcome()
        self.server.done("login")
        self.server.refuse("join", "unavailable")
        self.assertEqual(self.server.drop, Drop("no", "unavailable"))
        self.assertIn("dev", self.server.session.rooms)


class SkippedTests(SynchronousTestCase):
    """The server has dropped some events."""

    def setUp(self) -> None:
        self.server = Bare()
        self.server.let_in()
        self.server.message(1, "a", from_="eve", id=1)
        self.server.read()

    def test_asks_again(self) -> None:
        """What was skipped is asked for; what comes live meanwhile comes with it."""
        self.server.tell("skipped", lines=3)
        self.server.message(5, "e", from_="eve", id=5)
        since = {"do": "since", "places": {"lobby": 1}}
        self.assertEqual(self.server.read(), [since, {"do": "where"}])
        for seq, text in ((2, "b"), (3, "c"), (5, "e")):
            self.server.message(seq, text, replay=True, from_="eve")
        self.server.history(count=3, of="since", after=1, seq=5)
        self.server.done("since")
        self.server.message(6, "f", from_="eve")
        self.assertEqual(self.server.texts(), ["a", "b", "c", "e", "f"])

    def test_answers_that_were_skipped(self) -> None:
        """When what was sent later is done, earlier posts are repeated with their labels, earlier
        questions are asked again, and of the rest it is said that nobody knows."""
        said = self.server.say("mine")
        change = self.server.session.ask("nick", name="rob")
        users = self.server.session.ask("users", room="lobby")
        label = said.label
        self.server.read()
        self.server.tell("skipped", lines=3)
        self.assertIsNone(self.server.answer(change))
        self.server.done("since")
        self.assertEqual(self.server.code(change), "lost")
        self.assertEqual([each["do"] for each in self.server.read()], ["say", "users"])
        self.assertEqual(self.server.label("say"), label)
        self.server.done("say", room="lobby", seq=2, id=2)
        self.server.done("users")
        self.assertEqual(self.server.receipt(said)["seq"], 2)
        self.assertIsInstance(self.server.answer(users), dict)

    def test_posts_overtake(self) -> None:
        """That a post is done says nothing of what was sent before it."""
        one, two = self.server.say("one"), self.server.say("two")
        self.server.read()
        self.server.done("say", -1, room="lobby", seq=3, id=3)
        self.assertIsNone(self.server.answer(one))
        self.assertEqual(self.server.read(), [])
        self.assertIsInstance(self.server.answer(two), dict)

    def test_join_that_was_skipped(self) -> None:
        """A room whose replay was skipped is asked for it; nothing that is said there is missed,
        and what is said elsewhere does not wait."""
        joining = self.server.session.ask("join", room="dev")
        self.server.read()
        self.server.tell("skipped", lines=9)
        said = self.server.say("in the lobby")
        asked = [each["do"] for each in self.server.read()]
        self.assertEqual(asked, ["since", "where", "say"])
        self.server.done("since")
        self.assertEqual([each["do"] for each in self.server.read()], ["join"])
        self.server.done("say", room="lobby", seq=2, id=2)
        self.server.done("join")
        self.assertIsInstance(self.server.answer(joining), dict)
        self.assertEqual(self.server.read(), [{"do": "history", "of": "dev"}])
        self.server.message(1, "x", replay=True, room="dev", from_="eve", id=20)
        self.server.history("dev", 1, of="history")
        self.server.done("history")
        self.assertEqual(self.server.read(), [{"do": "since", "places": {"dev": 1}}])
        self.server.message(2, "y", room="dev", from_="eve", id=21)
        self.server.message(2, "y", replay=True, room="dev", from_="eve", id=21)
        self.server.history("dev", 1, of="since", after=1, seq=2)
        self.assertEqual(self.server.texts(), ["a", "x", "y"])
        self.assertIsInstance(self.server.receipt(said), dict)

    def test_own_comings_and_goings(self) -> None:
        """The session knows its rooms and its name although the events that told of them were
        skipped."""
        for do, name, value in (
            ("join", "room", "dev"),
            ("join", "room", "ops"),
            ("leave", "room", "dev"),
            ("nick", "name", "Rob"),
        ):
            self.server.session.ask(do, **{name: value})  # type: ignore[arg-type]
            self.server.done(do)
        self.assertEqual(self.server.session.rooms, ("lobby", "ops"))
        self.assertEqual(self.server.session.name, "rob")

    def test_left_already(self) -> None:
        """A room that we turn out not to be in is forgotten."""
        self.server.tell("joined", name="bot", account=True, room="dev")
        leaving = self.server.session.ask("leave", room="dev")
        self.server.refuse("leave", "not-in-room")
        self.assertEqual(self.server.code(leaving), "not-in-room")
        self.assertEqual(self.server.session.rooms, ("lobby",))

    def test_what_another_session_did(self) -> None:
        """Rooms that another session has joined or left meanwhile are joined or left, and told."""
        self.server.tell("joined", name="bot", account=True, room="dev")
        self.server.tell("skipped", lines=9)
        rows = [self.server.row("lobby", 1, 1, 0), self.server.row("ops", 8, 6, 1)]
        self.server.tell("where", room="lobby", rooms=rows, label=self.server.label("where"))
        self.assertEqual(self.server.session.rooms, ("lobby", "ops"))
        self.assertEqual([each["room"] for each in self.server.of("joined")], ["dev", "ops"])
        self.assertEqual([each["room"] for each in self.server.of("left")], ["dev"])
        self.assertEqual(self.server.of("where"), [])
        self.assertEqual(self.server.read(), [{"do": "since", "places": {"ops": 6}}])

    def test_skipped_again(self) -> None:
        """What is asked for may be skipped too, and is asked for again."""
        self.server.tell("skipped", lines=3)
        self.server.message(2, "b", replay=True, from_="eve")
        self.server.tell("skipped", lines=3)
        self.server.message(2, "b", replay=True, from_="eve")
        self.server.message(3, "c", replay=True, from_="eve")
        self.server.history(count=2, of="since")
        self.server.done("since")
        self.assertEqual(self.server.texts(), ["a", "b", "c"])

    def test_part_of_a_replay(self) -> None:
        """A replay that is not whole is not taken."""
        self.server.tell("skipped", lines=3)
        self.server.message(3, "c", replay=True, from_="eve")
        self.server.history(count=2, of="since")
        self.assertEqual(self.server.texts(), ["a"])
        self.assertEqual(self.server.of("gap"), [])

    def test_gap_without_a_word(self) -> None:
        """A message that does not follow the last one is asked for with those before it, once."""
        for seq in (3, 4):
            self.server.message(seq, "x", from_="eve")
        self.assertEqual([each["do"] for each in self.server.read()], ["since"])

    def test_room_that_was_left_meanwhile(self) -> None:
        """A room of which the messages are refused, as we are not in it any more, is forgotten."""
        self.server.session.ask("join", room="dev")
        self.server.done("join")
        self.server.refuse("history", "not-in-room")
        self.assertEqual((self.server.session.rooms, self.server.drop), (("lobby",), None))

    def test_refused(self) -> None:
        """If what was skipped is refused, the client comes back for it."""
        self.server.tell("skipped", lines=3)
        self.server.refuse("since", "unavailable")
        self.assertEqual(self.server.drop, Drop("no", "unavailable"))


class RoomsTests(SynchronousTestCase):
    """An account is in its rooms, with all of its sessions."""

    def setUp(self) -> None:
        self.server = Bare()

    def log_in(self, **rooms: tuple[int, int, int]) -> None:
        """Log in; these are the rooms besides the lobby, as L{Bare.back} takes them."""
        self.server.connect()
        self.server.hello()
        self.server.read()
        self.server.welcome()
        self.server.history(after=None, seq=0)
        self.server.rooms(lobby=(0, 0, 0), **rooms)
        self.server.done("login")

    def sinces(self) -> list[Any]:
        """What was asked for after the login."""
        return [each["places"] for each in self.server.read() if each["do"] == "since"]

    def test_back(self) -> None:
        """The session is back in the rooms of its account, and asks for what is new in each. That
        was said before, so it is not told as new; what comes then is."""
        self.log_in(dev=(14, 12, 2), ops=(3, 3, 0))
        self.assertEqual(self.server.session.rooms, ("lobby", "dev", "ops"))
        self.assertEqual(self.server.read(), [{"do": "since", "places": {"dev": 12}}])
        self.server.message(15, "live", room="dev")
        self.server.message(4, "there", room="ops")
        for seq, text in ((13, "a"), (14, "b"), (15, "live")):
            self.server.message(seq, text, room="dev", replay=True, from_="eve")
        self.server.history("dev", 3, of="since", after=12, seq=15)
        self.server.done("since")
        self.assertEqual(self.server.texts(), ["there", "a", "b", "live"])
        told = [event["new"] for event in self.server.of("message")]
        self.assertEqual(told, [True, False, False, True])

    def test_more_than_is_shown(self) -> None:
        """If more is new than the server shows, the session tells what is missing."""
        self.log_in(dev=(2000, 5, 1000))
        self.server.message(2000, "x", room="dev", replay=True)
        self.server.history("dev", 1, of="since", after=1999, seq=2000)
        (gap,) = self.server.of("gap")
        self.assertEqual((gap["room"], gap["first"], gap["last"]), ("dev", 6, 1999))

    def test_left_elsewhere(self) -> None:
        """A room that another session has left is left, now or while there was no connection, and
        is not joined again."""
        self.log_in(dev=(0, 0, 0), ops=(0, 0, 0))
        self.server.session.room = "dev"
        self.server.tell("left", name="bot", room="dev")
        self.assertEqual((self.server.session.room, len(self.server.of("left"))), ("lobby", 1))
        self.server.lose()
        self.log_in()
        self.assertEqual(self.server.session.rooms, ("lobby",))
        self.assertEqual([event["room"] for event in self.server.of("left")], ["dev", "ops"])
        self.assertEqual(self.server.read(), [])

    def test_joined_elsewhere(self) -> None:
        """A room that another session has joined is joined, now or while there was no
        connection."""
        self.log_in()
        self.server.tell("joined", name="bot", account=True, room="dev")
        self.server.members(2, "bot", room="dev")
        self.server.message(3, "hi", room="dev")
        self.assertEqual(self.server.texts(), ["hi"])
        self.server.lose()
        self.log_in(dev=(3, 3, 0), ops=(1, 1, 0))
        self.assertEqual(self.server.session.rooms, ("lobby", "dev", "ops"))

    def test_joined_elsewhere_during_the_login(self) -> None:
        """What is said in a room that another session has joined after the login's list of rooms
        was made is told, though the login is not done yet."""
        self.server.connect()
        self.server.hello()
        self.server.read()
        self.server.welcome()
        self.server.history(after=None, seq=0)
        self.server.rooms(lobby=(0, 0, 0))
        self.server.tell("joined", name="bot", account=True, room="dev")
        self.server.members(1, "bot", room="dev")
        self.server.message(2, "hi", room="dev")
        self.server.done("login")
        self.assertEqual(self.server.texts(), ["hi"])
        self.assertEqual([event["seq"] for event in self.server.of("members")], [1])

    def test_asked_for(self) -> None:
        """A room that was asked for is joined, once, which shows what is new there."""
        self.server = Bare(BOT, "dev")
        self.log_in(dev=(14, 12, 2))
        self.assertEqual(self.server.read(), [{"do": "join", "room": "dev"}])
        self.server.message(13, "a", room="dev", replay=True)
        self.server.message(14, "b", room="dev", replay=True)
        self.server.history("dev", 2, of="join", seq=14)
        self.server.done("join")
        self.server.message(15, "c", room="dev")
        self.assertEqual(self.server.texts(), ["a", "b", "c"])
        self.server.lose()
        self.log_in()
        self.assertEqual((self.server.read(), self.server.session.rooms), ([], ("lobby",)))

    def test_guest(self) -> None:
        """A guest goes back into its rooms by itself."""
        self.server = Bare(Identity("bot"), "dev")
        self.server.let_in(account=False)
        self.server.joined("dev")
        self.server.lose()
        self.server.connect()
        self.server.let_in(account=False)
        self.assertEqual(self.server.read()[-1], {"do": "join", "room": "dev"})

    def test_only(self) -> None:
        """A session for some rooms passes over the other rooms of its account, and all that happens
        there."""
        self.server = Bare(BOT, "dev", only=True)
        self.log_in(dev=(3, 3, 0), ops=(9, 2, 7))
        self.assertEqual(self.server.read(), [{"do": "join", "room": "dev"}])
        self.server.history("dev", of="join", seq=3)
        self.server.done("join")
        (rooms,) = self.server.of("rooms")
        self.assertEqual([row["room"] for row in rooms["rooms"]], ["lobby", "dev"])
        told = len(self.server.events)
        self.server.message(10, "x", room="ops")
        self.server.topic(11, "x", room="ops")
        self.server.members(12, "eve", room="ops")
        self.server.tell("joined", name="bot", account=True, room="tea")
        self.server.tell("joined", name="eve", account=True, room="ops")
        self.server.tell("left", name="bot", room="ops")
        self.server.tell("read", room="ops", seq=3)
        self.assertEqual(self.server.events[told:], [])
        self.assertEqual((self.server.read(), self.server.session.rooms), ([], ("lobby", "dev")))

    def test_shown_when_joined(self) -> None:
        """A room without news is shown when somebody joins it, as if they had asked to see it."""
        self.log_in(dev=(2, 2, 0))
        self.assertFalse(self.server.session.knows("dev"))
        self.server.session.ask("join", room="dev")
        self.server.message(3, "live", room="dev")
        for seq, text in ((2, "old"), (3, "live")):
            self.server.message(seq, text, room="dev", replay=True)
        self.server.history("dev", 2, of="join", seq=3)
        self.server.done("join")
        self.server.message(4, "next", room="dev")
        self.assertEqual(self.server.texts(), ["live", "old", "live", "next"])
        told = [event["new"] for event in self.server.of("message")]
        self.assertEqual(told, [True, False, False, True])
        self.assertNotIn("quiet", self.server.of("history")[-1])
        self.assertTrue(self.server.session.knows("dev"))

    def test_rooms_that_cannot_be(self) -> None:
        """A row that lacks something, or has an impossible name, is passed over."""
        self.server.hello()
        self.server.welcome()
        row = {"room": "dev", "members": 1, "topic": ""}
        for rows in ([row], [{**row, "seq": 3}], [{**row, "room": "No Room", "seq": 3, "read": 3}]):
            self.server.tell("rooms", joined=True, rooms=rows, label=self.server.label("login"))
        self.server.done("login")
        self.assertEqual(self.server.session.rooms, ("lobby",))

    def test_all_rooms(self) -> None:
        """The list of all rooms changes nothing."""
        self.log_in(dev=(0, 0, 0))
        self.server.session.ask("rooms")
        self.server.tell("rooms", rooms=[], label=self.server.label("rooms"))
        self.assertEqual(self.server.session.rooms, ("lobby", "dev"))

    def test_guest_who_logs_in(self) -> None:
        """A guest who logs in is in the rooms of the account too."""
        self.server = Bare(Identity("zoe"))
        self.server.let_in("zoe", account=False)
        self.server.session.ask("login", name="bot", password="s3cret-pw")
        self.server.tell("renamed", name="zoe", to="bot", account=True)
        self.server.welcome()
        self.server.rooms(lobby=(0, 0, 0), dev=(4, 2, 2))
        self.assertEqual(self.sinces(), [{"dev": 2}])
        self.server.done("login")
        self.assertEqual(self.server.session.rooms, ("lobby", "dev"))

    def test_to(self) -> None:
        """A room that the server lets us talk in is one that we are in."""
        self.server = Bare(BOT, only=True)
        self.log_in(dev=(4, 2, 2))
        self.server.session.ask("to", room="dev")
        self.server.done("to")
        self.assertEqual(self.server.read()[-1], {"do": "history", "of": "dev"})

    def test_where(self) -> None:
        """What is typed goes to the session's own room, whatever the server takes it for."""
        self.server = Bare(BOT, "dev")
        self.log_in()
        self.server.joined("dev")
        self.server.session.ask("where")
        self.server.tell("where", room="lobby", rooms=[], label=self.server.label("where"))
        self.assertEqual(self.server.of("where")[0]["room"], "dev")

    def test_not_shown_after_all(self) -> None:
        """If a place that was asked for is not shown, what is said there is not waited for."""
        self.log_in(dev=(4, 2, 2))
        self.server.done("since")
        self.server.message(5, "x", room="dev")
        self.assertEqual(self.sinces(), [{"dev": 2}])
        self.server.lose()


class MarkTests(SynchronousTestCase):
    """What a person has read."""

    def setUp(self) -> None:
        self.server = Bare(marks=True)
        self.server.hello()

    def come_in(self) -> None:
        self.server.welcome()
        self.server.history(seq=5)
        self.server.rooms(lobby=(5, 2, 3))
        self.server.done("login")
        self.server.done("read")
        self.server.read()

    def test_begins_before_anything_is_shown(self) -> None:
        """That the session marks by itself is said right behind the login, so that nothing counts
        as read that the login shows."""
        asked = self.server.read()
        self.assertEqual([each["do"] for each in asked], ["login", "read"])
        self.assertEqual(asked[-1], {"do": "read", "of": "lobby", "seq": 0})
        self.server.refuse("login", "busy")
        self.server.refuse("read", "not-logged-in")
        self.assertEqual(self.server.of("error"), [])

    def test_login_in_the_session(self) -> None:
        """The same holds for a guest who logs in."""
        server = Bare(Identity("bot"), marks=True)
        server.let_in(account=False)
        server.read()
        server.session.ask("login", name="bot", password="s3cret-pw")
        self.assertEqual([each["do"] for each in server.read()], ["login", "read"])
        server.session.mark("lobby", 9)
        self.assertEqual(server.read(), [])

    def test_moves_on(self) -> None:
        """A mark is sent once, and never for less than what is read already, here or elsewhere."""
        self.come_in()
        for seq in (2, 4, 4, 3):
            self.server.session.mark("lobby", seq)
        self.assertEqual(self.server.read(), [{"do": "read", "of": "lobby", "seq": 4}])
        self.server.tell("read", room="lobby", seq=5)
        self.server.session.mark("lobby", 5)
        self.assertEqual(self.server.read(), [])
        self.assertEqual([each["seq"] for each in self.server.of("read")], [5])

    def test_sent_again(self) -> None:
        """A mark of which it is not known whether it arrived is sent again when it is given
        again."""
        self.come_in()
        self.server.session.mark("lobby", 4)
        self.server.lose()
        self.server.session.mark("lobby", 5)
        self.server.connect()
        self.server.hello()
        self.server.read()
        self.come_in()
        self.server.session.mark("lobby", 4)
        self.assertEqual(self.server.read(), [{"do": "read", "of": "lobby", "seq": 4}])

    def test_refused(self) -> None:
        """A refused mark changes nothing."""
        self.come_in()
        self.server.session.mark("@zoe", 3)
        self.server.refuse("read", "no-such-person")
        self.assertEqual((self.server.of("error"), self.server.drop), ([], None))

    def test_typed(self) -> None:
        """What somebody says they have read is told like what they have read elsewhere."""
        self.come_in()
        for given, place, seq in (("lobby", "lobby", 5), ("@Bob", "@bob", 0)):
            self.server.session.ask("read", of=given)
            self.server.done("read")
            told = self.server.of("read")[-1]
            self.assertEqual((told["room"], told["seq"]), (place, seq))


class MessageTests(SynchronousTestCase):
    """Each message is told once, live or replayed."""

    def setUp(self) -> None:
        self.server = Bare()
        self.server.let_in()
        self.server.read()

    def places(self) -> dict[str, int]:
        """From where the session would go on."""
        self.server.lose()
        self.server.connect()
        self.server.hello()
        asked = [each["places"] for each in self.server.read() if each["do"] == "since"]
        return {place: seq for places in asked for place, seq in places.items()}

    def seqs(self, kind: str = "dm") -> list[int]:
        """The places of what was told."""
        return [event["seq"] for event in self.server.of(kind)]

    def test_private(self) -> None:
        """Private messages are counted in each conversation, whoever speaks; those with guests are
        not."""
        self.server.dm(11, "b")
        self.server.dm(12, "c", from_="bot", to="bob")
        self.server.dm(3, "d", from_="carol")
        self.server.dm(None, "e", from_="guest1")
        self.assertEqual(self.places(), {"lobby": 0, "@bob": 12, "@carol": 3})
        self.assertEqual(len(self.server.of("dm")), 4)

    def test_many_conversations(self) -> None:
        """Those conversations are gone on with in which something was said last."""
        for number in range(30):
            self.server.dm(1, "x", from_=f"p{number}")
        self.server.dm(2, "x", from_="p0")
        given = {f"@p{number}": 1 for number in range(11, 30)}
        self.assertEqual(self.places(), {"lobby": 0, **given, "@p0": 2})

    def test_private_that_was_skipped(self) -> None:
        """While a conversation is asked for, live messages come with what is asked for."""
        self.server.dm(10, "a")
        self.server.tell("skipped", lines=1)
        self.server.dm(12, "live")
        self.assertEqual(self.server.read()[0]["places"], {"@bob": 10, "lobby": 0})
        self.server.dm(11, "missed", replay=True)
        self.server.dm(12, "live", replay=True)
        self.server.history("@bob", 2, of="since", after=10, seq=12)
        self.assertEqual(self.seqs(), [10, 11, 12])
        self.server.done("since")
        self.assertEqual(self.places(), {"lobby": 0, "@bob": 12})

    def test_stranger_that_was_skipped(self) -> None:
        """After something was skipped, the unread messages of conversations that are not known come
        with what is asked for, and each is told once."""
        self.server.tell("skipped", lines=1)
        self.server.dm(2, "live", from_="carol")
        self.assertEqual(self.seqs(), [])
        for seq, text in ((1, "missed"), (2, "live")):
            self.server.dm(seq, text, replay=True, from_="carol")
        self.server.history("@", 2, of="since")
        self.server.done("since")
        self.server.dm(3, "next", from_="carol")
        self.assertEqual(self.seqs(), [1, 2, 3])

    def test_stranger_who_was_not_skipped(self) -> None:
        """What a stranger writes after something else was skipped is told, though it does not come
        with what is asked for; also if the connection is lost first."""
        self.server.tell("skipped", lines=1)
        self.server.dm(1, "live", from_="carol")
        self.server.dm(2, "next", from_="carol")
        self.server.done("since")
        self.assertEqual(self.seqs(), [1, 2])
        self.server.tell("skipped", lines=1)
        self.server.dm(7, "live", from_="dave")
        self.assertEqual(self.places(), {"lobby": 0, "@carol": 2, "@dave": 6})

    def test_stranger_of_whom_more_is_skipped(self) -> None:
        """What a stranger writes next may be skipped too, before it is known where to go on in the
        conversation: it is asked for then."""
        self.server.tell("skipped", lines=1)
        self.server.dm(1, "live", from_="carol")
        self.server.tell("skipped", lines=1)
        self.server.read()
        self.server.done("since")
        self.assertEqual(self.seqs(), [1])
        self.assertEqual(self.server.read(), [{"do": "since", "places": {"@carol": 1}}])

    def test_conversation_that_jumps(self) -> None:
        """A private message that does not follow the last one of its conversation is asked for with
        those before it."""
        self.server.dm(10, "a")
        self.server.dm(12, "c")
        self.assertEqual(self.server.read(), [{"do": "since", "places": {"@bob": 10}}])

    def test_said_elsewhere(self) -> None:
        """An unread message that does not follow the last one of its conversation is asked for with
        those before it, as some are our own."""
        self.server.dm(10, "a")
        self.server.lose()
        self.server.connect()
        self.server.hello()
        self.server.welcome()
        self.server.dm(12, "c", replay=True)
        self.server.history("@", 1)
        self.server.done("login")
        self.assertEqual(self.server.read()[-1]["places"], {"@bob": 10, "lobby": 0})
        self.assertEqual(self.seqs(), [10])

    def test_unread(self) -> None:
        """Unread private messages are news; if some were omitted they are asked for."""
        server = Bare()
        server.hello()
        server.welcome()
        server.history()
        server.dm(4, "unread", replay=True)
        server.history("@", 1)
        server.tell("omitted", label=server.label("login"))
        server.done("login")
        self.assertEqual([event["new"] for event in server.of("dm")], [True])
        self.assertEqual(server.read()[-1], {"do": "since", "places": {"@bob": 4}})
        self.assertEqual(len(server.of("omitted")), 1)

    def test_other_entries(self) -> None:
        """Whatever is in the log counts, and is told once: topics and members too."""
        self.server.message(1, "a")
        self.server.topic(2, "lunch")
        self.server.members(4, "eve", "mallory")
        self.server.message(5, "b")
        self.assertEqual(self.places(), {"lobby": 5})
        self.server.connect()
        self.server.hello()
        self.server.welcome()
        self.server.members(5, "eve", replay=True)
        self.server.topic(6, "tea", replay=True)
        self.server.message(8, "c", replay=True)
        self.server.history(count=3, after=5, seq=9)
        self.server.done("login")
        self.server.message(10, "d")
        self.assertEqual((self.seqs("topic"), self.seqs("members")), ([2, 6], [4]))
        self.assertEqual(self.server.texts(), ["a", "b", "c", "d"])
        self.assertEqual(self.server.of("gap"), [])

    def test_jumps(self) -> None:
        """Any entry that does not follow the last one is asked for with those before it."""
        for tell in (
            lambda server: server.message(3, "x"),
            lambda server: server.topic(3, "x"),
            lambda server: server.members(4, "eve", "mallory"),
            lambda server: server.tell("read", room="lobby", seq=2),
        ):
            server = Bare()
            server.let_in()
            server.message(1, "a")
            server.read()
            tell(server)
            self.assertEqual(server.read(), [{"do": "since", "places": {"lobby": 1}}])

    def test_labelled_replay(self) -> None:
        """Messages are told, though the request that they answer was quiet."""
        self.server.lose()
        self.server.connect()
        self.server.hello()
        self.server.welcome()
        label = self.server.label("login")
        self.server.message(1, "x", replay=True, from_="eve", label=label)
        self.server.history(count=1)
        self.assertNotIn("quiet", self.server.of("message")[0])

    def test_asked_for(self) -> None:
        """History that somebody asked for is told as it comes, and is no news."""
        for seq in (1, 2):
            self.server.message(seq, "x", from_="eve")
        self.server.session.ask("history", of="lobby", count=1)
        self.server.message(1, "x", replay=True, from_="eve")
        self.server.history(count=1, of="history")
        self.assertEqual([each["seq"] for each in self.server.of("message")], [1, 2, 1])
        self.assertEqual([each["new"] for each in self.server.of("message")], [True, True, False])
        self.assertEqual(self.places()["lobby"], 2)

    def test_room_that_we_join(self) -> None:
        """Its last messages are shown, and are no news; what comes live before them is in them."""
        self.server.session.ask("join", room="dev")
        self.server.tell("joined", name="bot", account=True, room="dev")
        self.server.message(3, "c", room="dev", from_="eve")
        self.server.joined("dev", (2, "b"), (3, "c"))
        self.server.message(4, "d", room="dev", from_="eve")
        self.assertEqual(self.server.texts(), ["b", "c", "d"])
        self.assertEqual([e["new"] for e in self.server.of("message")], [False, False, True])

    def test_elsewhere(self) -> None:
        """A message of a room that we are not in is passed over."""
        self.server.message(9, "x", room="dev")
        self.assertEqual(self.server.texts(), [])

    def test_nonsense(self) -> None:
        """A message that is no part of the replay under way is left out."""
        self.server.tell("skipped", lines=1)
        self.server.dm(3, "psst", replay=True)
        self.server.message(1, "x", room="dev", replay=True)
        self.server.history(count=2, of="since")
        self.assertEqual((self.server.texts(), self.server.of("dm")), ([], []))

    def test_done_that_cannot_be(self) -> None:
        """A server that does what no server would changes nothing, and is heard on."""
        ask = self.server.session.ask
        for asked in (
            ask("join", room="no such name"),
            ask("join"),
            ask("nick", name="no such name"),
            ask("passwd", old="x"),
        ):
            self.server.read()
            self.server.tell("done", label=asked.label)
            self.assertEqual(self.server.receipt(asked)["event"], "done")
        self.assertEqual((self.server.session.name, self.server.session.rooms), ("bot", ("lobby",)))

    def test_names_that_cannot_be(self) -> None:
        """Neither a room with an impossible name nor an endless token is sent back."""
        for room in ("", "@", "x" * 5000):
            self.server.tell("joined", name="bot", account=True, room=room)
        self.server.hello(session="x" * 20_000)
        self.assertEqual(self.server.session.rooms, ("lobby",))
        server = Bare()
        server.let_in(session="x" * 20_000)
        server.lose()
        server.connect()
        server.hello()
        self.assertEqual(server.read()[0]["do"], "since")

    def test_endless(self) -> None:
        """A replay without an end is cut off."""
        self.patch(entries, "_REPLAY", 3)
        for seq in range(4):
            self.server.message(seq, "x", replay=True)
        self.assertIsNotNone(self.server.drop)

    def test_behind(self) -> None:
        """While nobody reads, nothing is told, but every answer arrives; then all is told."""
        said = self.server.say("mine")
        self.server.message(1, "a", from_="eve")
        self.server.session.is_behind = True
        self.server.message(2, "mine", label=said.label)
        self.server.message(3, "c", from_="eve")
        self.server.done("say", room="lobby", seq=2, id=2)
        self.assertEqual(self.server.receipt(said)["seq"], 2)
        self.assertEqual(self.server.texts(), ["a"])
        self.server.session.catch_up()
        self.assertEqual(self.server.read()[-1], {"do": "since", "places": {"lobby": 1}})
        self.assertEqual(self.server.of("skipped")[0]["lines"], 2)

    def test_stranger_while_behind(self) -> None:
        """A conversation that began while nobody reads is asked for later."""
        self.server.session.is_behind = True
        self.server.dm(7, "x")
        self.server.session.catch_up()
        self.assertEqual(self.server.read()[-1]["places"], {"@bob": 6, "lobby": 0})

    def test_reply(self) -> None:
        """The session knows who wrote in private last, by the name that they have now; what we
        said, and what was asked for again, changes nothing."""
        self.server.dm(None, "x", from_="carol")
        self.server.dm(None, "x", from_="bob")
        self.server.dm(None, "x", from_="bot", to="dave")
        self.server.session.ask("history", of="@carol")
        self.server.dm(1, "x", from_="carol", replay=True)
        self.server.history("@carol", 1, of="history")
        self.assertEqual(self.server.session.correspondent, "bob")
        self.server.tell("renamed", name="bob", to="rob", account=False)
        self.assertEqual(self.server.session.correspondent, "rob")
