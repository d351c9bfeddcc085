"""The contract in plain Python: what a store promises, as short as it can be said.

Holds deep copies in dicts, has no durability and no speed. The lockstep test believes it when a
store says something else, so every sentence of store/contract.py must be found here.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from copy import deepcopy
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any

from bson import ObjectId

from bus.model import (
    BUSY,
    COMPLETE,
    ENDED,
    READY,
    Claim,
    Claimed,
    Event,
    Filter,
    Instance,
    MonQTask,
    Posting,
    Receipt,
    Report,
    State,
)
from bus.store.contract import Backlog


class Pretend:
    """A store for one process that never fails. Every verb is that of the contract."""

    def __init__(self) -> None:
        self.tasks: dict[ObjectId, MonQTask] = {}
        self.events: dict[ObjectId, Event] = {}
        self.living: set[str] = set()

    # in

    def post(self, postings: Sequence[Posting]) -> list[Receipt]:
        return [self._post(deepcopy(posting.tasks), deepcopy(posting.event)) for posting in postings]

    def _post(self, tasks: list[MonQTask], event: Event | None) -> Receipt:
        named = [task.id for task in tasks]
        if event is None:
            is_known = any(task_id in self.tasks for task_id in named)
            ids = [self._add(task) for task in tasks]
            return Receipt(ids, None, ids != named, is_known)
        if (first := self._stored(event)) is None:
            self.events[event.id] = event
            event.task_ids = [self._add(task) for task in tasks]
            return Receipt(event.task_ids, event.id, event.task_ids != named)
        is_own = first.id == event.id
        if named and not first.task_ids:
            return self._replay(first, tasks, event)
        if named and named == first.task_ids:
            return Receipt(named, first.id, repeated=is_own, replayed=not is_own)
        return Receipt(first.task_ids, first.id, not is_own or first.task_ids != named, is_own)

    def _stored(self, event: Event) -> Event | None:
        of_key = (first for first in self.events.values() if event.key is not None and first.key == event.key)
        return self.events.get(event.id) or next(of_key, None)

    def _replay(self, first: Event, tasks: list[MonQTask], event: Event) -> Receipt:
        first.topic, first.is_filtered = event.topic, False
        if first.expire_at is not None and event.expire_at is not None:
            first.expire_at = max(first.expire_at, event.expire_at)
        for task in tasks:
            task.event_id, task.state, task.worker, task.process = first.id, READY, None, None
            task.time_start, task.attempt, task.generation = None, 0, 0
        first.task_ids = [self._add(task) for task in tasks]
        return Receipt(first.task_ids, first.id, replayed=True)

    def _add(self, task: MonQTask) -> ObjectId:
        """The id under which *task* is stored: its own, or that of the holder of its key."""
        if task.id in self.tasks:
            return task.id
        holder = self._holder(task.key)
        if holder is not None:
            return holder.id
        task.event = task.waiter = None
        self.tasks[task.id] = task
        return task.id

    def _holder(self, key: str | None) -> MonQTask | None:
        held = (task for task in self.tasks.values() if task.key == key and task.state not in ENDED)
        return next(held, None) if key is not None else None

    # claim, hold and end

    def claim(self, instance: Instance, names: Collection[str], limit: int, now: datetime) -> Claimed:
        waiting = [task for task in self.tasks.values() if task.state == READY and task.task_name in names]
        due = [task for task in waiting if task.time_queue <= now]
        due.sort(key=lambda task: (-task.priority, task.time_queue, task.id))
        for task in due[:limit]:
            task.state, task.worker, task.process = BUSY, instance.id, instance.process
            task.time_start, task.time_stop = now, None
            task.generation += 1
            task.attempt += 1
        ahead = min((task.time_queue for task in waiting if task.time_queue > now), default=None)
        taken = [self._with_delivery(task) for task in due[:limit]]
        return Claimed(taken, ahead if len(taken) < limit else None)

    def _with_delivery(self, task: MonQTask) -> MonQTask:
        event = self.events.get(task.event_id) if task.event_id is not None else None
        return dataclasses.replace(task, event=deepcopy(event) if event and event.hook is not None else None)

    def report(self, reports: Sequence[Report]) -> list[bool | None]:
        """None where the contract leaves the answer open: repeated, and not an end."""
        return [self._report(report.claim, report.fields) for report in reports]

    def _report(self, claim: Claim, fields: Mapping[str, Any]) -> bool | None:
        task = self.tasks.get(claim.id)
        if task is None:
            return False
        if task.state == BUSY and task.claim == claim:
            _set(task, fields)
            return True
        says = {"state": BUSY, "worker": claim.worker, **fields, "generation": claim.generation}
        is_said = all(getattr(task, name) == value for name, value in says.items())
        return (True if fields.get("state") in ENDED else None) if is_said else False

    def renew(self, instance: Instance, lease_seconds: float) -> None:
        (self.living.add if lease_seconds > 0 else self.living.discard)(instance.id)

    def held(self, instance: Instance) -> list[Claim]:
        return [task.claim for task in self._in_order() if task.state == BUSY and task.worker == instance.id]

    def orphans(self, instance: Instance, limit: int, *, living: Collection[str]) -> list[MonQTask]:
        """*living* are the instances whose lease holds; where the file's lock is the lease, nobody's."""
        mine = {instance.id, *living}
        lost = [task for task in self._in_order() if task.state == BUSY and task.worker not in mine]
        return deepcopy(lost[:limit])

    # see

    def _in_order(self) -> list[MonQTask]:
        return sorted(self.tasks.values(), key=lambda task: task.id)

    def get(self, task_id: ObjectId) -> MonQTask | None:
        return deepcopy(self.tasks.get(task_id))

    def find(self, which: Filter, limit: int, cursor: ObjectId | None = None) -> list[MonQTask]:
        found = [task for task in self._matching(which) if cursor is None or task.id < cursor]
        return deepcopy(found[:limit])

    def _matching(self, which: Filter) -> Iterator[MonQTask]:
        for task in reversed(self._in_order()):
            if (
                (not which.ids or task.id in which.ids)
                and (not which.states or task.state in which.states)
                and (not which.name or fnmatchcase(task.task_name, which.name))
                and (not which.topic or task.topic == which.topic)
                and (
                    not which.error or (isinstance(task.result, str) and re.search(which.error, task.result))
                )
                and (which.older is None or task.time_queue < which.older)
                and (which.newer is None or task.time_queue > which.newer)
            ):
                yield task

    def count(self, which: Filter, by: str = "state") -> dict[str, int]:
        return dict(
            Counter(task.state if by == "state" else task.task_name for task in self._matching(which))
        )

    def depth(self, most: int) -> int:
        return min(most, self.count(Filter()).get(READY, 0))

    def waiting(self) -> dict[str, Backlog]:
        moments: dict[str, list[datetime]] = {}
        for task in self.tasks.values():
            if task.state == READY:
                moments.setdefault(task.task_name, []).append(task.time_queue)
        return {name: Backlog(len(own), min(own)) for name, own in moments.items()}

    def event(self, event_id: ObjectId) -> Event | None:
        return deepcopy(self.events.get(event_id))

    # operate and forget

    def move(self, ids: Sequence[ObjectId], states: Collection[State], fields: Mapping[str, Any]) -> int:
        return sum(
            self._move(self.tasks[i], fields)
            for i in ids
            if i in self.tasks and self.tasks[i].state in states
        )

    def _move(self, task: MonQTask, fields: Mapping[str, Any]) -> bool:
        holder = self._holder(task.key)
        if fields.get("state", task.state) not in ENDED and holder is not None and holder is not task:
            return False
        _set(task, fields)
        return True

    def delete(self, ids: Sequence[ObjectId], states: Collection[State]) -> int:
        gone = [i for i in ids if i in self.tasks and self.tasks[i].state in states]
        for task_id in gone:
            del self.tasks[task_id]
        return len(gone)

    def prune(self, now: datetime) -> int:
        """Everything that may go at *now*: the model knows no batches."""
        old = [i for i, task in self.tasks.items() if task.expire_at is not None and task.expire_at <= now]
        pruned = self.delete(old, ENDED)
        needed = {task.event_id for task in self.tasks.values() if task.state != COMPLETE}
        for event in list(self.events.values()):
            if event.expire_at is not None and event.expire_at <= now and event.id not in needed:
                del self.events[event.id]
                pruned += 1
        return pruned


def _set(task: MonQTask, fields: Mapping[str, Any]) -> None:
    for name, value in deepcopy(dict(fields)).items():
        setattr(task, name, value)
