"""The gate of the administrators' listener: no request reaches a page or the API but through it."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, quote, urlsplit

from ..errors import API_CODES, MonqbusError, Refused
from ..http.body import read_body
from ..http.origin import scheme
from ..http.problem import REQUEST_ID, Answer, tell
from ..http.problem import answer as problem_answer
from ..http.url_map import Endpoint, UrlMap
from ..networks import Network
from .roles import Role
from .visitor import VISITOR, Visitor

ANY_SEGMENT: Final = "NAME"
NAMES: Final = "monqbus.names"
FORM: Final = "monqbus.form"
CSRF_HEADER: Final = "HTTP_X_CSRF_TOKEN"
CSRF_FIELD: Final = "csrf_token"
LARGEST_FORM: Final = 256 * 1024
MOST_FIELDS: Final = 2_000
SIGN_IN: Final = "/sign-in"
_FORM_TYPE: Final = "application/x-www-form-urlencoded"
_SAFE: Final = ("GET", "HEAD")

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; "
    "connect-src 'self'; manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
SECURITY_HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}
"""Of every answer of this listener. An endpoint that gives a Cache-Control of its own keeps it."""
Recognise = Callable[[Mapping[str, Any]], "Visitor | None"]
"""Who asks; None for a stranger. Raises Refused for a proof that is wrong."""


class Route(NamedTuple):
    """One way in: *method* is GET, which answers HEAD too, or POST, the only one that may change anything.

    NAME in *path* stands for any one segment. *role* is the least that it takes; None: anybody, signed in or
    not. *is_page* sends a stranger with a browser to the sign-in, instead of a problem document.
    """

    method: str
    path: str
    role: Role | None
    answer: Endpoint
    is_page: bool = True


class Gate(UrlMap):
    """The URL map of *routes*, each answered only to whom it is open.

    *recognise* says who asks. What changes something (POST) is answered to a browser only when a page of this
    listener asks: its Origin is ours and it brings the visitor's CSRF token.
    """

    def __init__(
        self,
        routes: Sequence[Route],
        recognise: Recognise,
        *,
        trusted_proxies: Collection[Network] = (),
        signs_in_here: bool = True,
    ) -> None:
        super().__init__({})
        self._routes = _table(routes)
        self.paths = tuple(dict.fromkeys(route.path for route in routes))
        self.routes = tuple(routes)
        self._recognise = recognise
        self._trusted = trusted_proxies
        self._signs_in_here = signs_in_here

    def answer(self, environ: Mapping[str, Any]) -> Answer:
        """The answer of the route, or why there is none. Blocks as long as its endpoint does."""
        try:
            whole = self._answer(environ)
        except MonqbusError as error:
            refusal = as_refusal(error)
            tell(refusal, environ, fact="access.refused")
            whole = problem_answer(refusal, environ.get(REQUEST_ID, ""))
        return _secured(whole._replace(body=b"") if environ["REQUEST_METHOD"] == "HEAD" else whole)

    def _answer(self, environ: Mapping[str, Any]) -> Answer:
        route, names = self._route(environ)
        visitor = self._recognise(environ)
        if route.role is not None:
            if visitor is None:
                return self._to_sign_in(environ, route)
            visitor.require(route.role)
        asked = dict(environ)
        asked[NAMES] = names
        if visitor is not None:
            asked[VISITOR] = visitor
        if route.method not in _SAFE:
            self._require_own_page(asked, visitor, has_form=route.is_page)
        return route.answer(asked)

    def _route(self, environ: Mapping[str, Any]) -> tuple[Route, tuple[str, ...]]:
        path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
        methods, names = _found(self._routes, path)
        if methods is None:
            raise Refused(404, "not_found", "request: not found")
        route = methods.get("GET" if method == "HEAD" else method)
        if route is None:
            allow = ", ".join(sorted({*methods, *(("HEAD",) if "GET" in methods else ())}))
            raise Refused(405, "method_not_allowed", "request: method not allowed", {"Allow": allow})
        return route, names

    def _to_sign_in(self, environ: Mapping[str, Any], route: Route) -> Answer:
        wants_page = route.is_page and "text/html" in environ.get("HTTP_ACCEPT", "")
        if wants_page and self._signs_in_here and environ["REQUEST_METHOD"] in _SAFE:
            if environ.get("HTTP_SEC_FETCH_SITE") == "cross-site":
                return _once_more()
            return see_other(f"{SIGN_IN}?next={quote(_place(environ), safe='')}")
        detail = (
            "request: expected a session or an API token, got none; sign in, or send Authorization: Bearer"
        )
        raise Refused(401, "not_signed_in", detail, {"WWW-Authenticate": 'Bearer realm="monqbus"'})

    def _require_own_page(self, environ: dict[str, Any], visitor: Visitor | None, *, has_form: bool) -> None:
        """Raise Refused(403) unless a page of this listener asks; a token or this machine needs no page.

        What *has_form* no form reads its body itself, whatever type it is said to have: curl says a form's.
        """
        if visitor is None or visitor.way.is_ambient:
            _require_own_origin(environ, self._trusted)
        if has_form and _is_form(environ):
            environ[FORM] = _read_form(environ)
        if visitor is not None and visitor.way.is_ambient:
            given = environ.get(CSRF_HEADER) or "".join(values_of(environ, CSRF_FIELD)[-1:])
            if not visitor.csrf_token or not hmac.compare_digest(given.encode(), visitor.csrf_token.encode()):
                raise Refused(
                    403,
                    "csrf",
                    "csrf_token: expected that of this session, got another one or none; load the page again",
                )


def names_of(environ: Mapping[str, Any]) -> tuple[str, ...]:
    """The segments of the path that stand where the route has NAME."""
    found: tuple[str, ...] = environ.get(NAMES, ())
    return found


def form_of(environ: Mapping[str, Any]) -> Mapping[str, str]:
    """The fields of a POST form, the last value of each; empty for any other body. The Gate has read it."""
    return dict(environ.get(FORM, ()))


def values_of(environ: Mapping[str, Any], name: str) -> list[str]:
    """Every value of the field *name* of a POST form, as boxes of the same name give them."""
    return [value for key, value in environ.get(FORM, ()) if key == name]


def see_other(place: str, headers: Sequence[tuple[str, str]] = ()) -> Answer:
    """303 to *place*, a path of this listener: the answer to a form, so that a reload repeats nothing."""
    return Answer("303 See Other", [("Location", place), ("Content-Length", "0"), *headers], b"")


def as_refusal(error: MonqbusError) -> Refused:
    """*error* as an answer has it."""
    if isinstance(error, Refused):
        return error
    for kind, status, code in API_CODES:
        if isinstance(error, kind):
            return Refused(status, code, str(error))
    return Refused(400, "refused", str(error))


def _once_more() -> Answer:
    """A page that asks for itself: behind a link of another site the browser has kept the cookie back."""
    body = b'<!doctype html><title>monqbus</title><meta http-equiv="refresh" content="0">\n'
    headers = [("Content-Type", "text/html; charset=utf-8"), ("Content-Length", str(len(body)))]
    return Answer("200 OK", headers, body)


def own_path(text: str) -> str:
    """*text* if it is a path of this listener, else ``/``: a link must not lead a visitor elsewhere."""
    is_plain = text.startswith("/") and not text.startswith(("//", "/\\"))
    return text if is_plain and all(" " < char < "\x7f" and char != "\\" for char in text) else "/"


def _place(environ: Mapping[str, Any]) -> str:
    query = environ.get("QUERY_STRING", "")
    return quote(environ["PATH_INFO"].encode("latin-1"), safe="/:~") + (f"?{query}" if query else "")


def _require_own_origin(environ: Mapping[str, Any], trusted: Collection[Network]) -> None:
    """Raise Refused(403) when a page of another site asks, or nobody says which page does.

    Browsers say it in Origin, which no page can set; older ones in Referer. Host is what was asked for.
    """
    said = environ.get("HTTP_ORIGIN") or environ.get("HTTP_REFERER") or ""
    found = urlsplit(said) if said.isascii() else urlsplit("")
    own = f"{scheme(environ, trusted)}://{environ.get('HTTP_HOST', '')}".lower()
    is_ours = f"{found.scheme}://{found.netloc}".lower() == own
    if environ.get("HTTP_SEC_FETCH_SITE", "same-origin") not in ("same-origin", "none") or not is_ours:
        raise Refused(
            403,
            "other_origin",
            "header Origin: expected a page of this listener; behind a proxy it has to keep Host, send "
            "X-Forwarded-Proto and stand in [admin] trusted_proxies",
        )


def _is_form(environ: Mapping[str, Any]) -> bool:
    kind: str = environ.get("CONTENT_TYPE", "")
    return kind.partition(";")[0].strip().lower() == _FORM_TYPE


def _read_form(environ: Mapping[str, Any]) -> list[tuple[str, str]]:
    body = read_body(environ, LARGEST_FORM)
    try:
        return parse_qsl(
            body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MOST_FIELDS
        )
    except ValueError as error:
        expected = f"expected a form of at most {MOST_FIELDS} fields in UTF-8"
        raise Refused(400, "malformed", f"body: {expected}") from error


def _secured(whole: Answer) -> Answer:
    given = {name.lower() for name, _ in whole.headers}
    more = [(name, value) for name, value in SECURITY_HEADERS.items() if name.lower() not in given]
    return whole._replace(headers=[*whole.headers, *more])


_Methods = dict[str, Route]
_Table = dict[tuple[str, ...], _Methods]


def _table(routes: Sequence[Route]) -> _Table:
    table: _Table = {}
    for route in routes:
        table.setdefault(tuple(route.path.split("/")), {})[route.method] = route
    return table


def _found(table: _Table, path: str) -> tuple[_Methods | None, tuple[str, ...]]:
    """The routes of *path*: those that name it before those where NAME stands for a part of it."""
    asked = tuple(path.split("/"))
    if (exact := table.get(asked)) is not None and ANY_SEGMENT not in asked:
        return exact, ()
    best: tuple[tuple[bool, ...], _Methods, tuple[str, ...]] | None = None
    for pattern, methods in table.items():
        if len(pattern) == len(asked) and all(
            (one == ANY_SEGMENT and segment != "") or one == segment
            for one, segment in zip(pattern, asked, strict=True)
        ):
            wild = tuple(one == ANY_SEGMENT for one in pattern)
            names = tuple(segment for one, segment in zip(pattern, asked, strict=True) if one == ANY_SEGMENT)
            if best is None or wild < best[0]:
                best = (wild, methods, names)
    return (best[1], best[2]) if best else (None, ())
