"""The other end of a client's connections, played by the test."""

import json
from abc import abstractmethod
from collections.abc import Coroutine, Sequence
from typing import Any

from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from twisted_chat.client.connection import Client, Event, Identity, Where
from twisted_chat.client.lines import Refused
from twisted_chat.client.requests import Asked
from twisted_chat.client.session import ClientSession
from twisted_chat.client.state import Drop

Fields = dict[str, Any]

BOT = Identity("bot", "s3cret-pw")


class Script:
    """A server that says what the test has it say.

    @ivar events: what the client has told.
    @ivar labels: the labels of the requests that were read, by command, the newest last.
    """

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.labels: dict[str, list[str]] = {}

    @abstractmethod
    def written(self) -> Sequence[bytes]:
        """The lines that the client has written since the last time."""

    @abstractmethod
    def deliver(self, line: bytes) -> None:
        """Have the client read a line."""

    def read(self) -> list[Fields]:
        """The requests that the client has written since the last time, without their labels."""
        requests: list[Fields] = []
        for line in self.written():
            if line == b"/json on":
                continue
            fields: Fields = json.loads(line)
            self.labels.setdefault(fields["do"], []).append(fields.pop("label", ""))
            requests.append(fields)
        return requests

    def label(self, do: str, index: int = -1) -> str:
        """The label of a request, by default the last one, for this command."""
        self.read()
        return self.labels[do][index]

    def tell(self, kind: str, **fields: Any) -> None:
        data = {"event": kind, "time": "2026-11-21T09:00:00.000Z", **fields}
        if "from_" in data:
            data["from"] = data.pop("from_")
        self.deliver(json.dumps(data).encode())

    def hello(self, **fields: Any) -> None:
        given = {"protocol": 2, "server": "test", "session": "token", **fields}
        self.tell("hello", **given)

    def welcome(self, name: str = "bot", *, account: bool = True) -> None:
        """Answer the login with who the client is."""
        do = "login" if account else "guest"
        self.tell("welcome", name=name, account=account, room="lobby", label=self.label(do))

    def message(self, seq: int, text: str, *, replay: bool = False, **fields: Any) -> None:
        given = {"room": "lobby", "from_": "bot", "id": seq, "action": False, **fields}
        self.tell("message", seq=seq, text=text, replay=replay, **given)

    def dm(self, seq: int | None, text: str, *, replay: bool = False, **fields: Any) -> None:
        given = {"from_": "bob", "to": "bot", "id": seq, **fields}
        self.tell("dm", seq=seq, text=text, replay=replay, **given)

    def topic(self, seq: int, text: str, *, replay: bool = False, **fields: Any) -> None:
        """Somebody sets the topic."""
        given = {"room": "lobby", "from_": "eve", **fields}
        self.tell("topic", seq=seq, topic=text, replay=replay, **given)

    def members(self, seq: int, *names: str, replay: bool = False, **fields: Any) -> None:
        """Accounts become members."""
        people = [{"name": name, "role": "member"} for name in names]
        given = {"room": "lobby", "count": len(names), "members": people, **fields}
        self.tell("members", seq=seq, replay=replay, **given)

    def history(
        self,
        room: str = "lobby",
        count: int = 0,
        *,
        of: str = "login",
        after: int | None = None,
        seq: int | None = None,
    ) -> None:
        """End a replay, which answers the last request for this command."""
        ends = {"after": after, "seq": seq, "label": self.label(of)}
        self.tell("history", room=room, count=count, **ends)

    def rooms(self, **rooms: tuple[int, int, int]) -> None:
        """Answer a login with the rooms of the account: the C{seq} of each, up to where it is read,
        and how many messages are new."""
        rows = [self.row(room, *counts) for room, counts in rooms.items()]
        self.tell("rooms", joined=True, rooms=rows, label=self.label("login"))

    def row(self, room: str, seq: int, read: int, new: int) -> Fields:
        """Make a row of C{rooms} or C{where}."""
        news = {"seq": seq, "read": read, "new": new, "more": False}
        return {"room": room, "members": 1, "topic": "", **news}

    def done(self, do: str, index: int = -1, **fields: Any) -> None:
        """Say that the last request for this command is done."""
        self.tell("done", label=self.label(do, index), **fields)

    def refuse(self, do: str, code: str, text: str = "no", index: int = -1) -> None:
        """Refuse the last request for this command."""
        self.tell("error", code=code, text=text, command=do, label=self.label(do, index))

    def joined(self, room: str, *replay: tuple[int, str]) -> None:
        """Let the client into a room."""
        self.tell("joined", name="bot", account=True, room=room, label=self.label("join"))
        for seq, text in replay:
            self.message(seq, text, replay=True, room=room, from_="eve", id=100 + seq)
        self.history(room, len(replay), of="join")
        self.done("join")

    def let_in(self, name: str = "bot", *, account: bool = True, **fields: Any) -> None:
        """Answer up to where the client is in; it is in the lobby only."""
        self.hello(**fields)
        self.welcome(name, account=account)
        do = "login" if account else "guest"
        self.history(of=do)
        self.done(do)
        if self.labels.get("read"):
            self.done("read")

    def of(self, kind: str) -> list[Event]:
        return [event for event in self.events if event["event"] == kind]

    def texts(self) -> list[str]:
        return [event["text"] for event in self.of("message")]


