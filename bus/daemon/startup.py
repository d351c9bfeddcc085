"""Starts services in order and stops them in reverse; one that cannot be stopped keeps no other from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from ..engine.health import Health
from ..engine.loop import Loop
from ..telemetry import Listener, listen
from .services import Service

Parts = TypeVar("Parts")


def _nothing() -> None:
    """For a step that has nothing to start, or nothing to stop."""


@dataclass(frozen=True, slots=True)
class Step:
    """How one service is started and stopped, and the records that it keeps.

    *start* may raise, and `stop` is not called then; *stop* may be called after the service has ended by
    itself. *retire* lets a loop's present tick be the last one, and never blocks.
    """

    start: Callable[[], None] = _nothing
    stop: Callable[[], None] = _nothing
    records: Callable[[], Iterable[Health]] = tuple
    retire: Callable[[], None] = _nothing

    @classmethod
    def of(cls, service: Service, stop: Callable[[], None] | None = None) -> Step:
        """The step of a *service* that keeps one record."""
        return cls(service.start, stop or service.stop, lambda: (service.health,))

    @classmethod
    def loop(cls, loop: Loop) -> Step:
        """The step of a loop that ends before the last ends of tasks are recorded."""
        return cls(loop.start, loop.stop, lambda: (loop.health,), loop.retire)

    @classmethod
    def hasty(cls, loop: Loop, seconds: float) -> Step:
        """The step of a loop whose tick may be broken off anywhere, after *seconds*."""
        return cls.of(loop, partial(loop.stop, seconds))

    @classmethod
    def listening(cls, listener: Listener) -> Step:
        """The step of a *listener* of facts."""
        undo = ExitStack()

        def start() -> None:
            undo.callback(listen(listener))

        return cls(start, undo.close)


@dataclass(frozen=True, slots=True)
class Entry(Generic[Parts]):
    """One line of the list of services. *build* is called when all lines before it are started.

    It returns None where a daemon has no such service, as it is configured.
    """

    name: str
    build: Callable[[Parts], Step | None]


class Startup(Generic[Parts]):
    """The services of *entries*, of which one daemon's *parts* are the material.

    *failed* is told the name of a service that could not be stopped, and the error.
    """

    def __init__(
        self,
        entries: Iterable[Entry[Parts]],
        parts: Parts,
        failed: Callable[[str, BaseException], None],
    ) -> None:
        self._entries = tuple(entries)
        self._parts = parts
        self._failed = failed
        self._started: list[tuple[str, Step]] = []

    def start(self) -> None:
        """Start each in order. Blocks as long as they do; raises what the first failing one raises."""
        for entry in self._entries:
            step = entry.build(self._parts)
            if step is not None:
                step.start()
                self._started.append((entry.name, step))

    def stop(self) -> None:
        """Stop all that were started, the last one first. Blocks as long as they do; never raises."""
        while self._started:
            name, step = self._started.pop()
            try:
                stop_one(name, step)
            except BaseException as error:  # noqa: BLE001 - also of a handler that kills the main greenlet
                self._failed(name, error)

    def retire(self) -> None:
        """Let the loops end together, so that their calls of a store that is away end together."""
        for _, step in self._started:
            step.retire()

    def records(self) -> Iterator[Health]:
        """How each started service is, in the order of their start."""
        for _, step in tuple(self._started):
            yield from step.records()


def stop_one(name: str, step: Step) -> None:  # noqa: ARG001 - the name is for tests that let one of them fail
    """Stop one service."""
    step.stop()
