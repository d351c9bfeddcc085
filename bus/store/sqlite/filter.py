"""Translates a Filter into SQL with parameters."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from ...clock import Clock
from ...model import WILDCARD, EventFilter, Filter, State
from ...regex import searching
from ..salvage import salvage
from .rows import to_ms

SEARCH_SECONDS: Final = 3.0
"""How long one search may hold the store: less than a call may last, so that its caller is told why."""


def one_by_one(states: tuple[State, ...]) -> list[tuple[State, ...]]:
    """Each state for itself, so that an index gives the order of each; all of them for none."""
    return [(state,) for state in dict.fromkeys(states)] if states else [()]


def holes(values: Collection[Any]) -> str:
    """The places of *values* in an IN clause."""
    return ", ".join("?" * len(values))


def where_clause(which: Filter) -> tuple[str, list[Any]]:
    """The WHERE clause of a filter, with its values as parameters."""
    clauses, values = ["1"], list[Any]()
    if which.ids:
        clauses.append(f"id IN ({holes(which.ids)})")
        values.extend(task_id.binary for task_id in which.ids)
    if which.states:
        clauses.append(f"state IN ({holes(which.states)})")
        values.extend(which.states)
    if which.name:
        clause, parts = _named(which.name)
        clauses.append(clause)
        values += parts
    if which.names:
        clauses.append(f"task_name IN ({holes(which.names)})")
        values.extend(which.names)
    if which.topic:
        clauses.append("topic = ?")
        values.append(which.topic)
    for column, operator, moment in (
        ("time_queue", "<", which.older),
        ("time_queue", ">", which.newer),
        ("time_stop", "<", which.ended_older),
        ("time_stop", ">", which.ended_newer),
    ):
        if moment is not None:
            clauses.append(f"{column} {operator} ?")
            values.append(to_ms(moment))
    if which.error:
        # the last: SQLite evaluates in this order what no index answers, and this costs most
        clauses.append("result_matches(CAST(result AS BLOB), ?, ?)")
        values += [which.error, Clock().monotonic() + SEARCH_SECONDS]
    return " AND ".join(clauses), values


def where_of_events(which: EventFilter) -> tuple[list[str], list[Any]]:
    """The conditions of a filter of events, with their values as parameters."""
    conditions, values = ["1"], list[Any]()
    for condition, value in (
        ("topic = ?", which.topic),
        ("hook = ?", which.hook),
        ("kind = ?", which.kind),
        ("received < ?", to_ms(which.older)),
        ("received > ?", to_ms(which.newer)),
    ):
        if value not in ("", None):
            conditions.append(condition)
            values.append(value)
    if which.outcome:
        conditions.append("task_count = 0" if which.outcome == "unhandled" else "task_count > 0")
    if which.delivery:
        # the key is hook:delivery, and of an accepted repetition the event's id behind a line feed
        given = "substr(key, instr(key, ':') + 1"
        conditions.append(f"kind = 'delivery' AND ({given}) = ? OR {given}, ?) = ?)")
        behind = f"{which.delivery}\n"
        values += [which.delivery, len(behind), behind]
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
