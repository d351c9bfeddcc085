"""What cannot be carried over, and texts of a hook that have to be texts."""

from __future__ import annotations

import re
from typing import Any

_CUT = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ue000\ue001]")
_COMMENT = re.compile(r"\s;")


class Lost(Exception):
    """One thing that our configuration cannot say: *what* it is, and the *remedy*. Holds no secret."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what}; {remedy}")


def plain(value: Any, what: str) -> str:
    """*value* as the text of one line. Raises Lost, which says *what* it is and not the value."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise Lost(f"{what}: expected a text, got another kind", "correct it")
    text = str(value)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Lost(f"{what}: expected whole characters, got half of one", "correct it") from None
    if "\ue000" in text:
        raise Lost(f"{what}: a template stands in it", "write its value here and import again")
    if _CUT.search(text):
        raise Lost(f"{what}: expected one line, got control characters", "put it into a script")
    return text


def in_ini(text: str, what: str) -> str:
    """*text* where it can be a value of an INI file, else Lost."""
    if _COMMENT.search(f" {text}") or text != text.strip():
        raise Lost(
            f"{what}: a space and ; begin a comment, or spaces are at its ends", "put it into a script"
        )
    return text


def listed(hook: dict[str, Any], key: str) -> list[dict[str, Any]]:
    """The objects in the list *key* of *hook*; none where it is not there. Raises Lost."""
    found = hook.get(key) or []
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise Lost(f"{key}: expected a list of objects, got something else", "correct it")
    return found
