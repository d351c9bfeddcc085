"""The page of one task: what it is, how each attempt went, and what can be done about it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from json import loads
from typing import Any, Final, NamedTuple

from bson import json_util
from bson.errors import BSONError

from ..access import Role, form_of, names_of, visitor_of
from ..access.gate import see_other
from ..access.masking import masked
from ..errors import MonqbusError, Refused
from ..http.problem import Answer
from ..model import BUSY, READY, MonQTask
from ..presentation import why_waiting
from ..safe_text import harmless_json
from . import text
from .desk import Desk, Running, id_of, link
from .task_list import remark

LONGEST_ARGUMENTS: Final = 128 * 1024
_JSON: Final = json_util.JSONOptions(json_mode=json_util.JSONMode.RELAXED, tz_aware=True)

_UNREADABLE: Final = (ValueError, TypeError, LookupError, ArithmeticError, AttributeError, RecursionError)
"""What the reader of extended JSON raises for values of its types that are none."""


class Attempt(NamedTuple):
    """One attempt of a task: its number, its moment, what became of it."""

    number: object
    at: object
    word: str
    error: str


def show(desk: Desk, environ: Mapping[str, Any]) -> Answer:
    """Everything about one task. Blocks on the store; raises Refused(404), NotFound."""
    (written,) = names_of(environ)
    task = desk.admin.show(id_of(written, "task"))
    visitor = visitor_of(environ)
    run = next((one for one in desk.running() if one.task.id == task.id), None)
    return desk.page(
        environ,
        "task.html",
        task=task,
        attempts=attempts(task),
        waiting=_waiting(desk, task),
        siblings=[(one, remark(one)) for one in desk.admin.siblings(task)],
        event=task.event_id,
        run=run,
        output=_output(task, run),
        progress=task.progress if isinstance(task.progress, dict) else {},
        args=masked(task.args, visitor),
        kwargs=masked(task.kwargs, visitor),
        context=masked(task.context, visitor),
        result=None if isinstance(task.result, str) else masked(task.result, visitor),
        result_text=task.result if isinstance(task.result, str) else "",
        may_see=visitor.may(Role.OPERATOR),
        is_known=task.task_name in desk.registry().tasks,
        where=_where(desk, task.task_name),
    )


def _output(task: MonQTask, run: Running | None) -> str:
    """What it has printed: so far, while it runs here."""
    return (run.printed() if run is not None else "") or task.output or ""


def _waiting(desk: Desk, task: MonQTask) -> str | None:
    known = desk.registry().tasks
    paused = desk.admin.paused(task.task_name) if task.state == READY else None
    return why_waiting(task, desk.clock.now(), known.__contains__, paused.sentence if paused else "")


def _where(desk: Desk, name: str) -> str:
    declared = desk.registry().tasks.get(name)
    return str(declared.where) if declared is not None else ""


def attempts(task: MonQTask) -> list[Attempt]:
    """The attempts that failed, as far as they were written, and how it stands now."""
    found = [
        Attempt(entry.get("attempt"), entry.get("at"), "failed", str(entry.get("error", "")))
        for entry in task.history
        if isinstance(entry, dict)
    ]
    if task.state == BUSY:
        found.append(Attempt(task.attempt, task.time_start, "runs", ""))
    elif isinstance(task.time_stop, datetime):
        word = {"complete": "finished", "skipped": "cancelled"}.get(task.state, "gave up")
        error = text.last_line(task.result) if task.state == "error" else ""
        if found and task.state == "error" and found[-1].number == task.attempt:
            found[-1] = found[-1]._replace(word=word)
        else:
            found.append(Attempt(task.attempt, task.time_stop, word, error))
    return found


def act(desk: Desk, environ: Mapping[str, Any]) -> Answer:
    """Retry or cancel one task. Raises Refused(409, 412) when it has changed since its page was made."""
    written, verb = names_of(environ)
    if verb not in ("retry", "cancel"):
        raise Refused(404, "not_found", "request: not found")
    task = desk.admin.show(id_of(written, "task"))
    generation = form_of(environ).get("generation", "")
    seen = int(generation) if generation.isascii() and generation.isdigit() else None
    desk.operations.by(visitor_of(environ)).act(verb, task.id, seen)
    desk.remembered.forget()
    return see_other(link(f"/tasks/{task.id}", done=verb, number="1"))


def edit(desk: Desk, environ: Mapping[str, Any]) -> Answer:
    """The form that posts the same call again, with other arguments. Raises Refused(404), NotFound."""
    (written,) = names_of(environ)
    task = desk.admin.show(id_of(written, "task"))
    return _edited(desk, environ, task, (_dumped(task.args), _dumped(task.kwargs)))


def post_again(desk: Desk, environ: Mapping[str, Any]) -> Answer:
    """Store a new task of the same name with the arguments of the form; wrong ones are shown again."""
    (written,) = names_of(environ)
    task, form = desk.admin.show(id_of(written, "task")), form_of(environ)
    args_text, kwargs_text = form.get("args", "[]"), form.get("kwargs", "{}")
    try:
        args, kwargs = (
            loaded_arguments("args", args_text, list),
            loaded_arguments("kwargs", kwargs_text, dict),
        )
        stored = desk.operations.by(visitor_of(environ)).post_named(task.task_name, args, kwargs, {}).task
    except (BadArguments, MonqbusError) as error:
        return _edited(desk, environ, task, (args_text, kwargs_text), str(error))
    desk.remembered.forget()
    return see_other(link(f"/tasks/{stored.id}", done="post"))


class BadArguments(ValueError):
    """What was written is no argument."""


def _edited(
    desk: Desk, environ: Mapping[str, Any], task: MonQTask, written: tuple[str, str], mistake: str = ""
) -> Answer:
    status = "422 Unprocessable Entity" if mistake else "200 OK"
    declared = desk.registry().tasks.get(task.task_name)
    return desk.page(
        environ,
        "post_again.html",
        status=status,
        task=task,
        args=written[0],
        kwargs=written[1],
        mistake=mistake,
        declared=str(declared.parameters) if declared is not None else "",
    )


def _dumped(value: Any) -> str:
    return harmless_json(loads(json_util.dumps(value, json_options=_JSON)), indent=2)


def loaded_arguments(part: str, written: str, kind: type[Any]) -> Any:
    """What a form says in extended JSON for *part*, `args` or `kwargs`. Raises BadArguments."""
    noun = {"args": 'a JSON list such as [1, "two"]', "kwargs": 'a JSON object such as {"to": "you"}'}[part]
    if len(written) > LONGEST_ARGUMENTS:
        raise BadArguments(f"{part}: expected at most {LONGEST_ARGUMENTS} characters, got {len(written)}")
    try:
        value = json_util.loads(written, json_options=_JSON)
    except (*_UNREADABLE, BSONError) as error:
        raise BadArguments(f"{part}: expected {noun}; {text.cell(str(error))}") from error
    if not isinstance(value, kind):
        raise BadArguments(f"{part}: expected {noun}, got {text.cell(written)}")
    return value
