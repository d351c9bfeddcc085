"""Passwords, as scrypt (RFC 7914) makes them hard to guess from what is stored.

The cost is OWASP's third of equal ones (Password Storage Cheat Sheet): 32 MiB and a quarter of a second a
time. One is computed at a time, in a native thread: a crowd that tries passwords fills no memory and holds up
no task.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import re
import threading
from collections.abc import Callable
from typing import Any, Final

from ..errors import BadFilter, Refused

SHORTEST: Final = 12
LONGEST: Final = 256
"""Characters: ASVS 5.0 V6.2.1 and V6.2.9."""
MOST_WAITING: Final = 16
SALT_BYTES: Final = 16
HASH_BYTES: Final = 32
_STORED: Final = re.compile(
    r"scrypt\$ln=([0-9]{1,2}),r=([0-9]{1,2}),p=([0-9]{1,2})\$([A-Za-z0-9+/=]+)\$([A-Za-z0-9+/=]+)"
)
_MOST_BYTES: Final = 256 * 1024**2


class Passwords:
    """Makes and compares what is stored of passwords. *apart* calls a function in a native thread.

    The cost is 2**ln times r times 128 bytes, p times.
    """

    def __init__(
        self,
        apart: Callable[..., Any] = lambda call, args: call(*args),
        *,
        ln: int = 15,
        r: int = 8,
        p: int = 3,
    ) -> None:
        self._apart = apart
        self._cost = (ln, r, p)
        self._turn = threading.Lock()
        self._waiting = 0

    def stored(self, password: str) -> str:
        """What is stored of *password*. Blocks for as long as it takes; other greenlets go on."""
        salt = os.urandom(SALT_BYTES)
        ln, r, p = self._cost
        made = self._derive(password, salt, self._cost)
        return f"scrypt$ln={ln},r={r},p={p}${_text(salt)}${_text(made)}"

    def fits(self, password: str, stored: str) -> bool:
        """Whether *password* is the one. Takes as long when nothing is *stored*, and then it never is.

        Raises Refused(429) when too many wait for their turn.
        """
        match = _STORED.fullmatch(stored)
        cost = self._cost if match is None else (int(match[1]), int(match[2]), int(match[3]))
        try:
            salt, expected = (
                (b"\0" * SALT_BYTES, b"") if match is None else (_bytes(match[4]), _bytes(match[5]))
            )
        except binascii.Error:
            return False
        if len(password) > LONGEST or not _is_bearable(*cost):
            return False
        made = self._derive(password, salt, cost)
        return match is not None and hmac.compare_digest(made, expected)

    def _derive(self, password: str, salt: bytes, cost: tuple[int, int, int]) -> bytes:
        if self._waiting >= MOST_WAITING:
            raise Refused(
                429,
                "too_many_sign_ins",
                "sign-in: too many try at this moment; try again",
                {"Retry-After": "5"},
            )
        self._waiting += 1
        try:
            with self._turn:
                made: bytes = self._apart(_scrypt, (password.encode("utf-8", "surrogatepass"), salt, *cost))
                return made
        finally:
            self._waiting -= 1


def require_password(password: str, name: str) -> None:
    """Raise BadFilter for a password that is easily guessed (ASVS 5.0 V6.2). It is never in the message."""
    if not SHORTEST <= len(password) <= LONGEST:
        raise BadFilter(
            f"password: expected {SHORTEST} to {LONGEST} characters, got {len(password)}; "
            "take a few words, or one from a password manager"
        )
    if len(set(password)) < 5 or name.lower() in password.lower():
        raise BadFilter(
            "password: expected at least 5 different characters and not the user's name, got one that is "
            "easily guessed; take a few words"
        )


def _scrypt(password: bytes, salt: bytes, ln: int, r: int, p: int) -> bytes:
    room = 128 * r * (2**ln + p + 2)
    return hashlib.scrypt(password, salt=salt, n=2**ln, r=r, p=p, maxmem=room + 1024**2, dklen=HASH_BYTES)


def _is_bearable(ln: int, r: int, p: int) -> bool:
    """Whether what is stored asks for no more than a machine has; others may write to the store."""
    return 0 < ln < 24 and r > 0 and 0 < p <= 16 and 128 * r * 2**ln <= _MOST_BYTES


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
