"""The pages of what is declared: handlers, hooks and schedules, with pauses; and of what works: workers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from ..access import form_of, names_of, visitor_of
from ..access.gate import own_path, see_other
from ..apps.registry import Task
from ..config import Hook
from ..delivery_record import REFUSED, DeliveryFilter
from ..errors import Refused
from ..http.problem import Answer
from ..pauses import SCHEDULE, TASK, Pause, covering
from ..spoken_time import moment_of, seconds_of
from . import text
from .desk import Desk, link
from .overview import HandlerRow, handler_rows

MOST_REFUSED: Final = 1


class HookRow(NamedTuple):
    """A hook, who takes what it brings, and its last refusal."""

    hook: Hook
    last_refused: object
    reason: str


def show_handlers(desk: Desk, environ: Mapping[str, Any]) -> Answer:
    """Every handler and every hook. Blocks on the store, but for what was asked a moment ago."""
    pauses = desk.remembered.ask("pauses", desk.admin.pauses)
    rows = handler_rows(desk, desk.backlog(), pauses)
    known: Mapping[str, Task[..., Any]] = desk.registry().tasks
    return desk.page(
        environ,
        "handlers.html",
        rows=sorted(rows, key=lambda one: one.name),
        known=known,
        hooks=desk.remembered.ask("hooks", lambda: _hooks(desk)),
        pauses=pauses,
        slots=desk.slots(),
    )


def _hooks(desk: Desk) -> list[HookRow]:
    found = []
    for name, hook in sorted(desk.config().hooks.items()):
        refused = desk.admin.deliveries(DeliveryFilter(hook=name, outcome=REFUSED), MOST_REFUSED)
        last = refused[0] if refused else None
        found.append(HookRow(hook, last.received if last else None, last.reason if last else ""))
    return found


def show_handler(desk: Desk, environ: Mapping[str, Any]) -> Answer:
    """One handler: where it is declared, its limits, how it is, and the form that pauses it."""
    (name,) = names_of(environ)
    pauses = desk.remembered.ask("pauses", desk.admin.pauses)
    row = next((one for one in handler_rows(desk, desk.backlog(), pauses) if one.name == name), None)
    if row is None:
        raise Refused(
            404, "not_found", f"handler: no app declares {text.cell(name)}, and no task waits under it"
        )
    return desk.page(environ, "handler.html", row=row, task=desk.registry().tasks.get(name), pause=_own(row))


def _own(row: HandlerRow) -> Pause | None:
    """The pause of just this name, which can be resumed here."""
    own = row.pause is not None and (row.pause.what, row.pause.name) == (TASK, row.name)
    return row.pause if own else None


def pause(desk: Desk, environ: Mapping[str, Any]) -> Answer:
    """Hold up what the form names, for its reason. Raises Refused(400), BadFilter."""
    form = form_of(environ)
    what = _what(form)
    until = _until(form.get("until", "").strip(), desk.clock.now())
    name, reason = form.get("name", ""), form.get("reason", "").strip()
    desk.operations.by(visitor_of(environ)).pause(what, name, reason, until=until)
    desk.remembered.forget()
    return see_other(_back(form, what, "pause"))


def resume(desk: Desk, environ: Mapping[str, Any]) -> Answer:
    """End the pause that the form names. Raises Refused(400), NotFound."""
    form = form_of(environ)
    what = _what(form)
    desk.operations.by(visitor_of(environ)).resume(what, form.get("name", ""))
    desk.remembered.forget()
    return see_other(_back(form, what, "resume"))


def _what(form: Mapping[str, str]) -> Any:
    what = form.get("what", TASK)
    if what not in (TASK, SCHEDULE):
        raise Refused(400, "bad_form", f"what: expected {TASK} or {SCHEDULE}, got {text.cell(what)}")
    return what


def _until(written: str, now: datetime) -> datetime | None:
    if not written:
        return None
    seconds = seconds_of(written)
    moment = now + timedelta(seconds=seconds) if seconds is not None else moment_of(written)
    if moment is None:
        expected = "expected a duration like 30m or 2h, or a time like 2026-01-31T12:00:00Z"
        raise Refused(400, "bad_form", f"until: {expected}, got {text.cell(written)}")
    return moment


def _back(form: Mapping[str, str], what: str, done: str) -> str:
    place = own_path(form.get("back", "/schedules" if what == SCHEDULE else "/handlers"))
    return link(place.partition("?")[0], done=done)


def show_schedules(desk: Desk, environ: Mapping[str, Any]) -> Answer:
    """Every declared schedule. Blocks on the store, but for what was asked a moment ago."""
    pauses = desk.remembered.ask("pauses", desk.admin.pauses)
    held = [state.pause for state in pauses]
    found = desk.remembered.ask("schedules", desk.admin.schedules)
    rows = [(one, covering(held, SCHEDULE, one.name)) for one in found]
    return desk.page(environ, "schedules.html", rows=rows)


def fire(desk: Desk, environ: Mapping[str, Any]) -> Answer:
    """Fire a schedule now. Raises NotFound, BadCall."""
    (name,) = names_of(environ)
    receipt = desk.operations.by(visitor_of(environ)).fire_now(name)
    desk.remembered.forget()
    return see_other(link("/schedules", done="fire", number=str(len(receipt.task_ids))))


def show_workers(desk: Desk, environ: Mapping[str, Any]) -> Answer:
    """What each slot does and for how long, how every part of the daemon is, which others there are."""
    running = sorted(desk.running(), key=lambda one: -one.seconds)
    return desk.page(
        environ,
        "workers.html",
        running=running,
        slots=desk.slots(),
        status_of=desk.status(),
        daemons=desk.remembered.ask("daemons", desk.admin.daemons),
        is_shared=desk.is_shared,
    )
