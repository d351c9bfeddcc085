"""Who may reach the administrators' listener: the parts of `access`, put together for one daemon."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import gevent

from ..access.accounts import LINK_SECONDS, Accounts
from ..access.audit import Audit
from ..access.book import Book
from ..access.gate import Gate, Route
from ..access.passwords import Passwords
from ..access.recognition import Recognition
from ..access.sessions import Sessions
from ..access.sign_in import LINK, SignIn
from ..config import Config
from ..config.value_types import HEADER_AUTH
from ..errors import StoreError
from ..telemetry import emit

if TYPE_CHECKING:
    from ..clock import Clock
    from ..store import Store


class AccessParts:
    """Users, tokens, sessions and the gate, each made when it is asked for; *config* is asked anew."""

    def __init__(self, config: Callable[[], Config], store: Store, clock: Clock) -> None:
        self._config = config
        self._store = store
        self._clock = clock

    @cached_property
    def passwords(self) -> Passwords:
        """Computed in a native thread of the hub's."""
        return Passwords(gevent.get_hub().threadpool.apply)

    @cached_property
    def book(self) -> Book:
        """What the store holds about access."""
        return Book(self._store, self._clock)

    @cached_property
    def sessions(self) -> Sessions:
        """The sessions of browsers."""
        admin = self._config().admin
        return Sessions(self.book, idle=admin.session_idle, lifetime=admin.session_lifetime)

    @cached_property
    def accounts(self) -> Accounts:
        """Users, tokens and links."""
        return Accounts(self.book, self.passwords, self.sessions)

    @cached_property
    def audit(self) -> Audit:
        """What operators have done."""
        return Audit(self._store, self._clock)

    @cached_property
    def recognition(self) -> Recognition:
        """Who asks."""
        admin = self._config().admin
        return Recognition(
            self.book,
            self.accounts,
            self.sessions,
            header=self._header,
            trusted_proxies=admin.trusted_proxies,
        )

    @property
    def _header(self) -> str:
        auth = self._config().admin.auth
        return auth.removeprefix(HEADER_AUTH) if auth.startswith(HEADER_AUTH) else ""

    def gate(self, routes: Sequence[Route]) -> Gate:
        """The URL map of the administrators' listener: *routes*, and the way in and out."""
        signs_in = SignIn(self.accounts, self.sessions, self.recognition, self.audit, self._clock.monotonic)
        own = [] if self._header else signs_in.routes()
        return Gate(
            [*routes, *own],
            self.recognition,
            trusted_proxies=self._config().admin.trusted_proxies,
            signs_in_here=not self._header,
        )

    def tell_first_link(self, url: str) -> None:
        """While there is no user, tell a link by which an admin signs in once. Blocks as the store does."""
        if self._header:
            return
        try:
            if not self.accounts.users():
                self._tell_link(url)
        except StoreError:
            return  # the next start, or `monqbus user link`

    def _tell_link(self, url: str) -> None:
        word = self.accounts.add_link()
        emit("access.link", url=f"{url}{LINK}/{word}", minutes=round(LINK_SECONDS / 60))
