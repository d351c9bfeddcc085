"""Reads for operators, the API and joins: one item, pages, counts."""

from __future__ import annotations

import dataclasses
import sqlite3
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from bson import ObjectId

from ...model import STATES, Event, EventFilter, Filter, MonQTask
from ..contract import Backlog, CountedBy, Line
from .connection import Connection
from .filter import holes, one_by_one, where_clause, where_of_events
from .pages import page_of_events, page_of_ids, page_of_tasks
from .rows import BRIEF, COLUMNS, LINE, from_ms
from .salvage import any_text, behind, id_of, order_of, place, read_events, read_tasks

Item = TypeVar("Item")
Read = Callable[[sqlite3.Connection, str, Sequence[Any]], tuple[list[Item], bool]]


class Reads:
    """The verbs of contract.Store that change nothing."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, task_id: ObjectId) -> MonQTask | None:
        """See the contract."""
        where, value = place(task_id)
        connection = self._connection
        found = connection.look_up(lambda: read_tasks(connection.sql, f"WHERE {where}", (value,)))
        return found[0] if found else None

    def find(self, filter: Filter, limit: int, cursor: ObjectId | None, *, brief: bool) -> list[MonQTask]:
        """See the contract."""
        read = partial(page_of_tasks, columns=BRIEF if brief else COLUMNS)
        return _newest(self._pages(read, filter, limit, cursor), lambda task: order_of(task.id), limit)

    def ids(self, filter: Filter, limit: int, cursor: ObjectId | None) -> list[ObjectId]:
        """See the contract."""
        return _newest(self._pages(page_of_ids, filter, limit, cursor), order_of, limit)

    def _pages(
        self, read: Read[Item], filter: Filter, limit: int, cursor: ObjectId | None
    ) -> list[tuple[list[Item], bool]]:
        """A page for each state, so that an index gives the order and no sort is needed."""
        return [
            self._page(read, dataclasses.replace(filter, states=states), limit, cursor)
            for states in one_by_one(filter.states)
        ]

    def _page(
        self, read: Read[Item], filter: Filter, limit: int, cursor: ObjectId | None
    ) -> tuple[list[Item], bool]:
        where, values = where_clause(filter)
        if cursor is not None:
            condition, value = behind(cursor)
            where += f" AND {condition}"
            values.append(value)
        tail = f"WHERE {where} ORDER BY id DESC LIMIT ?"
        return self._connection.scan(lambda: read(self._connection.sql, tail, [*values, limit]))

    def line(self, serial: str, limit: int, *, newest: bool) -> Line:
        """See the contract."""
        order = "DESC" if newest else "ASC"

        def job() -> Line:
            with any_text(self._connection.sql) as tolerant:
                if not tolerant.execute("SELECT 1 FROM sqlite_master WHERE name = 'task_line'").fetchone():
                    return Line(None, [])  # a file of an earlier version, which is only looked at
                holder = tolerant.execute(LINE.format(0, order), (serial, 1)).fetchall()
                behind = tolerant.execute(LINE.format(1, order), (serial, limit)).fetchall()
            first, *_ = [*(id_of(raw_id, seq) for seq, raw_id in holder), None]
            return Line(first, [id_of(raw_id, seq) for seq, raw_id in behind])

        return self._connection.scan(job)

    def count(self, filter: Filter, by: CountedBy) -> dict[str, int]:
        """See the contract."""
        where, values = where_clause(filter)
        column = "state" if by == "state" else "task_name"
        known = f"state IN ({holes(STATES)})"
        sql = f"SELECT {column}, count(*) FROM task WHERE {where} AND {known} GROUP BY {column}"
        rows = self._read(sql, [*values, *STATES])
        return {word: count for word, count in rows if isinstance(word, str)}

    def depth(self, most: int) -> int:
        """See the contract."""
        inner = "SELECT 1 FROM task INDEXED BY task_state WHERE state = 'ready' LIMIT ?"
        ((count,),) = self._connection.read(f"SELECT count(*) FROM ({inner})", (most,))
        return int(count)

    def waiting(self) -> dict[str, Backlog]:
        """See the contract."""
        rows = self._read(
            "SELECT task_name, count(*), min(time_queue) FROM task INDEXED BY task_lane "
            "WHERE state = 'ready' GROUP BY task_name"
        )
        return {
            name: Backlog(count, _moment(oldest)) for name, count, oldest in rows if isinstance(name, str)
        }

    def _read(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query that may read much, whatever text is in them."""

        def job() -> list[tuple[Any, ...]]:
            with any_text(self._connection.sql) as tolerant:
                return tolerant.execute(sql, values).fetchall()

        return self._connection.scan(job)

    def event(self, event_id: ObjectId) -> Event | None:
        """See the contract."""
        where, value = place(event_id)
        connection = self._connection
        found = connection.look_up(lambda: read_events(connection.sql, f"WHERE {where}", (value,)))
        return found[0] if found else None

    def events(self, limit: int, cursor: ObjectId | None, filter: EventFilter) -> list[Event]:
        """See the contract."""
        conditions, values = where_of_events(filter)
        if cursor is not None:
            condition, value = behind(cursor)
            conditions.append(condition)
            values.append(value)
        tail = f"WHERE {' AND '.join(conditions)} ORDER BY id DESC LIMIT ?"
        page, _ = self._connection.scan(lambda: page_of_events(self._connection.sql, tail, [*values, limit]))
        return page


def _newest(pages: list[tuple[list[Item], bool]], order: Callable[[Item], Any], limit: int) -> list[Item]:
    """One page of several, newest id first.

    Where the bytes of one state end its page, what the others have behind it belongs to the next one.
    """
    if len(pages) == 1:
        return pages[0][0]
    ends = [order(items[-1]) for items, is_cut in pages if is_cut]
    ranked = [(order(item), item) for items, _ in pages for item in items]
    if ends:
        ranked = [(rank, item) for rank, item in ranked if rank >= max(ends)]
    ranked.sort(key=lambda one: one[0], reverse=True)
    return [item for _, item in ranked[:limit]]


def _moment(ms: Any) -> datetime | None:
    """A stored moment, None for what is none."""
    try:
        return from_ms(ms)
    except (TypeError, ValueError, OverflowError, OSError):
        return None
