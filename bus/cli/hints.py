"""What was probably meant where an answer is empty or a refusal short: names like the one that was given."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..api.client import ApiClient
from ..config import nearest_name
from ..delivery_record import DeliveryFilter
from ..errors import StoreError
from ..model import WILDCARD, Event, EventFilter, Filter
from . import terminal
from .session import OwnAdmin


def tell_of_no_match(admin: OwnAdmin | ApiClient, filter: Filter) -> None:
    """Say on standard error which name or topic of *filter*, that matched no task, is none at all.

    For people: it counts every task by name, which a program that asks each minute shall not pay for. A
    store that does not answer in time is passed over.
    """
    try:
        for sentence in _unknown(admin, filter):
            terminal.note(sentence)
    except StoreError:
        return


def tell_of_no_event(
    admin: OwnAdmin | ApiClient, filter: EventFilter | DeliveryFilter, hooks: Iterable[str]
) -> None:
    """Say on standard error which topic or hook of *filter*, that matched nothing, was probably meant."""
    if filter.hook and filter.hook not in hooks and (near := nearest_name(filter.hook, hooks)):
        terminal.note(f"--hook {filter.hook}: the configuration has no such hook, did you mean {near}?")
    if filter.topic and (near := _near_topic(admin, filter.topic)):
        terminal.note(f"--topic {filter.topic}: no handler has this topic, did you mean {near}?")


def _unknown(admin: OwnAdmin | ApiClient, filter: Filter) -> Iterator[str]:
    if filter.name and WILDCARD not in filter.name:
        names = admin.count(Filter(), "name")
        if filter.name not in names:
            yield f"--name {filter.name}: no task has this name{_remedy(filter.name, names)}"
    if filter.topic and (near := _near_topic(admin, filter.topic)):
        yield f"--topic {filter.topic}: no handler has this topic, did you mean {near}?"


def _remedy(name: str, names: dict[str, int]) -> str:
    if any(known.startswith(name) for known in names):
        return f"; it is the whole name, and {WILDCARD} stands for any text: --name '{name}{WILDCARD}'"
    near = nearest_name(name, names)
    return f", did you mean {near}?" if near else ""


def _near_topic(admin: OwnAdmin | ApiClient, topic: str) -> str:
    """The topic with handlers that *topic*, when it has none, was probably meant to be."""
    topics = admin.topics()
    return "" if topic in topics else nearest_name(topic, topics)


def why_unhandled(admin: OwnAdmin | ApiClient, event: Event) -> str | None:
    """Why an event has no task, and what helps, in one sentence; None for one that has some."""
    if event.task_ids:
        return None
    replay = f"`monqbus events replay {event.id}`"
    if event.is_filtered:
        return f"a rule (`when`) has filtered it: {replay} once the rule lets it through"
    topics = admin.topics()
    if event.topic in topics:
        return f"no handler took it when it came; there is one now: {replay}"
    near = nearest_name(event.topic, topics)
    meant = f", did you mean {near}?" if near else ";"
    return f"no handler for topic {event.topic}{meant} {replay} once there is one"
