"""The client on a terminal."""

import asyncio
import os
from typing import Any

from twisted.internet import asyncioreactor
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from ..connection import Identity, Where
from .conversation import Conversation
from .plain import PlainScreen
from .screen import PromptScreen
from .status import Status


def run(
    where: Where,
    identity: Identity,
    rooms: tuple[str, ...],
    *,
    asks: bool,
    plain: bool,
    bell: bool,
) -> int:
    """Chat until the person leaves.

    Has to be called before anything imports the reactor, which it chooses.

    @param asks: whether a person without a password is asked for one.
    @param plain: write one line per event, and redraw nothing.
    @return: how many lines were not sent.
    @raise GaveUp: if the connection cannot be made, or not be made again.
    """
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    asyncioreactor.install(loop)
    from twisted.internet import reactor as installed  # noqa: PLC0415 - the one of the line above

    reactor: Any = installed
    results: list[int | Failure] = []
    ended: Deferred[None] = Deferred()
    stopping = False

    async def chat() -> int:
        status = Status()
        screen: PlainScreen | PromptScreen
        if plain or os.environ.get("TERM", "dumb") == "dumb":
            screen = PlainScreen(reactor, bell=bell)
        else:
            screen = PromptScreen(status, bell=bell)
        talk = Conversation(where, identity, rooms, screen, status, asks=asks, reactor=reactor)
        reactor.addSystemEventTrigger("before", "shutdown", end, talk)
        try:
            return await talk.run()
        finally:
            await screen.close()

    def end(talk: Conversation) -> "Deferred[None]":
        nonlocal stopping
        stopping = True
        talk.leave()
        return ended

    def over(result: int | Failure) -> None:
        results.append(result)
        ended.callback(None)
        if not stopping:
            reactor.stop()

    reactor.callWhenRunning(lambda: Deferred.fromCoroutine(chat()).addBoth(over))
    reactor.run()
    (result,) = results
    if isinstance(result, Failure):
        result.raiseException()
    return result
