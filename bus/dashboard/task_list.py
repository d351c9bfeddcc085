"""The page of tasks: searched, paged by id, changed singly or all that match."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl

from bson import ObjectId

from ..access import form_of, visitor_of
from ..access.gate import see_other, values_of
from ..admin import MOVABLE, PAGE
from ..errors import NotFound, Refused, StoreUnavailable
from ..http.problem import Answer
from ..model import BUSY, ERROR, SKIPPED, STATES, Filter, MonQTask
from . import searches, text
from .desk import Desk, id_of, link, query_of

ROWS: Final = 50
MOST_COUNTED: Final = 1000
MOST_AT_ONCE: Final = 10_000
"""Tasks that one request changes; whoever means more does it again."""
VERBS: Final[Mapping[str, str]] = {"retry": "Retry", "cancel": "Cancel", "purge": "Forget"}


def show(desk: Desk, environ: Mapping[str, Any]) -> Answer:
    """One page of the tasks that match. Blocks on the store; raises Refused(400)."""
    query = query_of(environ)
    filter = searches.tasks(query, desk.clock.now())
    found = _found(desk, filter, searches.cursor(query))
    search = searches.without_place(query)
    more = link("/tasks", **search, cursor=found[ROWS - 1].id) if len(found) > ROWS else ""
    return desk.page(
        environ,
        "tasks.html",
        query=query,
        search=search,
        states=(*STATES, searches.PARKED),
        tasks=[(task, remark(task)) for task in found[:ROWS]],
        more=more,
        first=link("/tasks", **search) if "cursor" in query else "",
        total=_total(desk, filter, search, len(found) if "cursor" not in query else ROWS + 1),
        verbs=VERBS,
    )


def _found(desk: Desk, filter: Filter, cursor: ObjectId | None) -> list[MonQTask]:
    """A page and one more. Raises Refused(503) for a search that takes longer than the store may."""
    try:
        return desk.admin.find(filter, ROWS + 1, cursor)
    except StoreUnavailable as error:
        if filter.states and not (filter.error or filter.name or filter.topic):
            raise
        remedy = (
            "if other pages open, the search reads too many tasks: name a state, or leave a part of it out"
        )
        raise Refused(503, "search_too_long", f"search: {error}; {remedy}") from error


def _total(desk: Desk, filter: Filter, search: Mapping[str, str], found: int) -> str:
    """How many match; what stands on the page whole is not counted once more."""
    if found <= ROWS:
        return text.number(found)
    about = ("total", *sorted(search.items()))
    total = desk.remembered.ask(about, lambda: desk.admin.count_up_to(filter, MOST_COUNTED + 1))
    return text.number(total) if total <= MOST_COUNTED else f"more than {text.number(MOST_COUNTED)}"


def remark(task: MonQTask) -> str:
    """What is worth a line about a task: its error, or how far it is."""
    if task.fault:
        return task.fault
    if task.state in (ERROR, SKIPPED):
        return text.last_line(task.result) if isinstance(task.result, str) else ""
    if task.state == BUSY and isinstance(task.progress, dict):
        return str(task.progress.get("text") or "")
    if task.history and task.state != "complete" and isinstance(task.history[-1], dict):
        return f"attempt {task.attempt} failed: {text.last_line(task.history[-1].get('error'))}"
    return ""


def search_all(desk: Desk, environ: Mapping[str, Any]) -> Answer:
    """Where the one box for everything leads: to the task or event of an id, else to a search."""
    words = query_of(environ).get("q", "")
    if ObjectId.is_valid(words):
        return see_other(_place_of(desk, ObjectId(words)))
    return see_other(link("/tasks", **searches.anything(words)) if words else "/tasks")


def _place_of(desk: Desk, any_id: ObjectId) -> str:
    places: tuple[tuple[str, Callable[[ObjectId], object]], ...] = (
        ("tasks", desk.admin.show),
        ("events", desk.admin.event),
        ("deliveries", desk.admin.delivery),
    )
    for folder, find in places:
        try:
            find(any_id)
        except NotFound:
            continue
        return f"/{folder}/{any_id}"
    raise Refused(404, "not_found", f"id: no task, event or delivery has {any_id}")


def act(desk: Desk, environ: Mapping[str, Any]) -> Answer:
    """Change the chosen tasks, or ask first: what changes all that match, or forgets, is confirmed.

    Blocks on the store for each page of at most PAGE tasks.
    """
    form = form_of(environ)
    verb = form.get("verb", "")
    if verb not in VERBS:
        raise Refused(400, "bad_form", f"verb: expected {', '.join(VERBS)}, got {text.cell(verb)}")
    search = dict(parse_qsl(form.get("search", "")))
    if form.get("all") == "yes":
        filter = searches.tasks(search, desk.clock.now())
    else:
        ids = tuple(id_of(one, "task") for one in values_of(environ, "id"))
        if not ids:
            raise Refused(
                400, "bad_form", "tasks: expected one that is chosen, got none; tick some, or all that match"
            )
        filter = Filter(ids=ids)
    if form.get("confirmed") != "yes" and (form.get("all") == "yes" or verb == "purge"):
        return _ask(desk, environ, verb, filter, search)
    return _do(desk, environ, verb, filter, search)


def _ask(
    desk: Desk, environ: Mapping[str, Any], verb: str, filter: Filter, search: Mapping[str, str]
) -> Answer:
    """How many it would be, by name and state, before anything is changed."""
    by_name = desk.operations.forecast(verb, filter)
    return desk.page(
        environ,
        "confirm.html",
        verb=verb,
        word=VERBS[verb],
        expected=" or ".join(MOVABLE[verb]),
        search=search,
        saved=link("", **search).removeprefix("?"),
        ids=[str(one) for one in filter.ids],
        is_all=not filter.ids,
        total=sum(by_name.values()),
        by_name=sorted(by_name.items(), key=lambda one: (-one[1], one[0])),
        at_once=MOST_AT_ONCE,
    )


def _do(
    desk: Desk, environ: Mapping[str, Any], verb: str, filter: Filter, search: Mapping[str, str]
) -> Answer:
    act = desk.operations.by(visitor_of(environ))
    done, cursor = 0, None
    for _ in range(MOST_AT_ONCE // PAGE):
        step = act.step(verb, filter, cursor)
        done, cursor = done + step.done, step.cursor
        if cursor is None:
            break
    desk.remembered.forget()
    return see_other(link("/tasks", **search, done="more" if cursor is not None else verb, number=str(done)))
