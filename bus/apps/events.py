"""Publishing: `post_event`, its form for asyncio, and Allura's `g`."""

from __future__ import annotations

from typing import Any

from bson import ObjectId

from ..errors import BadDeclaration
from ..model import TOPIC
from ..safe_text import shown
from .calls import announcement, held
from .context import capture
from .poster import off_loop, poster


def post_event(topic: str, *args: Any, **kwargs: Any) -> ObjectId:
    """Publish an event: one task for each handler of *topic*, stored in one step. Returns its id.

    Handlers are called with ``(topic, *args, **kwargs)``. Blocks on the store. Raises NotStorable,
    NotBound, StoreUnavailable, and BadDeclaration for a topic that no handler could have.
    """
    if not isinstance(topic, str) or TOPIC.fullmatch(topic) is None:
        raise BadDeclaration(
            f"post_event: expected a topic of letters, digits and _.:-, got {shown(topic, 80)}"
        )
    if (batch := held()) is not None:
        batch.require_room()
        batch.events.append(announcement(poster().clock, topic, args, kwargs, capture()))
        return batch.events[-1].event.id
    event_id = poster().publish(topic, args, kwargs).event_id
    assert event_id is not None  # noqa: S101 - an event's receipt always names it
    return event_id


async def post_event_async(topic: str, *args: Any, **kwargs: Any) -> ObjectId:
    """As `post_event`, for asyncio: the loop turns meanwhile; the arguments must not change."""
    return await off_loop(lambda: post_event(topic, *args, **kwargs), lambda own: f"event {own} is stored")


class Globals:
    """Allura's `g`, as far as events go: ``g.post_event(topic, ...)``."""

    post_event = staticmethod(post_event)


g = Globals()
