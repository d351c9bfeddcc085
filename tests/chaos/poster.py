"""A process that posts until it is killed: ``poster.py CONFIG ACCOUNT NAME [MODULE.FUNCTION]``.

It posts one by one, under keys, in bulk and as events, in turn. ACCOUNT gets a line before each call and
another one when it has returned; the last word is a weakness, as of `weakened.py`.
"""

from __future__ import annotations

import importlib
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
APPS = Path(__file__).parent / "apps"
BULK = 10
PAUSE_SECONDS = 0.1  # after each round, so that a kill finds many in the middle of a call


def main(config: str, account: str, name: str, weakness: str = "") -> None:
    """Post without end."""
    sys.path[:1] = [str(ROOT), str(APPS)]
    if weakness:
        module, _, function = weakness.partition(".")
        getattr(importlib.import_module(f"tests.chaos.weaknesses.{module}"), function)()
    import monqbus

    monqbus.connect(config)
    app = importlib.import_module("inboxapp")
    file = os.open(account, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    ways: Sequence[tuple[int, Callable[[list[str]], Any]]] = (
        (1, lambda ids: app.quick.post(ids[0])),
        (1, lambda ids: app.slow.post(ids[0])),
        (1, lambda ids: app.quick.options(key=ids[0]).post(ids[0])),
        (BULK, lambda ids: app.quick.post_many((one,) for one in ids)),
        (1, lambda ids: monqbus.post_event("posted.order", ids[0])),
        (2, lambda ids: _held(monqbus, app, ids)),
    )
    for number, (count, post) in enumerate(itertools.cycle(ways)):
        ids = [f"{name}-{number}-{n}" for n in range(count)]
        _say(file, ids, "sent")
        with suppress(monqbus.MonqbusError):  # what was not acknowledged is unknown
            post(ids)
            _say(file, ids, "acked")
        if number % len(ways) == len(ways) - 1:
            time.sleep(PAUSE_SECONDS)


def _held(monqbus: Any, app: Any, ids: list[str]) -> None:
    with monqbus.hold():
        app.quick.options(key=ids[0]).post(ids[0])
        monqbus.post_event("posted.order", ids[1])


def _say(file: int, ids: list[str], what: str) -> None:
    os.write(file, json.dumps({"ids": ids, "what": what, "at": time.monotonic()}).encode() + b"\n")


class Posters:
    """Several such processes on *config*, killed and stopped by *dice*; who is killed is followed by another.

    `with` starts the first ones and kills the last.
    """

    def __init__(
        self, config: Path, count: int, dice: random.Random, environ: dict[str, str], weakness: str = ""
    ) -> None:
        self.account = config.with_name("posters.jsonl")
        self._config = config
        self._count = count
        self._dice = dice
        self._environ = environ
        self._weakness = weakness
        self._numbers = itertools.count()
        self._alive: list[subprocess.Popen[bytes]] = []
        self._stopped: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Posters:
        while len(self._alive) < self._count:
            self._begin()
        return self

    def __exit__(self, *_: object) -> None:
        for process in (*self._alive, *self._stopped):
            _kill(process)

    def kill_one(self) -> None:
        """SIGKILL, wherever it is; another one takes its place."""
        _kill(self._alive.pop(self._dice.randrange(len(self._alive))))
        self._begin()

    def stop_one(self) -> None:
        """SIGSTOP, wherever it is; the others go on."""
        process = self._alive.pop(self._dice.randrange(len(self._alive)))
        process.send_signal(signal.SIGSTOP)
        self._stopped.append(process)

    def end_stops(self) -> None:
        """Every stopped one goes on, or is killed and followed by another."""
        while self._stopped:
            process = self._stopped.pop()
            if self._dice.random() < 0.5:
                process.send_signal(signal.SIGCONT)
                self._alive.append(process)
            else:
                _kill(process)
                self._begin()

    def _begin(self) -> None:
        words = [str(self._config), str(self.account), f"p{next(self._numbers)}"]
        self._alive.append(
            subprocess.Popen(
                [sys.executable, __file__, *words, *([self._weakness] if self._weakness else [])],
                cwd=self._config.parent,
                env=self._environ,
            )
        )


def _kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
