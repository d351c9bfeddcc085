"""Where posts go: the poster that this process binds, and the `hold()` blocks that keep posts back for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Protocol, TypeVar

from ..clock import Clock
from ..errors import BadDeclaration, NotBound
from ..model import MonQTask, Receipt
from ..process.off_loop import look_off_loop, write_off_loop
from .calls import Batch, held, holding
from .options import Options

R = TypeVar("R")


class Poster(Protocol):
    """Where `.post()` and `post_event()` go. Both block until the store says durable."""

    def post(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], options: Options) -> MonQTask:
        """Store one task; raises NotStorable, StoreUnavailable."""

    def publish(self, topic: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Receipt:
        """Store one event with a task for each handler."""

    @property
    def clock(self) -> Clock:
        """The queue's time."""

    def store(self, batch: Batch) -> None:
        """Store all of *batch* in one write: all or none where the store can.

        One with a session belongs to its transaction. Raises StoreError where there is no such thing.
        """


_poster: Poster | None = None


def bind(new: Poster | None) -> None:
    """Let every `.post()` of this process go to *new*."""
    global _poster  # noqa: PLW0603 - one process, one store: the only other global is the registry
    _poster = new


def poster() -> Poster:
    """The bound poster. Raises NotBound."""
    if _poster is None:
        raise NotBound
    return _poster


@contextmanager
def hold(session: Any = None) -> Iterator[None]:
    """Store what is posted and published in the block at its end, in one write; nothing when it raises.

    Ids are known in the block, `join` works after it. Another `hold` inside adds to the outer one at its end,
    and nothing when it raises; what other threads post does not belong to it. At most 5,000 posts. Raises at
    the end as `.post()` does: all or nothing is stored then, except on MongoDB, where an outage may leave a
    part of it.

    With a *session* of the application's own pymongo client they become a part of the transaction that runs
    in it: stored if and only if that commits, also on an outage. A driver's error that says so is raised as
    StoreUnavailable with the same label, so that `session.with_transaction` begins again.
    """
    if (outer := held()) is not None:
        _expect_same(outer.session, session)
        session = outer.session
    with holding(session) as batch:
        yield
    if (outer := held()) is not None:
        outer.take(batch)
    elif len(batch):
        poster().store(batch)


def _expect_same(outer: Any, session: Any) -> None:
    """Raise BadDeclaration when a post with *session* would be kept back by the block of another one."""
    if session is not None and session is not outer:
        raise BadDeclaration(
            "session: expected the one of the hold() block around this post, got another; "
            "write `with monqbus.hold(session):`, or post outside of the block"
        )


@asynccontextmanager
async def hold_async() -> AsyncIterator[None]:
    """As `hold`, for asyncio: the loop turns while the block's posts are stored.

    Tasks of asyncio that were started in the block belong to it until it ends.
    """
    outer = held()
    with holding(outer.session if outer is not None else None) as batch:
        yield
    if (outer := held()) is not None:
        outer.take(batch)
    elif len(batch):
        await write_off_loop(lambda: poster().store(batch), lambda _: f"all {len(batch)} posts are stored")


async def off_loop(post: Callable[[], R], stored: Callable[[R], str]) -> R:
    """What *post* returns, done in a thread; in a `hold()` block, which only gathers, here and now."""
    if held() is not None:
        await look_off_loop(lambda: poster().clock)  # connects at the first use after a fork
        if held() is not None:
            return post()
    return await write_off_loop(post, stored)
