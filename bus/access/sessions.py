"""Sessions of browsers: the cookie has a random word, the store its hash, who it is and when it ends."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final, NamedTuple

from ..model import Record
from .book import Book, is_over, moment, record, text

SECURE_COOKIE: Final = "__Host-monqbus"
"""Over https: the browser takes it from this host alone, never by http, as its prefix asks."""
PLAIN_COOKIE: Final = "monqbus-session"
"""Over http, which only this machine may use: a browser would not keep the other one."""
SEEN_SECONDS: Final = 60.0
"""So far apart at least it is written that a session was used."""
MOST_OF_ONE: Final = 20
MOST: Final = 1_000
LONGEST_COOKIE: Final = 200


class Session(NamedTuple):
    """*word* is what the cookie holds; only the browser keeps it."""

    word: str
    id: str
    user: str
    role: str

    @property
    def csrf_token(self) -> str:
        """Of its forms: made from the cookie's word, which no page can read, and of no use to find it."""
        return hmac.new(self.word.encode(), b"monqbus csrf", hashlib.sha256).hexdigest()


class Sessions:
    """Begins, finds and ends them; *idle* and *lifetime* in seconds. Blocks and raises as the store does."""

    def __init__(self, book: Book, *, idle: float, lifetime: float) -> None:
        self._book = book
        self._idle = timedelta(seconds=idle)
        self._lifetime = timedelta(seconds=lifetime)

    def begin(self, user: str, role: str, address: str) -> Session:
        """A new one, under a word that nobody has had. Those that are over go, and the oldest of too many."""
        now = self._book.now()
        word = secrets.token_urlsafe(32)
        fields = {
            "user": user,
            "role": role,
            "address": address,
            "began": now,
            "seen": now,
            "expires": now + self._idle,
        }
        made = Session(word, id_of(word), user, role)
        self._book.keep(record("session", made.id, fields), *map(_forgotten, self._too_many(user)))
        return made

    def find(self, word: str) -> Session | None:
        """The one of the cookie's *word*, whose time is lengthened; None when there is none any more."""
        if not 0 < len(word) <= LONGEST_COOKIE or not word.isascii():
            return None
        found = self._book.get("session", id_of(word))
        now = self._book.now()
        began = None if found is None else moment(found.fields.get("began"))
        if found is None or is_over(found, now) or began is None or began + self._lifetime <= now:
            return None
        seen = moment(found.fields.get("seen"))
        if seen is None or (now - seen).total_seconds() >= SEEN_SECONDS:
            expires = min(now + self._idle, began + self._lifetime)
            fields = {**found.fields, "seen": now, "expires": expires}
            self._book.keep_if_it_goes(Record(found.kind, found.name, fields, found.version))
        return Session(word, id_of(word), text(found, "user"), text(found, "role"))

    def end(self, session_id: str) -> bool:
        """End one; whether there was one."""
        found = self._book.get("session", session_id)
        return found is not None and self._book.keep(_forgotten(found)) == [True]

    def end_of_user(self, user: str) -> int:
        """End every session of *user*; how many that were."""
        found = [one for one in self._book.all("session").values() if text(one, "user") == user]
        return sum(self._book.keep(*map(_forgotten, found))) if found else 0

    def _too_many(self, user: str) -> list[Record]:
        now = self._book.now()
        stored = sorted(self._book.all("session").values(), key=lambda one: str(one.fields.get("began")))
        over = [one for one in stored if is_over(one, now)]
        living = [one for one in stored if not is_over(one, now)]
        own = [one for one in living if text(one, "user") == user]
        gone = own[: max(0, len(own) + 1 - MOST_OF_ONE)]
        rest = [one for one in living if one not in gone]
        return [*over, *gone, *rest[: max(0, len(rest) + 1 - MOST)]]


def id_of(word: str) -> str:
    """What is stored of a random word: whoever reads the store cannot use it."""
    return hashlib.sha256(word.encode()).hexdigest()


def cookie_of(environ: Mapping[str, Any], *, is_secure: bool) -> str:
    """The session's word that a request brings; "" when it brings none, or several: one is then another's."""
    name = SECURE_COOKIE if is_secure else PLAIN_COOKIE
    pairs = (part.strip().partition("=") for part in environ.get("HTTP_COOKIE", "").split(";"))
    found = [value for key, _, value in pairs if key == name]
    return found[0] if len(found) == 1 else ""


def set_cookie(word: str, *, is_secure: bool) -> tuple[str, str]:
    """The header that gives a browser the session's *word*; "" takes it away."""
    name = SECURE_COOKIE if is_secure else PLAIN_COOKIE
    flags = "Path=/; HttpOnly; SameSite=Strict" + ("; Secure" if is_secure else "")
    return "Set-Cookie", f"{name}={word}; {flags}" + ("" if word else "; Max-Age=0")


def _forgotten(one: Record) -> Record:
    return Record(one.kind, one.name, {}, one.version)
