"""Signing in and out: /sign-in, /sign-out, /link/NAME and their style sheet. Plain pages without a script."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from html import escape
from typing import Any, Final
from urllib.parse import parse_qs, quote

from ..errors import BadFilter, Refused
from ..http.problem import Answer
from ..networks import Address, address
from ..telemetry import emit
from .accounts import NAME, Accounts
from .audit import Audit
from .gate import CSRF_FIELD, SIGN_IN, Route, form_of, names_of, own_path, see_other
from .passwords import SHORTEST
from .recognition import Recognition
from .roles import Role, role_of
from .sessions import Sessions, cookie_of, id_of, set_cookie
from .throttle import Throttle
from .visitor import Visitor, Way, maybe_visitor_of, visitor_of

SIGN_OUT: Final = "/sign-out"
PASSWORD: Final = "/password"  # noqa: S105 - a path
LINK: Final = "/link"
STYLE: Final = "/access.css"
FAILED: Final = "Name or password are wrong."
MOST_AT_ONCE: Final = 2
"""Sign-ins from one address whose passwords are compared at the same time."""

CSS: Final = """\
:root { color-scheme: light dark; }
:root { --ground: #f6f7f8; --panel: #fff; --line: #d9dfe3; --ink: #17222b; --soft: #53626e; }
:root { --accent: #0f6b5c; --on-accent: #fff; --bad: #a8201f; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #10161b; --panel: #182027; --line: #2e3a45; --ink: #e6edf2; --soft: #9fb0bd; }
  :root { --accent: #54c3ad; --on-accent: #08211c; --bad: #ff9b94; }
}
body { font: 1rem/1.5 system-ui, sans-serif; margin: 0; background: var(--ground); color: var(--ink); }
body { display: grid; min-height: 100vh; place-items: center; }
main { width: min(22rem, 92vw); box-sizing: border-box; padding: 1.6rem 1.8rem 2rem; }
main { background: var(--panel); border: 1px solid var(--line); border-radius: 10px; }
h1 { font-size: 1.3rem; margin: 0 0 1rem; }
label { display: block; margin: .8rem 0 .2rem; color: var(--soft); }
input { font: inherit; width: 100%; box-sizing: border-box; padding: .5rem .7rem; color: inherit; }
input { background: var(--panel); border: 1px solid var(--soft); border-radius: 6px; }
button { font: inherit; font-weight: 600; margin-top: 1.2rem; padding: .5rem 1.4rem; cursor: pointer; }
button { background: var(--accent); color: var(--on-accent); border: 0; border-radius: 6px; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
[role=alert] { border-left: .25rem solid var(--bad); padding-left: .6rem; }
"""


class SignIn:
    """The endpoints. Blocks as the store and the password's scrypt do."""

    def __init__(
        self,
        accounts: Accounts,
        sessions: Sessions,
        recognition: Recognition,
        audit: Audit,
        monotonic: Callable[[], float],
    ) -> None:
        self._accounts = accounts
        self._sessions = sessions
        self._recognition = recognition
        self._audit = audit
        self._by_address = Throttle(monotonic)
        self._by_user = Throttle(monotonic)
        self._by_both = Throttle(monotonic)
        self._trying: Counter[str] = Counter()

    def routes(self) -> list[Route]:
        """What of the listener is open to everybody, and the way out."""
        return [
            Route("GET", SIGN_IN, None, self.show),
            Route("POST", SIGN_IN, None, self.sign_in),
            Route("GET", f"{LINK}/NAME", None, self.show_link),
            Route("POST", f"{LINK}/NAME", None, self.follow_link),
            Route("POST", SIGN_OUT, Role.VIEWER, self.sign_out),
            Route("GET", PASSWORD, Role.VIEWER, self.show_password),
            Route("POST", PASSWORD, Role.VIEWER, self.change_password),
            Route("GET", STYLE, None, _style),
        ]

    def show(self, environ: Mapping[str, Any]) -> Answer:
        """The form."""
        self._recognition.require_private(environ)
        query = parse_qs(environ.get("QUERY_STRING", ""), max_num_fields=20)
        return page("Sign in", _form(environ, own_path(query.get("next", ["/"])[0])))

    def sign_in(self, environ: Mapping[str, Any]) -> Answer:
        """Begin a session, or show the form again. Raises Refused(429) for who has to wait."""
        self._recognition.require_private(environ)
        form = form_of(environ)
        name, place = form.get("name", "").strip(), own_path(form.get("next", "/"))
        if not self._is_proven(name, form.get("password", ""), self._recognition.from_where(environ)):
            return page("Sign in", _form(environ, place, FAILED), status="403 Forbidden")
        return self._begin(environ, name, "", place)

    def _is_proven(self, name: str, password: str, where: str) -> bool:
        """Whether it is the user's password. Raises Refused(429) for who has to wait."""
        keys = self._keys(name, where)
        if pause := max(throttle.pause(key) for throttle, key in keys):
            raise _throttled(pause)
        if not self._fits(name, password, _net(where)) or self._accounts.user(name) is None:
            self._note_failure(keys, name, where)
            return False
        for throttle, key in keys:
            throttle.succeeded(key)
        self._accounts.remember(name, _net(where))
        return True

    def show_password(self, environ: Mapping[str, Any]) -> Answer:
        """The form for another password of one's own."""
        return page("Change password", _password_form(environ))

    def change_password(self, environ: Mapping[str, Any]) -> Answer:
        """Give the visitor another password, who knows the present one; his sessions end but a new one."""
        visitor, form = visitor_of(environ), form_of(environ)
        if visitor.way is not Way.SESSION:
            raise Refused(403, "no_session", "password: expected somebody who has signed in, got a token")
        self._recognition.require_private(environ)
        if not self._is_proven(visitor.name, form.get("password", ""), visitor.address):
            return page("Change password", _password_form(environ, FAILED), status="403 Forbidden")
        try:
            self._accounts.set_password(visitor.name, form.get("new", ""))
        except BadFilter as error:
            return page("Change password", _password_form(environ, error.sentence), status="400 Bad Request")
        self._audit.note(visitor, "set password", {"name": visitor.name})
        return self._begin(environ, visitor.name, "", "/")

    def show_link(self, environ: Mapping[str, Any]) -> Answer:
        """Ask whether to use the link: what only looks at a page, as chats do, must not use it up."""
        self._recognition.require_private(environ)
        (word,) = names_of(environ)
        if not self._accounts.link_holds(word):
            return _no_link()
        action = f"{LINK}/{quote(word, safe='')}"
        body = (
            f'<form method="post" action="{action}">{_csrf(environ)}<p>This link signs you in, once.</p>'
            "<button>Sign in</button></form>"
        )
        return page("Sign in", body)

    def follow_link(self, environ: Mapping[str, Any]) -> Answer:
        """Use the link up."""
        self._recognition.require_private(environ)
        where = self._recognition.from_where(environ)
        if pause := self._by_address.pause(_net(where)):
            raise _throttled(pause)
        (word,) = names_of(environ)
        used = self._accounts.use_link(word)
        if used is None:
            self._by_address.failed(_net(where))
            return _no_link()
        name, role = used
        return self._begin(environ, name, role if self._accounts.user(name) is None else "", "/", by="link")

    def sign_out(self, environ: Mapping[str, Any]) -> Answer:
        """End the session."""
        visitor = visitor_of(environ)
        is_secure = self._recognition.is_secure(environ)
        if visitor.session:
            self._sessions.end(visitor.session)
            emit("access.signed_out", name=visitor.name, peer=visitor.address)
            self._audit.note(visitor, "sign out")
        return see_other(SIGN_IN, [set_cookie("", is_secure=is_secure), ("Clear-Site-Data", '"cache"')])

    def _begin(
        self, environ: Mapping[str, Any], name: str, role: str, place: str, *, by: str = "password"
    ) -> Answer:
        """A new session for every sign-in; the browser's last one ends (session fixation)."""
        is_secure, where = self._recognition.is_secure(environ), self._recognition.from_where(environ)
        if last := cookie_of(environ, is_secure=is_secure):
            self._sessions.end(id_of(last))
        session = self._sessions.begin(name, role, where)
        user = self._accounts.user(name)
        known = role_of(user.role if user is not None else role) or Role.VIEWER
        emit("access.signed_in", name=name, role=known.word, by=by, peer=where)
        self._audit.note(Visitor(name, known, "", Way.SESSION, where), "sign in", {"by": by})
        return see_other(place, [set_cookie(session.word, is_secure=is_secure)])

    def _keys(self, name: str, where: str) -> list[tuple[Throttle, str]]:
        """What a failure counts against: the address, this name there, and the name where it is new.

        So whoever tries passwords from elsewhere does not lock out the user at his usual place, and who signs
        in himself in between gains nothing.
        """
        name = name[:64]
        keys = [(self._by_address, _net(where)), (self._by_both, f"{_net(where)} {name}")]
        if not self._accounts.is_known(name, _net(where)):
            keys.append((self._by_user, name))
        return keys

    def _fits(self, name: str, password: str, net: str) -> bool:
        """Whether it is the password; one address takes but a few of the places of those that wait."""
        if self._trying[net] >= MOST_AT_ONCE:
            raise _throttled(1.0)
        self._trying[net] += 1
        try:
            return self._accounts.fits(name, password)
        finally:
            self._trying[net] -= 1
            if not self._trying[net]:
                del self._trying[net]

    def _note_failure(self, keys: list[tuple[Throttle, str]], name: str, where: str) -> None:
        """A name that is none of ours is not told: somebody may have typed a password there."""
        pause = max(throttle.failed(key) for throttle, key in keys)
        is_ours = bool(NAME.fullmatch(name)) and self._accounts.user(name) is not None
        told = {"name": name if is_ours else "", "peer": where}
        emit("access.denied", **told)
        if pause:
            emit("access.throttled", **told, seconds=round(pause))


def page(title: str, body: str, *, status: str = "200 OK") -> Answer:
    """A small whole page; *body* is HTML, escaped already."""
    text = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)} · monqbus</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel="stylesheet" href="{STYLE}"></head>'
        f"<body><main><h1>{escape(title)}</h1>{body}</main></body></html>\n"
    )
    data = text.encode()
    headers = [("Content-Type", "text/html; charset=utf-8"), ("Content-Length", str(len(data)))]
    return Answer(status, headers, data)


