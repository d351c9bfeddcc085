"""A model.Filter as SQL."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from ..model import Filter, State
from .salvage import salvage
from .sqlite_rows import to_ms


def one_by_one(states: tuple[State, ...]) -> list[tuple[State, ...]]:
    """Each state for itself, so that an index gives the order of each; all of them for none."""
    return [(state,) for state in states] if states else [()]


def quoted(states: Collection[State]) -> str:
    """States for an IN clause; they are words of ours, never from outside."""
    return ", ".join(f"'{state}'" for state in states)


def where_clause(which: Filter) -> tuple[str, list[Any]]:
    """The WHERE clause of a filter, with its values as parameters."""
    clauses, values = ["1"], list[Any]()
    if which.ids:
        clauses.append(f"id IN ({', '.join('?' * len(which.ids))})")
        values.extend(task_id.binary for task_id in which.ids)
    if which.states:
        clauses.append(f"state IN ({quoted(which.states)})")
    if which.name:
        clauses.append("substr(task_name, 1, ?) = ?")
        values += [len(which.name), which.name]
    if which.names:
        clauses.append(f"task_name IN ({', '.join('?' * len(which.names))})")
        values.extend(which.names)
    if which.topic:
        clauses.append("topic = ?")
        values.append(which.topic)
    if which.error:
        clauses.append("result_matches(CAST(result AS BLOB), ?)")
        values.append(which.error)
    if which.older is not None:
        clauses.append("time_queue < ?")
        values.append(to_ms(which.older))
    if which.newer is not None:
        clauses.append("time_queue > ?")
        values.append(to_ms(which.newer))
    return " AND ".join(clauses), values


def result_matches(result: bytes | None, pattern: str) -> bool:
    """The SQL function `result_matches`: whether a stored error text matches a regular expression."""
    if result is None:
        return False
    value = salvage(result).get("v")
    return isinstance(value, str) and re.search(pattern, value) is not None
