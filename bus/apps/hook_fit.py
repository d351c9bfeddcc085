"""Whether handlers take the deliveries of the hooks: they are called with `(topic, event)`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from ..config import Hook
from .registry import Registry, Task


class Misfits(NamedTuple):
    """A sentence about each handler that does not take what a hook makes it called with.

    *certain* for a fixed topic, *possible* for one that a hook's placeholders may make.
    """

    certain: list[str]
    possible: list[str]


def misfits(hooks: Iterable[Hook], known: Registry) -> Misfits:
    """The handlers of *known* that do not take the deliveries of *hooks*."""
    found = Misfits([], [])
    for hook in hooks:
        is_fixed = "{" not in hook.topic
        for topic in known.topics:
            if may_become(hook.topic, topic):
                sentences = [_misfit(handler, topic, hook.name) for handler in known.handlers_of(topic)]
                (found.certain if is_fixed else found.possible).extend(filter(None, sentences))
    return found


def may_become(template: str, topic: str) -> bool:
    """Whether a hook's *template* may become *topic*, as far as the ends of one with placeholders tell."""
    if "{" not in template:
        return topic == template
    start, end = template.partition("{")[0], template.rpartition("}")[2]
    return len(topic) > len(start) + len(end) and topic.startswith(start) and topic.endswith(end)


def _misfit(handler: Task[..., Any], topic: str, hook: str) -> str | None:
    if (fault := handler.parameters.misfit([topic, None], {})) is None:
        return None
    return (
        f"{handler.where}: {handler.name}{handler.parameters}: a delivery of [hook:{hook}] for {topic!r} "
        f"calls it with (topic, event): {fault}; declare it with these two"
    )
