"""Blocking work for asyncio: in threads of our own, while the loop turns.

Each event loop has threads to itself, made as they are needed; they end with it. The application's own
default executor is left alone: whatever fills that does not hold up a post.
"""

from __future__ import annotations

import _thread
import weakref
from collections.abc import Callable
from contextvars import copy_context
from types import BuiltinFunctionType
from typing import TYPE_CHECKING, Any, Final, TypeVar

from ..errors import JoinTimeout, MonqbusError

if TYPE_CHECKING:
    import asyncio
    from concurrent.futures import Future, ThreadPoolExecutor

THREADS: Final = 16
"""For each loop: those that post at once share one wait for the disk."""
FIRST_LOOK_SECONDS: Final = 0.01
SLOWEST_LOOK_SECONDS: Final = 0.5

Result = TypeVar("Result")

_pools: weakref.WeakKeyDictionary[Any, ThreadPoolExecutor] = weakref.WeakKeyDictionary()


async def write_off_loop(write: Callable[[], Result], stored: Callable[[Result], str]) -> Result:
    """What *write* returns, done in a thread in the context of the caller. Raises as it does.

    Cancelled before a thread has begun, nothing is written. Cancelled later it waits for the end of the
    write, whose outcome would be unknown otherwise; the CancelledError says which, by *stored* for a result.
    A second cancellation does not wait. Raises MonqbusError where threads are greenlets.
    """
    import asyncio

    future = _submit(asyncio.get_running_loop(), write)
    waited = asyncio.wrap_future(future)
    try:
        await asyncio.wait([waited])
    except asyncio.CancelledError as error:
        if future.cancel():
            raise asyncio.CancelledError("nothing is stored") from error
        try:
            await asyncio.wait([waited])
        except asyncio.CancelledError as again:
            waited.cancel()
            raise asyncio.CancelledError("whether it is stored is unknown") from again
        raise asyncio.CancelledError(_outcome(future, stored)) from error
    return waited.result()


async def look_off_loop(look: Callable[[], Result]) -> Result:
    """What *look* returns, which changes nothing; cancelled, it is not waited for."""
    import asyncio

    return await asyncio.wrap_future(_submit(asyncio.get_running_loop(), look))


async def join_off_loop(look: Callable[[], Result], timeout: float | None) -> Result:
    """What *look* returns as soon as it does not raise JoinTimeout; that after *timeout* seconds."""
    import asyncio

    loop = asyncio.get_running_loop()
    deadline = None if timeout is None else loop.time() + timeout
    pause = FIRST_LOOK_SECONDS
    while True:
        try:
            return await look_off_loop(look)
        except JoinTimeout as error:
            left = pause if deadline is None else deadline - loop.time()
            if timeout is not None and left <= 0:
                raise error.within(timeout) from None
        await asyncio.sleep(min(pause, left))
        pause = min(pause * 1.5, SLOWEST_LOOK_SECONDS)


def _submit(loop: asyncio.AbstractEventLoop, work: Callable[[], Result]) -> Future[Result]:
    from concurrent.futures import ThreadPoolExecutor

    _require_threads()
    if (pool := _pools.get(loop)) is None:
        pool = _pools[loop] = ThreadPoolExecutor(THREADS, thread_name_prefix="monqbus-async")
    return pool.submit(copy_context().run, work)


def _require_threads() -> None:
    """Raise MonqbusError where gevent has replaced threads: the loop would stop the one it waits for."""
    if not isinstance(_thread.start_new_thread, BuiltinFunctionType):
        raise MonqbusError(
            "post_async, join_async: expected an asyncio application, got a process whose threads are "
            "greenlets of gevent, such as the daemon; call .post() or .join() there, which lets others run "
            "meanwhile, or declare the handler with cpu=True, which gives it a process of its own"
        )


def _outcome(future: Future[Result], stored: Callable[[Result], str]) -> str:
    error = future.exception()
    return stored(future.result()) if error is None else f"{type(error).__name__}: {error}"
