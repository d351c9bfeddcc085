"""Runs cpu tasks in workers, and serves what their handlers ask of the daemon meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..apps.registry import Options
from ..clock import Clock
from ..cpu.message import of_task
from ..cpu.worker_handle import Job
from ..cpu.worker_pool import WorkerPool
from ..model import Event
from ..posting import PostOffice, prepare
from ..retry import Ending
from .run import Run, RunningTask

Words = Mapping[str, Any]


class CpuRunner:
    """Sends runs to the *worker_pool* and carries out what their handlers ask for there.

    *office* is looked up at each request: it is built later.
    """

    def __init__(self, worker_pool: WorkerPool, office: Callable[[], PostOffice], clock: Clock) -> None:
        self.worker_pool = worker_pool
        self._office = office
        self._clock = clock
        self._verbs: Mapping[str, Callable[[Words], dict[str, Any]]] = {
            "post": self._post,
            "publish": self._publish,
            "look": self._look,
        }

    def perform(self, run: Run, running: RunningTask, seconds: float | None, *, alone: bool) -> Ending:
        """Perform *run* in a worker, in one of its own when *alone*. Blocks; raises Interrupt."""

        def answer(words: Words) -> dict[str, Any] | None:
            return self._answer(run, running, words)

        job = Job(run.task, seconds, answer)
        return self.worker_pool.perform_alone(job) if alone else self.worker_pool.perform(job)

    def _answer(self, run: Run, running: RunningTask, words: Words) -> dict[str, Any] | None:
        """Called from the worker's own greenlet; may block on the store. Raises MonqbusError."""
        if "printed" in words:
            run.output.write(words["printed"])
        elif "progress" in words:
            running.progress(words["progress"], words["text"])
        elif words["ask"] == "log":
            return {"text": running.log}
        else:
            return self._verbs[words["ask"]](words)
        return None

    def _post(self, words: Words) -> dict[str, Any]:
        task = prepare(self._clock, words["name"], *_call(words))
        return {"task": of_task(self._office().submit(task))}

    def _publish(self, words: Words) -> dict[str, Any]:
        event = Event(self._clock.new_id(), words["topic"], self._clock.now())
        event.args, event.kwargs = words["args"], words["kwargs"]
        return self._office().announce(event, words["context"])._asdict()

    def _look(self, words: Words) -> dict[str, Any]:
        return {"task": of_task(self._office().look(words["id"]))}


def _call(words: Words) -> tuple[list[Any], dict[str, Any], Options, dict[str, Any]]:
    return words["args"], words["kwargs"], Options(**words["options"]), words["context"]