class Bare(Script):
    """The same, of a session without connections.

    @ivar now: the time, in seconds.
    @ivar answers: what its requests were answered.
    @ivar waits: the seconds after each of which it wanted to resume.
    @ivar drop: why it wants the connection cut off.
    """

    def __init__(self, identity: Identity = BOT, *rooms: str, **options: bool) -> None:
        super().__init__()
        self.now = 0.0
        prefix = "0123456789abcde-"
        self.session = ClientSession(identity, rooms, prefix, lambda: self.now, **options)
        self._written: list[bytes] = []
        self.answers: dict[Asked, Event | Refused] = {}
        self.waits: list[float] = []
        self.drop: Drop | None = None
        self.connect()

    def connect(self) -> None:
        self.drop = None
        self.session.connected()

    def lose(self) -> None:
        """The connection is lost."""
        self.session.disconnected()
        self._take()
        self._written.clear()

    def written(self) -> Sequence[bytes]:
        self._take()
        written, self._written = self._written, []
        return [line.removesuffix(b"\n") for line in written]

    def deliver(self, line: bytes) -> None:
        self._take()
        self.session.received(line)
        self._take()

    def _take(self) -> None:
        said = self.session.take()
        self._written += said.written
        self.events += said.events
        self.answers.update(said.answers)
        self.waits += [] if said.wait is None else [said.wait]
        self.drop = said.drop or self.drop

    def say(self, text: str, room: str = "lobby") -> Asked:
        return self.session.ask("say", room=room, message=text)

    def answer(self, asked: Asked) -> Event | Refused | None:
        """What a request was answered; nothing yet."""
        self._take()
        return self.answers.get(asked)

    def code(self, asked: Asked) -> str:
        """What a request was refused with."""
        answer = self.answer(asked)
        assert isinstance(answer, Refused), answer
        return answer.code

    def receipt(self, asked: Asked) -> Event:
        """What a request has become."""
        answer = self.answer(asked)
        assert isinstance(answer, dict), answer
        return answer


class Server(Script):
    """The same, of a client with its connections."""

    def __init__(self, test: SynchronousTestCase, identity: Identity = BOT, *rooms: str) -> None:
        super().__init__()
        self._test = test
        self.reactor: Any = MemoryReactorClock()
        self.client = Client(Where(unix="/s"), identity, rooms, reactor=self.reactor)
        self.started = self.run(self.client.start())
        self.ended = self.run(self._iterate())
        self.started.addErrback(lambda _: None)
        self.ended.addErrback(lambda _: None)
        self.take()

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> "Deferred[Any]":
        running: Deferred[Any] = Deferred.fromCoroutine(coroutine)
        # The client ends with the test, and whoever still waits for it is told so.
        self._test.addCleanup(running.addErrback, lambda _: None)
        return running

    async def _iterate(self) -> None:
        async for event in self.client:
            self.events.append(event)

    def take(self) -> None:
        """Accept the connection that the client is making."""
        _, factory, *_ = self.reactor.unixClients.pop()
        self.protocol = factory.buildProtocol(None)
        self.transport = StringTransport(peerAddress=UNIXAddress("/s"))
        self.transport.abortConnection = self.lose  # type: ignore[method-assign]
        self.protocol.makeConnection(self.transport)

    def written(self) -> Sequence[bytes]:
        written: list[bytes] = self.transport.value().splitlines()
        self.transport.clear()
        return written

    def deliver(self, line: bytes) -> None:
        self.protocol.dataReceived(line + b"\n")

    def lose(self) -> None:
        """The connection is lost."""
        self.protocol.connectionLost(Failure(ConnectionLost()))

    def come_back(self) -> None:
        """Have the client connect again."""
        self.reactor.advance(60)
        self.take()

    def say(self, text: str) -> "Deferred[Any]":
        return self.run(self.client.say(text))
