"""Reads pages of rows, bounded in bytes.

With each page goes whether more than PAGE_BYTES ended it; it has at least one row.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

from bson import ObjectId

from ...model import Event, MonQTask
from ..contract import PAGE_BYTES
from .rows import COLUMNS, task_from_row
from .salvage import any_text, event_of_row, id_of, is_about_a_row, task_of_row

Row = tuple[Any, ...]


def page_of_tasks(
    sql: sqlite3.Connection, tail: str, values: Sequence[Any], columns: str = COLUMNS
) -> tuple[list[MonQTask], bool]:
    """The page of ``SELECT … FROM task`` *tail*."""
    try:
        rows, is_cut = _first(sql.execute(f"SELECT {columns} FROM task {tail}", values))
        return [task_from_row(row) for row in rows], is_cut
    except Exception as error:
        if not is_about_a_row(error):
            raise
    with any_text(sql):
        rows, is_cut = _first(sql.execute(f"SELECT seq, {columns} FROM task {tail}", values))
    return [task_of_row(row[0], row[1:]) for row in rows], is_cut


def page_of_ids(sql: sqlite3.Connection, tail: str, values: Sequence[Any]) -> tuple[list[ObjectId], bool]:
    """The ids alone; nothing but the limit of the query ends them."""
    with any_text(sql):
        rows = sql.execute(f"SELECT seq, id FROM task {tail}", values).fetchall()
    return [id_of(raw_id, seq) for seq, raw_id in rows], False


def page_of_events(sql: sqlite3.Connection, tail: str, values: Sequence[Any]) -> tuple[list[Event], bool]:
    """The page of ``SELECT … FROM event`` *tail*."""
    with any_text(sql):
        rows, is_cut = _first(sql.execute(f"SELECT seq, id, document FROM event {tail}", values))
    return [event_of_row(*row) for row in rows], is_cut


def _first(rows: Iterable[Row]) -> tuple[list[Row], bool]:
    """Rows are read one by one, so that no more than one of them is read for nothing."""
    page: list[Row] = []
    size = 0
    for row in rows:
        size += sum(len(value) for value in row if isinstance(value, (bytes, str)))
        if page and size > PAGE_BYTES:
            return page, True
        page.append(row)
    return page, False
