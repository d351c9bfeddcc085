"""A daemon as a subprocess: its config, its log, its address, its end."""

from __future__ import annotations

import http.client
import json
import os
import re
import select
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import gevent

from tests.program import PROGRAM, ROOT

__all__ = ["ROOT", "Daemon", "until"]

PATIENCE = 20.0
LOOK_SECONDS = 0.02


def until(look: Callable[[], list[str]], count: int, seconds: float = PATIENCE) -> list[str]:
    """What *look* finds, once that is *count* lines: a file cannot be awaited."""
    with gevent.Timeout(seconds, AssertionError(f"no {count} lines within {seconds} s")):
        while len(found := look()) < count:
            select.select([], [], [], LOOK_SECONDS)
    return found


class Daemon:
    """`monqbus run` on *config*. Its log is a file that tests wait for lines in.

    *program* is what is run in place of monqbus: words of a command line.
    """

    program: Sequence[str] = PROGRAM
    inherited: Sequence[int] = ()
    """Descriptors that it gets from the test, under the same numbers."""

    def __init__(self, config: Path, **environ: str) -> None:
        self.config = config
        self.log = config.with_suffix(".log")
        self.printed = config.with_suffix(".out")
        self.environ = {**os.environ, **environ}
        self.process: subprocess.Popen[bytes] | None = None
        self._seen = 0

    def start(self) -> Daemon:
        """Start it and wait until it listens."""
        self.launch()
        self.wait_for("daemon.started")
        return self

    def launch(self, *words: str) -> None:
        """Start it without waiting."""
        with self.log.open("ab") as log, self.printed.open("ab") as printed:
            self._seen = log.tell()
            self.process = subprocess.Popen(
                [*self.program, "run", "--config", str(self.config), *words],
                stderr=log, stdout=printed, cwd=self.config.parent, env=self.environ,
                pass_fds=self.inherited,
            )  # fmt: skip

    @property
    def lines(self) -> list[str]:
        """What this start has logged so far."""
        return self.log.read_bytes()[self._seen :].decode().splitlines()

    def wait_for(self, *words: str, times: int = 1, seconds: float = PATIENCE) -> str:
        """The last line so far with all *words*, once there are *times* such lines."""

        def found() -> list[str]:
            lines = [line for line in self.lines if all(word in line for word in words)]
            is_alive = self.process is not None and self.process.poll() is None
            assert is_alive or len(lines) >= times, "\n".join(self.lines)
            return lines

        return until(found, times, seconds)[-1]

    def printed_line(self, words: str) -> str:
        """The first line of its standard output with *words*."""
        return until(lambda: [line for line in self.printed.read_text().splitlines() if words in line], 1)[0]

    @property
    def address(self) -> tuple[str, int]:
        """Where the public listener is."""
        match = re.search(r'listen(?:=|": ")http://([\d.]+):(\d+)', self.wait_for("daemon.started"))
        assert match is not None
        return match[1], int(match[2])

    @property
    def pid(self) -> int:
        """The process that does the work: a binary has another one in front of it."""
        match = re.search(r" pid=(\d+)", self.wait_for("daemon.started"))
        assert match is not None
        return int(match[1])

    def request(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> tuple[int, dict[str, object]]:
        """One request on a connection of its own: status and the JSON that came."""
        connection = http.client.HTTPConnection(*self.address, timeout=PATIENCE)
        try:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self) -> int:
        """TERM; the exit code."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """SIGKILL."""
        self.signal(signal.SIGKILL)
        self.wait()

    def wait(self, seconds: float = PATIENCE) -> int:
        """Wait for its end; the exit code."""
        assert self.process is not None
        return self.process.wait(seconds)

    def monqbus(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run another monqbus command on the same config."""
        return subprocess.run(
            [*PROGRAM, *words, "--config", str(self.config)],
            capture_output=True, text=True, timeout=PATIENCE, cwd=self.config.parent, env=self.environ,
            check=False,
        )  # fmt: skip
