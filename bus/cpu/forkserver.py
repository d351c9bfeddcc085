"""A process that forks children on request and reaps them: the zygote and each app process are one.

Orders and answers are single messages on a SOCK_SEQPACKET socket, each one BSON document; an order
to fork carries one descriptor for the child. There is no thread and no lock here, and what the apps
may have patched is not used: names from `os`, `signal` and `socket` were taken before.
"""

from __future__ import annotations

import os
import signal
import socket
import traceback
from array import array
from collections.abc import Callable
from contextlib import suppress
from select import poll
from signal import set_wakeup_fd
from signal import signal as handle
from typing import Any, Final

from ..clock import Clock
from ..codec import decode, encode
from ..process.tree import ProcessTree, children

MESSAGE_BYTES: Final = 128 * 1024
END_SECONDS: Final = 1.0
END_SIGNAL: Final = signal.SIGRTMIN + 5
"""Comes from the kernel when the process that forked this one is gone."""

Child = Callable[[dict[str, Any], int, int], None]
_fork = os.fork
_sleep = Clock().sleep


class Forkserver:
    """The children of this process, each known to the daemon by a *number* of the daemon's choice.

    With *leaders*, a child leads a process group, adopts the orphans of its descendants, and all of them
    die with it.
    """

    def __init__(self, control: socket.socket, *, leaders: bool) -> None:
        self._control = control
        self._leaders = leaders
        self._numbers: dict[int, int] = {}
        self._apps_own: set[int] = set()
        self._pid = os.getpid()
        self._woken, self._bell = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._poller = poll()
        self._poller.register(control.fileno(), 1)
        self._poller.register(self._woken, 1)

    def serve(self, child: Child) -> None:
        """Fork, signal and reap as ordered until the daemon is gone; then every process here is killed.

        *child* is what a child runs: it gets the order, its descriptor and the id of this process.
        Blocks.
        """
        self._apps_own = set(children(os.getpid()))  # what the apps have started at their import
        set_wakeup_fd(self._bell, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, END_SIGNAL):
            handle(number, lambda *_: None)
        while self._turn(child):
            pass
        self._end()

    def tell(self, **message: Any) -> None:
        """Send one message to the daemon; if that is gone, nobody needs it, and `serve` notices soon."""
        with suppress(OSError):
            self._control.send(encode(message))

    def _turn(self, child: Child) -> bool:
        """Handle what has come since the last call; False when the daemon is gone."""
        ready = {descriptor for descriptor, _ in self._poller.poll()}
        if self._woken in ready:
            rung = os.read(self._woken, 1024)
            if END_SIGNAL in rung:
                return False
            self._reap()
        if self._control.fileno() in ready:
            data, descriptors = self._receive()
            if not data:
                return False
            self._obey(decode(data), descriptors, child)
        return True

    def _receive(self) -> tuple[bytes, list[int]]:
        size = array("i").itemsize
        room = socket.CMSG_SPACE(size)
        try:
            data, extra, *_ = self._control.recvmsg(MESSAGE_BYTES, room, socket.MSG_CMSG_CLOEXEC)
        except ConnectionResetError:  # the daemon has gone without hearing the last of us
            return b"", []
        descriptors = array("i")
        for _, _, held in extra:
            descriptors.frombytes(held[: len(held) - len(held) % size])
        return data, list(descriptors)

    def _obey(self, order: dict[str, Any], descriptors: list[int], child: Child) -> None:
        if "fork" in order:
            self._add(order, descriptors[0], child)
            os.close(descriptors[0])
        elif "signal" in order:
            self._signal(order["number"], order["signal"])

    def _add(self, order: dict[str, Any], descriptor: int, child: Child) -> None:
        number = order["fork"]
        try:
            pid = _fork()
        except OSError as error:
            self.tell(unborn=number, error=f"fork: {error.strerror}")
            return
        if pid == 0:
            self._live(order, descriptor, child)
        self._numbers[pid] = number
        self.tell(born=number, pid=pid)

    def _live(self, order: dict[str, Any], descriptor: int, child: Child) -> None:
        """Run *child* in the forked process; never returns."""
        code = 1
        try:
            set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, END_SIGNAL):
                handle(number, signal.SIG_DFL)
            os.close(self._woken)
            os.close(self._bell)
            self._control.close()
            child(order, descriptor, self._pid)
            code = 0
        except BaseException:  # noqa: BLE001 - a process ends here; its parent must not run twice
            traceback.print_exc()
        finally:
            os._exit(code)

    def _signal(self, number: int, what: int) -> None:
        for pid, known in self._numbers.items():
            if known == number:
                self._kill(pid, what)

    def _kill(self, pid: int, what: int) -> None:
        """Signal a child that is not reaped yet: until then the kernel gives its id to no other process."""
        if self._leaders and what == signal.SIGKILL:
            ProcessTree(pid).kill()
            with suppress(ProcessLookupError):  # it died before it had a group
                os.killpg(pid, what)
        os.kill(pid, what)

    def _reap(self) -> None:
        """Reap exited children and kill what they have left running."""
        while (pid := _exited_child()) is not None:
            if pid in self._numbers:
                self._kill(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
            if pid in self._numbers:
                self.tell(died=self._numbers.pop(pid), status=os.waitstatus_to_exitcode(status))
        self._kill_orphans()

    def _kill_orphans(self, *, all_of_them: bool = False) -> None:
        """Kill those that were not forked here: orphans of dead children, for living ones adopt their own."""
        for pid in list(children(os.getpid())):
            if pid not in self._numbers and (all_of_them or pid not in self._apps_own):
                with suppress(ProcessLookupError):
                    ProcessTree(pid).kill()

    def _end(self) -> None:
        """Kill every child; an app process kills its own workers."""
        if not self._leaders:
            return
        for pid in self._numbers:
            self._kill(pid, signal.SIGKILL)
        for _ in range(int(END_SECONDS / 0.01)):
            self._reap()
            self._kill_orphans(all_of_them=True)
            if not any(children(os.getpid())):
                return
            _sleep(0.01)


def _exited_child() -> int | None:
    """The id of a child that has exited and is not reaped yet."""
    try:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return None if found is None else found.si_pid
