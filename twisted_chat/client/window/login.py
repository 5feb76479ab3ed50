"""The login screen: which server, and who to be."""

import tkinter
from collections.abc import Callable
from dataclasses import replace
from tkinter import ttk

from ..connection import Identity, Where

_MODES = (("login", "Log in"), ("register", "Register"), ("guest", "As a guest"))

_BUTTONS = {"login": "Log in", "register": "Register", "guest": "Join"}

_FIELD_OF = {
    "": "server",
    "bad-name": "name",
    "name-taken": "name",
    "name-registered": "name",
    "wrong-password": "password",
    "bad-password": "password",
}
"""Error code to the field that it is shown at; all others are shown above the button."""

_REGISTERED = "this name is registered; log in with its password, or choose another name"


class Login(ttk.Frame):
    """Asks for a server and who to be."""

    def __init__(
        self,
        parent: tkinter.Misc,
        where: Where,
        identity: Identity,
        enter: Callable[[Where, Identity], None],
        cancel: Callable[[], None],
    ) -> None:
        """
        @param where: is shown first.
        @param identity: is shown first.
        @param enter: is called with what was filled in.
        @param cancel: is called when the person does not want to wait for that.
        """
        super().__init__(parent, padding=30)
        self._where = where
        self._enter = enter
        self._cancel = cancel
        self._errors: dict[str, ttk.Label] = {}
        self._busy = False
        mode = "register" if identity.register else "login"
        self._mode = tkinter.StringVar(self, mode if identity.password else "guest")
        self._tls = tkinter.BooleanVar(self, where.is_tls)
        form = ttk.Frame(self)
        form.place(relx=0.5, rely=0.45, anchor="center")
        form.columnconfigure(1, weight=1)
        ttk.Label(form, text="twisted-chat", style="Title.TLabel").grid(
            column=1, sticky="w", pady=(0, 16)
        )
        self._fields: dict[str, ttk.Entry] = {}
        self._labels: dict[str, ttk.Label] = {}
        self._field(form, "server", "Server", str(where))
        tls = ttk.Checkbutton(form, text="encrypted (TLS)", variable=self._tls)
        tls.grid(column=1, sticky="w")
        if where.unix:
            tls.state(["disabled"])
        modes = ttk.Frame(form)
        modes.grid(column=1, sticky="w", pady=(14, 6))
        for value, label in _MODES:
            ttk.Radiobutton(
                modes, text=label, value=value, variable=self._mode, command=self._chosen_mode
            ).pack(side="left", padx=(0, 12))
        self._field(form, "name", "Name", identity.name)
        self._field(form, "password", "Password", identity.password, secret=True)
        self._field(form, "again", "Repeat it", identity.password, secret=True)
        self._message = ttk.Label(form, style="Error.TLabel", wraplength=340)
        self._message.grid(column=1, sticky="w")
        self._errors["form"] = self._message
        self._button = ttk.Button(form, style="Main.TButton", command=self._pressed)
        self._button.grid(column=1, sticky="w", pady=(10, 0))
        self.winfo_toplevel().bind("<Escape>", lambda _: self._busy and self._cancel())
        self._adapt()

    def _field(
        self, form: ttk.Frame, name: str, label: str, value: str, *, secret: bool = False
    ) -> None:
        row = form.grid_size()[1]
        self._labels[name] = ttk.Label(form, text=label)
        self._labels[name].grid(row=row, column=0, sticky="e", padx=(0, 10), pady=(4, 0))
        entry = self._fields[name] = ttk.Entry(form, width=36, show="•" if secret else "")
        entry.insert(0, value)
        entry.grid(row=row, column=1, sticky="ew", pady=(4, 0))
        entry.bind("<Return>", lambda _: self._pressed())
        entry.bind("<Key>", lambda _: self._show_error(name, ""), add=True)
        error = self._errors[name] = ttk.Label(form, style="Error.TLabel", wraplength=340)
        error.grid(row=row + 1, column=1, sticky="w")
        error.grid_remove()

    def focus_first(self) -> None:
        """Put the cursor into the first field that has to be filled in."""
        for name in ("server", "name", "password"):
            if not self._fields[name].get() or name == "password":
                self._fields[name if self._mode.get() != "guest" else "name"].focus_set()
                return

    def _adapt(self) -> None:
        """Show the fields that the chosen kind of login needs."""
        mode = self._mode.get()
        for name, shown in (("password", mode != "guest"), ("again", mode == "register")):
            for widget in (self._labels[name], self._fields[name]):
                widget.grid() if shown else widget.grid_remove()
        self._button.configure(text=_BUTTONS[mode])
        for name in self._errors:
            self._show_error(name, "")

    def _chosen_mode(self) -> None:
        self._adapt()
        self.update_idletasks()  # Tab goes only to fields that are drawn

    def _show_error(self, field: str, text: str) -> None:
        error = self._errors[field]
        error.configure(text=text)
        error.grid() if text else error.grid_remove()

    def _pressed(self) -> None:
        if self._busy:
            self._cancel()
            return
        for name in self._errors:
            self._show_error(name, "")
        mode = self._mode.get()
        name = self._fields["name"].get().strip()
        password = self._fields["password"].get() if mode != "guest" else ""
        if mode != "guest" and not name:
            self._point_out(
                "name", "enter the name of the account; only guests may leave this empty"
            )
        elif mode != "guest" and not password:
            self._point_out("password", "enter the password; only guests need none")
        elif mode == "register" and password != self._fields["again"].get():
            self._point_out("again", "the passwords don't match; choose one again")
        elif (where := self._chosen()) is None:
            self._point_out("server", "a server is HOST or HOST:PORT, where PORT is 1 to 65535")
        else:
            self._enter(where, Identity(name, password, mode == "register"))

    def _chosen(self) -> Where | None:
        """Read the server's address; L{None} if it is not valid."""
        text = self._fields["server"].get().strip()
        tls = self._tls.get()
        ca, pin = (self._where.ca, self._where.pin) if tls else ("", "")
        if text == self._where.unix or text.startswith("/"):
            return Where(unix=text) if text else None
        host, colon, port = text.rpartition(":")
        if not colon or text.endswith("]") or (text.count(":") > 1 and not host.endswith("]")):
            host, port = text, str(self._where.port if text == self._where.host else Where().port)
        host = host.removeprefix("[").removesuffix("]")
        if not host or not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
            return None
        return replace(self._where, host=host, port=int(port), tls=tls, ca=ca, pin=pin, unix="")

    def refused(self, code: str, text: str) -> None:
        """Show why the login was refused, at the field that has to be changed.

        @param code: of the protocol; empty if there is no connection.
        """
        self.busy(False)
        if code == "wrong-password" and self._mode.get() == "register":
            code, text = "name-registered", _REGISTERED
        if code == "bad-password" and self._mode.get() == "guest":
            code = "forbidden"
        self._point_out(_FIELD_OF.get(code, "form"), text)

    def _point_out(self, field: str, text: str) -> None:
        self._show_error(field, text)
        entry = self._fields.get(field)
        if entry is not None:
            entry.focus_set()
            entry.selection_range(0, "end")

    def busy(self, busy: bool) -> None:
        """Show whether a connection is being made."""
        self._busy = busy
        self._button.configure(text="Cancel" if busy else _BUTTONS[self._mode.get()])
        self._message.configure(style="Hint.TLabel" if busy else "Error.TLabel")
        self._show_error("form", "connecting …" if busy else "")
