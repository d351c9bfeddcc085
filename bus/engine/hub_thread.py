"""Lets native threads of handlers call the hub's thread, for posts and joins.

A handler may hand work to a native thread, and libraries have threads of their own. Nothing of the
engine or of the store may be touched from there: greenlets, their events and their connections belong
to the thread of the hub.
"""

from __future__ import annotations

from _queue import SimpleQueue  # blocks a native thread; gevent replaces that of `queue`
from collections.abc import Callable, Mapping, Sequence
from contextvars import copy_context
from threading import get_native_id
from typing import Any, TypeVar

import gevent

from ..apps.calls import Batch
from ..apps.options import Options
from ..apps.poster import Poster
from ..clock import Clock
from ..errors import NotBound, StoreError
from ..model import MonQTask, Receipt

Answer = TypeVar("Answer")

WITHIN = (
    "session: expected a post with one in the handler's own greenlet, got it in a native thread: a client of "
    "the hub's thread cannot go on there; post where the handler runs, or after the commit"
)
OVER = "post: the daemon has stopped, and nothing of this call is stored; end threads with their run"


class HubThread:
    """The thread of the hub that makes this, as others see it: they hand calls over to it."""

    def __init__(self) -> None:
        self._loop = gevent.get_hub().loop
        self._id = get_native_id()
        self._asked: set[SimpleQueue[Any]] = set()
        self._is_over = False

    @property
    def is_here(self) -> bool:
        """Whether the calling thread is the hub's."""
        return get_native_id() == self._id

    def call(self, function: Callable[[], Answer]) -> Answer:
        """What *function* returns or raises, called in a greenlet of the hub.

        Here, in the hub's thread, it is simply called. Any other thread blocks until the answer is
        there; its context variables count. Raises NotBound once `close` was called.
        """
        if self.is_here:
            return function()
        answer: SimpleQueue[tuple[Answer | None, BaseException | None]] = SimpleQueue()
        self._asked.add(answer)  # before the look: `close` sees it, or it is seen that all is over
        try:
            if self._is_over:
                raise NotBound(OVER)
            self._loop.run_callback_threadsafe(gevent.spawn, _answer, copy_context().run, function, answer)
            value, error = answer.get()
        finally:
            self._asked.discard(answer)
        if error is not None:
            raise error
        return value  # type: ignore[return-value]  # there is a value where there is no error

    def tell(self, function: Callable[..., Any], *args: Any) -> None:
        """Call *function*, which does not block, soon in the hub; here, at once. Never blocks."""
        if self.is_here:
            function(*args)
        elif not self._is_over:
            self._loop.run_callback_threadsafe(function, *args)

    def close(self) -> None:
        """Fail every waiting call with NotBound, and accept no further one."""
        self._is_over = True
        for answer in tuple(self._asked):
            answer.put((None, NotBound(OVER)))


def _answer(
    run: Callable[[Callable[[], Any]], Any], function: Callable[[], Any], answer: SimpleQueue[Any]
) -> None:
    try:
        answer.put((run(function), None))
    except BaseException as error:  # noqa: BLE001 - it is the caller's, who waits for it
        answer.put((None, error))


class AnyThread:
    """Implements registry.Poster: what any thread posts goes to *poster* in the hub's thread."""

    def __init__(self, poster: Poster, hub: HubThread) -> None:
        self._poster = poster
        self._hub = hub

    def post(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], options: Options) -> MonQTask:
        """Store one task; durable when it returns."""
        task = self._hub.call(lambda: self._poster.post(name, args, kwargs, options))
        self._let_join(task)
        return task

    def publish(self, topic: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Receipt:
        """Store one event with a task for each handler."""
        return self._hub.call(lambda: self._poster.publish(topic, args, kwargs))

    @property
    def clock(self) -> Clock:
        """The queue's time, which any thread may ask."""
        return self._poster.clock

    def store(self, batch: Batch) -> None:
        """Store all of *batch* in one call; durable when this returns."""
        if batch.session is not None and not self._hub.is_here:
            raise StoreError(WITHIN)
        self._hub.call(lambda: self._poster.store(batch))
        for task in batch.tasks:
            self._let_join(task)

    def _let_join(self, task: MonQTask) -> None:
        if (join := task.waiter) is not None:
            task.waiter = lambda task, timeout: self._hub.call(lambda: join(task, timeout))
