"""Records in SQLite: one row each, changed only from the version that the caller has read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...codec import encode
from ...model import Record
from ..salvage import Salvaged, salvage
from .connection import Connection
from .salvage import any_text


class Records:
    """Implements contract.Records."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def records(self, kind: str) -> list[Record]:
        """See the contract."""

        def job() -> list[Record]:
            with any_text(self._connection.sql) as tolerant:
                if not tolerant.execute("SELECT 1 FROM sqlite_master WHERE name = 'record'").fetchone():
                    return []  # a file of an earlier version, which is only looked at
                rows = tolerant.execute(
                    "SELECT name, version, CAST(document AS BLOB) FROM record WHERE kind = ? ORDER BY name",
                    (kind,),
                ).fetchall()
            return [
                Record(kind, name, _fields(data), version)
                for name, version, data in rows
                if type(name) is str and type(version) is int
            ]

        return self._connection.scan(job)

    def keep_records(self, records: Sequence[Record]) -> list[bool]:
        """See the contract; one transaction for all of *records*."""
        return self._connection.write(lambda: [self._keep(record) for record in records])

    def _keep(self, record: Record) -> bool:
        sql, place = self._connection.sql, (record.kind, record.name)
        if not record.fields:
            where = "kind = ? AND name = ? AND version = ?"
            return bool(sql.execute(f"DELETE FROM record WHERE {where}", (*place, record.version)).rowcount)
        document = encode(dict(record.fields))
        if record.version == 0:
            return bool(
                sql.execute("INSERT OR IGNORE INTO record VALUES (?, ?, 1, ?)", (*place, document)).rowcount
            )
        return bool(
            sql.execute(
                "UPDATE record SET version = version + 1, document = ? "
                "WHERE kind = ? AND name = ? AND version = ?",
                (document, *place, record.version),
            ).rowcount
        )


def _fields(data: bytes) -> Mapping[str, Any]:
    found = salvage(data)
    return {} if isinstance(found, Salvaged) else found
