"""The API's routes about access: users, tokens, one-time links, the audit. For admins."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from flask import Response, request

from ..access.accounts import LINK_SECONDS, TOKEN_SECONDS, Accounts
from ..access.audit import Audit
from ..access.visitor import visitor_of
from ..errors import Refused
from ..safe_text import shown
from .requests import answered, asked, query_words, size_of, text_of

ANY_TEXT: Final = re.compile(r"[^\x00]{1,300}", re.DOTALL)
ENTRY_ID: Final = re.compile(r"[0-9a-f]{24}")
USERS: Final = frozenset({"name", "role", "password"})
PASSWORDS: Final = frozenset({"password"})
ROLES: Final = frozenset({"role"})
TOKENS: Final = frozenset({"name", "role", "seconds"})
LINKS: Final = frozenset({"user", "seconds"})
ENTRIES: Final = frozenset({"limit", "before"})


class AccessApi:
    """One method a route; see `server.Api`. Whatever changes something is noted in the audit."""

    def __init__(self, accounts: Accounts, audit: Audit) -> None:
        self._accounts = accounts
        self._audit = audit

    def list_users(self) -> Response:
        """Every user, by name."""
        return answered({"users": [user._asdict() for user in self._accounts.users()]})

    def add_user(self) -> Response:
        """Make a user; without a password only a proxy or a one-time link signs him in."""
        document = asked(USERS)
        password = _text_of(document, "password") if document.get("password") is not None else None
        name, role = _text_of(document, "name"), _text_of(document, "role")
        user = self._accounts.add_user(name, role, password)
        self._note("add user", {"name": user.name, "role": user.role})
        return answered({"user": user._asdict()}, 201)

    def remove_user(self, name: str) -> Response:
        """Forget a user, and end his sessions."""
        user = self._accounts.remove_user(name)
        self._note("remove user", {"name": user.name})
        return answered({"user": user._asdict()})

    def set_password(self, name: str) -> Response:
        """Give a user another password, and end his sessions."""
        user = self._accounts.set_password(name, _text_of(asked(PASSWORDS), "password"))
        self._note("set password", {"name": user.name})
        return answered({"user": user._asdict()})

    def set_role(self, name: str) -> Response:
        """Give a user another role; it counts from his next request on."""
        user = self._accounts.set_role(name, _text_of(asked(ROLES), "role"))
        self._note("set role", {"name": user.name, "role": user.role})
        return answered({"user": user._asdict()})

    def list_tokens(self) -> Response:
        """Every API token, without its word."""
        return answered({"tokens": [token._asdict() for token in self._accounts.tokens()]})

    def add_token(self) -> Response:
        """Make an API token; its word is in this answer and nowhere else."""
        document = asked(TOKENS)
        seconds = _seconds(document, TOKEN_SECONDS)
        name, role = _text_of(document, "name"), _text_of(document, "role")
        token, word = self._accounts.add_token(name, role, seconds)
        self._note("add token", {"name": token.name, "id": token.id, "role": token.role})
        return answered({"token": token._asdict(), "word": word}, 201)

    def revoke_token(self, token: str) -> Response:
        """Forget an API token, by its id or name."""
        revoked = self._accounts.revoke_token(token)
        self._note("revoke token", {"name": revoked.name, "id": revoked.id})
        return answered({"token": revoked._asdict()})

    def add_link(self) -> Response:
        """Make a link that signs a user in once; of nobody, an admin."""
        document = asked(LINKS)
        user = _text_of(document, "user") if document.get("user") is not None else None
        word = self._accounts.add_link(user, _seconds(document, LINK_SECONDS))
        self._note("add link", {"user": user or "nobody"})
        return answered({"path": f"/link/{word}"}, 201)

    def list_audit(self) -> Response:
        """What operators have done, newest first; *before* continues in front of the last one of a page."""
        document = query_words(ENTRIES)
        before = text_of(document, "before", ENTRY_ID) if "before" in document else ""
        found = self._audit.entries(size_of(document, "limit", 50), before)
        entries = [{"id": entry_id, **entry._asdict()} for entry_id, entry in found]
        return answered({"entries": entries, "before": found[-1][0] if found else None})

    def _note(self, action: str, about: dict[str, Any]) -> None:
        self._audit.note(visitor_of(request.environ), action, about)


def _seconds(document: dict[str, Any], default: float) -> float:
    value = document.get("seconds", default)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Refused(400, "malformed", f"seconds: expected a number, got {shown(value, 40)}")
    return value


def _text_of(document: Mapping[str, Any], name: str) -> str:
    """The member *name*; a wrong one is not repeated, for it may be a password."""
    value = document.get(name)
    if not isinstance(value, str) or ANY_TEXT.fullmatch(value) is None:
        raise Refused(400, "malformed", f"{name}: expected 1 to 300 characters")
    return value
