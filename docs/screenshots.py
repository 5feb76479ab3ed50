"""Takes the pictures of the clients in docs/, from the real programs: C{make screenshots}. The
argument, if there is one, is another directory for them.

Needs Xvfb, openbox, xdotool, xclip, xterm and ImageMagick.
"""

import shutil
import sys
from pathlib import Path

from tests.daemon import Daemon
from tests.end_to_end.display import Display, Window
from tests.end_to_end.terminal import Peer, pipe

_HERE = Path(__file__).parent
_CLIENT = str(Path(sys.executable).with_name("twisted-chat"))
_PASSWORD = "s3cret-pw"


def _take(display: Display, path: Path) -> None:
    """Save a picture of the display, without the empty space around the program."""
    picture = f"png8:{path}"
    display.run(
        "import", "-window", "root", "-trim", "+repage", "-strip", "-colors", "128", picture
    )


def _people(port: int) -> list[Peer]:
    """Return the people who talk with the client in the picture."""
    people = []
    for name in ("bob", "carol", "dora"):
        pipe(port, f"/register {name} {_PASSWORD}\n")
        peer = Peer(port)
        peer.send(f"/login {name} {_PASSWORD}\n")
        peer.see("the commands.\n")
        if name != "dora":
            peer.send("/join dev\n")
            peer.see("in #dev:")
        people.append(peer)
    return people


def _talk(bob: Peer, carol: Peer, dora: Peer) -> None:
    bob.send("/bc good morning! the build is green again 🎉\n")
    carol.see("green again")
    dora.send("/me makes tea\n")
    bob.see("makes tea")
    dora.send("alice: can you look at the release notes? 漢字 are in them now\n")
    bob.see("release notes")
    bob.send("/topic release at noon\n")
    carol.see("release at noon")
    carol.send("three tests to go\nand then we ship\n")
    bob.see("we ship")


def _terminal(display: Display, port: int, people: list[Peer], picture: Path) -> None:
    who = ["--guest", "--name", "alice", "localhost", str(port), "--room", "dev"]
    font = ["-fa", "DejaVu Sans Mono", "-fs", "11", "-b", "8", "+sb"]
    colours = ["-bg", "#1d2229", "-fg", "#e4e8ed", "-geometry", "88x18"]
    xterm = display.start("xterm", "-u8", *font, *colours, "-T", "terminal", "-e", _CLIENT, *who)
    try:
        people[2].see("alice joined")
        people[0].see("alice joined #dev")
        _talk(people[0], people[1], people[2])
        display.type("almost done with mine")
        display.press("Return")
        people[0].see("almost done")
        people[1].send("/dm alice psst, cake in the kitchen\n")
        people[0].send("great, thank you alice\n")
        people[1].see("thank you alice")
        display.type("/dm carol on my w")
        display.run("sleep", "1")  # until the terminal has drawn it
        _take(display, picture)
    finally:
        xterm.kill()
        xterm.wait()


def _window(display: Display, port: int, people: list[Peer], picture: Path) -> None:
    window = Window(display, "--guest", "--name", "alice", "--room", "dev", "localhost", str(port))
    try:
        people[0].see("alice joined #dev")
        window.see("connected to")
        _talk(people[0], people[1], people[2])
        people[1].send("/dm alice psst, cake in the kitchen\n")
        window.see_title("3)")
        window.type("on it, ten minutes")
        window.see("on it, ten minutes")
        people[0].send("/bc thank you alice\n")
        window.see("thank you alice")
        display.type("shall we meet at ")
        display.run("sleep", "1")
        _take(display, picture)
    finally:
        window.kill()


def main(directory: Path = _HERE) -> None:
    """Take both pictures.

    @param directory: where to save them.
    @raise SystemExit: if a program that this needs is not installed.
    """
    for program in ("xterm", "import"):
        if shutil.which(program) is None:
            raise SystemExit(f"{program} is not installed")
    for picture, take in ("terminal.png", _terminal), ("window.png", _window):
        daemon = Daemon()
        daemon.start()
        display = Display()
        try:
            take(display, daemon.port, _people(daemon.port), directory / picture)
        finally:
            display.close()
            daemon.kill()


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
