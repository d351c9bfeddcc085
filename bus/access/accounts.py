"""Users, API tokens and one-time links: what an admin makes, lists and takes away.

Everybody who may call these has shown that he may; each is one durable write when it returns.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from ..errors import BadFilter, NotFound, StoreError
from ..model import Record
from ..safe_text import shown
from .book import Book, is_over, moment, record, text
from .passwords import Passwords, require_password
from .roles import OF_TOKENS, OF_USERS, Role, role_of
from .sessions import Sessions, id_of

NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._@+-]{0,62}[A-Za-z0-9])?")
TOKEN: Final = re.compile(r"mqb_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
"""As secret scanners like it: a word of ours, which token it is, and 256 random bits."""
TOKEN_SECONDS: Final = 90 * 86_400.0
LONGEST_TOKEN_SECONDS: Final = 3_660 * 86_400.0
LINK_SECONDS: Final = 900.0
LONGEST_LINK_SECONDS: Final = 86_400.0
FIRST_USER: Final = "admin"
"""Who signs in by a link that names nobody."""
TRIES: Final = 5
MOST_USERS: Final = 1_000
MOST_TOKENS: Final = 1_000
USED_SECONDS: Final = 3_600.0
KNOWN_PLACES: Final = 8
"""From where a user has signed in last: there he does not wait for what others try under his name."""


class User(NamedTuple):
    """*has_password* is False for one whom only a proxy or a link signs in."""

    name: str
    role: str
    has_password: bool
    created: datetime | None


class Token(NamedTuple):
    """An API token, without its word: that was shown once."""

    id: str
    name: str
    role: str
    created: datetime | None
    expires: datetime | None
    used: datetime | None


class Accounts:
    """Blocks and raises as the store does; BadFilter for what cannot be, NotFound for what is not there."""

    def __init__(self, book: Book, passwords: Passwords, sessions: Sessions) -> None:
        self._book = book
        self._passwords = passwords
        self._sessions = sessions

    # users

    def users(self) -> list[User]:
        """Every user, by name."""
        return [_user(name, one) for name, one in sorted(self._book.all("user").items())]

    def user(self, name: str) -> User | None:
        """One user; a record that nobody can read is none."""
        found = self._book.get("user", name)
        return (
            None if found is None or role_of(found.fields.get("role")) not in OF_USERS else _user(name, found)
        )

    def add_user(self, name: str, role: str, password: str | None) -> User:
        """Make a user; without a *password* only a proxy or a link signs him in. Raises BadFilter for a name
        that is taken.
        """
        _require_name(name)
        fields = {"role": _role(role, OF_USERS).word, "created": self._book.now(), "password": ""}
        if len(self._book.all("user")) >= MOST_USERS:
            raise BadFilter(f"user: expected at most {MOST_USERS} users, got one more; remove some")
        if password is not None:
            require_password(password, name)
            fields["password"] = self._passwords.stored(password)
        if self._book.keep(record("user", name, fields)) != [True]:
            raise BadFilter(
                f"user: expected a new name, got {name}, which there is; `monqbus user list` shows them"
            )
        return User(name, str(fields["role"]), password is not None, self._book.now())

    def remove_user(self, name: str) -> User:
        """Forget a user, and end his sessions."""
        found = self._existing(name)
        self._change(name, lambda _: {})
        self._sessions.end_of_user(name)
        return _user(name, found)

    def set_password(self, name: str, password: str) -> User:
        """Give a user another password, and end his sessions."""
        require_password(password, name)
        self._existing(name)
        stored = self._passwords.stored(password)
        changed = self._change(name, lambda fields: {**fields, "password": stored})
        self._sessions.end_of_user(name)
        return _user(name, changed)

    def set_role(self, name: str, role: str) -> User:
        """Give a user another role; it counts from his next request on."""
        word = _role(role, OF_USERS).word
        return _user(name, self._change(name, lambda fields: {**fields, "role": word}))

    def is_known(self, name: str, place: str) -> bool:
        """Whether the user has signed in from *place*, one of his last KNOWN_PLACES."""
        found = self._book.get("user", name) if NAME.fullmatch(name) else None
        return found is not None and place in _places(found)

    def remember(self, name: str, place: str) -> None:
        """Note that the user has signed in from *place*."""
        found = self._book.get("user", name)
        if found is not None and place not in _places(found):
            places = [*_places(found), place][-KNOWN_PLACES:]
            self._book.keep_if_it_goes(
                Record(found.kind, found.name, {**found.fields, "places": places}, found.version)
            )

    def fits(self, name: str, password: str) -> bool:
        """Whether this is the user's password; takes as long for a user that is not there."""
        found = self._book.get("user", name) if NAME.fullmatch(name) else None
        return self._passwords.fits(password, "" if found is None else text(found, "password"))

    def _existing(self, name: str) -> Record:
        if (found := self._book.get("user", name)) is None:
            raise NotFound(f"user {name:.80}: not found; `monqbus user list` shows them")
        return found

    def _change(self, name: str, change: Any) -> Record:
        for _ in range(TRIES):
            found = self._existing(name)
            changed = Record(found.kind, found.name, change(dict(found.fields)), found.version)
            if self._book.keep(changed) == [True]:
                return changed
        raise StoreError(f"user {name}: others change this user at the same moment; try again")

    # tokens

    def tokens(self) -> list[Token]:
        """Every token, those that are over too, by name."""
        found = [_token(token_id, one) for token_id, one in self._book.all("token").items()]
        return sorted(found, key=lambda one: (one.name, one.id))

    def add_token(self, name: str, role: str, seconds: float = TOKEN_SECONDS) -> tuple[Token, str]:
        """Make a token for *seconds*; with the word that a client sends, which is stored nowhere."""
        _require_name(name)
        word = _role(role, OF_TOKENS).word
        if not 1.0 <= seconds <= LONGEST_TOKEN_SECONDS:
            raise BadFilter(
                f"expires: expected 1s to {LONGEST_TOKEN_SECONDS / 86_400:.0f}d, got {seconds:g}s"
            )
        over = [
            one for one in self._book.all("token").values() if is_over(one, self._book.now() - timedelta(30))
        ]
        if len(self._book.all("token")) - len(over) >= MOST_TOKENS:
            raise BadFilter(f"token: expected at most {MOST_TOKENS}, got one more; revoke some")
        token_id, secret, now = secrets.token_hex(6), secrets.token_urlsafe(32), self._book.now()
        fields = {
            "name": name,
            "role": word,
            "hash": id_of(secret),
            "created": now,
            "expires": now + timedelta(seconds=seconds),
        }
        made = record("token", token_id, fields)
        self._book.keep(made, *(Record(one.kind, one.name, {}, one.version) for one in over))
        return _token(token_id, made), f"mqb_{token_id}_{secret}"

    def revoke_token(self, token: str) -> Token:
        """Forget a token, by its id or, when one alone has it, its name."""
        stored = self._book.all("token")
        meant = [one for one in self.tokens() if token in (one.id, one.name)]
        if not meant:
            raise NotFound(f"token {token:.80}: not found; `monqbus token list` shows them")
        if len(meant) > 1:
            ids = ", ".join(one.id for one in meant)
            raise BadFilter(
                f"token: expected one, got {len(meant)} that are called {token}: {ids}; name the id"
            )
        found = stored[meant[0].id]
        self._book.keep(Record(found.kind, found.name, {}, found.version))
        return meant[0]

    def token_of(self, word: str) -> Token | None:
        """The token that a client has sent, None when it is none, or over."""
        if (match := TOKEN.fullmatch(word)) is None or (found := self._book.get("token", match[1])) is None:
            return None
        now = self._book.now()
        if not hmac.compare_digest(text(found, "hash"), id_of(match[2])) or is_over(found, now):
            return None
        used = moment(found.fields.get("used"))
        if used is None or (now - used).total_seconds() >= USED_SECONDS:
            self._book.keep_if_it_goes(
                Record(found.kind, found.name, {**found.fields, "used": now}, found.version)
            )
        return _token(match[1], found)

    # links

    def add_link(self, user: str | None = None, seconds: float = LINK_SECONDS) -> str:
        """Make a link that signs *user* in once, within *seconds*; its last segment. Of nobody, an admin."""
        if user is not None:
            self._existing(user)
        if not 1.0 <= seconds <= LONGEST_LINK_SECONDS:
            raise BadFilter(f"expires: expected 1s to {LONGEST_LINK_SECONDS / 3_600:.0f}h, got {seconds:g}s")
        word, now = secrets.token_urlsafe(32), self._book.now()
        over = [one for one in self._book.all("link").values() if is_over(one, now)]
        fields = {"user": user or "", "created": now, "expires": now + timedelta(seconds=seconds)}
        gone = (Record(one.kind, one.name, {}, one.version) for one in over)
        self._book.keep(record("link", id_of(word), fields), *gone)
        return word

    def link_holds(self, word: str) -> bool:
        """Whether the link can still be used."""
        found = self._book.get("link", id_of(word))
        return found is not None and not is_over(found, self._book.now())

    def use_link(self, word: str) -> tuple[str, str] | None:
        """Use a link up: the name and role of whom it signs in; None when it cannot be used any more."""
        found = self._book.get("link", id_of(word))
        if found is None or is_over(found, self._book.now()):
            return None
        if self._book.keep(Record(found.kind, found.name, {}, found.version)) != [True]:
            return None  # somebody else was faster
        if not (name := text(found, "user")):
            return FIRST_USER, Role.ADMIN.word
        user = self.user(name)
        return None if user is None else (name, user.role)


def _places(one: Record) -> list[str]:
    found = one.fields.get("places")
    return [place for place in found if isinstance(place, str)] if isinstance(found, list) else []


def _user(name: str, one: Record) -> User:
    return User(name, text(one, "role"), bool(text(one, "password")), moment(one.fields.get("created")))


def _token(token_id: str, one: Record) -> Token:
    moments = (moment(one.fields.get(field)) for field in ("created", "expires", "used"))
    return Token(token_id, text(one, "name"), text(one, "role"), *moments)


def _require_name(name: object) -> None:
    if not isinstance(name, str) or NAME.fullmatch(name) is None:
        raise BadFilter(
            f"name: expected 1 to 64 letters, digits and . _ @ + -, got {shown(name)}; write alice"
        )


def _role(word: object, allowed: tuple[Role, ...]) -> Role:
    role = role_of(word)
    if role not in allowed:
        raise BadFilter(f"role: expected {' or '.join(one.word for one in allowed)}, got {shown(word)}")
    return role


def row(one: User | Token) -> Mapping[str, Any]:
    """Its parts by name."""
    return one._asdict()
