"""Facts, not log lines: code says what happened, listeners log, count and show it.

A fact is a noun and a past participle with keyword fields: ``emit("task.finished", task=task)``.
The catalogue below is the only list; docs/facts.md is tested against it.
"""

from __future__ import annotations

import logging
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final

Listener = Callable[[str, Mapping[str, Any]], None]

FACTS: Final[Mapping[str, tuple[int, str]]] = {
    "daemon.started": (logging.INFO, "the doors are open; what listens where"),
    "daemon.draining": (logging.INFO, "asked to stop; running tasks get `drain` seconds"),
    "daemon.stopped": (logging.INFO, "everything is closed; released = tasks given back"),
    "config.reloaded": (logging.INFO, "new configuration and apps are in use"),
    "config.refused": (logging.ERROR, "the new configuration is bad, the old one stays"),
    "slots.described": (logging.INFO, "USR1: how many slots are taken"),
    "slot.described": (logging.INFO, "USR1: what one slot is doing"),
    "event.received": (logging.INFO, "a delivery or published event is stored"),
    "event.repeated": (logging.INFO, "a delivery came again; nothing new was stored"),
    "event.unhandled": (logging.WARNING, "no handler knows the topic; the event is recorded"),
    "event.refused": (logging.WARNING, "a request was answered with an error"),
    "task.posted": (logging.DEBUG, "a task is stored"),
    "task.started": (logging.DEBUG, "a handler begins"),
    "task.printed": (logging.INFO, "a line that a handler printed"),
    "task.finished": (logging.INFO, "a task is complete and recorded as such"),
    "task.retried": (logging.WARNING, "an attempt failed, another one follows"),
    "task.snoozed": (logging.INFO, "a handler asked to be run later"),
    "task.gave_up": (logging.ERROR, "the last attempt failed; the task is in `error`"),
    "task.skipped": (logging.INFO, "a task was cancelled by its handler or an operator"),
    "task.moved": (logging.INFO, "an operator retried or cancelled tasks"),
    "task.released": (logging.INFO, "a task went back to ready without using an attempt"),
    "task.doubted": (logging.WARNING, "a claim of unknown outcome was settled"),
    "task.parked": (logging.WARNING, "tasks wait under a name that no daemon knows"),
    "task.unstorable": (logging.ERROR, "what a handler left behind cannot be stored; its end is, without it"),
    "task.lost": (logging.ERROR, "an end came after the claim was lost; it changed nothing"),
    "task.rescued": (logging.WARNING, "a dead daemon's task was taken back"),
    "loop.failed": (logging.ERROR, "a loop's tick failed; it goes on after a pause"),
    "lease.lost": (logging.ERROR, "this daemon could not renew its lease; it claims nothing"),
    "lease.regained": (logging.INFO, "the lease is renewed again"),
    "feed.reopened": (logging.INFO, "the wake-up feed was opened again; a full claim pass follows"),
    "store.failed": (logging.ERROR, "the store did not answer"),
    "store.recovered": (logging.INFO, "the store answers again"),
}

_listeners: list[Listener] = []
counted: Counter[str] = Counter()


def emit(fact: str, **fields: Any) -> None:
    """Tell every listener that *fact* happened. Never raises, never blocks on purpose."""
    counted[fact] += 1
    for listener in _listeners:
        try:
            listener(fact, fields)
        except Exception as error:  # noqa: BLE001 - a broken listener must not break the work it watches
            print(f"monqbus: listener failed on {fact}: {error!r}", file=sys.__stderr__)


def listen(listener: Listener) -> Callable[[], None]:
    """Add *listener*; the returned function takes it away again."""
    _listeners.append(listener)
    return lambda: _listeners.remove(listener)
