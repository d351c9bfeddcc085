"""The handlers that take a hook's deliveries, and whether they take anything else."""

from __future__ import annotations

from collections.abc import Mapping

from ..config import Hook, nearest_name
from ..errors import BadFilter
from .hook_fit import may_become
from .registry import Registry


def names_of(hook: Hook, known: Registry) -> list[str]:
    """The handlers of each topic that the deliveries of *hook* may have."""
    topics = [topic for topic in known.topics if may_become(hook.topic, topic)]
    return list(dict.fromkeys(handler.name for topic in topics for handler in known.handlers_of(topic)))


def own_names_of(name: str, hooks: Mapping[str, Hook], known: Registry) -> list[str]:
    """The handlers that take deliveries of the hook *name* and of no other.

    Raises BadFilter when there is no such hook, or one of them has another topic or hook, too.
    """
    if (hook := hooks.get(name)) is None:
        near = nearest_name(name, hooks)
        hint = f"did you mean {near}?" if near else "`monqbus check` lists the hooks"
        raise BadFilter(f"hook: {name}: the configuration has no such hook; {hint}")
    names = names_of(hook, known)
    remedy = "pause it by name, or give the hook a topic and a handler of its own"
    for topic in known.topics:
        others = [handler.name for handler in known.handlers_of(topic) if handler.name in names]
        if others and not may_become(hook.topic, topic):
            raise BadFilter(
                f"hook: {name}: its handler {others[0]} has also the topic {topic}, whose tasks "
                f"would wait too; {remedy}"
            )
        for other in hooks.values() if others else ():
            if other.name != name and may_become(other.topic, topic):
                raise BadFilter(
                    f"hook: {name}: its handler {others[0]} takes deliveries of [hook:{other.name}], too, "
                    f"which would wait; {remedy}"
                )
    return names
