"""What was sent and has no receipt: which receipt is whose, and what is sent again."""

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from twisted_chat.client import posts
from twisted_chat.client.lines import Event, Refused
from twisted_chat.client.posts import Post, Posts


def _event(text: str, *, by: str = "bot", seq: int = 1) -> Event:
    said = {"room": "dev", "from": by, "text": text, "action": False, "seq": seq}
    return {"event": "message", **said}


class PostTests(SynchronousTestCase):
    """One thing to be said."""

    def test_lines(self) -> None:
        """Where the server has us talk decides how it is said."""
        for post, talking, line in (
            (Post("dev", "hi"), "dev", "hi"),
            (Post("lobby", "hi"), "lobby", "hi"),
            (Post("lobby", "hi"), "dev", "/bc hi"),
            (Post("dev", "waves", action=True), "dev", "/me waves"),
            (Post("@bob", "/hi"), None, "/dm bob \u2060/hi"),
        ):
            self.assertEqual(post.line(talking), line)

    def test_too_long(self) -> None:
        """With all that stands before it."""
        self.assertEqual(len(Post("dev", "x" * 4096).line("dev")), 4096)
        with self.assertRaises(Refused):
            Post("lobby", "x" * 4096).line("dev")

    def test_receipt(self) -> None:
        """Everything has to be the same: who, where, what and how."""
        post = Post("dev", "hi")
        post.by = "bot"
        self.assertTrue(post.is_in(_event("hi")))
        for other in ({"from": "eve"}, {"room": "ops"}, {"text": "ho"}, {"action": True}):
            self.assertFalse(post.is_in({**_event("hi"), **other}), other)
        direct = Post("@bob", "hi")
        direct.by = "bot"
        self.assertTrue(
            direct.is_in({"event": "dm", "from": "bot", "to": "bob", "text": "hi", "id": 1})
        )


class PostsTests(SynchronousTestCase):
    """Many, in order."""

    def setUp(self) -> None:
        self.posts = Posts()

    def send(self, *texts: str) -> "list[Deferred[Event]]":
        added = [Post("dev", text) for text in texts]
        for post in added:
            self.posts.add(post)
            self.posts.send_next("bot")
        return [post.receipt for post in added]

    def unsent(self) -> list[str]:
        texts = []
        while (post := self.posts.next()) is not None:
            texts.append(post.text)
            self.posts.send_next("bot")
        return texts

    def test_same_text(self) -> None:
        """The first receipt is that of the first."""
        first, second = self.send("x", "x")
        self.posts.receipt(_event("x", seq=4))
        self.assertEqual(self.successResultOf(first)["seq"], 4)
        self.assertNoResult(second)

    def test_window(self) -> None:
        """No more than so many are on their way; half of them have arrived before more are."""
        self.send(*"x" * posts._WINDOW)
        self.posts.add(Post("dev", "more"))
        self.assertIsNone(self.posts.next())
        more = [self.posts.receipt(_event("x")) for _ in range(posts._WINDOW // 2)]
        self.assertEqual(more, [False] * (posts._WINDOW // 2 - 1) + [True])
        self.assertEqual(self.unsent(), ["more"])

    def test_settled(self) -> None:
        """Refusals go, in order, to those that have no receipt; without one it is not known."""
        sent = self.send("a", "b", "c", "d")
        self.posts.is_settling = True
        self.posts.add(Post("dev", "late"))
        self.assertIsNone(self.posts.next())
        self.posts.refused(Refused("too-long", "no"))
        self.posts.refused(Refused("throttled", "no"))
        self.posts.receipt(_event("b"))
        self.posts.settle()
        self.successResultOf(sent[1])
        codes = [self.failureResultOf(sent[i], Refused).value.code for i in (0, 2, 3)]
        self.assertEqual(codes, ["too-long", "throttled", "lost"])
        self.assertEqual(self.unsent(), ["late"])

    def test_again(self) -> None:
        """After a reconnect what has no receipt goes first, in its order; what may have been said
        all the same does not."""
        sent = self.send("a", "b", "c")
        late = Post("dev", "d")
        self.posts.add(late)
        self.posts.refused(Refused("too-long", "no"))
        self.posts.is_settling = True
        self.posts.disconnected()
        self.posts.again(lambda post: post.text == "b")
        self.assertEqual(self.failureResultOf(sent[1], Refused).value.code, "lost")
        self.assertEqual(self.unsent(), ["a", "c", "d"])
        self.posts.settle()  # of that refusal nothing is known any more
        for receipt in (sent[0], sent[2], late.receipt):
            self.assertEqual(self.failureResultOf(receipt, Refused).value.code, "lost")

    def test_given_up(self) -> None:
        """All of it fails, sent or not."""
        sent = self.send("a")
        late = Post("dev", "b")
        self.posts.add(late)
        self.posts.give_up(Refused("closed", "no"))
        for receipt in (*sent, late.receipt):
            self.assertEqual(self.failureResultOf(receipt, Refused).value.code, "closed")

    def test_nobody_waits(self) -> None:
        """Who has cancelled the wait for a receipt is not told, and others are."""
        first, second = self.send("x", "x")
        first.addErrback(lambda _: None)
        first.cancel()
        self.posts.receipt(_event("x", seq=1))
        self.posts.receipt(_event("x", seq=2))
        self.assertEqual(self.successResultOf(second)["seq"], 2)
