"""Ours and what others would take in its place, in one run: Huey on SQLite, taskito.

They are installed from PyPI into build/peers, an environment of their own, and left out with the reason
where that cannot be done. The contestants take turns, ROUNDS times; the figures are medians. All do the
same work, an append to a file on the same disk, and are set up as their documentation says for one machine.
"""

from __future__ import annotations

import contextlib
import json
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from .daemons import ROOT, cpu_ns, daemon, place, write_config
from .filled import Stores
from .tables import table

PACKAGES = {"huey": "huey==3.5.4", "taskito": "taskito==0.22.0"}
ENVIRONMENT = ROOT / "build" / "peers"
PROGRAM = Path(__file__).parent / "peer_program.py"
ROUNDS = 3
POSTS, BULK, WAKES = 1_000, 20_000, 150
NO_BULK = ("huey",)
INSTALL_SECONDS, CALL_SECONDS = 180, 180
HEAD = [
    "contestant", "posts/s", "µs of CPU", "in bulk/s", "µs of CPU", "wake-up p50 ms", "p99 ms", "drain/s",
    "µs of CPU, consumer",
]  # fmt: skip


class Figures(NamedTuple):
    """What one turn of a contestant has shown; NaN is what it has not."""

    posts: float
    post_cpu: float
    bulk: float
    bulk_cpu: float
    p50: float
    p99: float
    drain: float
    drain_cpu: float


def peers(found: Stores) -> None:
    """Posts from another process, bulk, idle wake-up and drain, side by side."""
    contestants: dict[str, Callable[[], Figures]] = {
        f"monqbus, {name}": lambda store=store: _ours(store("peers")) for name, store in found.items()
    }
    for name in PACKAGES:
        if why := _missing(name):
            print(f"{name} is left out: {why}")
        else:
            contestants[name] = lambda name=name: _peer(name)
    turns: dict[str, list[Figures]] = {name: [] for name in contestants}
    for _ in range(ROUNDS):
        for name, run in contestants.items():
            turns[name].append(run())
    middle = {
        name: [statistics.median(column) for column in zip(*of_one, strict=True)]
        for name, of_one in turns.items()
    }
    table("Beside others", HEAD, [[name, *figures] for name, figures in middle.items()])
    for rival in PACKAGES:
        if rival in middle:
            ratios = {
                name: [own / other for own, other in zip(figures, middle[rival], strict=True)]
                for name, figures in middle.items()
                if name not in PACKAGES
            }
            table(
                f"Ours ÷ {rival} (of ms and µs less is better)",
                HEAD,
                [[name, *figures] for name, figures in ratios.items()],
            )


def _missing(name: str) -> str:
    """Install *name* where it is not; why it cannot be, or nothing."""
    python = ENVIRONMENT / "bin" / "python"
    try:
        if not python.exists():
            subprocess.run([sys.executable, "-m", "venv", str(ENVIRONMENT)], check=True, capture_output=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", PACKAGES[name]]
        subprocess.run(pip, check=True, capture_output=True, text=True, timeout=INSTALL_SECONDS)
    except subprocess.CalledProcessError as error:
        return str(error.stderr).strip().rpartition("\n")[2] or str(error)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return ""


def _ours(store: str) -> Figures:
    with place() as folder:
        config = write_config(folder, store)

        @contextlib.contextmanager
        def consumer() -> Iterator[int]:
            with daemon(config) as server:
                yield server.process.pid

        if store == "sqlite":
            with consumer():
                pass  # the inbox is where a daemon has been
        return _figures(folder, [sys.executable, str(PROGRAM), "monqbus", str(folder)], consumer)


def _peer(name: str) -> Figures:
    with place() as folder:
        words = [str(ENVIRONMENT / "bin" / "python"), str(PROGRAM), name, str(folder)]

        @contextlib.contextmanager
        def consumer() -> Iterator[int]:
            with subprocess.Popen(
                [*words, "consume"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            ) as process:
                try:
                    yield process.pid
                finally:
                    process.send_signal(signal.SIGTERM)
                    try:
                        process.wait(20)
                    except subprocess.TimeoutExpired:
                        process.kill()

        return _figures(folder, words, consumer, has_bulk=name not in NO_BULK)


def _figures(
    folder: Path,
    words: list[str],
    consumer: Callable[[], contextlib.AbstractContextManager[int]],
    *,
    has_bulk: bool = True,
) -> Figures:
    """Post and post in bulk while nobody consumes, work that off, then post to an idle consumer."""
    took, cpu = _posted(words, "post", POSTS)
    bulk, bulk_cpu = _posted(words, "bulk", BULK) if has_bulk else (float("nan"), float("nan"))
    waiting = POSTS + 1 + (BULK + 1 if has_bulk else 0)
    notes = folder / "notes"
    with consumer() as pid:
        moments = [moment for _, moment in _noted(notes, waiting)]
        drain_cpu = cpu_ns(pid) / waiting / 1000
        time.sleep(1.0)
        notes.unlink()
        _posted(words, "wake", WAKES)
        waits = sorted(wait for wait, _ in _noted(notes, WAKES + 1))
    return Figures(
        POSTS / took, cpu / POSTS * 1e6, BULK / bulk, bulk_cpu / BULK * 1e6,
        waits[len(waits) // 2] * 1000, waits[int(len(waits) * 0.99)] * 1000,
        (len(moments) - 1) / (moments[-1] - moments[0]), drain_cpu,
    )  # fmt: skip


def _posted(words: list[str], role: str, count: int) -> tuple[float, float]:
    done = subprocess.run(
        [*words, role, str(count)], check=True, stdout=subprocess.PIPE, text=True, timeout=CALL_SECONDS
    )
    seconds, cpu = json.loads(done.stdout)
    return seconds, cpu


def _noted(notes: Path, count: int) -> list[tuple[float, float]]:
    """The *count* lines of *notes*, by their moments, when they are there."""
    deadline = time.monotonic() + CALL_SECONDS
    lines: list[str] = []
    while len(lines) < count:
        if time.monotonic() > deadline:
            raise SystemExit(f"{notes}: expected {count} lines, got {len(lines)}")
        time.sleep(0.05)
        lines = notes.read_text().splitlines() if notes.exists() else []
    pairs = (line.split() for line in lines)
    return sorted(((float(wait), float(moment)) for wait, moment in pairs), key=lambda pair: pair[1])
