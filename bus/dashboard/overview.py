"""The first page: whether all is well, what is going on, and where to look when it is not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from ..admin import PauseState
from ..http.problem import Answer
from ..model import COMPLETE, ERROR, SKIPPED, Filter, State
from ..pauses import SCHEDULE, Pause, covering
from ..store.contract import Backlog
from ..telemetry import counted
from . import text
from .desk import Desk
from .history import HandlerHistory

MOST_COUNTED: Final = 1000
MOST_RUNNING: Final = 50
SHOWN_STATES: Final[tuple[State, ...]] = (ERROR, SKIPPED, COMPLETE)


class HandlerRow(NamedTuple):
    """One name: what waits, what runs, and its last minutes."""

    name: str
    ready: int
    oldest: float | None
    running: int
    history: HandlerHistory | None
    pause: Pause | None
    is_known: bool


def show(desk: Desk, environ: Mapping[str, Any]) -> Answer:
    """The overview. Blocks on the store, but for what was asked a moment ago."""
    backlog = desk.backlog()
    running = desk.running()
    pauses = desk.remembered.ask("pauses", desk.admin.pauses)
    history = desk.history
    wait, run = history.latency()
    now = desk.clock.now()
    due = [one.oldest for one in backlog.values() if one.oldest is not None]
    oldest = max(0.0, (now - min(due)).total_seconds()) if due else None
    finished, failed = history.ended("complete"), history.ended("error", "retry")
    return desk.page(
        environ,
        "overview.html",
        status_of=desk.status(),
        ready=sum(one.depth for one in backlog.values()),
        oldest=oldest,
        running=sorted(running, key=lambda one: -one.seconds)[:MOST_RUNNING],
        running_count=len(running),
        slots=desk.slots(),
        states=counts(desk),
        posted=history.posted(),
        finished=finished,
        failed=failed,
        rate=_latest(finished),
        failing=_latest(failed),
        wait=wait,
        run=run,
        minutes=history.seconds / 60,
        handlers=handler_rows(desk, backlog, pauses),
        pauses=pauses,
        hub_blocks=counted["hub.unblocked"],
        hub_block=desk.hub_block(),
        stale=counted["task.lost"],
        started=desk.started,
        is_shared=desk.is_shared,
        is_schedule=SCHEDULE,
    )


def counts(desk: Desk) -> dict[str, str]:
    """How many have ended in each state, counted only as far as a person reads."""

    def ask() -> dict[str, str]:
        found = {
            state: desk.admin.count_up_to(Filter(states=(state,)), MOST_COUNTED + 1) for state in SHOWN_STATES
        }
        return {
            state: text.number(number) if number <= MOST_COUNTED else f"{text.number(MOST_COUNTED)}+"
            for state, number in found.items()
        }

    return desk.remembered.ask("counts", ask)


def handler_rows(
    desk: Desk, backlog: Mapping[str, Backlog], pauses: Sequence[PauseState]
) -> list[HandlerRow]:
    """Every name that is declared, waits, runs or ran lately; what fails most comes first."""
    known = desk.registry().tasks
    history = desk.remembered.ask("history", desk.history.handlers)
    busy: dict[str, int] = {}
    for one in desk.running():
        busy[one.task.task_name] = busy.get(one.task.task_name, 0) + 1
    held = [state.pause for state in pauses]
    now = desk.clock.now()
    rows = []
    for name in {*known, *backlog, *busy, *(name for name in history if name != "other")}:
        waits = backlog.get(name)
        oldest = (now - waits.oldest).total_seconds() if waits is not None and waits.oldest else None
        rows.append(
            HandlerRow(
                name,
                waits.depth if waits is not None else 0,
                max(0.0, oldest) if oldest is not None else None,
                busy.get(name, 0),
                history.get(name),
                covering(held, "task", name),
                name in known,
            )
        )
    return sorted(rows, key=_urgency)


def _urgency(row: HandlerRow) -> tuple[Any, ...]:
    failed = row.history.failed if row.history is not None else 0
    return (-failed, -row.ready, -row.running, row.name)


def _latest(rates: Sequence[float]) -> float:
    """The rate over the last half minute."""
    recent = rates[-6:]
    return sum(recent) / len(recent) if recent else 0.0
