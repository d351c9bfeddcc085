"""What is printed beside the log becomes lines of it: escaped, whole, and never without end."""

from __future__ import annotations

import os
from collections.abc import Iterator

import gevent
import pytest
from gevent.threadpool import ThreadPool

from bus.clock import FrozenClock
from bus.process.streams import LINES_PER_SECOND, LONGEST_LINE, Reader

PATIENCE = 10.0


class Heard:
    """A Reader of a pipe, and what it has told."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()
        self.clock = FrozenClock()
        self.lines: list[str] = []
        self.dropped: list[int] = []
        self.reader = Reader(self.reading, self.writing, self.lines.append, self.dropped.append, self.clock)
        self._running = ThreadPool(1).spawn(self.reader.run)

    def print(self, data: bytes) -> None:
        """As a child process writes."""
        while data:
            data = data[os.write(self.writing, data) :]

    def wait_for(self, count: int) -> None:
        """Return when *count* lines have been told."""
        with gevent.Timeout(PATIENCE):
            while len(self.lines) < count:
                gevent.idle()

    def end(self) -> list[str]:
        """Everything that was told once all that was printed has been read."""
        self.reader.stop()
        self._running.get(timeout=PATIENCE)
        return self.lines


@pytest.fixture
def heard() -> Iterator[Heard]:
    heard = Heard()
    yield heard
    os.close(heard.reading)
    os.close(heard.writing)


def test_each_line_is_told(heard):
    """A last one that nobody has ended, too."""
    heard.print(b"one\ntwo")
    heard.print(b" three\n\nfour")

    assert ["one", "two three", "four"] == heard.end()


def test_bytes_that_are_no_text_are_told_as_escapes(heard):
    heard.print(b"a\xff\xfeb\n")

    assert ["a\\xff\\xfeb"] == heard.end()


def test_a_line_without_end_is_told_in_pieces(heard):
    """A megabyte without a line feed must not gather in memory."""
    heard.print(b"x" * 1_000_000 + b"\n")
    heard.wait_for(10)
    lines = heard.end()

    assert {LONGEST_LINE} == {len(line) for line in lines[:-1]}


def test_what_is_printed_without_pause_is_told_to_a_bound_and_counted(heard):
    """`yes` in a child process: the log gets LINES_PER_SECOND, and the number of the others."""
    heard.print(b"y\n" * (LINES_PER_SECOND + 234))
    lines = heard.end()

    assert ["y"] * LINES_PER_SECOND == lines
    assert [234] == heard.dropped


def test_the_next_second_has_room_again(heard):
    heard.print(b"y\n" * LINES_PER_SECOND)
    heard.wait_for(LINES_PER_SECOND)
    heard.clock.advance(1)
    heard.print(b"later\n")

    assert "later" == heard.end()[-1]
    assert [] == heard.dropped


def test_the_word_that_ends_it_cannot_be_guessed(heard):
    heard.print(b"monqbus: end 00000000000000000000000000000000\nstill here\n")

    assert "still here" == heard.end()[-1]
