"""The worker's client of the daemon: sends it the posts, progress and joins of a handler."""

from __future__ import annotations

import dataclasses
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from bson import ObjectId

from ..apps.calls import Batch
from ..apps.context import capture
from ..apps.options import Options
from ..clock import Clock
from ..codec import storable, undo_references
from ..errors import NotBound, StoreError, StoreUnavailable
from ..joining import await_end
from ..model import MonQTask, Receipt
from .frames import FrameStream
from .interrupts import Interrupts
from .message import error_of, of_event, of_task, task_of

FORKED: Final = (
    "post: a process that a cpu task has started is not connected to a store; let it return what there is to "
    "post, or call monqbus.connect('monqbus.ini') in it"
)
WITHIN: Final = (
    "session: expected a post without one in a cpu task, got one with it: what this process posts is stored "
    "by the daemon, which has no part in the session; use a task without cpu=True, or post after the commit"
)
OUTLIVED: Final = (
    "post: this thread has outlived the run that started it; end threads in the run that uses them"
)


class DaemonClient:
    """Implements poster.Poster in a worker. Any thread of the handler may use it; one is served at a time.

    It carries nothing outside of a run, nothing for a thread that has outlived its run, and nothing for
    a process that the handler has forked.
    """

    def __init__(self, frames: FrameStream, interrupts: Interrupts, clock: Clock) -> None:
        self._frames = frames
        self._interrupts = interrupts
        self._clock = clock
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._run: str | None = None
        self._strays: frozenset[threading.Thread] = frozenset()

    # poster.Poster

    def post(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], options: Options) -> MonQTask:
        """Have one task stored by the daemon; durable when this returns."""
        kept = storable(list(args), dict(kwargs), capture())
        answer = self.ask("post", name=name, options=dataclasses.asdict(options), **kept._asdict())
        task = task_of(answer["task"])
        task.waiter = self.join
        return task

    def publish(self, topic: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Receipt:
        """Have one event stored by the daemon, with a task for each of its handlers."""
        kept = storable(list(args), dict(kwargs), capture())
        return Receipt(**self.ask("publish", topic=topic, **kept._asdict()))

    @property
    def clock(self) -> Clock:
        """The machine's: of what is posted now the daemon corrects it."""
        return self._clock

    def store(self, batch: Batch) -> None:
        """Have all of *batch* stored by the daemon in one call; durable when this returns."""
        if batch.session is not None:
            raise StoreError(WITHIN)
        events = [{"event": of_event(event), "context": context} for event, context in batch.events]
        answer = self.ask("store", tasks=[of_task(task) for task in batch.tasks], events=events)
        for task, stored in zip(batch.tasks, answer["ids"], strict=True):
            task.id, task.waiter = stored, self.join

    def join(self, task: MonQTask, timeout: float | None) -> Any:
        """Block until *task* has ended; see MonQTask.join."""
        return await_end(self._look, task, timeout, self._clock)

    def _look(self, task_id: ObjectId) -> MonQTask:
        task = task_of(self.ask("look", id=task_id)["task"])
        task.result = undo_references(task.result)
        return task

    # the way

    def open(self, run: str) -> None:
        """Serve *run* from now on; the other threads there are belong to earlier runs."""
        self._strays = frozenset(threading.enumerate()) - {threading.current_thread()}
        self._run = run

    def close(self) -> None:
        """Serve nothing more. Blocks until the request of another thread is answered."""
        with self._lock:
            self._run = None

    def is_for_me(self) -> bool:
        """Whether the calling thread belongs to the present run."""
        return self._run is not None and not (self._strays and threading.current_thread() in self._strays)

    def ask(self, verb: str, **words: Any) -> dict[str, Any]:
        """Ask the daemon and wait for its answer. Raises what the daemon says, NotBound outside of a run."""
        with self._turn():
            self._frames.send({"ask": verb, "of": self._run, **words})
            answer = self._frames.receive()
        if answer is None:
            raise StoreUnavailable("worker: the daemon is gone")
        if "error" in answer:
            raise error_of(answer)
        return answer

    def tell(self, **words: Any) -> None:
        """Tell the daemon something that needs no answer."""
        with self._turn():
            self._frames.send({"of": self._run, **words})

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if os.getpid() != self._process:  # before the lock, which nobody may be left to let go of
            raise NotBound(FORKED)
        with self._interrupts.shield(), self._lock:
            if not self.is_for_me():
                raise NotBound(OUTLIVED)
            yield
