"""The worker process: runs one task after the other.

It never opens the daemon's store: whatever its handlers ask for goes over its one socket.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from socket import socket as plain_socket
from typing import Any, Final

from ..apps import registry
from ..apps.context import restored
from ..apps.ending import raised, returned
from ..apps.poster import bind
from ..apps.registry import Task
from ..apps.running_task import Note, RunningTask
from ..clock import Clock
from ..codec import storable_result
from ..errors import Interrupt, TimedOut
from ..model import MonQTask
from ..process import parent_death
from ..process.tree import is_dead
from ..retry import Ending, Overdue, Raised, Returned, Stopped, traceback_of
from . import child_setup
from .daemon_client import DaemonClient
from .frames import FrameStream
from .interrupts import INTERRUPTS, Interrupts
from .message import of_ending, task_of
from .output import OutputSender

PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
LIST_BYTES: Final = 16 * 1024
UNBURIED: Final = 64
"""With more dead children than this a worker ends: what it has adopted, only its own end buries."""


def live(_: dict[str, Any], descriptor: int, app_process: int, *, logs: bool) -> None:
    """Run a worker: perform what comes on *descriptor* until the daemon closes it or is gone.

    With *logs* the log records of its handlers go to the daemon.
    """
    parent_death.die_with(app_process)
    parent_death.adopt_orphans()  # of what its handlers start: so they are found when this process ends
    child_setup.stand_alone()
    child_setup.be_expendable()
    child_setup.be_called("worker: idle")
    stream = plain_socket(fileno=descriptor)
    stream.setblocking(True)
    if "gevent" in sys.modules:  # an app has imported it: its loop belongs to the app process
        sys.modules["gevent"].reinit()
    _ignore_group_signals()
    _release_children(stream)
    Worker(FrameStream(stream), logs=logs).serve()


def _ignore_group_signals() -> None:
    """Ignore signals to the group, by a handler: programs that are started would inherit SIG_IGN."""
    for number in child_setup.GROUP_SIGNALS:
        signal.signal(number, lambda *_: None)


def _release_children(stream: plain_socket) -> None:
    """Give what a handler forks its signals back, and close our connection in it."""
    numbers = (*child_setup.GROUP_SIGNALS, *INTERRUPTS)

    def unblock() -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)

    def in_child() -> None:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)
        stream.close()
        unblock()

    # blocked meanwhile: one that comes to the child before it is itself must not be lost
    os.register_at_fork(
        before=lambda: signal.pthread_sigmask(signal.SIG_BLOCK, numbers),
        after_in_parent=unblock,
        after_in_child=in_child,
    )


def _open_children() -> int | None:
    """The kernel's list of the main thread's children, adopted ones too; None where it keeps none."""
    try:
        return os.open("/proc/thread-self/children", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None


def _running_task(task: MonQTask, daemon_client: DaemonClient) -> RunningTask:
    """`c.task`, which asks and tells the daemon."""

    def log() -> str:
        sys.stdout.flush()
        sys.stderr.flush()
        return str(daemon_client.ask("log")["text"])

    def show(note: Note) -> None:
        daemon_client.tell(progress=note["fraction"], text=note["text"])

    return RunningTask(task, log, show)


class Worker:
    """Serves one connection to the daemon in the main thread of its process."""

    def __init__(self, frames: FrameStream, *, logs: bool) -> None:
        self._frames = frames
        self._interrupts = Interrupts()
        self._clock = Clock()
        self._daemon_client = DaemonClient(frames, self._interrupts, self._clock)
        self._output = OutputSender(self._daemon_client, logs=logs)
        self._memory = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
        self._children = _open_children()

    def serve(self) -> None:
        """Run tasks until the daemon closes the connection or is gone. Blocks."""
        self._interrupts.guard()
        bind(self._daemon_client)
        try:
            while (frame := self._frames.receive()) is not None:
                self._carry_out(frame)
        except OSError:
            return  # the daemon is gone, and this process with it

    def _carry_out(self, frame: dict[str, Any]) -> None:
        task, seconds = task_of(frame["run"]), frame["seconds"]
        child_setup.be_called(f"worker: {task.task_name} {task.id}")
        self._interrupts.guard()  # again: the last handler may have set signals up for itself
        self._frames.send({"taken": True, "of": task.token})
        self._daemon_client.open(task.token)
        self._output.open()
        ending = self._ending(task, seconds)
        self._output.close()
        self._daemon_client.close()
        child_setup.be_called("worker: idle")
        try:
            self._tell(task, of_ending(ending))
        except OSError:
            raise  # nobody is there
        except BaseException as error:  # noqa: BLE001 - reading what a handler left behind runs its code
            line = f"the result could not be sent to the daemon: {type(error).__name__}"
            self._tell(task, {"ended": "failed", "line": line, "traceback": traceback_of(error)})

    def _tell(self, task: MonQTask, ending: Mapping[str, Any]) -> None:
        spent = {"spent": True} if self._is_spent() else {}
        self._frames.send({**ending, **spent, "of": task.token, "bytes": self._size()})

    def _is_spent(self) -> bool:
        """Whether many exited children are not reaped. To reap them here could take a handler's own away."""
        if self._children is None:
            return False
        found = os.pread(self._children, LIST_BYTES, 0).split()
        return len(found) > UNBURIED and sum(is_dead(int(pid)) for pid in found) > UNBURIED

    def _size(self) -> int:
        """How much memory this process holds, in bytes, what it shares with its app process included."""
        return int(os.pread(self._memory, 200, 0).split()[1]) * PAGE_BYTES

    def _ending(self, task: MonQTask, seconds: float | None) -> Ending:
        declared = registry.registry().tasks.get(task.task_name)
        if declared is None:
            return Stopped("no task of this name is registered any more")
        began = self._clock.monotonic()
        try:
            ending = self._perform(task, declared, seconds)
        except Interrupt as late:  # it came between the handler's end and the closing of the gate
            ending = Raised(late, "")
        finally:
            self._interrupts.close()
        if self._interrupts.thrown is not None or (seconds and self._clock.monotonic() - began > seconds):
            return self._cut_short(ending, seconds)
        return Returned(storable_result(ending.value)) if isinstance(ending, Returned) else ending

    def _perform(self, task: MonQTask, declared: Task[..., Any], seconds: float | None) -> Ending:
        args = [task.topic, task.event] if task.event is not None else task.args
        try:
            self._interrupts.open(seconds)
            with restored(task.context, task=_running_task(task, self._daemon_client)):
                value = declared.function(*args, **task.kwargs)
            self._interrupts.close()
        except BaseException as error:  # noqa: BLE001 - whatever a handler raises ends its task, not the worker
            self._interrupts.close()
            return raised(declared, error, traceback_of(error), args, task.kwargs)
        return returned(declared, value)

    def _cut_short(self, ending: Ending, seconds: float | None) -> Ending:
        """The ending of a run that was interrupted or took too long, whatever its handler made of that."""
        thrown = self._interrupts.thrown
        if thrown is not None and not isinstance(thrown, TimedOut):
            return Stopped(type(thrown).__name__)
        if isinstance(ending, Raised) and isinstance(ending.error, TimedOut):
            return Overdue(seconds or 0.0, ending.traceback)
        return Overdue(seconds or 0.0, "the handler went on after its timeout and came to its end too late\n")
