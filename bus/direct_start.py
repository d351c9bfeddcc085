"""Direct start: postings are stored, and those begin at once for which this process has room.

The write that stores a task says `busy` already then: two steps and a commit less.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .clock import Clock
from .errors import StoreFull
from .model import BUSY, MonQTask, Posting, Receipt
from .starter import Reserved, Starter
from .store import Store


class DirectStart:
    """Stores for one process; without a *starter*, which only the daemon has, tasks wait to be claimed."""

    def __init__(self, store: Store, clock: Clock, starter: Starter | None) -> None:
        self._store = store
        self._clock = clock
        self._starter = starter

    def store(self, posting: Posting) -> Receipt:
        """As `store_all`, for one."""
        (receipt,) = self.store_all([posting])
        return receipt

    def store_all(self, postings: Sequence[Posting]) -> list[Receipt]:
        """Store *postings* in one call; begin those at once for which there is room, in order."""
        starter = self._starter
        if starter is None:
            receipts = self._store.post(postings)
            self._store.ring(_names(task for posting in postings for task in posting.tasks))
            return receipts
        reserved = [self._reserve(starter, posting.tasks) for posting in postings]
        receipts = self._store_reserved(postings, [slots for slots in reserved if slots is not None])
        waiting: list[MonQTask] = []
        for posting, slots, receipt in zip(postings, reserved, receipts, strict=True):
            new = new_of(posting, receipt)
            if slots is not None:
                slots.start(new)
            if receipt.replayed:
                waiting += posting.tasks
            elif slots is None:
                waiting += new
        if waiting:
            self.let_wait(waiting)
        return receipts

    def let_wait(self, tasks: Sequence[MonQTask]) -> None:
        """Let whoever is free look for *tasks*, which were stored as ready."""
        if self._starter is not None:
            self._starter.expect(tasks)
        self._store.ring(_names(tasks))

    def _store_reserved(self, postings: Sequence[Posting], reserved: Sequence[Reserved]) -> list[Receipt]:
        """Store *postings*; when that fails, what is *reserved* for them is given back or cleared up."""
        try:
            return self._store.post(postings)
        except StoreFull:
            for slots in reserved:
                slots.start(())  # certainly not stored: the slots are free again
            raise
        except BaseException:  # also an Interrupt of a handler that posts: what is stored must not stay busy
            for slots in reserved:
                slots.doubt()
            raise

    def _reserve(self, starter: Starter, tasks: list[MonQTask]) -> Reserved | None:
        """Mark *tasks* as begun by this daemon if all of them may, and set slots aside for them."""
        now = self._clock.now()
        if not tasks or any(
            task.time_queue > now or task.serial is not None or not starter.claims(task.task_name)
            for task in tasks
        ):
            return None
        reserved = starter.reserve(tasks)
        if reserved is not None:
            for task in tasks:
                task.state, task.time_start = BUSY, now
                task.worker, task.process = starter.instance.id, starter.instance.process
                task.attempt = task.generation = 1
        return reserved


def _names(tasks: Iterable[MonQTask]) -> set[str]:
    return {task.task_name for task in tasks}


def new_of(posting: Posting, receipt: Receipt) -> list[MonQTask]:
    """Those tasks of *posting* that this call has stored, none of which was begun before."""
    is_known = posting.event is not None and receipt.event_id != posting.event.id
    return [] if receipt.repeated or receipt.replayed or is_known else stored_of(posting.tasks, receipt)


def stored_of(tasks: list[MonQTask], receipt: Receipt) -> list[MonQTask]:
    """Those of *tasks* that were stored themselves and not found under their key."""
    return [task for task, stored in zip(tasks, receipt.task_ids, strict=True) if task.id == stored]
