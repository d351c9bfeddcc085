"""Makes text from outside safe to print in a log line or a terminal.

One rule for every outlet: what Python itself would not print as it is (`str.isprintable`: control and
format characters, bidirectional signs, line separators, surrogates, blanks that are no space) is
written as an escape, and so is what takes no room on the screen although it counts as printable.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from json import dumps
from typing import Any, AnyStr, Final, TypeVar

SHORT: Final = 64

Result = TypeVar("Result")

# Default_Ignorable_Code_Point of Unicode's DerivedCoreProperties.txt, as far as `isprintable` lets it
# pass; but for the variation selectors U+FE00 to U+FE0F, which every second emoji carries
_INVISIBLE = "\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u3164\uffa0\U000e0100-\U000e01ef"
_IGNORABLE = re.compile(f"[{_INVISIBLE}]")
_SUSPECT = re.compile(f"[^\x20-\x7e\u00a1-\u00ac\u00ae-\u024f]|[{_INVISIBLE}]")


def harmless(text: str) -> str:
    """*text* with everything that could break, forge or disguise a line written as an escape."""
    if text.isprintable() and (text.isascii() or not _IGNORABLE.search(text)):
        return text
    return _SUSPECT.sub(_escaped, text)


def harmless_json(value: Any, **form: Any) -> str:
    """*value* as JSON that a terminal shows as it is: the same characters, as JSON's own escapes.

    *form* goes to `dumps`. With ``indent`` the text has several lines.
    """
    return _SUSPECT.sub(_json_escaped, dumps(value, ensure_ascii=False, **form))


def without_surrogates(text: str) -> str:
    """*text* with lone surrogates, which UTF-8 and so no store can keep, written as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def shown(value: object, limit: int = 60) -> str:
    """`repr` of *value* as a message quotes it: at most *limit* characters, whatever its `__repr__` does."""
    try:
        return repr(value)[:limit]
    except Exception:  # noqa: BLE001 - a user's __repr__ may do anything; that of a huge int raises
        return f"<{type(value).__name__}>"


def shortened(text: str, limit: int) -> str:
    """*text* in at most *limit* characters, without its middle: an error says at its end what to do."""
    if len(text) <= limit:
        return text
    front = (limit - 1) // 2
    return f"{text[:front]}…{text[front + 1 - limit :]}"


def _is_safe(char: str) -> bool:
    return char.isprintable() and not _IGNORABLE.match(char)


def _escaped(match: re.Match[str]) -> str:
    char = match[0]
    return char if _is_safe(char) else char.encode("unicode_escape").decode()


def _json_escaped(match: re.Match[str]) -> str:
    char = match[0]
    return char if char == "\n" or _is_safe(char) else dumps(char)[1:-1]


class _Known(dict[AnyStr, Result]):
    """Answers of *find*: looked up without a call of Python's, all forgotten when they are too many."""

    def __init__(self, find: Callable[[AnyStr], Result], most: int) -> None:
        super().__init__()
        self._find: Callable[[AnyStr], Result] = find
        self._most = most

    def __missing__(self, text: AnyStr) -> Result:
        answer: Result = self._find(text)
        if len(text) <= SHORT:
            if len(self) >= self._most:
                self.clear()
            self[text] = answer
        return answer


def cached_if_short(most: int) -> Callable[[Callable[[AnyStr], Result]], Callable[[AnyStr], Result]]:
    """Remember *most* answers of a function, to texts of at most SHORT characters; others are found anew.

    `lru_cache` bounds how many texts it keeps and not how long they are: what strangers choose, header
    names for example, could be 64 KiB each.
    """
    return lambda find: _Known(find, most).__getitem__
