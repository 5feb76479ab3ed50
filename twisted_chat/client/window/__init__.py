"""The window. Not every Python has Tk, so it is imported only when a window is opened."""

# ruff: noqa: PLC0415

from ..connection import Identity, Where

_EVERY = 25
"""Milliseconds between two looks at what Tk has to do. At 10 an idle window costs three times the
processor time, and at 50 typing lags visibly."""

_NO_TK = (
    "the window needs tkinter, which this Python does not have: install python3-tk (Debian and"
    " Ubuntu), python3-tkinter (Fedora), tk (Arch) or python-tk (Homebrew)"
)


class NoWindow(Exception):
    """A window cannot be opened; the text says why."""


def run(where: Where, identity: Identity, rooms: tuple[str, ...], *, ready: bool) -> None:
    """Show the window until it is closed.

    @param ready: pass over the login screen.
    @raise NoWindow: if there is no Tk, or no display.
    """
    try:
        import tkinter
    except ImportError:
        raise NoWindow(_NO_TK) from None
    try:
        root = tkinter.Tk(className="twisted-chat")
    except tkinter.TclError as error:
        raise NoWindow(f"cannot open a window: {error}") from None

    from twisted.internet import reactor, tksupport

    from .app import App

    app = App(reactor, root, where, identity, rooms, ready=ready)
    reactor.addSystemEventTrigger("before", "shutdown", app.ended)
    tksupport.install(root, ms=_EVERY)
    reactor.run()
    tksupport.uninstall()
    root.destroy()
