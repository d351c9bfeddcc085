"""Regular expressions of operators, searched by RE2 in a time that grows only with the text.

Python's `re` tries every way to match: one short pattern takes years, and holds the interpreter lock all
the time. RE2 knows no back-references and no look-around, which is why it can promise more. Nothing is
matched by `re` that came from outside.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

LONGEST_PATTERN: Final = 1000
"""Characters of one pattern."""
LONGEST_SEARCHED: Final = 64 * 1024
"""Characters of one text; a stored traceback is shorter. Of a longer text the beginning is searched."""
_LARGEST_PROGRAM: Final = 128 * 1024
"""Bytes that RE2 may take for a pattern: counted repetitions multiply, and the time with them."""
_MOST_KEPT: Final = 8
_MEANS_MORE: Final = re.compile(r"[\\.^$|?*+()\[\]{}]")


class BadRegex(ValueError):
    """A pattern that RE2 does not take; the text says what is wrong with it."""


@lru_cache(_MOST_KEPT)
def searching(pattern: str) -> Callable[[str], bool]:
    """A function that tells whether *pattern* is found in a text. Raises BadRegex."""
    import re2

    if len(pattern) > LONGEST_PATTERN:
        raise BadRegex(f"it is longer than {LONGEST_PATTERN} characters")
    options = re2.Options()
    options.log_errors = False  # RE2 would write to standard error itself
    options.never_capture = True
    options.max_mem = _LARGEST_PROGRAM
    try:
        compiled = re2.compile(pattern.encode(), options)
    except UnicodeEncodeError:
        raise BadRegex("it holds half of a character") from None
    except re2.error as error:
        raise BadRegex(_words(error)) from None
    return lambda text: compiled.search(text[:LONGEST_SEARCHED].encode("utf-8", "replace")) is not None


def literal(text: str) -> str:
    """The pattern that finds *text* as it stands, with any character for a NUL, which no pattern can hold."""
    return _MEANS_MORE.sub(r"\\\g<0>", text).replace("\x00", ".")


def _words(error: Exception) -> str:
    """What RE2 says, which may quote a cut character of the pattern."""
    said: Any = error.args[0] if error.args else ""
    return said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
