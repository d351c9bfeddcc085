"""Which handlers take an event: those whose rules hold for it, unless the rule of its hook does not."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..config import Hook
from ..errors import NotFound
from ..model import Event
from ..rules import subject_of
from .registry import Task


def takers(
    event: Event, handlers: Sequence[Task[..., Any]], pause: Callable[[], object]
) -> Sequence[Task[..., Any]]:
    """Those of *handlers* whose rules hold for *event*; notes on it when rules let none of them.

    None of them for what the rule of its hook has filtered. *pause* is called while a long body is parsed.
    """
    if event.is_filtered:
        return ()
    rules = [rule for handler in handlers if (rule := handler.rules.get(event.topic))]
    if not rules:
        return handlers
    subject = subject_of(event, rules, pause=pause)
    found = [
        handler
        for handler in handlers
        if (rule := handler.rules.get(event.topic)) is None or rule.holds(subject)
    ]
    event.is_filtered = not found
    return found


def require_let_through(event: Event, hooks: Mapping[str, Hook], pause: Callable[[], object]) -> None:
    """Ask the rule of *event*'s hook as it is now, from what is stored. Raises NotFound unless it holds."""
    event.is_filtered = False
    hook = hooks.get(event.hook or "")
    if hook is None or hook.when is None or not event.is_delivery:
        return
    if not hook.when.holds(subject_of(event, (hook.when,), sender=hook.verify, pause=pause)):
        raise NotFound(
            f"event {event.id}: filtered, the rule (`when`) of [hook:{hook.name}] does not hold for it; "
            "change the rule, then replay it"
        )


def no_taker(event: Event, near: str) -> NotFound:
    """The error about a replay of *event* that no handler takes; *near* is the topic that was meant."""
    if event.is_filtered:
        return NotFound(
            f"event {event.id}: filtered, the rule (`when`) of no handler for topic {event.topic} holds "
            "for it; change one, then replay it"
        )
    meant = f", did you mean {near}?" if near else ";"
    return NotFound(
        f"event {event.id}: no handler for topic {event.topic}{meant} declare one, then replay it"
    )
