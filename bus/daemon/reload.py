"""Reloads configuration and apps on HUP: tried in another process first, then taken over or refused.

The apps are imported twice: first by a process that is thrown away, because what hangs, exits or
crashes while it is imported may do so only there; then by the daemon itself.
"""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from json import loads
from pathlib import Path
from typing import Final

from ..apps import from_config
from ..config import Config, load
from ..engine.loop import Loop
from ..errors import ConfigError
from ..process.executable import is_frozen
from ..process.root_logger import enabled_loggers_kept
from ..telemetry import emit

REHEARSAL_SECONDS: Final = 30.0
MOST_BYTES: Final = 1024**2
"""Of a report that are read."""


class Reloader:
    """One reload at a time, in a greenlet of its own; asked again meanwhile, it does one more.

    *path* and *environ* are those of the daemon's start: a handler may have changed the process's
    since. *take_over* is called with a config whose apps are imported; it must not fail.
    """

    def __init__(
        self, path: Path | None, environ: Mapping[str, str], take_over: Callable[[Config], None]
    ) -> None:
        self.loop = Loop("reloader", self.tick)
        self._path = path
        self._environ = dict(environ)
        self._take_over = take_over
        self._folder = Path.cwd()
        self._is_asked = False

    def ask(self) -> None:
        """Reload soon. Never blocks; before `loop` is started, the wish waits."""
        self._is_asked = True
        self.loop.wake()

    def tick(self) -> None:
        """Reload if somebody has asked. Blocks while the apps are imported."""
        if not self._is_asked:
            return
        self._is_asked = False
        emit("config.reloading")
        try:
            self._reload()
        except (Exception, SystemExit, KeyboardInterrupt) as error:  # noqa: BLE001 - the manager waits for READY
            emit("config.refused", error=error)

    def _reload(self) -> None:
        config = load(self._path, self._environ)
        self._rehearse(config)
        with enabled_loggers_kept():
            from_config.load(config, afresh=True, folder=self._folder)
        for warning in config.warnings:
            emit("config.warned", warning=warning)
        self._take_over(config)
        gc.collect()  # the old modules are cycles, which Python leaves for long: 0.7 MB a reload, measured

    def _rehearse(self, config: Config) -> None:
        """Let another process import the apps. Raises ConfigError with what it says of them."""
        if config.path is None or not config.monqbus.apps:
            return
        with os.fdopen(os.memfd_create("monqbus-report"), "rb") as report:
            code = self._end_of_check(config, report.fileno())
            report.seek(0)
            problems = _problems(report.read(MOST_BYTES), code)
        if problems:
            raise ConfigError(*problems)

    def _end_of_check(self, config: Config, report: int) -> int:
        """How `check` ends, which writes its problems to the descriptor *report*. Raises ConfigError."""
        words = [*_program(), "check", "--offline", "--config", str(config.path), "--report", str(report)]
        try:
            child = subprocess.Popen(
                words, cwd=self._folder, env=self._environ, start_new_session=True, pass_fds=[report],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
        except OSError as error:  # the folder it was started in is gone, files or processes are used up
            raise ConfigError(_no_rehearsal(self._folder, error)) from error
        try:
            return child.wait(timeout=REHEARSAL_SECONDS)
        except subprocess.TimeoutExpired:
            raise ConfigError(_overdue(config)) from None
        finally:
            with suppress(ProcessLookupError):  # also what the apps have started
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()


def _program() -> list[str]:
    """The words that start this monqbus once more."""
    if is_frozen():
        return [sys.executable]
    return [sys.executable, str(Path(__file__).parents[2] / "monqbus.py")]


def _no_rehearsal(folder: Path, error: OSError) -> str:
    return (
        f"apps: cannot be tried in a process of their own in {folder}: {error.strerror}; restart the daemon"
    )


def _overdue(config: Config) -> str:
    apps = ", ".join(config.monqbus.apps)
    return (
        f"apps {apps}: expected to be imported within {REHEARSAL_SECONDS:g} s, still not; "
        "move what takes long from the top of the module into a task"
    )


def _problems(report: bytes, code: int) -> list[str]:
    """What `check` complains of in its *report*, one sentence each; how it ended when it could not say."""
    try:
        found = loads(report)
    except ValueError:  # os._exit(0) says nothing
        end = f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"
        return [f"apps: expected to be imported, ended the process with {end}; run `monqbus check --offline`"]
    return [str(problem) for problem in found]
