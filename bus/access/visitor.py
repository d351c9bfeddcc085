"""A visitor: who asks, in which role, and how that was shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from ..errors import Refused
from .roles import Role

VISITOR: Final = "monqbus.visitor"
"""Where the WSGI environ holds the Visitor."""


class Way(Enum):
    """How a visitor has shown who he is."""

    SESSION = "session"
    """By the cookie of a session, which a browser sends with every request, whoever has written the page."""
    PROXY = "proxy"
    """By the header of a trusted proxy, which adds it to every request of a browser."""
    TOKEN = "token"  # noqa: S105 - the word for it
    """By an API token, which no browser sends by itself."""
    MACHINE = "machine"
    """By being on this machine: the control socket, and a scrape of /metrics by way of loopback."""

    @property
    def is_ambient(self) -> bool:
        """Whether a browser brings it along by itself, so that a request proves no intention (CSRF)."""
        return self in (Way.SESSION, Way.PROXY)


@dataclass(frozen=True, slots=True)
class Visitor:
    """*name* in *role*, from the *address* of the client; "" where there is none, as on a Unix socket.

    *csrf_token* stands in each form of a page for this visitor, as the field ``csrf_token``, or in the header
    ``X-CSRF-Token``; it is "" where nothing has to be sent. *session* is the id of his session's record.
    """

    name: str
    role: Role
    csrf_token: str = field(default="", repr=False)
    way: Way = Way.MACHINE
    address: str = ""
    session: str = field(default="", repr=False)

    def may(self, role: Role) -> bool:
        """Whether what takes *role* is open to him."""
        return self.role >= role

    def require(self, role: Role) -> None:
        """Raise Refused(403) when his role is less."""
        if not self.may(role):
            detail = f"role: expected {role.word} or more, got {self.role.word}; ask an admin for it"
            raise Refused(403, "role_too_low", detail)


def visitor_of(environ: Mapping[str, Any]) -> Visitor:
    """The visitor of a request that has come through a Gate. Raises KeyError for one that has not."""
    found: Visitor = environ[VISITOR]
    return found


def maybe_visitor_of(environ: Mapping[str, Any]) -> Visitor | None:
    """As visitor_of; None on a path that is open to everybody, when nobody is signed in."""
    found: Visitor | None = environ.get(VISITOR)
    return found
