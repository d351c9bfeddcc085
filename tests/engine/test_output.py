"""What a task prints and logs is kept with it; everything else passes through."""
# ruff: noqa: T201 - printing is what is tested

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import gevent
import pytest
from gevent.event import Event as Signal

from bus.apps.context import c
from bus.engine.output import HUSHED, LINE_LIMIT, OUTPUT_LIMIT, TOLD_LINES, Capture
from bus.model import MonQTask

from .conftest import Engine

PATIENCE = 5.0


@contextmanager
def captured() -> Iterator[io.StringIO]:
    """Capturing is on; yields what the daemon itself writes. No fixture: pytest has streams of its own."""
    before = (sys.stdout, sys.stderr)
    plain = io.StringIO()
    sys.stdout = sys.stderr = plain
    capture = Capture()
    capture.start()
    try:
        yield plain
    finally:
        capture.stop()
        sys.stdout, sys.stderr = before


def perform(engine: Engine, task: MonQTask) -> MonQTask:
    """Claim, run and record *task* while capturing is on; nothing of it reaches the daemon's streams."""
    with captured() as plain:
        performed = engine.perform(task)
    assert "" == plain.getvalue()
    return performed


def lines(facts) -> list[str]:
    return [fields["line"] for fields in facts.of("task.printed")]


def test_what_a_task_prints_is_stored_and_told_line_by_line(engine, facts):
    """Both streams, in order; a last line without its end, too."""

    def work():
        print("one")
        print("two", "three", file=sys.stderr)
        sys.stdout.write("four\nfi")
        sys.stdout.write("ve")
        sys.stdout.flush()

    engine.declare(work)
    task = perform(engine, engine.waiting())

    assert "one\ntwo three\nfour\nfive" == task.output
    assert ["one", "two three", "four", "five"] == lines(facts)
    assert {task.id} == {fields["task"].id for fields in facts.of("task.printed")}


def test_what_a_task_logs_is_kept_with_it(engine):
    def work():
        logging.getLogger("app").warning("careful, %s", "you")
        logging.getLogger("app").debug("not at this level")

    engine.declare(work)

    assert "WARNING app: careful, you\n" == perform(engine, engine.waiting()).output


@pytest.mark.parametrize("end", ["raises", "times out", "swallows"])
def test_the_output_of_a_failed_run_is_kept(engine, end):
    def work():
        print("before")
        if end == "raises":
            raise ValueError
        try:
            Signal().wait(PATIENCE)
        except BaseException:
            print("clean-up")
            if end == "times out":
                raise

    engine.declare(work, timeout=0.01)
    output = perform(engine, engine.waiting()).output

    assert ("before\n" if end == "raises" else "before\nclean-up\n") == output


def test_the_output_of_the_next_run_replaces_that_of_the_last(engine):
    def work():
        print("attempt", c.task.attempt)
        if c.task.attempt == 1:
            raise ValueError

    engine.declare(work)
    task = engine.waiting()
    outputs = [perform(engine, task).output]
    engine.clock.advance(60)
    outputs.append(perform(engine, task).output)

    assert ["attempt 1\n", "attempt 2\n"] == outputs


def test_a_silent_task_has_no_output(engine):
    engine.declare(lambda: None)

    assert perform(engine, engine.waiting()).output is None


def test_tasks_that_run_at_once_do_not_mix(engine):
    """Not even when they take turns in the middle of a line."""
    turns = [Signal(), Signal()]

    def work(n):
        sys.stdout.write(f"{n} begins ")
        turns[n].set()
        assert turns[1 - n].wait(PATIENCE)
        print(f"{n} ends")

    engine.declare(work)
    tasks = [engine.waiting(n) for n in (0, 1)]
    with captured():
        engine.claimer.tick()
        assert 0 == engine.pool.drain(PATIENCE)
    engine.recorder.tick()

    assert ["0 begins 0 ends\n", "1 begins 1 ends\n"] == [engine.now(task).output for task in tasks]


def test_the_daemons_own_prints_pass_through(engine):
    """Also while a task runs, and also what a greenlet prints that the task has started."""

    def work():
        print("of the task")
        gevent.spawn(print, "of its greenlet").join(PATIENCE)
        engine.gate.wait(PATIENCE)

    engine.declare(work)
    task = engine.waiting()
    with captured() as plain:
        engine.claimer.tick()
        gevent.idle()
        print("of the daemon")
        engine.gate.set()
        assert 0 == engine.pool.drain(PATIENCE)
        print("afterwards")
    engine.recorder.tick()

    assert "of its greenlet\nof the daemon\nafterwards\n" == plain.getvalue()
    assert "of the task\n" == engine.now(task).output


@pytest.mark.parametrize("piece", [1_000_000, 1000, 7])
def test_long_output_loses_its_middle(engine, piece):
    """First and last 32 KiB are kept, however it was written, and the gap is named."""
    text = "".join(f"{n:09d}\n" for n in range(100_000))

    def work():
        for start in range(0, len(text), piece):
            sys.stdout.write(text[start : start + piece])

    engine.declare(work)
    output = perform(engine, engine.waiting()).output
    half = OUTPUT_LIMIT // 2
    gap = f"\n… {len(text) - OUTPUT_LIMIT} characters left out …\n"

    assert 64 * 1024 == OUTPUT_LIMIT
    assert text[:half] + gap + text[-half:] == output


