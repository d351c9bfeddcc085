"""Copies a whole store into another one, page by page; can be interrupted and repeated at any time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Sized
from dataclasses import replace
from typing import Any, Final, NamedTuple, TypeVar

from bson import ObjectId

from .errors import NotAccepted, NotStorable, StoreError
from .model import ENDED, ERROR, Event, Filter, MonQTask
from .pauses import KIND as PAUSE
from .schedules import KIND as SCHEDULE
from .store import Store

PAGE: Final = 200
EVERYTHING: Final = Filter()

Item = TypeVar("Item", Event, MonQTask)
Progress = Callable[[int], None]


class Copied(NamedTuple):
    """How much was there, and is in the other store now; *left* is what is not, a sentence each."""

    events: int
    tasks: int
    left: Sequence[str] = ()


def copy(source: Store, target: Store, progress: Progress = lambda _: None) -> Copied:
    """Bring every event, task and record of *source* into *target*, under the same ids and as they are.

    Nothing else may use *source* meanwhile. What *target* has already stays as it is, so a second
    copy completes the first. *progress* is told after each page how many came so far. Blocks as long
    as it takes. What nobody can read stays behind; a task of which a part can be read comes in `error`
    with the reason. Raises StoreError when *target* has other tasks or events, or *source* has gone on
    since an earlier copy.
    """
    _require_nothing_else(source, target)
    done = 0

    def tell(count: int) -> None:
        nonlocal done
        done += count
        progress(done)

    left: list[str] = []

    def bring_events(page: list[Event]) -> None:
        left.extend(f"event {event.id}: {event.fault}" for event in page if event.fault)
        brought = _bring(
            [event for event in page if not event.fault], lambda some: target.adopt([], some), left
        )
        _require_events(target, brought)
        tell(len(page))

    def bring_tasks(page: list[MonQTask]) -> None:
        left.extend(f"task {task.task_name}: {task.fault}" for task in page if not _has_id(task))
        named = [_as_it_may_be(task) for task in page if _has_id(task)]
        _require_all(target, _bring(named, lambda some: target.adopt(some, []), left))
        tell(len(page))

    _bring_records(source, target)
    # the events first: a daemon that finds a task finds what it is about
    events = _walk(source.events, bring_events)
    tasks = _walk(lambda limit, before: source.find(EVERYTHING, limit, before), bring_tasks)
    gone = sum(sentence.startswith("event ") for sentence in left)
    return Copied(events - gone, tasks - (len(left) - gone), left)


def _bring_records(source: Store, target: Store) -> None:
    """How far schedules have come, and what is paused; what the target has of it stays."""
    found = [record for kind in (SCHEDULE, PAUSE) for record in source.records(kind)]
    records = [replace(record, version=0) for record in found if record.fields]
    if records:
        target.keep_records(records)


def _bring(page: list[Item], adopt: Callable[[list[Item]], None], left: list[str]) -> list[Item]:
    """Those of *page* that are in the target then; what its rules forbid is added to *left*."""
    try:
        if page:
            adopt(page)
    except (NotAccepted, NotStorable) as error:
        if len(page) == 1:
            left.append(f"{'event' if isinstance(page[0], Event) else 'task'} {page[0].id}: {error}")
            return []
        half = len(page) // 2
        return _bring(page[:half], adopt, left) + _bring(page[half:], adopt, left)
    return page


def _has_id(task: MonQTask) -> bool:
    return isinstance(task.id, ObjectId)


def _as_it_may_be(task: MonQTask) -> MonQTask:
    """*task*, which must not run in the other store with what could still be read of it."""
    if not task.fault or task.state in ENDED:
        return task
    return replace(task, state=ERROR, result=task.fault)


def size(source: Store) -> int:
    """How many tasks and events there are to copy; reads all events."""
    return sum(source.count(EVERYTHING).values()) + _walk(source.events, lambda _: None)


def _walk(pages: Callable[[int, ObjectId | None], list[Item]], act: Callable[[list[Item]], Any]) -> int:
    count, before = 0, None
    while page := pages(PAGE, before):
        act(page)
        count, before = count + len(page), page[-1].id
    return count


def _require_nothing_else(source: Store, target: Store) -> None:
    """Two queues made one by mistake could never be taken apart again."""
    tasks = [
        f"task {one.id} {one.task_name}"
        for one in target.find(EVERYTHING, PAGE, brief=True)
        if not source.get(one.id)
    ]
    events = [f"event {one.id} {one.topic}" for one in target.events(PAGE) if not source.event(one.id)]
    for stranger in (*tasks, *events):
        raise StoreError(
            f"{stranger}: is in the target and not in this store; "
            "name an empty database, or the one that an earlier copy of this store has begun"
        )


def _require_all(target: Store, page: list[MonQTask]) -> None:
    if not page:
        return
    found = {task.id: task for task in _all_of(target, tuple(task.id for task in page))}
    _require_none("tasks", {task.id for task in page} - found.keys(), page)
    for task in page:
        if _has_gone_on(task, found[task.id]):
            raise StoreError(
                f"task {task.id} {task.task_name}: a daemon has worked on this store since an earlier copy, "
                "which would run it again; empty the target database and copy again"
            )


def _all_of(store: Store, ids: tuple[ObjectId, ...]) -> Iterator[MonQTask]:
    """Those of *ids* that *store* has, in as many pages as their bytes make."""
    before = None
    while page := store.find(Filter(ids=ids), len(ids), before, brief=True):
        yield from page
        before = page[-1].id


def _has_gone_on(task: MonQTask, there: MonQTask) -> bool:
    """Whether *task* is further than its copy *there*; the other way round is the new daemon's work."""
    is_waiting = there.state not in ENDED
    return is_waiting and (task.state in ENDED or task.generation > there.generation)


def _require_events(target: Store, page: list[Event]) -> None:
    if not page:
        return
    newest = int.from_bytes(page[0].id.binary, "big")
    behind = ObjectId((newest + 1).to_bytes(12, "big"))
    there: set[ObjectId] = set()
    while len(there) < len(page) and (found := target.events(len(page) - len(there), behind)):
        there.update(event.id for event in found)
        behind = found[-1].id
    _require_none("events", {event.id for event in page} - there, page)


def _require_none(what: str, missing: set[ObjectId], page: Sized) -> None:
    if missing:
        raise StoreError(
            f"{len(missing)} of {len(page)} {what} did not arrive, the first is {min(missing)}; copy again"
        )