def _form(environ: Mapping[str, Any], place: str, problem: str = "") -> str:
    alert = f'<p role="alert">{escape(problem)}</p>' if problem else ""
    return (
        f'{alert}<form method="post" action="{SIGN_IN}">{_csrf(environ)}'
        f'<input type="hidden" name="next" value="{escape(place)}">'
        '<label for="name">Name</label>'
        '<input id="name" name="name" autocomplete="username" autocapitalize="none" required>'
        '<label for="password">Password</label>'
        '<input id="password" name="password" type="password" autocomplete="current-password" required>'
        "<button>Sign in</button></form>"
    )


def _password_form(environ: Mapping[str, Any], problem: str = "") -> str:
    alert = f'<p role="alert">{escape(problem)}</p>' if problem else ""
    return (
        f'{alert}<form method="post" action="{PASSWORD}">{_csrf(environ)}'
        '<label for="password">Present password</label>'
        '<input id="password" name="password" type="password" autocomplete="current-password" required>'
        f'<label for="new">New password, {SHORTEST} characters or more</label>'
        '<input id="new" name="new" type="password" autocomplete="new-password" required>'
        "<button>Change</button></form>"
    )


def _csrf(environ: Mapping[str, Any]) -> str:
    visitor = maybe_visitor_of(environ)
    if visitor is None or not visitor.csrf_token:
        return ""
    return f'<input type="hidden" name="{CSRF_FIELD}" value="{escape(visitor.csrf_token)}">'


def _no_link() -> Answer:
    body = (
        '<p role="alert">This link has been used, or its time is over.</p>'
        "<p><code>monqbus user link</code> makes a new one.</p>"
    )
    return page("Sign in", body, status="410 Gone")


def _style(_: Mapping[str, Any]) -> Answer:
    data = CSS.encode()
    headers = [
        ("Content-Type", "text/css; charset=utf-8"),
        ("Content-Length", str(len(data))),
        ("Cache-Control", "public, max-age=3600"),
    ]
    return Answer("200 OK", headers, data)


def _net(where: str) -> str:
    """What counts as one client: an address, of IPv6 its /64, as one customer has one."""
    found: Address | None = address(where)
    if found is None:
        return where
    return str(found) if found.version == 4 else found.exploded[:19]


def _throttled(pause: float) -> Refused:
    detail = f"sign-in: too many have failed from here or under this name; try again in {pause:.0f} s"
    return Refused(429, "throttled", detail, {"Retry-After": str(int(pause) + 1)})
