"""Fills a hook's topic template from a delivery: ``github.{event}`` → ``github.push``. Pure.

Placeholders: ``{event}`` the sender's event type, ``{name}`` the hook, ``{header:X}`` a header,
``{body:dotted.path}`` a value of the JSON body, list indexes as numbers.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from ..errors import Refused

MAX_LENGTH = 128

_HOLE = re.compile(r"\{(event|name|header:[^{}]+|body:[^{}]+)\}")
_UNFIT = re.compile(r"[^A-Za-z0-9_.:-]")


def fill(template: str, lookup: Callable[[str], str | None]) -> str:
    """The topic: *lookup* gives each placeholder's value, characters unfit for a topic become ``_``.

    Raises Refused(400) naming the placeholder that has no value, or the length.
    """
    words = _words(template)
    topic = "".join(_value(word, lookup) if odd % 2 else word for odd, word in enumerate(words))
    topic = _UNFIT.sub("_", topic)
    if not 1 <= len(topic) <= MAX_LENGTH:
        raise Refused(400, "bad_topic", f"topic: expected 1 to {MAX_LENGTH} characters, got {len(topic)}")
    return topic


@lru_cache(maxsize=256)
def paths_in(template: str, event: str) -> tuple[str, ...]:
    """The paths into a body that *template* asks for, where *event* is the sender's place of ``{event}``."""
    places = [event if word == "event" else word for word in _words(template)[1::2]]
    return tuple(place.partition(":")[2] for place in places if place.startswith("body:"))


@lru_cache(maxsize=256)
def _words(template: str) -> list[str]:
    return _HOLE.split(template)


def _value(placeholder: str, lookup: Callable[[str], str | None]) -> str:
    value = lookup(placeholder)
    if not value:
        raise Refused(400, "bad_topic", f"topic: the delivery has no value for {{{placeholder}}}")
    return value
