"""Connections that are reset just after a login: messages that they did not show stay unread."""

import time

from tests.daemon import Daemon

from .outcome import Outcome
from .peer import Peer
from .people import reset

_LONGEST = 0.02
"""Seconds after which the last connection is reset. The first is reset at once."""


def run(short: bool) -> Outcome:
    """Send a private message to many accounts. Log in to each on a connection that is reset, each
    after another time."""
    outcome = Outcome()
    count = 12 if short else 480
    names = [f"reader{number}" for number in range(count)]
    with Daemon() as daemon:
        with Peer(daemon.port) as writer:
            writer.send("/json on\n/guest writer\n/register writer sesame123\n")
            writer.see(b'"account":true')
            for name in names:
                with Peer(daemon.port) as peer:
                    peer.send(f"/register {name} sesame123\n/quit\n")
                    peer.rest()
                writer.send(f"/dm {name} secret of {name}\n")
                writer.see(b'"event":"away"')
        for number, name in enumerate(names):
            peer = Peer(daemon.port)
            peer.send(f"/login {name} sesame123\n")
            time.sleep(_LONGEST * number / count)
            reset(peer.socket)
        lost = sum(not _is_shown(daemon.port, name) for name in names)
    outcome.figures[f"{count} connections that were reset 0 to 20 ms after /login"] = f"{lost} lost"
    outcome.promise(not lost, f"{lost} private messages of {count} were not shown again")
    return outcome


def _is_shown(port: int, name: str) -> bool:
    """Log in, and return whether the message is shown."""
    with Peer(port) as peer:
        peer.send(f"/login {name} sesame123\n/quit\n")
        return f"secret of {name}\n".encode() in peer.rest()
