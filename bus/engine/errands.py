"""What a handler in a worker process asks of its daemon while it runs, and what it says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..clock import Clock
from ..cpu.farm import Farm
from ..cpu.message import of_task
from ..cpu.peer import Job
from ..model import Event
from ..posting import PostOffice, prepare
from ..registry import Options
from ..retry import Ending
from .run import Run, RunningTask

Words = Mapping[str, Any]


class Errands:
    """Sends runs to the *farm* and carries out what their handlers ask for there.

    *office* is looked up at each request: it is built later.
    """

    def __init__(self, farm: Farm, office: Callable[[], PostOffice], clock: Clock) -> None:
        self.farm = farm
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
        return self.farm.perform_alone(job) if alone else self.farm.perform(job)

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
