"""A listener of operators without sockets: its gate, its book, and requests as WSGI has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http.cookies import SimpleCookie
from io import BytesIO
from json import dumps, loads
from typing import Any, NamedTuple
from urllib.parse import urlencode

from bus.access.accounts import Accounts
from bus.access.audit import Audit
from bus.access.book import Book
from bus.access.gate import Gate, Route
from bus.access.passwords import Passwords
from bus.access.recognition import Recognition
from bus.access.sessions import Sessions
from bus.access.sign_in import SignIn
from bus.clock import FrozenClock
from bus.http.problem import Answer

PASSWORD = "four cheap words here"
LOCAL = "127.0.0.1"
HOST = "127.0.0.1:8081"


class Said(NamedTuple):
    """An answer, taken apart."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def code(self) -> str:
        """The word of a problem document; "" for anything else."""
        return loads(self.text)["code"] if "problem+json" in self.headers.get("Content-Type", "") else ""

    @property
    def cookies(self) -> dict[str, str]:
        """What the answer gives a browser to keep."""
        return {name: one.value for name, one in SimpleCookie(self.headers.get("Set-Cookie", "")).items()}


class Body(BytesIO):
    """As the server's: read whole or refused."""

    def read_whole(self, limit: int) -> bytes:
        """At most *limit* bytes and one."""
        return self.read(limit + 1)


FORM_TYPE = "application/x-www-form-urlencoded"


class Desk:
    """Everything about access, on *store*, with the frozen *clock*."""

    def __init__(self, store: Any, routes: Sequence[Route], *, header: str = "", proxies: Any = ()) -> None:
        self.clock = FrozenClock()
        self.book = Book(store, self.clock)
        self.passwords = Passwords(ln=4, r=1, p=1)
        self.sessions = Sessions(self.book, idle=3600, lifetime=12 * 3600)
        self.accounts = Accounts(self.book, self.passwords, self.sessions)
        self.audit = Audit(store, self.clock)
        self.recognition = Recognition(
            self.book, self.accounts, self.sessions, header=header, trusted_proxies=proxies
        )
        self.sign_in = SignIn(
            self.accounts, self.sessions, self.recognition, self.audit, self.clock.monotonic
        )
        own = [] if header else self.sign_in.routes()
        self.gate = Gate([*routes, *own], self.recognition, trusted_proxies=proxies, signs_in_here=not header)

    def ask(
        self,
        method: str,
        path: str,
        *,
        form: Mapping[str, str] | None = None,
        json: Any = None,
        peer: str | None = LOCAL,
        host: str = HOST,
        cookie: str = "",
        kind: str = "",
        **headers: str,
    ) -> Said:
        """One request; *headers* by their WSGI names without ``HTTP_``."""
        path, _, query = path.partition("?")
        body = (
            urlencode(form).encode()
            if form is not None
            else dumps(json).encode()
            if json is not None
            else b""
        )
        environ: dict[str, Any] = {
            "REQUEST_METHOD": method,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "HTTP_HOST": host,
            "wsgi.url_scheme": "http",
            "wsgi.input": Body(body),
            "CONTENT_LENGTH": str(len(body)),
            "SERVER_PROTOCOL": "HTTP/1.1",
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": "8081",
            **({"REMOTE_ADDR": peer} if peer is not None else {}),
            **({"CONTENT_TYPE": FORM_TYPE} if form is not None else {}),
            **({"CONTENT_TYPE": kind} if kind else {}),
            **({"HTTP_COOKIE": cookie} if cookie else {}),
            **{f"HTTP_{name}": value for name, value in headers.items()},
        }
        whole: Answer = self.gate.answer(environ)
        return Said(int(whole.status[:3]), dict(whole.headers), whole.body.decode())

    def enter(self, name: str, password: str = PASSWORD, **more: Any) -> Said:
        """Post the sign-in form as a browser does."""
        host = more.get("host", HOST)
        scheme = "https" if more.get("X_FORWARDED_PROTO") == "https" else "http"
        more.setdefault("ORIGIN", f"{scheme}://{host}")
        return self.ask("POST", "/sign-in", form={"name": name, "password": password}, **more)

    def cookie(self, name: str, **more: Any) -> str:
        """The cookie header of *name*, signed in."""
        said = self.enter(name, **more)
        assert said.status == 303, said
        return "; ".join(f"{key}={value}" for key, value in said.cookies.items())
