"""What each part of a filter may hold: the one check for the API, the command line and `admin`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, TypeGuard

from . import regex
from .clock import UTC
from .errors import BadFilter
from .safe_text import shown

LONGEST_TEXT: Final = 1000
"""Characters of one text of a filter."""
MOST_VALUES: Final = 10_000
"""Ids, states or names of one filter: SQLite takes 32,766 values a query."""


def require_moment(part: str, moment: object) -> None:
    """Raise BadFilter unless *moment* is one that a store can be asked for, or None."""
    if not is_moment(moment):
        raise BadFilter(f"{part}: expected a time with its zone, got {shown(moment)}")


def require_text(part: str, text: object) -> None:
    """Raise BadFilter unless *text* is one that a store can be asked for."""
    if not is_text(text):
        raise BadFilter(f"{part}: expected text of at most {LONGEST_TEXT} characters, got {shown(text)}")


def require_all(part: str, values: object, expected: str, fits: Callable[[Any], bool]) -> None:
    """Raise BadFilter unless *values* is a tuple of what *fits*."""
    if not isinstance(values, tuple):
        raise BadFilter(f"{part}: expected {expected}, got {shown(values)}")
    if len(values) > MOST_VALUES:
        raise BadFilter(f"{part}: expected at most {MOST_VALUES}, got {len(values)}; ask in several steps")
    for value in values:
        if not fits(value):
            raise BadFilter(f"{part}: expected {expected}, got {shown(value)}")


def require_regex(part: str, pattern: str) -> None:
    """Raise BadFilter unless *pattern* is one of `regex`."""
    try:
        regex.searching(pattern)
    except regex.BadRegex as error:
        remedy = "look-around and back-references are not known"
        raise BadFilter(
            f"{part}: expected a regular expression, got {shown(pattern)}: {error}; {remedy}"
        ) from error


def is_text(value: object) -> bool:
    """Whether each store can be asked for it: a pattern of MongoDB ends at a NUL."""
    return is_whole(value) and len(value) <= LONGEST_TEXT and "\x00" not in value


def is_whole(value: object) -> TypeGuard[str]:
    """Whether it is text without half of a character, which no store could be asked for."""
    return isinstance(value, str) and value.encode("utf-8", "replace").decode() == value


def is_moment(value: object) -> bool:
    """Whether it is none, or one of the years 1 to 9999 in UTC."""
    try:
        return value is None or (isinstance(value, datetime) and bool(value.tzinfo and value.astimezone(UTC)))
    except OverflowError:
        return False
