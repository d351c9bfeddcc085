"""Which delivery a request is: the sender's own id of it, and by what it is recognised when it comes again.

What stands in a header is often not signed: then whoever has recorded a delivery can send it once more under
another id. Such a one is recognised by the hash of its body.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from bson import ObjectId

from ..config.delivery_ids import PLACEHOLDERS
from ..placeholders import NoValue
from ..senders import Sender
from .request import Request, TooManyFields, raw

if TYPE_CHECKING:
    from ..config import Hook

SPARE: Final = "header:idempotency-key"
"""Where the id stands of a sender that has no place of its own for it."""
SLICE_BYTES: Final = 256 * 1024
_PLAIN = re.compile(r"[\x20-\x7e]{1,256}")


class Identity(NamedTuple):
    """The *delivery* id; *guard* as that of an Event; why the id *was_renamed*, or ""."""

    delivery: str | None = None
    guard: str | None = None
    was_renamed: str = ""


@lru_cache(maxsize=1024)
def places_of(delivery_id: str, sender: Sender) -> tuple[str, ...]:
    """Where the id stands: the setting *delivery_id* of a hook, or what its *sender*'s row says."""
    if not delivery_id:
        return sender.delivery
    return tuple(one.name for one in PLACEHOLDERS.compile(delivery_id).placeholders)


@lru_cache(maxsize=1024)
def is_guarded(delivery_id: str, sender: Sender) -> bool:
    """Whether a recorded delivery could come under another id: the content is proven, and the id is not."""
    places = places_of(delivery_id, sender)
    return sender.proves("body:") and not all(map(sender.proves, places))


def identify(
    hook: Hook,
    sender: Sender,
    request: Request,
    lookup: Callable[[str], str | None],
    pause: Callable[[], object],
    *,
    of_event: str = "",
) -> Identity:
    """The identity of a verified delivery to *hook*: *lookup* gives the value at a place.

    That *of_event*, of a CloudEvent, comes before all others; a body may have several, so it is not guarded
    by the body's hash. Lets *pause* run between the slices of a long body.
    """
    given = of_event or _given(hook.delivery_id, sender, lookup) or lookup(SPARE)
    delivery = _stored(given) if given else None
    guard = None
    is_wanted = hook.replay_guard and hook.on_duplicate != "accept" and not of_event
    if is_wanted and is_guarded(hook.delivery_id, sender):
        guard = f"{hook.name}:{_hash(_proven(sender, request), pause)}"
    renamed = "" if given == delivery else "delivery id: not 1 to 256 printable ASCII characters"
    return Identity(delivery, guard, renamed)


def key_of(hook: Hook, delivery: str | None, event_id: ObjectId) -> str | None:
    """The key of an event where it is not that of every delivery of this id: each one is then accepted.

    A line feed is in no id, so that it is never another delivery's.
    """
    if hook.on_duplicate != "accept" or delivery is None:
        return None
    return f"{hook.name}:{delivery}\n{event_id}"


def _given(delivery_id: str, sender: Sender, lookup: Callable[[str], str | None]) -> str | None:
    if delivery_id:
        try:
            return PLACEHOLDERS.compile(delivery_id).fill(lambda one: lookup(one.name) or None)
        except NoValue:
            return None
    return next((value for place in sender.delivery if (value := lookup(place))), None)


def _stored(given: str) -> str:
    """*given* as it is kept: of an odd one the hash."""
    if _PLAIN.fullmatch(given):
        return given
    return f"sha256:{hashlib.sha256(given.encode('utf-8', 'surrogatepass')).hexdigest()}"


def _proven(sender: Sender, request: Request) -> bytes:
    """What of *request* cannot be changed without its signer: the body, and the URL where that is signed.

    Of a form that is signed in the order of its fields their order says nothing.
    """
    content = request.body
    if request.is_form and any(way.proves("form") for way in sender.ways):
        with suppress(TooManyFields):
            content = request.sorted_form()
    return raw(f"{request.method} {request.url}\n") + content if sender.proves("url") else content


def _hash(body: bytes, pause: Callable[[], object]) -> str:
    found = hashlib.sha256(body[:SLICE_BYTES])
    for begin in range(SLICE_BYTES, len(body), SLICE_BYTES):
        pause()
        found.update(body[begin : begin + SLICE_BYTES])
    return found.hexdigest()
