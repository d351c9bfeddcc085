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
from ..senders import Sender

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


@lru_cache(maxsize=1024)
def places_in(template: str, sender: Sender) -> frozenset[str]:
    """Where values are looked for: those that *template* asks for, and those of *sender*'s delivery id."""
    names = [one.name for one in PLACEHOLDERS.compile(template).placeholders]
    events = sender.event if "event" in names else ()
    return frozenset([*names, *events, *sender.delivery])
