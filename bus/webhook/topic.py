"""Fills a hook's topic template from a delivery: ``github.{event}`` → ``github.push``. Pure.

Placeholders: ``{event}`` the sender's event type, ``{name}`` the hook, ``{header:X}`` a header,
``{body:dotted.path}`` a value of the JSON body, list indexes as numbers; ``|none`` behind one is its default.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from ..config.topics import PLACEHOLDERS
from ..errors import Refused
from ..placeholders import NoValue

MAX_LENGTH = 128

_UNFIT = re.compile(r"[^A-Za-z0-9_.:-]")


def fill(template: str, lookup: Callable[[str], str | None]) -> str:
    """The topic: *lookup* gives each placeholder's value by its name, such as ``header:X``.

    An empty value is none. Characters unfit for a topic become ``_``. Raises Refused(400) naming the
    placeholder that has neither value nor default, or the length.
    """
    try:
        topic = PLACEHOLDERS.compile(template).fill(lambda placeholder: lookup(placeholder.name) or None)
    except NoValue as error:
        raise Refused(400, "bad_topic", f"topic: the delivery has no value for {error}") from None
    topic = _UNFIT.sub("_", topic)
    if not 1 <= len(topic) <= MAX_LENGTH:
        raise Refused(400, "bad_topic", f"topic: expected 1 to {MAX_LENGTH} characters, got {len(topic)}")
    return topic


@lru_cache(maxsize=256)
def paths_in(template: str, event: str) -> tuple[str, ...]:
    """The paths into a body that *template* asks for, where *event* is the sender's place of ``{event}``."""
    names = [one.name for one in PLACEHOLDERS.compile(template).placeholders]
    places = [event if name == "event" else name for name in names]
    return tuple(place.partition(":")[2] for place in places if place.startswith("body:"))
