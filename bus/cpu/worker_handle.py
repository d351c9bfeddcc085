"""The daemon's handle of one worker: its connection, its process, its running task."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import Any, Final, cast

import gevent
from gevent import socket
from gevent.event import AsyncResult

from ..errors import Drained, Interrupt, MonqbusError
from ..model import MonQTask
from ..process.tree import is_stopped
from ..retry import Crashed, Ending, Overdue, Stopped
from ..telemetry import emit
from .forkserver_client import Child
from .frames import BadFrame, FrameStream
from .interrupts import NUMBER_OF
from .message import ending_of, of_error, of_task
from .oom import OomCounter

GRACE_SECONDS: Final = 5.0
"""How long a handler may go on after its timeout was thrown into it, before its worker is killed."""

HEED_SECONDS: Final = 2.0
"""The same after it was cancelled."""

LEAVE_SECONDS: Final = 0.7
"""The same when the daemon stops, which waits a second itself."""

LAST_SECONDS: Final = 1.0
"""How long a process may live on after it has closed its connection."""

KILL_SECONDS: Final = 5.0
"""How long a killed process may take to be gone; only a broken disk or kernel keeps it longer."""

TAKE_SECONDS: Final = 10.0
"""How long an idle worker may need to take a task; one that takes none is stopped, or stuck somewhere."""

LOOK_SECONDS: Final = 5.0
"""How often a worker that has a task is looked at: somebody may have stopped it."""

STOPPED_SECONDS: Final = 60.0
"""How long one may stay stopped whose task has no timeout, before it is killed: its slot is needed."""

BURST: Final = 16
"""How many frames of one worker are read before the hub turns."""

Answer = Callable[[Mapping[str, Any]], Mapping[str, Any] | None]


@dataclass(frozen=True, slots=True)
class WorkItem:
    """A task to run within *seconds* (None: any time), and who answers what its handler asks for."""

    task: MonQTask
    seconds: float | None
    answer: Answer


class WorkerHandle:
    """Runs one item after the other in one worker. *on_gone* is called when the worker has ended."""

    def __init__(
        self, stream: socket.socket, child: Child, oom: OomCounter, on_gone: Callable[[WorkerHandle], None]
    ) -> None:
        self.child = child
        self.runs = 0
        self.bytes = 0
        self.is_spent = False
        self.is_gone = False
        self._stream = stream
        self._frames = FrameStream(stream)
        self._oom = oom
        self._kills_before = 0
        self._is_taken = False
        self._on_gone = on_gone
        self._item: WorkItem | None = None
        self._end: AsyncResult = AsyncResult()
        self._listener = gevent.spawn(self._listen)

    @property
    def is_unborn(self) -> bool:
        """Whether its process was ordered and is not forked yet."""
        return self.child.pid is None and not self.child.is_gone

    def carry_out(self, item: WorkItem) -> Ending:
        """Run *item* and say how it ended; blocks the calling greenlet only.

        An Interrupt of that greenlet is passed on to the handler, and raised when the run is over: the
        worker is then spent.
        """
        self._item, self._end = item, AsyncResult()
        self._kills_before = self._oom.recently()
        self.runs += 1
        self._is_taken = is_sent = False
        try:
            is_sent = self._send_run(item)
            ending = self._await_end(item)
        except Interrupt as reason:
            self._cut_short(reason, is_sent=is_sent)
            raise
        except BaseException:  # the caller was killed: nobody waits any more, and the handler would go on
            self.kill()
            raise
        finally:
            self._item = None
        return ending or self._overdue(item)

    def _send_run(self, item: WorkItem) -> bool:
        try:
            with gevent.Timeout(TAKE_SECONDS, False):
                self._frames.send({"run": of_task(item.task), "seconds": item.seconds})
                return True
        except BadFrame as error:
            self._end.set(Crashed(str(error)))
            return True
        except OSError:
            return True  # it is gone or going; the listener will know how
        self._replace()
        return False

    def _replace(self) -> None:
        """End a worker that has not begun its task: no handler saw it, so it can go back."""
        self.kill()
        self._end.set(Stopped(f"a worker did not take its task within {TAKE_SECONDS:g} s; it was killed"))

    def _await_end(self, item: WorkItem) -> Ending | None:
        """The end of the run, None when its time is over. Looks now and then whether the worker reacts."""
        left = None if item.seconds is None else item.seconds + GRACE_SECONDS
        stopped = 0.0
        while left is None or left > 0:
            pause = LOOK_SECONDS if self._is_taken else TAKE_SECONDS
            pause = pause if left is None else min(pause, left)
            if (ending := self._end.wait(pause)) is not None:
                return cast("Ending", ending)
            left = None if left is None else left - pause
            if not self._is_taken and pause >= TAKE_SECONDS:
                self._replace()
            else:
                stopped = self._stopped_for(stopped, pause, item)
        return None

    def _stopped_for(self, seconds: float, pause: float, item: WorkItem) -> float:
        """How long the worker has been stopped, *seconds* before this *pause*; one without a limit ends."""
        if self.child.pid is None or not is_stopped(self.child.pid):
            return 0.0
        if not seconds:
            emit("cpu_worker.stopped", pid=self.child.pid, task=item.task)
        if item.seconds is None and seconds >= STOPPED_SECONDS:
            self.kill()
            self._end.set(Crashed(f"stopped for {seconds:g} s (SIGSTOP), and then killed"))
        return seconds + pause

    def _overdue(self, item: WorkItem) -> Ending:
        if not self._is_taken:
            self._replace()
            return cast("Ending", self._end.get())
        self.kill()
        self._end.wait(KILL_SECONDS)
        text = f"the handler went on {GRACE_SECONDS:g} s after its timeout; its worker was killed\n"
        return Overdue(item.seconds or 0.0, text)

    def _cut_short(self, reason: Interrupt, *, is_sent: bool) -> None:
        """Interrupt the handler with *reason*, once; kill a worker that does not react."""
        self.is_spent = True  # the signal may arrive after the run: nobody else must get it
        if is_sent and (number := NUMBER_OF.get(type(reason))) is not None:
            self.child.signal(number)
            if self._end.wait(LEAVE_SECONDS if isinstance(reason, Drained) else HEED_SECONDS) is not None:
                return
        self.kill()
        self._end.wait(KILL_SECONDS)

    def dismiss(self) -> None:
        """End the idle worker. Never blocks."""
        self.is_spent = True
        with suppress(OSError):  # it has gone already
            self._stream.shutdown(socket.SHUT_WR)

    def kill(self) -> None:
        """End the worker and its process group at once; its end is noticed as always."""
        self.is_spent = True
        self.child.kill()

    # what comes from the worker

    def _listen(self) -> None:
        complaint = ""
        try:
            for turn in count(1):
                frame = self._frames.receive()
                if frame is None:
                    break
                self._understand(frame)
                if turn % BURST == 0:
                    gevent.sleep(0)  # a worker that prints and prints must not keep the hub
        except BadFrame as error:
            complaint = str(error)
            self.kill()
        except OSError:
            pass  # as good as its end
        except BaseException as error:  # noqa: BLE001 - else the run would wait for its end for ever
            complaint = f"its daemon stopped listening to it: {type(error).__name__}: {error}".removesuffix(
                ": "
            )
            self.kill()
        self._conclude(complaint)

    def _understand(self, frame: Mapping[str, Any]) -> None:
        item = self._item
        is_of_item = item is not None and frame.get("of") == item.task.token
        if "ended" in frame:
            self._understand_end(frame, item if is_of_item else None)
            return
        if "taken" in frame:
            self._is_taken = self._is_taken or is_of_item
            return
        answer: Mapping[str, Any] | None = {"error": "NotBound", "text": ""}
        if item is not None and is_of_item:
            answer = self._answer(item, frame)
        elif "printed" in frame:
            print(frame["printed"], end="")  # noqa: T201 - of no run that is there: it goes into the plain log
        if "ask" in frame:
            self._frames.send(answer or {})

    def _understand_end(self, frame: Mapping[str, Any], item: WorkItem | None) -> None:
        """Take the end of the present run. Raises BadFrame for one of another run, which is forged.

        From a spent worker it may come late, of a run that was interrupted: that one is ignored.
        """
        if item is None:
            if self._item is None and self.is_spent:
                return
            raise BadFrame(f"frame: expected the end of the present run, got {frame!r:.200}")
        size = frame.get("bytes")
        if not isinstance(size, int):
            raise BadFrame(f"frame: expected bytes as a whole number, got {size!r:.200}")
        self.bytes = size
        self.is_spent = self.is_spent or frame.get("spent") is True
        self._end.set(ending_of(frame, item.seconds))

    def _answer(self, item: WorkItem, frame: Mapping[str, Any]) -> Mapping[str, Any] | None:
        try:
            return item.answer(frame)
        except MonqbusError as error:
            return of_error(error)
        except Exception as error:  # whatever a handler gone wild has sent
            raise BadFrame(f"frame: expected something that can be answered, got {frame!r:.200}") from error

    def _conclude(self, complaint: str) -> None:
        """The connection has ended: find out how the process ended, and report it."""
        was_expected, self.is_spent = self.is_spent, True
        status = self.child.wait(LAST_SECONDS)
        if status is None:
            complaint = complaint or "closed its connection to the daemon"
            self.kill()
            status = self.child.wait(KILL_SECONDS)
        self.is_gone = True
        self._stream.close()
        if not self._end.ready():
            self._end.set(self._death(status, complaint))
        if not was_expected:
            emit("cpu_worker.crashed", pid=self.child.pid, reason=complaint or self._told(status))
        self._on_gone(self)

    def _death(self, status: int | str | None, complaint: str) -> Ending:
        if not self.child.was_born:
            return Stopped(f"no worker could be started: {status}")
        if isinstance(status, str):
            return Crashed(f"its worker was killed: {status}", proven=False)
        return Crashed(complaint or self._told(status))

    def _told(self, status: int | str | None) -> str:
        """The end of a process in words."""
        if not isinstance(status, int):
            return f"killed: {status or 'it did not end'}"
        if status >= 0:
            return f"exited with code {status}"
        number = -status
        name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
        if number == signal.SIGKILL and self._oom.kills() > self._kills_before:
            name += ", the kernel's OOM killer"
        return f"killed by {name}"
