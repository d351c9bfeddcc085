"""Claims in SQLite: batch claim, what a daemon holds, orphaned claims.

A row that cannot be read is set aside when it is its turn; the others go on.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Collection, Sequence
from datetime import datetime
from json import dumps
from operator import itemgetter
from typing import Any, Final

from bson import ObjectId

from ...clock import Clock
from ...limits import Limit
from ...model import Claim, Claimed, Event, FairShare, Instance, MonQTask
from ..documents import may_need_delivery
from ..fair_share import divided
from ..fields import ASIDE
from ..salvage import opened
from ..set_aside import SetAside
from . import limits
from .connection import Connection
from .pages import page_of_tasks
from .rows import BEHIND_MS, COLUMNS, HAS_EVENT, LATEST_MS, BadRow, from_ms, task_from_row, to_ms
from .salvage import (
    any_text,
    event_of_row,
    handle,
    id_of,
    is_about_a_row,
    misplaced,
    read_with_care,
    set_aside,
)

Due = tuple[float, int, int, str]
"""rank, time_queue, seq, which are the order of claiming, and the name."""
AGED_RANKS: Final = 16
"""So many of a name's lowest priorities are looked through for those that wait too long."""
LAST_RANK: Final = math.inf

NOBODYS: Final = f"worker: expected text, got null; {ASIDE}, then retry"


