"""Text from outside on its way to a log line or a terminal."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache, wraps
from typing import AnyStr, Final, TypeVar

SHORT: Final = 64

Result = TypeVar("Result")

# control characters, line separators, bidirectional overrides and lone surrogates
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def harmless(text: str) -> str:
    """*text* with everything that could break or disguise a line written as an escape."""
    if text.isascii() and text.isprintable():
        return text
    return _UNSAFE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def shown(value: object, limit: int = 60) -> str:
    """`repr` of *value* as a message quotes it: at most *limit* characters, whatever its `__repr__` does."""
    try:
        return repr(value)[:limit]
    except Exception:  # noqa: BLE001 - a user's __repr__ may do anything; that of a huge int raises
        return f"<{type(value).__name__}>"


def cached_if_short(most: int) -> Callable[[Callable[[AnyStr], Result]], Callable[[AnyStr], Result]]:
    """Remember *most* answers of a function, to texts of at most SHORT characters; others are found anew.

    `lru_cache` bounds how many texts it keeps and not how long they are: what strangers choose, header
    names for example, could be 64 KiB each.
    """

    def decorate(find: Callable[[AnyStr], Result]) -> Callable[[AnyStr], Result]:
        known = lru_cache(maxsize=most)(find)

        @wraps(find)
        def answer(text: AnyStr) -> Result:
            return known(text) if len(text) <= SHORT else find(text)

        return answer

    return decorate
