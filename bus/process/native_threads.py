"""Native threads that somebody owns, and that end with him."""

from __future__ import annotations

from typing import Protocol


class Pool(Protocol):
    """A `gevent.threadpool.ThreadPool`; rooms below gevent know its bound alone."""

    maxsize: int


def let_end(pool: Pool) -> None:
    """Let the threads of *pool* end, each after what it does now. For the thread that made *pool*.

    Never blocks, as `ThreadPool.kill` does: a thread may wait for a disk that hangs. A pool that is only
    forgotten keeps its threads as long as the process lives.
    """
    pool.maxsize = 0
