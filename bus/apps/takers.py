"""Which handlers take an event: those whose rules hold for it, unless the rule of its hook does not."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..config import Hook
from ..errors import NoSerialKey, NotFound
from ..model import Event
from ..rules import KeyPath, Rule, subject_of
from .registry import Task


def takers(
    event: Event, handlers: Sequence[Task[..., Any]], pause: Callable[[], object], hook: Hook | None = None
) -> Sequence[Task[..., Any]]:
    """Those of *handlers* whose rules hold for *event*; notes on it when rules let none of them.

    None of them for what the rule of its hook has filtered. *pause* is called while a long body is parsed:
    once for all that rules and serial keys, that of *hook* too, read of it.
    """
    if event.is_filtered:
        return ()
    rules = [rule for handler in handlers if (rule := handler.rules.get(event.topic))]
    readings: list[Rule | KeyPath] = [*rules, *_key_paths(handlers, hook)]
    if not readings:
        return handlers
    subject = subject_of(event, readings, pause=pause)
    if any(reading.body_paths for reading in readings):
        event.parsed = subject.body
    found = [
        handler
        for handler in handlers
        if (rule := handler.rules.get(event.topic)) is None or rule.holds(subject)
    ]
    event.is_filtered = not found
    return found


def _key_paths(handlers: Sequence[Task[..., Any]], hook: Hook | None) -> list[KeyPath]:
    own = [handler.defaults.key_path() for handler in handlers if handler.defaults.serial_by is not None]
    of_hook = None if hook is None else hook.serial_by
    return [path for path in (*own, of_hook) if path is not None]


def serial_key(
    event: Event,
    handler: Task[..., Any],
    hook: Hook | None,
    pause: Callable[[], object],
    *,
    may_refuse: bool,
) -> str | None:
    """The serial key of *handler*'s task for *event*, by its own `serial_by` or that of the *hook*.

    None without one, and where *event* has no value at it. Then raises NoSerialKey if the hook says so and
    it *may_refuse*.
    """
    path, of_hook = handler.defaults.key_path(), ""
    if path is None and hook is not None and hook.serial_by is not None:
        path, of_hook = hook.serial_by, f" hook:{hook.name}"
    if path is None:
        return None
    if (value := path.key(subject_of(event, (path,), pause=pause))) is not None:
        return f"{handler.name}{of_hook} {value}"
    if may_refuse and hook is not None and hook.missing == "refuse":
        raise NoSerialKey(path.text)
    return None


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
