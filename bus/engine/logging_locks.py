"""Replaces the locks of `logging` with ones that serve greenlets and native threads alike.

gevent's locks are for greenlets: native threads that wait for one of them may do so for ever. Python's
would let greenlets of one thread pass each other.
"""

from __future__ import annotations

import logging
from _queue import Empty, SimpleQueue  # blocks a native thread; gevent replaces that of `queue`
from threading import get_native_id
from typing import Any, Final

import gevent

from ..clock import Clock

LOOK_SECONDS: Final = 0.001
HASTY_SECONDS: Final = 1.0
_LOGGING: Final[Any] = logging  # its private names


class Lock:
    """A reentrant lock. A greenlet of *hub_thread* that waits lets others run, another thread blocks.

    It is held for as long as one line takes: who waits in the hub looks again and again.
    """

    def __init__(self, hub_thread: int, clock: Clock) -> None:
        self._hub_thread = hub_thread
        self._clock = clock
        self._token: SimpleQueue[None] = SimpleQueue()
        self._token.put(None)
        self._owner: Any = None
        self._depth = 0

    def acquire(self) -> bool:
        """Take it; always True."""
        me = gevent.getcurrent()  # different in every thread, too
        if self._owner is not me:
            self._wait()
            self._owner = me
        self._depth += 1
        return True

    def release(self) -> None:
        """Give it back once."""
        self._depth -= 1
        if not self._depth:
            self._owner = None
            self._token.put(None)

    def _wait(self) -> None:
        if get_native_id() != self._hub_thread:
            self._token.get()
            return
        if gevent.getcurrent() is gevent.get_hub():
            self._token.get(timeout=HASTY_SECONDS)  # the loop itself cannot let others run
            return
        while True:
            try:
                self._token.get_nowait()
            except Empty:
                self._clock.sleep(LOOK_SECONDS)
            else:
                return

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()

    def _at_fork_reinit(self) -> None:
        """Be free in a child: `logging` asks for it."""
        self._token = SimpleQueue()
        self._token.put(None)
        self._owner, self._depth = None, 0


class LoggingLocks:
    """Gives `logging` and all of its handlers such locks, from `start` to `stop`."""

    def __init__(self, clock: Clock) -> None:
        self._hub_thread = get_native_id()
        self._clock = clock
        self._before: tuple[Any, Any] | None = None

    def start(self) -> None:
        """Replace the locks of the handlers that there are, and of those that come."""
        self._before = (_LOGGING._lock, logging.Handler.createLock)

        def create_lock(handler: logging.Handler) -> None:
            handler.lock = self._new()  # type: ignore[assignment]  # it is used as a lock, whatever it is
            _LOGGING._register_at_fork_reinit_lock(handler)

        self._use(self._new(), create_lock)

    def stop(self) -> None:
        """Give `logging` its own locks back."""
        if self._before is not None:
            self._use(*self._before)
            self._before = None

    def _new(self) -> Lock:
        return Lock(self._hub_thread, self._clock)

    def _use(self, lock: Any, create_lock: Any) -> None:
        _LOGGING._lock, _LOGGING.Handler.createLock = lock, create_lock
        for known in _LOGGING._handlerList:
            if (handler := known()) is not None and handler.lock is not None:
                handler.createLock()
