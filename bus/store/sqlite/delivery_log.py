"""The delivery log in SQLite: two rings in one table, one of what strangers cause, one of the others."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, Final

from bson import ObjectId

from ...codec import encode
from ...delivery_record import Delivery, DeliveryFilter, Keep
from ..delivery_documents import record_from_document, record_to_document
from ..salvage import salvage
from .connection import Connection
from .rows import to_ms
from .salvage import any_text, behind, id_of, place

INSERT: Final = """
    INSERT INTO delivery (id, by_stranger, size, hook, status, delivery, received, outcome, document)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING
"""
_RINGS: Final = (0, 1)


class DeliveryRing:
    """Writes records, lets old ones go, and reads them."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def write(self, records: Sequence[Delivery], keep: Keep | None) -> int:
        """See contract.log_deliveries."""
        rows = [_row(one) for one in records]

        def job() -> int:
            sql = self._connection.sql
            if rows:
                sql.executemany(INSERT, rows)
            return 0 if keep is None else sum(_trim(sql, ring, keep) for ring in _RINGS)

        return self._connection.take_in(job) if rows else self._connection.scan(job)

    def find(self, filter: DeliveryFilter, limit: int, cursor: ObjectId | None) -> list[Delivery]:
        """See contract.deliveries."""
        conditions, values = ["1"], list[Any]()
        for condition, value in (
            ("hook = ?", filter.hook),
            ("delivery = ?", filter.delivery),
            ("outcome = ?", filter.outcome),
            ("status = ?", filter.status),
            ("received < ?", to_ms(filter.older)),
            ("received > ?", to_ms(filter.newer)),
        ):
            if value not in ("", 0, None):
                conditions.append(condition)
                values.append(value)
        if cursor is not None:
            condition, value = behind(cursor)
            conditions.append(condition)
            values.append(value)
        return self._read(f"WHERE {' AND '.join(conditions)} ORDER BY id DESC LIMIT ?", [*values, limit])

    def get(self, record_id: ObjectId) -> Delivery | None:
        """See contract.delivery."""
        where, value = place(record_id)
        found = self._read(f"WHERE {where}", [value])
        return found[0] if found else None

    def _read(self, tail: str, values: Sequence[Any]) -> list[Delivery]:
        def job() -> list[tuple[Any, ...]]:
            with any_text(self._connection.sql) as tolerant:
                sql = f"SELECT seq, id, CAST(document AS BLOB) FROM delivery {tail}"
                return tolerant.execute(sql, values).fetchall()

        return [
            record_from_document({**salvage(data), "_id": id_of(raw_id, seq)})
            for seq, raw_id, data in self._connection.scan(job)
        ]


def _row(one: Delivery) -> tuple[Any, ...]:
    document = record_to_document(one)
    return (
        one.id.binary, int(one.is_by_stranger), document["room"], one.hook, one.status, one.delivery,
        to_ms(one.received), one.outcome, encode(document),
    )  # fmt: skip


def _trim(sql: sqlite3.Connection, ring: int, keep: Keep) -> int:
    """Delete what is too old in one ring, and the oldest of what is too much."""
    gone = sql.execute(
        "DELETE FROM delivery WHERE by_stranger = ? AND received < ?", (ring, to_ms(keep.before))
    ).rowcount
    gone += sql.execute(
        "DELETE FROM delivery WHERE by_stranger = ?1 AND id <= "
        "(SELECT id FROM delivery WHERE by_stranger = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
        (ring, keep.most),
    ).rowcount
    gone += sql.execute(
        "DELETE FROM delivery WHERE by_stranger = ?1 AND id <= (SELECT max(id) FROM "
        "(SELECT id, sum(size) OVER (ORDER BY id DESC) AS total FROM delivery WHERE by_stranger = ?1) "
        "WHERE total > ?2)",
        (ring, keep.size),
    ).rowcount
    return gone
