"""Logs in, again on every connection, as whoever a client is by then. No socket, no clock."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from . import identity as who
from . import lines
from .identity import Identity
from .lines import LOBBY, Event, Refused
from .requests import Asked
from .state import State

NOTHING_READ: Mapping[str, Any] = {"of": LOBBY, "seq": 0}
"""What a session says first that says by itself what was read: the server marks nothing for it from
then on."""

_LOGIN_TO_ACCOUNT = frozenset({"login", "register"})

_NAME_TRIES = 10
"""How often a guest asks for its name again: its last session may not be over yet."""


class Login:
    """Who to be, and how to become it."""

    def __init__(self, state: State, identity: Identity, *, marks: bool) -> None:
        """
        @param marks: as in L{twisted_chat.client.session.ClientSession}.
        @raise Refused: C{bad-name}.
        """
        self._state = state
        self._identity = who.checked(identity)
        self._marks = marks
        self._name_tries = 0

    def begin(self) -> None:
        """Ask for who we are."""
        identity = self._identity
        fields = {"name": identity.name} if identity.name else {}
        if not identity.password:
            self._send("guest", **fields)
        else:
            do = "register" if identity.register else "login"
            self._send(do, **fields, password=identity.password)

    def must_mark(self, do: str) -> bool:
        """Whether L{NOTHING_READ} has to be right behind this command: the next request would
        count as reading what the command shows."""
        return self._marks and do in _LOGIN_TO_ACCOUNT

    def _send(self, do: str, **fields: Any) -> None:
        self._state.send(do, **fields)
        if self.must_mark(do):
            self._state.send("read", **NOTHING_READ)

    def refused(self, do: str, refused: Refused) -> None:
        """Try in another way, later, or not again, as the login was refused."""
        if do == "register" and refused.code == "name-registered":
            self._identity = replace(self._identity, register=False)
            self._send("login", name=self._identity.name, password=self._identity.password)
            return
        unknown = self._state.requests.password_unknown
        if unknown is not None and refused.code in ("wrong-password", "name-registered"):
            self._state.requests.password_unknown = None
            with suppress(KeyError):
                self._try_new_password(unknown)
                return
        is_hopeless = not who.is_for_now(refused.code)
        if refused.code == "name-taken" and self._state.was_in and not self._identity.password:
            self._name_tries += 1
            if self._name_tries > _NAME_TRIES:
                self._send("guest")
                return
            is_hopeless = False
        self._state.drop(refused.text, refused.code, is_hopeless=is_hopeless)

    def _try_new_password(self, unknown: Asked) -> None:
        """Log in with the password that was asked for, as it was accepted after all."""
        fields = unknown.fields
        password = fields["new" if unknown.do == "passwd" else "password"]
        self._identity = Identity(fields.get("name", self._identity.name), password)
        self._send("login", name=self._identity.name, password=password)

    def succeeded(self) -> None:
        """Forget what was tried, as we are in."""
        self._name_tries = 0
        self._state.requests.password_unknown = None

    # Who we are

    def on_welcome(self, event: Event) -> None:
        """Take the name that the server has given us."""
        us = event["name"], event["account"]
        if us != (self._state.name, self._state.account):
            event.pop("quiet", None)
        self._state.name, self._state.account = us
        self._identity = replace(self._identity, register=False)  # it is done
        self._state.tell(event)

    def on_renamed(self, event: Event) -> None:
        """Take note that somebody, perhaps we, has another name."""
        if event["name"] == self._state.name:
            self._be(event["to"])
        if event["name"] == self._state.correspondent:
            self._state.correspondent = event["to"]
        self._state.tell(event)

    def _be(self, name: str) -> None:
        self._state.name = name
        self._identity = replace(self._identity, name=name)

    # What holds once a command is done, whether or not its events arrived

    def renamed(self, asked: Asked) -> None:
        """Take the name that was asked for."""
        self._be(lines.person(asked.fields["name"]))

    def became(self, asked: Asked) -> None:
        """Be another account, as somebody has logged in or registered."""
        self._be(lines.person(asked.fields["name"]))
        self._identity = Identity(self._state.name, asked.fields["password"])
        self._state.account = True

    def changed_password(self, asked: Asked) -> None:
        """Log in with the new password from now on."""
        self._identity = replace(self._identity, password=asked.fields["new"])
