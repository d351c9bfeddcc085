"""Fills a hook's topic template from a delivery: ``github.{event}`` → ``github.push``. Pure.

Placeholders: ``{event}`` the sender's event type, ``{name}`` the hook, ``{header:X}`` a header,
``{query:x}`` a parameter of the URL, ``{body:dotted.path}`` a value of the JSON body, list indexes as
numbers; ``|none`` behind one is its default.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from ..config.topics import FALLBACK_PLACEHOLDERS, LONGEST, PLACEHOLDERS
from ..placeholders import NoValue
from ..senders import Sender
from .identity import places_of

if TYPE_CHECKING:
    from ..config import Hook

_UNFIT = re.compile(r"[^A-Za-z0-9_.:-]")
_HASH_CHARACTERS: Final = 16


class Topic(NamedTuple):
    """A delivery's topic; why it is the fallback (*missing*), and why it was *cut*, "" where it was not."""

    text: str
    missing: str = ""
    cut: str = ""


def fill(hook: Hook, lookup: Callable[[str], str | None]) -> Topic:
    """The topic by *hook*'s template: *lookup* gives the value of a name such as ``header:X``.

    An empty value is none; where one without a default has none, the hook's fallback is the topic. Characters
    unfit for a topic become ``_``; of a long one the end becomes a hash of all of it.
    """
    missing = ""
    try:
        text = PLACEHOLDERS.compile(hook.topic).fill(lambda placeholder: lookup(placeholder.name) or None)
    except NoValue as error:
        missing = f"topic: the delivery has no value for {error}"
        text = FALLBACK_PLACEHOLDERS.compile(hook.topic_fallback).fill(lambda _: hook.name)
    text = _UNFIT.sub("_", text)
    if len(text) <= LONGEST:
        return Topic(text, missing)
    mark = f"-{hashlib.sha256(text.encode('ascii')).hexdigest()[:_HASH_CHARACTERS]}"
    cut = f"topic: expected at most {LONGEST} characters, got {len(text)}"
    return Topic(text[: LONGEST - len(mark)] + mark, missing, cut)


@lru_cache(maxsize=1024)
def paths_in(template: str, sender: Sender, delivery_id: str = "") -> tuple[str, ...]:
    """The paths into a body that the templates ask for, and at which *sender* has its ids and tests."""
    names = [one.name for one in PLACEHOLDERS.compile(template).placeholders]
    events = sender.event if "event" in names or sender.tests else ()
    places = (*names, *events, sender.offered, *places_of(delivery_id, sender))
    return tuple({place[5:]: None for place in places if place.startswith("body:")})
