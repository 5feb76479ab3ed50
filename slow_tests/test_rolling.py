"""Two nodes on one PostgreSQL that are restarted in turn, under people who talk and listen."""

import random
import signal
from collections.abc import Sequence
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IHostResolution,
    IResolutionReceiver,
)
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from tests import postgres
from tests.daemon import ForkedDaemon
from twisted_chat.client import connector
from twisted_chat.client.connection import Client, Event, Identity, Where

reactor: Any = _reactor

_RESTARTS = 20
_AT_ONCE = 10
"""Posts that a person has on their way."""

_ADDRESSES = ("127.0.0.2", "127.0.0.3")
_POSTERS = (
    Identity("anna", "s3cret-pw", True),
    Identity("ben", "s3cret-pw", True),
    Identity("gus"),
)
_READERS = (Identity("rita", "s3cret-pw", True), Identity("rob"), Identity())


@implementer(IHostnameResolver, IHostResolution)
class _Resolver:
    """Knows one host, with the addresses of both nodes in any order."""

    name = "chat.example"

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[type[IAddress]] | None = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        resolutionReceiver.resolutionBegan(self)
        for address in random.sample(_ADDRESSES, len(_ADDRESSES)):
            resolutionReceiver.addressResolved(IPv4Address("TCP", address, portNumber))
        resolutionReceiver.resolutionComplete()
        return self

    def cancel(self) -> None:
        pass


class _Talker:
    """Somebody who numbers what they say.

    @ivar receipts: of what they have said.
    @ivar is_done: they say no more.
    """

    def __init__(self, client: Client) -> None:
        self.client = client
        self.receipts: list[Event] = []
        self.is_done = False
        self._round: Deferred[None] = Deferred()

    async def talk(self) -> None:
        """Say some lines, and wait for their receipts, again and again."""
        while not self.is_done:
            begin = len(self.receipts)
            texts = [f"{self.client.name} {begin + n}" for n in range(_AT_ONCE)]
            saying = [Deferred.fromCoroutine(self.client.say(text, "dev")) for text in texts]
            self.receipts += await gatherResults(saying)
            done, self._round = self._round, Deferred()
            done.callback(None)

    async def rounds(self, count: int) -> None:
        """Wait until they have got so many times all receipts that were due."""
        for _ in range(count):
            await self._round


class RollingTest(TestCase):
    timeout = 600
    skip = postgres.missing()

    async def test_nobody_misses_or_doubles_a_line(self) -> None:
        """Everybody hears every line once and in order, and every line has its receipt, while the
        nodes are restarted one after the other."""
        self.patch(connector, "_SPREAD", 1.0)
        before = reactor.installNameResolver(_Resolver())
        self.addCleanup(reactor.installNameResolver, before)
        url = postgres.database(self)
        nodes: list[ForkedDaemon] = []
        for address in _ADDRESSES:
            port = nodes[0].port if nodes else 0
            options = "--database", url, "--line-rate", "0"
            nodes.append(ForkedDaemon(*options, host=address, port=port))
            self.addCleanup(nodes[-1].kill)
            await deferToThread(nodes[-1].start)
        where = Where("chat.example", nodes[0].port)
        talkers = [_Talker(await self.client(where, each)) for each in _POSTERS]
        heard: list[list[Event]] = []
        following: list[Deferred[None]] = []
        for each in _READERS:
            reader = await self.client(where, each)
            heard.append([])
            following.append(Deferred.fromCoroutine(self.follow(reader, heard[-1])))
        for talker in talkers:
            following.append(Deferred.fromCoroutine(self.follow(talker.client, [])))
        talking = [Deferred.fromCoroutine(talker.talk()) for talker in talkers]
        for restart in range(_RESTARTS):
            node = nodes[restart % len(nodes)]
            self.assertEqual(await deferToThread(node.stop), -signal.SIGTERM)
            await deferToThread(node.start)
            for talker in talkers:
                await talker.rounds(3)
        for talker in talkers:
            talker.is_done = True
        await gatherResults(talking)
        await talkers[0].client.say("end", "dev")
        await gatherResults(following)
        for node in nodes:
            self.assertEqual([line for line in node.log if "Traceback" in line], [])
        for events in heard:
            self.check(talkers, events)
        again = [e for events in heard for e in events if e["event"] == "connected" and e["again"]]
        self.assertGreater(len(again), _RESTARTS / 2)

    async def client(self, where: Where, identity: Identity) -> Client:
        client = Client(where, identity, ["dev"])
        await client.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(client.close()))
        return client

    async def follow(self, client: Client, heard: list[Event]) -> None:
        async for event in client:
            heard.append(event)
            if event["event"] == "message" and event["text"] == "end":
                return

    def check(self, talkers: Sequence[_Talker], events: Sequence[Event]) -> None:
        """Check what somebody was told of the room."""
        here = [event for event in events if event.get("room") == "dev"]
        self.assertEqual([event for event in here if event["event"] == "gap"], [])
        seqs = [event["seq"] for event in here if event["event"] in ("message", "members", "topic")]
        self.assertEqual(seqs, list(range(seqs[0], seqs[-1] + 1)))
        told = {event["seq"]: event["text"] for event in here if event["event"] == "message"}
        for talker in talkers:
            name = talker.client.name
            receipts = {receipt["seq"]: receipt["text"] for receipt in talker.receipts}
            said = {seq: text for seq, text in told.items() if text.startswith(f"{name} ")}
            self.assertEqual(said, receipts)
            texts = [f"{name} {number}" for number in range(len(receipts))]
            self.assertEqual([*said.values()], texts)
