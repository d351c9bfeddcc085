"""The one door for time, ids and chance, and its frozen twin."""

from __future__ import annotations

import ast
import threading
from datetime import datetime, timedelta, timezone
from pathlib import Path

from bus.clock import Clock, FrozenClock, whole_ms

BUS = Path(__file__).parents[2] / "bus"


def test_now_is_aware_utc_in_whole_milliseconds():
    """Exactly what a stored moment can hold."""
    before = datetime.now(timezone.utc)
    now = Clock().now()

    assert timezone.utc == now.tzinfo
    assert whole_ms(now) == now
    assert whole_ms(before) <= now <= datetime.now(timezone.utc)


def test_monotonic_time_and_ids_only_go_forward():
    clock = Clock()

    assert clock.monotonic() <= clock.monotonic()
    assert clock.new_id() < clock.new_id()


def test_chance_is_a_fraction():
    draws = {Clock().chance() for _ in range(100)}

    assert all(0.0 <= draw < 1.0 for draw in draws)
    assert len(draws) > 1


def test_a_frozen_clock_moves_only_when_told():
    clock = FrozenClock()
    start = clock.now()

    assert (start, 0.0) == (clock.now(), clock.monotonic())
    clock.advance(86_400.5)
    clock.sleep(0.5)
    assert (start + timedelta(seconds=86_401), 86_401.0) == (clock.now(), clock.monotonic())


def test_a_frozen_clock_stays_on_whole_milliseconds():
    clock = FrozenClock()
    clock.advance(0.0016)

    assert whole_ms(clock.now()) == clock.now()


def test_nothing_else_in_the_house_reads_a_clock_or_draws():
    """Otherwise a test could not hold time still."""
    readers = set()
    for file in BUS.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_bytes())):
            if isinstance(node, ast.Import) and {"time", "random"} & {name.name for name in node.names}:
                readers.add(file.name)
            if isinstance(node, ast.Attribute) and node.attr in ("utcnow", "today"):
                readers.add(file.name)
            if isinstance(node, ast.Attribute) and node.attr == "now" and isinstance(node.value, ast.Name):
                readers |= {file.name} if node.value.id == "datetime" else set()

    assert {"clock.py"} == readers


def test_a_process_of_another_number_makes_ids_of_its_own(monkeypatch):
    """Also one that was forked by a library in C, of which nothing of Python hears."""
    clock = Clock()
    before = clock.new_id()
    monkeypatch.setattr("bus.clock.os.getpid", lambda: -1)

    assert before.binary[4:9] != clock.new_id().binary[4:9]
    assert clock.new_id().binary[4:9] == clock.new_id().binary[4:9]


def test_ids_of_many_threads_are_all_different():
    clock = Clock()
    made: list[object] = []
    threads = [
        threading.Thread(target=lambda: made.extend([clock.new_id() for _ in range(2000)])) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert 16_000 == len(set(made))