class Claims:
    """Takes tasks for the one daemon that there can be. *aside* hears of tasks that cannot be begun."""

    def __init__(self, connection: Connection, aside: SetAside) -> None:
        self._connection = connection
        self._aside = aside
        self._clock = Clock()

    @property
    def _sql(self) -> sqlite3.Connection:
        return self._connection.sql

    def claim(
        self,
        instance: Instance,
        names: Collection[str],
        limit: int,
        now: datetime,
        fair: FairShare | None,
        *,
        bound: Limit | None,
    ) -> Claimed:
        """See the contract; one index seek for each task name and priority that waits."""
        at = to_ms(now) or 0

        def job() -> Claimed:
            try:
                if bound is not None:
                    return self._claim_within(instance, names, limit, at, bound)
                return self._claim(instance, names, limit, at, fair)
            except Exception as error:
                if not is_about_a_row(error):
                    raise
            for task_id, reason in misplaced(self._sql):
                self._set_aside(task_id, reason, at)
            return self._claim(instance, names, limit, at, fair) if bound is None else Claimed([])

        return self._connection.write(job)

    def _claim_within(
        self, instance: Instance, names: Collection[str], limit: int, now: int, bound: Limit
    ) -> Claimed:
        """As `_claim`, no more than *bound* allows: it counts what runs and began in the same transaction."""
        (name,) = names
        limit = min(limit, limits.places(self._sql, name, bound))
        if limit <= 0:
            return Claimed([])
        due: list[Due] = []
        ahead: list[int] = []
        self._look(name, limit, now, due, ahead)
        starts, opens = limits.starts(self._sql, name, bound, now, len(due))
        tasks = self._take(instance, [seq for _, _, seq, _ in due[:starts]], now) if starts else []
        if opens is not None:
            ahead.append(opens)
        return Claimed(tasks, from_ms(min(*ahead, LATEST_MS)) if ahead and len(tasks) < limit else None)

    def _claim(
        self, instance: Instance, names: Collection[str], limit: int, now: int, fair: FairShare | None
    ) -> Claimed:
        due: list[Due] = []
        ahead: list[int] = []
        for name in self._waiting_names():
            if type(name) is not str:
                raise BadRow
            if name in names:
                self._look(name, limit, now, due, ahead)
        due.sort()
        if fair is not None and limit > 0 and len(due) >= limit:
            due = self._in_turn(due, limit, fair)
        taken = [seq for _, _, seq, _ in due[:limit]]
        tasks = self._take(instance, taken, now) if taken else []
        return Claimed(tasks, from_ms(min(*ahead, LATEST_MS)) if ahead and len(tasks) < limit else None)

    def _in_turn(self, due: list[Due], limit: int, fair: FairShare) -> list[Due]:
        """*due* in the order in which *fair* gives places."""
        aged = self._aged(due, limit, fair) if fair.aged else []
        if aged:
            due = aged + [one for one in due if one not in aged]
        if len(due) > limit:
            within, beyond = divided(due, itemgetter(3), fair)
            due = within + beyond
        return due

    def _aged(self, due: list[Due], limit: int, fair: FairShare) -> list[Due]:
        """The places of those that wait longest; of each name and priority only the oldest can be it."""
        before, worst = to_ms(fair.aged_before) or 0, due[limit - 1][0]
        old = {one for one in due if one[1] <= before}
        for name in {name for _, _, _, name in due}:
            rank: float = LAST_RANK
            for _ in range(AGED_RANKS):
                found = self._sql.execute(
                    "SELECT rank FROM task INDEXED BY task_lane WHERE state = 'ready' AND task_name = ? "
                    "AND rank > ? AND rank < ? ORDER BY rank DESC LIMIT 1",
                    (name, worst, rank),
                ).fetchone()
                if found is None:
                    break
                rank = found[0]
                rows = self._sql.execute(
                    "SELECT time_queue, seq FROM task INDEXED BY task_lane WHERE state = 'ready' "
                    "AND task_name = ? AND rank = ? AND time_queue <= ? ORDER BY time_queue, seq LIMIT ?",
                    (name, rank, before, fair.aged),
                ).fetchall()
                old.update((rank, time_queue, seq, name) for time_queue, seq in rows)
        return sorted(old, key=itemgetter(1, 2))[: fair.aged]

    def _waiting_names(self) -> list[str]:
        names: list[str] = []
        last = ""
        while found := self._sql.execute(
            "SELECT task_name FROM task INDEXED BY task_lane WHERE state = 'ready' AND task_name > ? "
            "ORDER BY task_name LIMIT 1",
            (last,),
        ).fetchone():
            last = found[0]
            names.append(last)
        return names

    def _look(self, name: str, limit: int, now: int, due: list[Due], ahead: list[int]) -> None:
        """Walk the priorities of *name* from the highest down until *limit* due tasks are found."""
        rank = -math.inf
        missing = limit
        while missing > 0 and (
            found := self._sql.execute(
                "SELECT rank FROM task INDEXED BY task_lane "
                "WHERE state = 'ready' AND task_name = ? AND rank > ? ORDER BY rank LIMIT 1",
                (name, rank),
            ).fetchone()
        ):
            rank = found[0]
            rows = self._sql.execute(
                "SELECT time_queue, seq FROM task INDEXED BY task_lane "
                "WHERE state = 'ready' AND task_name = ? AND rank = ? ORDER BY time_queue, seq LIMIT ?",
                (name, rank, missing),
            ).fetchall()
            for time_queue, seq in rows:
                if time_queue > now:
                    if not BEHIND_MS <= time_queue <= BEHIND_MS + LATEST_MS:  # it is nobody's moment
                        ahead.append(time_queue)
                    break
                due.append((rank, time_queue, seq, name))
                missing -= 1

    def _take(self, instance: Instance, taken: list[int], now: int) -> list[MonQTask]:
        seqs = dumps(taken)
        try:
            rows = self._sql.execute(
                "UPDATE task SET state = 'busy', worker = ?, process = ?, time_start = ?, time_stop = NULL, "
                "generation = generation + 1, attempt = attempt + 1 "
                f"WHERE seq IN (SELECT value FROM json_each(?)) RETURNING seq, {COLUMNS}",
                (instance.id, instance.process, now, seqs),
            ).fetchall()
            by_seq = {row[0]: task_from_row(row[1:]) for row in rows}
        except Exception as error:
            if not is_about_a_row(error):
                raise
            # the update itself is whole before its first row is given (sqlite.org/lang_returning.html)
            by_seq = self._read_with_care("WHERE seq IN (SELECT value FROM json_each(?))", (seqs,), now)
        tasks = [by_seq[seq] for seq in taken if seq in by_seq]
        for task in tasks:
            if task.event_id is not None:
                task.event = self._delivery(task.event_id)
                task.is_bereft = task.event is None and self._is_bereft(task)
        broken = [task for task in tasks if task.event is not None and task.event.fault]
        for task in broken:
            self._set_aside(task.id, task.event.fault if task.event is not None else "", now)
        return [task for task in tasks if task not in broken] if broken else tasks

    def _read_with_care(self, tail: str, values: Sequence[Any], now: int) -> dict[int, MonQTask]:
        """The tasks of a query by their seq; those that cannot be read are set aside."""
        sound: dict[int, MonQTask] = {}
        for seq, task in read_with_care(self._sql, tail, values):
            if task.fault:
                self._set_aside(handle(seq), task.fault, now)
            else:
                sound[seq] = task
        return sound

    def _set_aside(self, task_id: Any, reason: str, now: int) -> None:
        set_aside(self._sql, task_id, reason, now)
        self._aside.add(task_id, reason)

    def _delivery(self, event_id: ObjectId) -> Event | None:
        row = self._sql.execute(
            "SELECT seq, CAST(document AS BLOB) FROM event WHERE id = ? AND kind = 'delivery'",
            (event_id.binary,),
        ).fetchone()
        return event_of_row(row[0], event_id.binary, row[1]) if row else None

    def _is_bereft(self, task: MonQTask) -> bool:
        """Whether the delivery that *task* is about is gone; what was published is in its arguments."""
        if task.event_id is None or not may_need_delivery(task):
            return False
        return self._sql.execute(HAS_EVENT, (task.event_id.binary,)).fetchone() is None

    def held(self, instance: Instance) -> list[Claim]:
        """See the contract."""
        tail, now = "WHERE state = 'busy' AND worker = ?", to_ms(self._clock.now()) or 0

        def job() -> list[Claim]:
            with any_text(self._sql) as tolerant:
                sql = f"SELECT seq, id, generation FROM task {tail}"
                rows = tolerant.execute(sql, (instance.id,)).fetchall()
            held = [(id_of(raw_id, seq), generation) for seq, raw_id, generation in rows]
            if all(opened(task_id) is None and type(number) is int for task_id, number in held):
                return [Claim(task_id, instance.id, number) for task_id, number in held]
            return [task.claim for task in self._read_with_care(tail, (instance.id,), now).values()]

        return self._connection.scan(job)

    def orphans(self, instance: Instance, limit: int) -> list[MonQTask]:
        """Busy tasks of every other instance: holding the lock proves that those are dead."""
        # without a worker it is nobody's, and nobody would ever end it
        tail = "WHERE state = 'busy' AND worker IS NOT ? ORDER BY seq LIMIT ?"
        now = to_ms(self._clock.now()) or 0

        def job() -> list[MonQTask]:
            tasks, _ = page_of_tasks(self._sql, tail, (instance.id, limit))
            lost = [task for task in tasks if task.fault or task.worker is None]
            for task in lost:
                self._set_aside(task.id, task.fault or NOBODYS, now)
            return [task for task in tasks if task not in lost] if lost else tasks

        return self._connection.scan(job)
