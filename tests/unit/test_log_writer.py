"""The log's own thread: nobody waits for a reader, and what is lost is counted."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import gevent
import pytest
from gevent.threadpool import ThreadPool

from bus.log.writer import LogWriter

PATIENCE = 10.0
PIPE_BYTES = 64 * 1024
END = b"end of the test\n"


@contextmanager
def started(descriptor: int, most_bytes: int = 10 * PIPE_BYTES) -> Iterator[LogWriter]:
    """A writer at work; at the end everything it has taken is written."""
    writer = LogWriter(descriptor, lambda count: f"dropped {count}\n", most_bytes=most_bytes)
    running = ThreadPool(1).spawn(writer.run)
    try:
        yield writer
    finally:
        writer.end()
        running.get(timeout=PATIENCE)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe, closed at the end unless a test has done so."""
    ends = os.pipe()
    yield ends
    for end in ends:
        with suppress(OSError):
            os.close(end)


def all_of(reading: int) -> str:
    """What comes before END, read in a thread. (Closing would not do: gevent closes some time later.)"""

    def read() -> bytes:
        data = b""
        while not data.endswith(END):
            data += os.read(reading, PIPE_BYTES)
        return data.removesuffix(END)

    return ThreadPool(1).spawn(read).get(timeout=PATIENCE).decode()


def test_lines_come_out_in_order_and_whole(pipe):
    reading, writing = pipe
    with started(writing) as writer:
        for number in range(1000):
            writer.write(f"line {number}\n")
    os.write(writing, END)

    assert [f"line {number}" for number in range(1000)] == all_of(reading).splitlines()


def test_nobody_waits_for_a_reader_that_stands_still(pipe):
    """Five pipes full of lines are taken at once, and are there when somebody reads again."""
    reading, writing = pipe
    line = "x" * 999 + "\n"
    with started(writing) as writer:
        for _ in range(5 * PIPE_BYTES // 1000):
            writer.write(line)
        waiting = writer.waiting
        reader = gevent.spawn(all_of, reading)
    os.write(writing, END)

    assert waiting > 3 * PIPE_BYTES
    assert line * (5 * PIPE_BYTES // 1000) == reader.get(timeout=PATIENCE)


def test_what_finds_no_room_is_counted_and_said_when_there_is_some(pipe):
    """The lines before are there, then the number of those that are not."""
    reading, writing = pipe
    with started(writing, most_bytes=2 * PIPE_BYTES) as writer:
        for _ in range(3 * PIPE_BYTES // 1000):
            writer.write("x" * 999 + "\n")
        reader = gevent.spawn(all_of, reading)
    os.write(writing, END)
    lines = reader.get(timeout=PATIENCE).splitlines()
    dropped = sum(int(line.split()[1]) for line in lines if line.startswith("dropped"))

    assert 3 * PIPE_BYTES // 1000 == lines.count("x" * 999) + dropped
    assert 0 < dropped <= 3 * PIPE_BYTES // 1000 - 2 * PIPE_BYTES // 1000
    assert 0 == writer.waiting


def test_a_reader_that_is_gone_costs_lines_and_nothing_else(tmp_path):
    """A full disk, a broken pipe: nobody is told there, and nobody is stopped."""
    with (tmp_path / "readable only").open("xb+") as file:
        descriptor = os.open(file.name, os.O_RDONLY)
        with started(descriptor) as writer:
            writer.write("to nobody\n")
            writer.write("again\n")
        os.close(descriptor)

    assert 0 == writer.waiting


def test_lines_of_many_threads_stay_whole(pipe):
    reading, writing = pipe
    reader = gevent.spawn(all_of, reading)
    pool = ThreadPool(4)

    def say(number: int, writer: LogWriter) -> None:
        for _ in range(500):
            writer.write(f"{number}" * 50 + "\n")

    with started(writing, most_bytes=100 * PIPE_BYTES) as writer:
        gevent.joinall([pool.spawn(say, number, writer) for number in range(4)], timeout=PATIENCE)
    os.write(writing, END)
    lines = reader.get(timeout=PATIENCE).splitlines()

    assert {f"{number}" * 50: 500 for number in range(4)} == {line: lines.count(line) for line in set(lines)}
