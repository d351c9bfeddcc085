"""Shows whoever has sent a delivery what its tasks print, as server-sent events, while they run.

The facts of this daemon say what is printed and what has ended; the ends of other daemons' tasks, and what
those have printed, are found in the store. Nothing here changes what is stored: who leaves loses nothing but
the view.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from json import dumps
from typing import Any, Final

from bson import ObjectId

from ..clock import Clock
from ..errors import StoreError
from ..filter_checks import MOST_VALUES
from ..model import COMPLETE, ERROR, SKIPPED, Filter, MonQTask
from ..telemetry import listen
from .endings import Signal

MEDIA_TYPE: Final = "text/event-stream"
"""html.spec.whatwg.org, section 9.2."""
LOOK_SECONDS: Final = 2.0
BEAT_SECONDS: Final = 15.0
"""After so much silence a comment is sent: proxies close what is silent, and who is gone is found."""
MOST_BYTES: Final = 1024 * 1024
"""Of one stream; what is printed beyond is with the tasks, as far as it is kept."""
MOST_HELD_BYTES: Final = 256 * 1024
"""Of what waits for a client that takes it slowly."""
_ENDS: Final[Mapping[str, str]] = {
    "task.finished": COMPLETE,
    "task.gave_up": ERROR,
    "task.skipped": SKIPPED,
}
_TOLD: Final = frozenset({*_ENDS, "task.printed", "task.retried"})


def is_asked(accept: str) -> bool:
    """Whether the header Accept asks for server-sent events by name."""
    return MEDIA_TYPE in accept.lower()


class Stream:
    """What one client is shown of the event *event_id*. It has a place until `close`, which it needs once."""

    def __init__(self, streams: Streams, event_id: ObjectId, signal: Signal) -> None:
        self._streams = streams
        self.event_id = event_id
        self.signal = signal
        self._waiting: deque[bytes] = deque()
        self._held = self._sent = 0
        self._seconds = 0.0
        self._missing: dict[ObjectId, None] = {}
        self._early: dict[ObjectId, str] = {}
        """What has ended before anybody knew its id: a task may be faster than the answer of the store."""
        self._heard: set[ObjectId] = set()
        self._has_lost = False

    def begin(self, task_ids: Sequence[ObjectId], seconds: float) -> Stream:
        """Show the ids first, and then these tasks until they end, for *seconds* at most."""
        tasks = [str(task_id) for task_id in task_ids]
        first = _event("accepted", {"event": str(self.event_id), "tasks": tasks})
        self._waiting.appendleft(first)
        self._held += len(first)
        self._seconds = seconds
        self._missing = dict.fromkeys(task_ids[:MOST_VALUES])
        for task_id, state in self._early.items():
            self._end(task_id, state)
        return self

    def close(self) -> None:
        """Give the place back. Never blocks; doing so twice changes nothing."""
        self._streams.forget(self)

    def hear(self, fact: str, task: MonQTask, fields: Mapping[str, Any]) -> None:
        """Keep what a fact says of one of the tasks until the client takes it."""
        self._heard.add(task.id)
        if fact == "task.printed":
            self._hold("output", {"task": str(task.id), "text": fields["line"]})
        elif fact == "task.retried":
            self._hold("retried", {"task": str(task.id), "attempt": task.attempt})
        elif self._missing:
            self._end(task.id, _ENDS[fact])
        else:
            self._early[task.id] = _ENDS[fact]
        self.signal.set()

    def __iter__(self) -> Iterator[bytes]:
        """What to send, piece by piece. Blocks in between; the last piece says why nothing follows."""
        clock = self._streams.clock
        now = clock.monotonic()
        deadline, look_at, beat_at = now + self._seconds, now + LOOK_SECONDS, now + BEAT_SECONDS
        while True:
            while self._waiting:
                yield self._taken()
                beat_at = clock.monotonic() + BEAT_SECONDS
            now = clock.monotonic()
            if reason := self._reason(now >= deadline):
                yield _event("done", {"reason": reason})
                return
            if now >= look_at:
                self._look()
                look_at = clock.monotonic() + LOOK_SECONDS
            elif now >= beat_at:
                self._append(b": still there\n\n")
            else:
                self.signal.wait(min(deadline, look_at, beat_at) - now)
                self.signal.clear()
                yield b""  # whoever sends it looks whether the client is still there

    def _reason(self, is_late: bool) -> str:
        """Why nothing follows; "" while something may."""
        if not self._missing:
            return "ended"
        if self._sent >= MOST_BYTES:
            return "bytes"
        if self._streams.is_closed:
            return "stopping"
        return "time" if is_late else ""

    def _taken(self) -> bytes:
        piece = self._waiting.popleft()
        self._held -= len(piece)
        self._sent += len(piece)
        return piece

    def _hold(self, name: str, content: Mapping[str, Any]) -> None:
        """Keep one event where there is room; that some had none is said once, until there is again."""
        piece = _event(name, content)
        if self._held + len(piece) <= MOST_HELD_BYTES and self._sent + self._held < MOST_BYTES:
            self._append(piece)
            self._has_lost = False
        elif not self._has_lost:
            self._append(_event("omitted", {}))
            self._has_lost = True

    def _append(self, piece: bytes) -> None:
        self._waiting.append(piece)
        self._held += len(piece)

    def _end(self, task_id: ObjectId, state: str) -> None:
        if task_id in self._missing:
            del self._missing[task_id]
            self._append(_event("ended", {"task": str(task_id), "state": state}))

    def _look(self) -> None:
        """Find the ends that nobody has told here, and what was printed elsewhere."""
        for task in self._streams.ended(tuple(self._missing)):
            if task.id not in self._heard and task.output:
                for line in task.output.splitlines():
                    self._hold("output", {"task": str(task.id), "text": line})
            self._end(task.id, task.state)


class Streams:
    """At most *most* are shown something at the same time. *find* is the store's.

    Facts are listened to while somebody is; *new_signal* makes what each of them waits for.
    """

    def __init__(
        self,
        find: Callable[..., Sequence[MonQTask]],
        clock: Clock,
        most: int,
        new_signal: Callable[[], Signal],
    ) -> None:
        self._find = find
        self.clock = clock
        self._most = most
        self._new_signal = new_signal
        self._open: dict[ObjectId, Stream] = {}
        self._forget: Callable[[], None] = lambda: None
        self.is_closed = False

    @property
    def count(self) -> int:
        """How many are shown something now."""
        return len(self._open)

    def open(self, event_id: ObjectId) -> Stream | None:
        """A place for one more, from before its event is stored: no line is missed. None without room."""
        if self.is_closed or len(self._open) >= self._most:
            return None
        if not self._open:
            self._forget = listen(self._hear, logging.INFO)
        stream = self._open[event_id] = Stream(self, event_id, self._new_signal())
        return stream

    def forget(self, stream: Stream) -> None:
        """Take the place of *stream* away. Never blocks."""
        if self._open.pop(stream.event_id, None) is not None and not self._open:
            self._forget()

    def close(self) -> None:
        """Let every stream say that the daemon stops, and open none from now on. Never blocks."""
        self.is_closed = True
        for stream in tuple(self._open.values()):
            stream.signal.set()

    def ended(self, task_ids: Sequence[ObjectId]) -> Sequence[MonQTask]:
        """Those of the tasks that have ended, by the store; none while it does not answer."""
        asked = Filter(ids=tuple(task_ids), states=(COMPLETE, ERROR, SKIPPED))
        try:
            return self._find(asked, len(task_ids), brief=False)
        except StoreError:
            return ()

    def _hear(self, fact: str, fields: Mapping[str, Any]) -> None:
        if fact in _TOLD:
            task = fields["task"]
            if (stream := self._open.get(task.event_id)) is not None:
                stream.hear(fact, task, fields)


def _event(name: str, content: Mapping[str, Any]) -> bytes:
    """One event; JSON has no line ends, so that nothing that is printed can begin another one."""
    return f"event: {name}\ndata: {dumps(content)}\n\n".encode()
