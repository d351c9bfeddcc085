"""`pause`, `resume` and `pauses`: hold up tasks, schedules or hooks by name, let them go on, show them."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta

from ..admin import PauseState
from ..api.client import ApiClient
from ..clock import Clock
from ..config import nearest_name
from ..errors import BadFilter, NotFound, UsageError
from ..model import WILDCARD
from ..pauses import HOOK, SCHEDULE, TASK, Pause, What, require
from ..presentation import plain
from . import terminal
from .hints import tell_of_no_task
from .session import OwnAdmin, me, open_admin
from .times import seconds_until


def pause(options: argparse.Namespace) -> int:
    """Hold up what is named; running tasks go on."""
    reason, until = options.reason, _until(options.until)
    meant = list(_meant(options, "pause"))
    for what, name in meant or [(TASK, WILDCARD)]:
        _require(what, name, reason)
    with open_admin(options, makes=True) as admin:
        meant += _of_topics(admin, options.topic)
        for what, name in meant:
            try:
                done = admin.pause(what, name, reason, until=until, by=me())
                _tell(done, "paused", options)
                if what == HOOK and not done.tasks:
                    terminal.note(f"hook {name}: no handler takes its deliveries; nothing of it would run")
            except BadFilter as error:
                raise _usage(error, what) from error
        if not options.json:
            tell_of_no_task(admin, [name for what, name in meant if what == TASK])
    return 0


def resume(options: argparse.Namespace) -> int:
    """Let what is named go on; with --all everything."""
    meant = list(_meant(options, "resume"))
    with open_admin(options) as admin:
        if options.all:
            for state in admin.pauses():
                with suppress(NotFound):  # it has just ended
                    _tell(admin.resume(state.pause.what, state.pause.name), "resumed", options)
            return 0
        for what, name in meant + _of_topics(admin, options.topic):
            _tell(admin.resume(what, name), "resumed", options)
    return 0


def pauses(options: argparse.Namespace) -> int:
    """What is held up, why, since when, until when, and how many tasks wait for it."""
    with open_admin(options, looks=True) as admin:
        found = admin.pauses()
    for state in found:
        if options.json:
            terminal.row(plain(state.pause.row | {"ready": state.ready}))
        else:
            terminal.line(_line(state))
    if not found and not options.json:
        terminal.note("nothing is paused")
    return 0


def _line(state: PauseState) -> str:
    ready = "" if state.ready is None else f"  {state.ready} ready"
    return f"{state.pause.title}{ready}  {state.pause.sentence}"


def _meant(options: argparse.Namespace, verb: str) -> Iterator[tuple[What, str]]:
    """What the command names itself. Raises UsageError when that is nothing, or everything and more."""
    named = [*options.names, *options.schedule, *options.hook, *options.topic]
    if options.all:
        if named:
            raise UsageError(f"--all: expected nothing beside it, got {named[0]!r}")
        yield TASK, WILDCARD
    elif not named:
        raise UsageError(
            f"{verb}: expected NAME, --topic TOPIC, --hook NAME, --schedule NAME or --all, got none; "
            "`monqbus check` lists names"
        )
    for name in options.names:
        yield TASK, name
    for name in options.schedule:
        yield SCHEDULE, name
    for name in options.hook:
        yield HOOK, name


def _of_topics(admin: OwnAdmin | ApiClient, topics: Iterable[str]) -> list[tuple[What, str]]:
    """The handlers of *topics* as they are declared now.

    Raises UsageError for a topic that has none, or one that has another topic too, which would wait with it.
    """
    if not topics:
        return []
    handlers = admin.handlers()
    names = list(dict.fromkeys(name for topic in topics for name in handlers.get(topic, ())))
    for topic in topics:
        if topic not in handlers:
            near = nearest_name(topic, handlers)
            hint = f"did you mean {near}?" if near else "`monqbus check` lists the topics"
            raise UsageError(f"--topic {topic}: no handler has this topic; {hint}")
    for other in handlers.keys() - set(topics):
        if shared := [name for name in handlers[other] if name in names]:
            raise UsageError(
                f"--topic {', '.join(topics)}: its handler {shared[0]} has also the topic {other}, "
                f"whose tasks would wait too; pause {shared[0]} by name, or give that topic "
                "a handler of its own"
            )
    return [(TASK, name) for name in names]


def _require(what: What, name: str, reason: str) -> None:
    try:
        require(what, name, reason)
    except BadFilter as error:
        raise _usage(error, what) from error


def _usage(error: BadFilter, what: What = TASK) -> UsageError:
    name = "NAME" if what == TASK else f"--{what}"
    option = {"name": name, "reason": "--reason", "until": "--until", "hook": "--hook"}.get(
        error.part, error.part
    )
    return UsageError(f"{option}: {error.sentence}")


def _until(text: str | None) -> datetime | None:
    if text is None:
        return None
    now = Clock().now()
    seconds = seconds_until("--until", text, now)
    if seconds <= 0:
        raise UsageError(f"--until: expected a time that is to come, or a duration like 2h, got {text!r}")
    return now + timedelta(seconds=seconds)


def _tell(one: Pause, did: str, options: argparse.Namespace) -> None:
    if options.json:
        terminal.row(plain({did: one.row}))
        return
    until = f" until {one.until:%Y-%m-%d %H:%M:%SZ}" if did == "paused" and one.until else ""
    terminal.done(f"{did} {one.title}{until}")
