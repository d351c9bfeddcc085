"""The farm: forked workers that carry out cpu tasks, and suspects each in one of its own.

Only the hub's thread may use it; every call blocks the calling greenlet and nobody else.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import gevent
from gevent import socket
from gevent.lock import BoundedSemaphore

from ..errors import ConfigError
from ..retry import Ending, Stopped
from ..telemetry import emit
from .edition import Apps, Edition
from .oom import OomCounter
from .parent import Parent
from .peer import Job, Peer

PAUSE_SECONDS: Final = 1.0
SUSPECTS: Final = 8
"""How many suspects run at the same time: they wait more than they compute, like all greenlets."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How many *workers* there are, after how many tasks and at how many bytes one is replaced; 0: never."""

    workers: int = os.cpu_count() or 1
    tasks: int = 0
    bytes: int = 0


class Farm:
    """Workers of one daemon, forked from the editions of its apps.

    *descriptor* is where the zygote takes orders; the farm owns it. *on_lost* is called once if the
    zygote dies: there will be no workers any more.
    """

    def __init__(
        self, descriptor: int, apps: Apps, limits: Limits, on_lost: Callable[[], None] = lambda: None
    ) -> None:
        self.limits = limits
        self.is_lost = False
        self._apps = apps
        self._on_lost = on_lost
        self._oom = OomCounter()
        self._seats = BoundedSemaphore(limits.workers)
        self._cells = BoundedSemaphore(SUSPECTS)
        self._making = BoundedSemaphore(1)
        self._current: Edition | None = None
        self._editions: set[Edition] = set()
        control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, fileno=descriptor)
        control.settimeout(None)  # whatever an app has made the default of this process
        self._zygote = Parent(control, on_gone=self._lost)

    # jobs

    def perform(self, job: Job) -> Ending:
        """Run *job* in a worker, when there is a free one. Interrupts of this greenlet reach the handler."""
        with self._seats:
            return self._carry_out(job, alone=False)

    def perform_alone(self, job: Job) -> Ending:
        """Run *job* in a worker of its own that ends with it; up to SUSPECTS such at a time.

        For a task that may have brought a daemon down: if it is guilty, only this worker dies of it.
        """
        with self._cells:
            return self._carry_out(job, alone=True)

    def _carry_out(self, job: Job, *, alone: bool) -> Ending:
        try:
            edition = self._edition()
        except ConfigError as error:
            return self._not_now(f"cpu workers: {error}")
        peer = edition.hire() if alone else edition.take()
        try:
            ending = peer.carry_out(job)
        finally:
            peer.is_spent = peer.is_spent or alone or self._has_had_its_time(peer)
            edition.give_back(peer)
        if isinstance(ending, Stopped) and peer.is_unborn:
            edition.kill_template()  # it does not fork when told to
        # a worker that could not be forked, or knows the task's name no more: the next one is no better
        return self._not_now(ending.reason) if isinstance(ending, Stopped) else ending

    def _not_now(self, why: str) -> Ending:
        """Put the task back, not so fast that it comes at once and for ever."""
        emit("farm.failed", reason=why)
        gevent.sleep(PAUSE_SECONDS)
        return Stopped(why)

    def _has_had_its_time(self, peer: Peer) -> bool:
        tasks, size = self.limits.tasks, self.limits.bytes
        if (tasks and peer.runs >= tasks) or (size and peer.bytes > size):
            emit("worker.recycled", pid=peer.child.pid, tasks=peer.runs, bytes=peer.bytes)
            return True
        return False

    # editions

    def warm_up(self) -> None:
        """Import the apps now, so that the first job need not wait for it. Never raises ConfigError."""
        try:
            self._edition()
        except ConfigError as error:
            emit("farm.failed", reason=str(error))

    def prepare(self, apps: Apps) -> Edition:
        """Import *apps* in a process of their own, nothing else changes. Raises ConfigError; blocks."""
        if self.is_lost:
            raise ConfigError("cpu workers: the zygote that forks them is gone; start the daemon again")
        edition = Edition(self._zygote, apps, self._oom, self._editions.discard)
        self._editions.add(edition)
        try:
            edition.wait()
        except BaseException:  # also an Interrupt of the run that waits for it
            self.discard(edition)
            raise
        return edition

    def renew(self, apps: Apps, *, at_once: bool) -> None:
        """Work with *apps* from now on; new jobs wait for their import, those that run keep their edition.

        Without *at_once* they are imported at the first need. When they cannot be, the old ones stay.
        """
        with self._making:
            try:
                fresh = self.prepare(apps) if at_once else None
            except ConfigError as error:
                emit("farm.failed", reason=f"the old apps stay: {error}")
                return
            before, self._current, self._apps = self._current, fresh, apps
        if before is not None:
            before.retire()

    def discard(self, edition: Edition) -> None:
        """Forget an edition that was prepared in vain."""
        self._editions.discard(edition)
        edition.kill()

    def _edition(self) -> Edition:
        """The edition in use; made at the first need, and again when its template has died."""
        with self._making:
            if self._current is None or self._current.is_gone:
                self._current = self.prepare(self._apps)
            return self._current

    # the end

    def stop(self) -> None:
        """End every worker, template and the zygote, whatever they do."""
        for edition in list(self._editions):
            edition.kill()
        self._zygote.close()
        self._oom.close()

    def _lost(self) -> None:
        self.is_lost = True
        emit("farm.lost")
        self._on_lost()