def test_output_up_to_the_limit_is_whole(engine):
    engine.declare(lambda: sys.stdout.write("x" * OUTPUT_LIMIT))

    assert "x" * OUTPUT_LIMIT == perform(engine, engine.waiting()).output


def test_a_line_without_end_is_told_in_part(engine, facts):
    """The log gets its beginning, the store all of it."""
    engine.declare(lambda: print("x" * 10_000))
    task = perform(engine, engine.waiting())

    assert "x" * LINE_LIMIT == lines(facts)[0]
    assert 10_001 == len(task.output)


@pytest.mark.parametrize(
    ("line", "told"), [("x", TOLD_LINES), ("", TOLD_LINES), ("x" * 1000, OUTPUT_LIMIT // 1000 + 1)]
)
@pytest.mark.parametrize("at_once", [True, False])
def test_what_is_told_of_a_run_has_an_end_that_is_said(engine, facts, line, told, at_once):
    """Lines and characters are limited; what is kept with the task is not less for it."""

    def work():
        if at_once:
            sys.stdout.write(f"{line}\n" * 5000)
        else:
            for _ in range(5000):
                print(line)

    engine.declare(work)
    output = perform(engine, engine.waiting()).output

    assert [*[line] * told, HUSHED] == lines(facts)
    assert output.endswith(f"{line}\n{line}\n")


def test_a_run_that_tells_just_as_much_as_it_may_is_told_whole(engine, facts):
    engine.declare(lambda: print("x\n" * TOLD_LINES, end=""))
    perform(engine, engine.waiting())

    assert ["x"] * TOLD_LINES == lines(facts)


@pytest.mark.parametrize(("text", "kept"), [("a\ud800b", "a\\ud800b"), ("a\0b", "a\\x00b"), ("ü😀", "ü😀")])
def test_no_text_is_too_odd_to_be_kept(engine, text, kept):
    engine.declare(lambda: sys.stdout.write(text))

    assert kept == perform(engine, engine.waiting()).output


def test_a_task_sees_what_it_printed_so_far(engine):
    seen = []

    def work():
        print("one")
        seen.append(c.task.log)
        print("two")

    engine.declare(work)

    assert "one\ntwo\n" == perform(engine, engine.waiting()).output
    assert ["one\n"] == seen


def test_a_stream_of_a_task_is_no_terminal(engine):
    """Colours and progress bars do not belong into a stored output."""
    seen = []
    engine.declare(lambda: seen.append(sys.stdout.isatty()))
    with captured() as plain:
        plain.isatty = lambda: True  # type: ignore[method-assign]
        engine.perform(engine.waiting())
        seen.append(sys.stdout.isatty())

    assert [False, True] == seen


def test_output_survives_an_outage_of_the_store(engine):
    engine.declare(lambda: print("kept"))
    task = engine.waiting()
    with captured():
        engine.claimer.tick()
        assert 0 == engine.pool.drain(PATIENCE)
    engine.faulty.fail_next("report")
    engine.recorder.tick()
    engine.recorder.tick()

    assert "kept\n" == engine.now(task).output


def test_when_capturing_stops_everything_is_as_it_was():
    before = (sys.stdout, sys.stderr, list(logging.getLogger().handlers))
    with captured():
        assert before != (sys.stdout, sys.stderr, list(logging.getLogger().handlers))

    assert before == (sys.stdout, sys.stderr, list(logging.getLogger().handlers))


def test_a_handler_finds_the_streams_that_libraries_expect(engine, facts):
    """`buffer` for bytes, an encoding, `reconfigure`; a wrapper that is thrown away closes nothing."""
    seen = []

    def work():
        sys.stdout.reconfigure(encoding="utf-8", line_buffering=True)
        for part in ("é".encode()[:1], "é".encode()[1:], b"\xff\n"):
            sys.stdout.buffer.write(part)
        wrapper = io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8")
        wrapper.write("wrapped\n")
        wrapper.flush()
        del wrapper
        seen.append((sys.stdout.encoding, sys.stdout.errors, sys.stdout.buffer.closed, sys.stderr.mode))
        print("after")

    engine.declare(work)
    task = perform(engine, engine.waiting())

    assert "é\\xff\nwrapped\nafter\n" == task.output
    assert [("utf-8", "backslashreplace", False, "w")] == seen


def test_an_app_that_empties_the_root_logger_gets_our_handler_back():
    """basicConfig(force=True) and dictConfig take them all."""
    capture = Capture()
    capture.start()
    root = logging.getLogger()
    ours = root.handlers[-1]
    root.removeHandler(ours)
    capture.attach()
    capture.attach()
    found = root.handlers.count(ours)
    capture.stop()

    assert (1, 0) == (found, root.handlers.count(ours))


def test_capturing_without_log_records_leaves_logging_alone():
    before = list(logging.getLogger().handlers)
    capture = Capture(logs=False)
    capture.start()
    capture.attach()
    during = list(logging.getLogger().handlers)
    capture.stop()

    assert before == during
