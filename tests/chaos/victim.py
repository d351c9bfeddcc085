"""One daemon as a process that things are done to."""

from __future__ import annotations

import ctypes
import http.client
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.program import PROGRAM

from .sender import Address

START_SECONDS = 20.0
STOP_SECONDS = 40.0
LOOK_SECONDS = 0.02
PR_SET_PDEATHSIG = 1


class Victim:
    """`monqbus run` on *config*, listening at *address*, with *weakness* switched off (see weakened).

    Its log is *config* with the suffix .log and gathers all its starts. It dies with this process.
    """

    def __init__(
        self, config: Path, address: Address, weakness: str = "", environ: Mapping[str, str] | None = None
    ) -> None:
        self.config = config
        self.address = address
        self.weakness = weakness
        self.environ = {**os.environ, **(environ or {})}
        self.log = config.with_suffix(".log")
        self.words: Sequence[str] = ()  # more of the command line
        self.process: subprocess.Popen[bytes] | None = None
        self._seen = 0
        self._pid: int | None = None

    @property
    def pid(self) -> int:
        """The process of the present start that does the work: a binary has another one in front of it.

        Until that has told its own pid it is the started one. Raises RuntimeError before the first start.
        """
        if self.process is None:
            raise RuntimeError(f"{self.config}: not started yet")
        return self.process.pid if self._told_pid is None else self._told_pid

    @property
    def _told_pid(self) -> int | None:
        """The one in its log, which is written a moment after what it tells of."""
        if self._pid is None:
            match = re.search(rb" daemon\.started .* pid=(\d+)", self.log.read_bytes()[self._seen :])
            self._pid = int(match[1]) if match else None
        return self._pid

    @property
    def is_alive(self) -> bool:
        """Whether the present start still runs."""
        return self.process is not None and self.process.poll() is None

    def start(self) -> Victim:
        """Start it and wait until `/readyz` says yes. Raises RuntimeError with the end of its log."""
        self.launch()
        self.wait_ready(START_SECONDS)
        return self

    def launch(self) -> None:
        """Start it without waiting."""
        with self.log.open("ab") as log:
            self._seen, self._pid = log.tell(), None
            self.process = subprocess.Popen(
                [*self._program(), "run", "--config", str(self.config), *self.words],
                stdout=log, stderr=log, cwd=self.config.parent, env=self.environ,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - one call of libc, and we may be killed
            )  # fmt: skip

    def _program(self) -> list[str]:
        if self.weakness:
            return [sys.executable, str(Path(__file__).with_name("weakened.py")), self.weakness]
        return list(PROGRAM)

    def wait_ready(self, seconds: float) -> None:
        """Block until `/readyz` answers 200 and its `pid` is known.

        Raises RuntimeError after *seconds*, or when it has ended.
        """
        deadline = time.monotonic() + seconds
        while self.readyz() != 200 or self._told_pid is None:
            if not self.is_alive or time.monotonic() > deadline:
                tail = self.log.read_text(errors="replace")[-2000:]
                raise RuntimeError(f"{self.config.name}: not ready within {seconds:g} s\n{tail}")
            time.sleep(LOOK_SECONDS)

    def readyz(self, patience: float = 2.0) -> int:
        """The status of `/readyz` now; 0 without an answer within *patience* seconds."""
        connection = http.client.HTTPConnection(*self.address, timeout=patience)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            connection.close()

    def kill(self) -> None:
        """SIGKILL; returns when it is gone."""
        os.kill(self.pid, signal.SIGKILL)
        self.wait()

    def freeze(self) -> None:
        """SIGSTOP; returns when all its threads stand still."""
        os.kill(self.pid, signal.SIGSTOP)
        threads = Path(f"/proc/{self.pid}/task")
        while any(_state(thread) != "T" for thread in threads.iterdir()):
            time.sleep(0.001)

    def thaw(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    def stop(self) -> int:
        """TERM and wait for the drain; the exit code."""
        os.kill(self.pid, signal.SIGTERM)
        return self.wait()

    def wait(self, seconds: float = STOP_SECONDS) -> int:
        """Block until it has ended; the exit code. Raises subprocess.TimeoutExpired after *seconds*."""
        if self.process is None:
            raise RuntimeError(f"{self.config}: not started yet")
        return self.process.wait(seconds)


def _state(thread: Path) -> str:
    return (thread / "stat").read_text().rpartition(")")[2].split()[0]


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
