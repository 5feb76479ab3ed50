"""The terminal's keys, without a terminal."""

import asyncio
import os
import tempfile
from collections.abc import Awaitable, Callable

from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.output import DummyOutput
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from twisted_chat.client.terminal import recall
from twisted_chat.client.terminal.screen import PromptScreen
from twisted_chat.client.terminal.status import Status

_ACCEPT = ("\r", "\n", "\x1b\r", "\x1b\n", "\x0f")
"""Enter, Ctrl-J, Alt with each, and Ctrl-O."""


class AcceptTests(SynchronousTestCase):
    """Whichever key accepts a line."""

    def setUp(self) -> None:
        home = tempfile.TemporaryDirectory()
        self.addCleanup(home.cleanup)
        self.patch(os, "environ", {**os.environ, "XDG_STATE_HOME": home.name})

    def _at_screen(self, do: Callable[[PromptScreen, PipeInput], Awaitable[None]]) -> None:
        async def run(keys: PipeInput) -> None:
            screen = PromptScreen(Status(), bell=False)
            await do(screen, keys)
            await Deferred.fromCoroutine(screen.close()).asFuture(asyncio.get_running_loop())

        with create_pipe_input() as keys, create_app_session(keys, DummyOutput()):
            asyncio.run(asyncio.wait_for(run(keys), 20))

    def test_answers_are_not_kept(self) -> None:
        """A password is an answer and nothing else, and the next line is read."""

        async def do(screen: PromptScreen, keys: PipeInput) -> None:
            loop = asyncio.get_running_loop()
            for key in _ACCEPT:
                asked = Deferred.fromCoroutine(screen.ask("password", secret=True))
                keys.send_text(f"s3cret-pw{key}")
                self.assertEqual(await asked.asFuture(loop), "s3cret-pw", repr(key))
                typed = Deferred.fromCoroutine(screen.line())
                keys.send_text(f"hello{key}")
                self.assertEqual(await typed.asFuture(loop), "hello", repr(key))

        self._at_screen(do)
        self.assertEqual(recall.state_path().read_text("utf-8"), "hello\n")
