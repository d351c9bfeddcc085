"""The daemon's side of a forkserver: asks it for children and hears of their ends."""

from __future__ import annotations

import signal
from array import array
from collections.abc import Callable
from itertools import count
from typing import Any

import gevent
from bson.errors import BSONError
from gevent import socket
from gevent.event import AsyncResult

from ..codec import decode, encode
from .forkserver import MESSAGE_BYTES


class Child:
    """A process that a forkserver was ordered to fork."""

    def __init__(self, parent: ForkserverClient, number: int) -> None:
        self.pid: int | None = None
        self.was_born = True
        self.number = number
        self._parent = parent
        self._end: AsyncResult = AsyncResult()

    @property
    def is_gone(self) -> bool:
        """True when its end is known."""
        return bool(self._end.ready())

    def signal(self, number: int) -> None:
        """Send it a signal; SIGKILL reaches the whole process group of a worker. Never blocks for long."""
        if not self.is_gone:
            self._parent.order(signal=number, number=self.number)

    def kill(self) -> None:
        """SIGKILL."""
        self.signal(signal.SIGKILL)

    def wait(self, seconds: float) -> int | str | None:
        """Its exit code, a negative signal number, or why neither is known; None while it still lives."""
        status: int | str | None = self._end.wait(seconds)
        return status

    def ended(self, status: int | str) -> None:
        """Note its end."""
        self._end.set(status)


class ForkserverClient:
    """Sends orders to one process and hears of its children. *hear* gets what else it says."""

    def __init__(
        self,
        control: socket.socket,
        *,
        hear: Callable[[dict[str, Any]], None] = lambda _: None,
        on_gone: Callable[[], None] = lambda: None,
    ) -> None:
        self.is_gone = False
        self._control = control
        self._hear = hear
        self._on_gone = on_gone
        self._children: dict[int, Child] = {}
        self._numbers = count(1)
        self._listener = gevent.spawn(self._listen)

    def fork(self, descriptor: int, **words: Any) -> Child:
        """Order a child that gets *descriptor*; returns before it is forked."""
        child = Child(self, next(self._numbers))
        self._children[child.number] = child
        self.order(descriptor, fork=child.number, **words)
        return child

    def order(self, *descriptors: int, **words: Any) -> None:
        """Send one order; if the process is gone, the listener notices."""
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", descriptors))] if descriptors else []
        try:
            self._control.sendmsg([encode(words)], ancillary)
        except OSError:
            self._lose()

    def close(self) -> None:
        """Close the connection: the process kills its children and ends. Never blocks."""
        self.is_gone = True
        self._listener.kill(block=False)
        self._control.close()
        self._orphan("it was told to end")

    def _listen(self) -> None:
        try:
            while data := self._control.recv(MESSAGE_BYTES):
                self._understand(decode(data))
        except (OSError, BSONError):
            pass  # as good as gone
        finally:  # also when somebody kills this greenlet: whom nobody hears is gone
            self._lose()

    def _understand(self, message: dict[str, Any]) -> None:
        for word in ("born", "unborn", "died"):
            if word in message:
                break
        else:
            self._hear(message)
            return
        child = self._children.get(message[word])
        if child is None:
            return
        if word == "born":
            child.pid = message["pid"]
            return
        del self._children[child.number]
        child.was_born = word == "died"
        child.ended(message["status"] if child.was_born else message["error"])

    def _lose(self) -> None:
        if self.is_gone:
            return
        self.is_gone = True
        self._control.close()
        self._orphan("the process that forked it is gone")
        self._on_gone()

    def _orphan(self, reason: str) -> None:
        children, self._children = self._children, {}
        for child in children.values():
            child.ended(reason)
