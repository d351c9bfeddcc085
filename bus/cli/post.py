"""`post` and `event`."""

from __future__ import annotations

import argparse
from typing import Any

from bson import ObjectId

from ..api.client import ApiClient
from ..apps.options import Options
from ..clock import Clock
from ..errors import BadDeclaration, JoinTimeout, TaskFailed, UsageError
from ..model import TASK_NAME, TOPIC, MonQTask
from ..presentation import plain
from ..strict_json import BadJson, parse
from . import terminal
from .post_lines import is_from_lines, post_lines, publish_lines
from .session import Local, open_poster
from .times import seconds, seconds_until


def post(options: argparse.Namespace) -> int:
    """Post one task, print its id, with --wait its result."""
    if TASK_NAME.fullmatch(options.name) is None:
        raise UsageError(f"NAME: expected module.function, got {options.name!r}")
    changes = {name: value for name in ("priority", "key") if (value := getattr(options, name)) is not None}
    if options.delay is not None:
        changes["delay"] = seconds_until("--delay", options.delay, Clock().now())
    try:
        Options().but(changes)
    except BadDeclaration as error:
        raise UsageError(str(error)) from error
    if is_from_lines(options):
        return post_lines(options, changes)
    args, kwargs = _arguments(options)
    wait = None if options.wait is None else seconds("--wait", options.wait)
    with open_poster(options) as poster:
        task, is_known, near = poster.post_named(options.name, args, kwargs, changes)
        terminal.done(str(task.id))
        if not is_known:
            terminal.note(f"no app declares {options.name}; the task waits until one does{_meant(near)}")
        return 0 if wait is None else _wait([task], wait, poster)


def event(options: argparse.Namespace) -> int:
    """Publish an event, print its id and those of its tasks, with --wait their results."""
    if TOPIC.fullmatch(options.topic) is None:
        raise UsageError(f"TOPIC: expected letters, digits and _.:-, got {options.topic!r}")
    if is_from_lines(options):
        return publish_lines(options)
    args, kwargs = _arguments(options)
    wait = None if options.wait is None else seconds("--wait", options.wait)
    with open_poster(options) as poster:
        receipt, near, is_filtered = poster.publish_named(options.topic, args, kwargs)
        terminal.done(f"event {receipt.event_id}")
        for task_id in receipt.task_ids:
            terminal.done(f"task  {task_id}")
        if is_filtered:
            terminal.note("filtered: the rule (`when`) of no handler holds for it; the event is recorded")
        elif not receipt.task_ids:
            terminal.note(f"no handler for topic {options.topic}; the event is recorded{_meant(near)}")
        if wait is None or not receipt.task_ids:
            return 0
        return _wait([_to_join(task_id) for task_id in receipt.task_ids], wait, poster)


def _meant(near: str) -> str:
    return f"; did you mean {near}?" if near else ""


def _to_join(task_id: ObjectId) -> MonQTask:
    """A task of which only the id matters: join looks it up."""
    return MonQTask(task_id, "", [], {}, task_id.generation_time)


def _arguments(options: argparse.Namespace) -> tuple[list[Any], dict[str, Any]]:
    args = _json("--args", options.args, list)
    kwargs = _json("--kwargs", options.kwargs, dict)
    return args, kwargs


def _json(option: str, text: str, kind: type) -> Any:
    try:
        value = parse(text.encode("utf-8", "surrogateescape"))
    except BadJson as error:
        said = f"{option}: {str(error).removeprefix('body: ')}; got {text[:80]!r}"
        raise UsageError(f"{said}; {_as_one_word(option, kind)}") from error
    if not isinstance(value, kind):
        shape = "an array like '[1, \"two\"]'" if kind is list else "an object like '{\"name\": 1}'"
        raise UsageError(f"{option}: expected {shape}, got {text[:80]!r}")
    return value


def _as_one_word(option: str, kind: type) -> str:
    """How a shell hands JSON on as it is: it takes double quotes away, and parts words at spaces."""
    example = '[7, "Berlin"]' if kind is list else '{"city": "Berlin"}'
    return f"write it in single quotes, such as {option} '{example}'"


def _wait(tasks: list[MonQTask], patience: float, poster: Local | ApiClient) -> int:
    """Print the result of each task in its turn; *patience* seconds for all of them together."""
    if not poster.is_attended:
        terminal.note("--wait: no daemon runs on this store; what was posted waits for one")
        return 1
    clock = Clock()
    deadline = clock.monotonic() + patience
    code = 0
    for task in tasks:
        try:
            left = round(max(0.0, deadline - clock.monotonic()), 1)
            terminal.row(plain(poster.join(task, left)), at_once=True)
        except (TaskFailed, JoinTimeout) as error:
            terminal.error(f"monqbus: {error}")  # several lines: the remote traceback is what was asked for
            code = 1
    return code
