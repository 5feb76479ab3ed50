"""Shows where the server's time goes while it writes to many readers.

    python -m benchmarks.hotspots [--readers 1000] [--lone]

Runs the daemon under twistd's own C{--profile} and prints the functions that took the most time.
Compare figures under a profiler only with each other.
"""

import argparse
import pstats
import resource
import signal
from collections.abc import Sequence

from tests.daemon import twistd

from .load import Crowd
from .servers import TwistedChat

_FILE = "chat.profile"


class Profiled(TwistedChat):
    """This server under a profiler."""

    def command(self) -> Sequence[str]:
        program, *options = twistd("--port", f"tcp:{self.port}:interface=127.0.0.1:backlog=4096")
        return [program, f"--profile={_FILE}", "--savestats", "--profiler=cprofile", *options]


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--readers", type=int, default=1000)
    parser.add_argument("--lone", action="store_true", help="one message at a time")
    chosen = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    server = Profiled()
    try:
        server.start()
        crowd = Crowd(server)
        crowd.grow(chosen.readers + 1)
        if chosen.lone:
            crowd.one_at_a_time(500, chosen.readers)
        else:
            crowd.pipelined(10, 2000)
        crowd.close()
        server.end(signal.SIGTERM)
        stats = pstats.Stats(str(server.directory / _FILE))
        stats.strip_dirs().sort_stats("tottime").print_stats(16)
    finally:
        server.stop()


if __name__ == "__main__":
    main()
