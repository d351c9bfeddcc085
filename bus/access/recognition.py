"""Recognises who asks: an API token, a trusted proxy's header, a session's cookie, or this machine itself."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Collection, Mapping
from typing import Any, Final

from ..errors import Refused
from ..http.origin import FORWARDED, client, is_of_this_machine, scheme
from ..networks import Network, address, is_within
from .accounts import NAME, Accounts
from .book import Book, record, text
from .roles import Role, role_of
from .sessions import Sessions, cookie_of
from .visitor import Visitor, Way

METRICS_PATH: Final = "/metrics"
THIS_MACHINE: Final = "this machine"
_BEARER: Final = "bearer "


class Recognition:
    """Called with a WSGI environ: the Visitor who asks, None for a stranger.

    With a *header*, such as ``X-Forwarded-User``, *trusted_proxies* say there who asks; nobody has a session.
    Raises Refused for a token or a proxy's user that is not known, StoreUnavailable.
    """

    def __init__(
        self,
        book: Book,
        accounts: Accounts,
        sessions: Sessions,
        *,
        header: str = "",
        trusted_proxies: Collection[Network] = (),
    ) -> None:
        self._book = book
        self._accounts = accounts
        self._sessions = sessions
        self._header = f"HTTP_{header.upper().replace('-', '_')}" if header else ""
        self._trusted = trusted_proxies

    def __call__(self, environ: Mapping[str, Any]) -> Visitor | None:
        """Who asks; see the class."""
        if (found := self._by_token(environ)) is not None:
            return found
        found = self._by_header(environ) if self._header else self._by_session(environ)
        if found is None and environ["PATH_INFO"] == METRICS_PATH and _is_near(environ):
            return Visitor(THIS_MACHINE, Role.METRICS)
        return found

    def from_where(self, environ: Mapping[str, Any]) -> str:
        """The address of the client, as text; "" for whoever comes through a Unix socket without a proxy."""
        found = client(environ, self._trusted)
        return "" if found is None else str(found)

    def is_secure(self, environ: Mapping[str, Any]) -> bool:
        """Whether the browser asks by https."""
        return scheme(environ, self._trusted) == "https"

    def require_private(self, environ: Mapping[str, Any]) -> None:
        """Raise Refused(403) where others on the network could read a password, a session or a token.

        Private are https, a Unix socket, and this machine; behind a proxy on it, what that does is not seen.
        """
        peer: str | None = environ.get("REMOTE_ADDR")
        found = address(peer or "")
        if peer is None or self.is_secure(environ) or (found is not None and found.is_loopback):
            return
        raise Refused(
            403,
            "needs_https",
            "request: expected https, or a client on the daemon's machine, got http from another; ask the "
            "proxy, which has to send X-Forwarded-Proto: https and to stand in [admin] trusted_proxies",
        )

    def _by_token(self, environ: Mapping[str, Any]) -> Visitor | None:
        given: str = environ.get("HTTP_AUTHORIZATION", "")
        if given[: len(_BEARER)].lower() != _BEARER:
            return None
        self.require_private(environ)
        token = self._accounts.token_of(given[len(_BEARER) :].strip())
        role = None if token is None else role_of(token.role)
        if token is None or role is None:
            challenge = {"WWW-Authenticate": 'Bearer realm="monqbus", error="invalid_token"'}
            detail = (
                "token: expected one that is known and not over, got another; `monqbus token add` makes one"
            )
            raise Refused(401, "bad_token", detail, challenge)
        return Visitor(f"token {token.name}", role, way=Way.TOKEN, address=self.from_where(environ))

    def _by_session(self, environ: Mapping[str, Any]) -> Visitor | None:
        word = cookie_of(environ, is_secure=self.is_secure(environ))
        session = self._sessions.find(word) if word else None
        if session is None:
            return None
        user = self._accounts.user(session.user)
        # of a link that names nobody the session itself says the role; a user's is that of this moment
        role = role_of(user.role if user is not None else session.role)
        if role is None or role is Role.METRICS:
            return None
        return Visitor(
            session.user, role, session.csrf_token, Way.SESSION, self.from_where(environ), session.id
        )

    def _by_header(self, environ: Mapping[str, Any]) -> Visitor | None:
        peer: str | None = environ.get("REMOTE_ADDR")
        is_proxy = peer is None or is_within(address(peer), self._trusted)
        name: str = environ.get(self._header, "")
        if not is_proxy or not name:
            return None
        user = self._accounts.user(name) if NAME.fullmatch(name) else None
        role = None if user is None else role_of(user.role)
        if user is None or role is None:
            detail = (
                "user: expected one that is known here, got another from the proxy; "
                "`monqbus user add NAME --role viewer --no-password` lets one in"
            )
            raise Refused(403, "unknown_user", detail)
        token = hmac.new(self._key(), user.name.encode(), hashlib.sha256).hexdigest()
        return Visitor(user.name, role, token, Way.PROXY, self.from_where(environ))

    def _key(self) -> bytes:
        """What CSRF tokens are made with where nobody has a session; one for all daemons of a store."""
        found = self._book.get("key", "csrf")
        if found is None or not text(found, "key"):
            made = record(
                "key", "csrf", {"key": secrets.token_urlsafe(32)}, 0 if found is None else found.version
            )
            self._book.keep(made)
            found = self._book.get("key", "csrf") or made
        return text(found, "key").encode()


def _is_near(environ: Mapping[str, Any]) -> bool:
    """Whether a scrape comes from this machine itself, or by a Unix socket, whose file has its mode."""
    if "REMOTE_ADDR" in environ:
        return is_of_this_machine(environ)
    return not any(FORWARDED.fullmatch(name) for name in environ)
