"""Translates a Filter into SQL with parameters."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from ...clock import Clock
from ...model import ACCEPTED, FILTERED, HANDLED, UNHANDLED, WILDCARD, EventFilter, Filter, State
from ...regex import searching
from ..salvage import salvage
from .rows import BEHIND_MS, to_ms

_OUTCOMES: Final = {
    HANDLED: "task_count > 0",
    UNHANDLED: "task_count = 0 AND filtered IS NOT 1",
    FILTERED: "filtered = 1",
    ACCEPTED: "filtered IS NOT 1",
}
OWN_MOMENT: Final = f"time_queue % {BEHIND_MS}"
SEARCH_SECONDS: Final = 3.0
"""How long one search may hold the store: less than a call may last, so that its caller is told why."""


def one_by_one(states: tuple[State, ...]) -> list[tuple[State, ...]]:
    """Each state for itself, so that an index gives the order of each; all of them for none."""
    return [(state,) for state in dict.fromkeys(states)] if states else [()]


def holes(values: Collection[Any]) -> str:
    """The places of *values* in an IN clause."""
    return ", ".join("?" * len(values))


def where_clause(filter: Filter) -> tuple[str, list[Any]]:
    """The WHERE clause of a filter, with its values as parameters."""
    clauses, values = ["1"], list[Any]()
    if filter.ids:
        clauses.append(f"id IN ({holes(filter.ids)})")
        values.extend(task_id.binary for task_id in filter.ids)
    if filter.states:
        clauses.append(f"state IN ({holes(filter.states)})")
        values.extend(filter.states)
    if filter.name:
        clause, parts = _named(filter.name)
        clauses.append(clause)
        values += parts
    if filter.names:
        clauses.append(f"task_name IN ({holes(filter.names)})")
        values.extend(filter.names)
    if filter.topic:
        clauses.append("topic = ?")
        values.append(filter.topic)
    for column, operator, moment in (
        (OWN_MOMENT, "<", filter.older),
        (OWN_MOMENT, ">", filter.newer),
        ("time_stop", "<", filter.ended_older),
        ("time_stop", ">", filter.ended_newer),
    ):
        if moment is not None:
            clauses.append(f"{column} {operator} ?")
            values.append(to_ms(moment))
    if filter.error:
        # the last: SQLite evaluates in this order what no index answers, and this costs most
        clauses.append("result_matches(CAST(result AS BLOB), ?, ?)")
        values += [filter.error, Clock().monotonic() + SEARCH_SECONDS]
    return " AND ".join(clauses), values


def where_of_events(filter: EventFilter) -> tuple[list[str], list[Any]]:
    """The conditions of a filter of events, with their values as parameters."""
    conditions, values = ["1"], list[Any]()
    for condition, value in (
        ("topic = ?", filter.topic),
        ("hook = ?", filter.hook),
        ("kind = ?", filter.kind),
        ("received < ?", to_ms(filter.older)),
        ("received > ?", to_ms(filter.newer)),
    ):
        if value not in ("", None):
            conditions.append(condition)
            values.append(value)
    if filter.outcome:
        conditions.append(_OUTCOMES[filter.outcome])
    if filter.delivery:
        # the key is hook:delivery, and of an accepted repetition the event's id behind a line feed
        given = "substr(key, instr(key, ':') + 1"
        conditions.append(f"kind = 'delivery' AND ({given}) = ? OR {given}, ?) = ?)")
        behind = f"{filter.delivery}\n"
        values += [filter.delivery, len(behind), behind]
    return conditions, values


def _named(name: str) -> tuple[str, list[Any]]:
    """The condition that the task's name is *name*, in which only the wildcard means anything else."""
    if WILDCARD not in name:
        return "task_name = ?", [name]
    head, _, rest = name.partition(WILDCARD)
    if not rest.strip(WILDCARD):
        return "substr(task_name, 1, ?) = ?", [len(head), head]
    pattern = "".join(f"[{one}]" if one in "?[" else one for one in name)
    # of a blob GLOB reads the text
    return "(typeof(task_name) = 'text' AND task_name GLOB ?)", [pattern]


def result_matches(result: bytes | None, pattern: str, deadline: float) -> bool:
    """The SQL function `result_matches`: whether a stored error text matches a regular expression.

    A result that cannot be read matches none. Raises TimeoutError behind the *deadline*, a moment of the
    monotonic clock, which ends the whole query.
    """
    if Clock().monotonic() > deadline:
        raise TimeoutError
    value = None if result is None else salvage(result).get("v")
    return isinstance(value, str) and searching(pattern)(value)
