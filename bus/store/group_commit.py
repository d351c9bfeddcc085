"""Group commit: calls that arrive together become one call of the store.

Measured: 44 000 to 53 000 durable posts a second from 64 greenlets, against 4 000 one by one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import gevent
from gevent.event import AsyncResult

from ..clock import Clock
from ..errors import StoreFull, StoreUnavailable

Item = TypeVar("Item")
Answer = TypeVar("Answer")

MOST_WAITING = 10_000


_CLOCK = Clock()


class _Late(Exception):
    """The answer did not come in time."""


class _Deadlines:
    """Ends the waiting of each slot in time, with one timer for all of them."""

    def __init__(self) -> None:
        self._ends: dict[AsyncResult, float] = {}
        self._rings_at = math.inf
        self._timer: Any = None

    def add(self, slot: AsyncResult, seconds: float) -> None:
        """Let *slot* fail in *seconds*."""
        self._ends[slot] = end = _CLOCK.monotonic() + seconds
        if end < self._rings_at:
            self._ring_at(end, seconds)

    def remove(self, slot: AsyncResult) -> None:
        """Nobody waits for *slot* any more."""
        del self._ends[slot]

    def _ring_at(self, end: float, seconds: float) -> None:
        self._stop()
        self._rings_at = end
        self._timer = gevent.get_hub().loop.timer(seconds)
        self._timer.start(self._ring)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.stop()
            self._timer.close()
        self._timer, self._rings_at = None, math.inf

    def _ring(self) -> None:
        """In the hub: it must neither block nor raise."""
        now = _CLOCK.monotonic()
        for slot, end in self._ends.items():
            if end <= now and not slot.ready():
                slot.set_exception(_Late())
        self._stop()
        later = [end for end in self._ends.values() if end > now]
        if later:
            self._ring_at(min(later), min(later) - now)


class GroupCommit(Generic[Item, Answer]):
    """Collects items while one call is under way and hands them over together in the next.

    *perform* gets up to *most* items in order of arrival and returns an answer for each: the
    answer itself, or an exception to raise at that item's caller. If *perform* raises, all of its
    callers get that. It runs in a greenlet of its own, which no interrupt of a caller can reach; when
    somebody kills that one all the same, its callers are told so and the next ones are served.
    While *most_waiting* items wait, further ones are refused: memory stays bounded when a disk hangs.
    """

    def __init__(
        self,
        perform: Callable[[Sequence[Item]], Sequence[Answer | Exception]],
        most: int = 1000,
        most_waiting: int = MOST_WAITING,
    ) -> None:
        self._perform = perform
        self._most = most
        self._most_waiting = most_waiting
        self._waiting: list[tuple[Item, AsyncResult]] = []
        self._deadlines = _Deadlines()
        self._is_urgent = False
        self._draining: gevent.Greenlet | None = None

    @property
    def depth(self) -> int:
        """How many items wait for the next call."""
        return len(self._waiting)

    def submit(self, item: Item, seconds: float, *, patience: float = 0.0) -> Answer:
        """Hand in *item*, block this greenlet until it is done, return its answer.

        With *patience* it may wait so many seconds for others that are in a hurry, and ride along. It
        waits for them behind a call that is under way as well: measured, a third of all deliveries over one
        connection paid for a commit of their end alone when it did not.
        Raises StoreUnavailable after *seconds*; the item may still be performed later. Raises
        StoreFull at once when too many wait already; the item will not be performed.
        """
        if len(self._waiting) >= self._most_waiting:
            raise StoreFull(
                f"store: {self._most_waiting} calls wait for it already; try again in a moment, "
                "and see whether its disk or server is overloaded"
            )
        slot = AsyncResult()
        self._waiting.append((item, slot))
        if patience:
            slot.wait(timeout=patience)
        if not slot.ready():
            self._begin()
            self._deadlines.add(slot, seconds)
            try:
                slot.wait()
            finally:
                self._deadlines.remove(slot)
        if isinstance(slot.exception, _Late):
            # not handed over yet: then it never will be, or it would outlive the caller's patience
            self._waiting = [waiting for waiting in self._waiting if waiting[1] is not slot]
            raise StoreUnavailable(
                f"store: no answer within {seconds:g} s, the outcome is unknown; "
                "see whether its disk or server is overloaded"
            )
        answer: Answer = slot.get()
        return answer

    def _begin(self) -> None:
        self._is_urgent = True
        if not self._is_busy:
            self._draining = gevent.spawn(self._drain)

    @property
    def _is_busy(self) -> bool:
        return self._draining is not None and not self._draining.dead

    def _drain(self) -> None:
        while self._waiting and self._is_urgent:
            self._is_urgent = len(self._waiting) > self._most
            batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
            self._answer(batch)

    def _answer(self, batch: list[tuple[Item, AsyncResult]]) -> None:
        answers: Sequence[Any]
        try:
            answers = self._perform([item for item, _ in batch])
        except Exception as error:  # noqa: BLE001 - it belongs to the callers, each of them raises it
            answers = [error] * len(batch)
        except BaseException as error:  # noqa: BLE001 - a handler's gevent.killall: it must not stop the store
            answers = [_cut_short(error)] * len(batch)
        for (_, slot), answer in zip(batch, answers, strict=True):
            if isinstance(answer, Exception):
                slot.set_exception(answer)
            else:
                slot.set(answer)


def _cut_short(error: BaseException) -> StoreUnavailable:
    return StoreUnavailable(
        f"store: the call was cut short by {type(error).__name__}, its outcome is unknown; "
        "see which handler kills greenlets that are not its own"
    )
