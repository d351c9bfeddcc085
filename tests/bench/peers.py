"""Ours and what others would take in its place, in one run: Huey on SQLite, taskito.

They are installed from PyPI into build/peers, an environment of their own, and left out with the reason
where that cannot be done. The contestants take turns, ROUNDS times; the figures are medians. All do the
same work, an append to a file on the same disk, and are set up as their documentation says for one machine.
"""

from __future__ import annotations

import contextlib
import json
import os
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
SLOW, SLOW_SECONDS, KILLS, BEFORE_A_KILL, QUIET_SECONDS = 500, 0.2, 3, 25, 45
NO_BULK = ("huey",)
INSTALL_SECONDS, CALL_SECONDS = 180, 180
HEAD = [
    "contestant", "posts/s", "µs of CPU", "in bulk/s", "µs of CPU", "wake-up p50 ms", "p99 ms", "drain/s",
    "µs of CPU, consumer",
]  # fmt: skip


Consumer = Callable[[], contextlib.AbstractContextManager[int]]
"""Starts what consumes; gives its process id, and ends it."""
Side = tuple[Path, list[str], Consumer]
"""A folder, the words that begin a command there, and the consumer."""
Contestant = Callable[[], contextlib.AbstractContextManager[Side]]


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
    contestants: dict[str, Contestant] = {
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
            with run() as (folder, words, consumer):
                turns[name].append(_figures(folder, words, consumer, has_bulk=name not in NO_BULK))
    middle = {
        name: [statistics.median(column) for column in zip(*of_one, strict=True)]
        for name, of_one in turns.items()
    }
    table("Beside others", HEAD, [[name, *figures] for name, figures in middle.items()])
    killed: list[list[object]] = []
    for name, run in contestants.items():
        with run() as (folder, words, consumer):
            killed.append([name, *_killed(folder, words, consumer)])
    head = ["contestant", f"of {SLOW} not ended {QUIET_SECONDS} s after {KILLS} SIGKILLs", "ended twice", "s"]
    table("A consumer that is killed", head, killed)
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


@contextlib.contextmanager
def _ours(store: str) -> Iterator[Side]:
    with place() as folder:
        config = write_config(folder, store)

        @contextlib.contextmanager
        def consumer() -> Iterator[int]:
            with daemon(config) as server:
                yield server.process.pid

        if store == "sqlite":
            with consumer():
                pass  # the inbox is where a daemon has been
        yield folder, [sys.executable, str(PROGRAM), "monqbus", str(folder)], consumer


@contextlib.contextmanager
def _peer(name: str) -> Iterator[Side]:
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

        yield folder, words, consumer


def _figures(folder: Path, words: list[str], consumer: Consumer, *, has_bulk: bool) -> Figures:
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


def _killed(folder: Path, words: list[str], consumer: Consumer) -> tuple[int, int, float]:
    """Kill the consumer KILLS times in the middle; tasks lost, tasks that ended twice, seconds of it all."""
    _posted(words, "slow", SLOW)
    notes, began = folder / "notes", time.monotonic()
    for _ in range(KILLS):
        before = len(_lines(notes))
        with consumer() as pid:
            while len(_lines(notes)) < before + BEFORE_A_KILL and time.monotonic() < began + CALL_SECONDS:
                time.sleep(0.02)
            os.kill(pid, signal.SIGKILL)
    with consumer():
        ended: list[str] = []
        last_at = time.monotonic()
        while len(set(ended)) < SLOW + 1 and time.monotonic() < last_at + QUIET_SECONDS:
            time.sleep(0.1)
            now = [line.split()[2] for line in _lines(notes)]
            last_at = time.monotonic() if len(now) > len(ended) else last_at
            ended = now
    lost = SLOW + 1 - len(set(ended))  # and the one by which the poster makes what it needs
    return lost, len(ended) - len(set(ended)), time.monotonic() - began


def _lines(notes: Path) -> list[str]:
    return notes.read_text().splitlines() if notes.exists() else []


def _posted(words: list[str], role: str, count: int) -> tuple[float, float]:
    words = [*words, role, str(count), str(SLOW_SECONDS)]
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True, timeout=CALL_SECONDS)
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
        lines = _lines(notes)
    pairs = (line.split()[:2] for line in lines)
    return sorted(((float(wait), float(moment)) for wait, moment in pairs), key=lambda pair: pair[1])
