"""Chat servers as they are usually written in Python, to measure what the obvious loop costs.

python -m benchmarks.naive (twisted | asyncio) PORT
"""

import asyncio
import sys

from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.protocol import Factory, connectionDone
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure


class Talker(LineReceiver):
    """Sends each line to all other clients with C{sendLine}."""

    delimiter = b"\n"
    everybody: "set[Talker]" = set()  # noqa: RUF012

    def connectionMade(self) -> None:
        self.everybody.add(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.everybody.discard(self)

    def lineReceived(self, line: bytes) -> None:
        for other in self.everybody:
            if other is not self:
                other.sendLine(line)


def with_twisted(port: int) -> None:
    """Serve with a L{LineReceiver}."""
    endpoint = TCP4ServerEndpoint(reactor, port, backlog=4096, interface="127.0.0.1")
    endpoint.listen(Factory.forProtocol(Talker))
    reactor.run()


def with_asyncio(port: int) -> None:
    """Serve with asyncio's streams."""
    everybody: set[asyncio.StreamWriter] = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        everybody.add(writer)
        try:
            while line := await reader.readline():
                for other in everybody:
                    if other is not writer:
                        other.write(line)
                await asyncio.gather(*(other.drain() for other in everybody if other is not writer))
        except ConnectionError:
            pass
        finally:
            everybody.discard(writer)
            writer.close()

    async def serve() -> None:
        server = await asyncio.start_server(talk, "127.0.0.1", port, backlog=4096)
        await server.serve_forever()

    asyncio.run(serve())


if __name__ == "__main__":
    {"twisted": with_twisted, "asyncio": with_asyncio}[sys.argv[1]](int(sys.argv[2]))
