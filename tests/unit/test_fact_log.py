"""Facts as log lines: one fact, one line, whatever the text."""

from __future__ import annotations

import io
import json
import logging

import gevent
import pytest
from bson import ObjectId
from gevent.threadpool import ThreadPool
from hypothesis import given
from hypothesis import strategies as st

from bus.clock import FrozenClock
from bus.log.fact_log import FIELD_LIMIT, FactLog, RecordHandler
from bus.model import Event, MonQTask
from bus.retry import Outcome
from bus.telemetry import FACTS

NOW = FrozenClock().now()
TASK = MonQTask(ObjectId("0" * 24), "app.work", [], {}, NOW, attempt=2)
NASTY = {
    "CR": "a\rb", "LF": "a\nb", "ESC": "\x1b[31mred", "NUL": "a\0b", "NEL": "a\x85b", "CSI": "a\x9b2Jb",
    "line separator": "a\u2028b", "paragraph separator": "a\u2029b", "override": "a\u202eb",
    "isolate": "a\u2066b", "mark": "a\u200eb", "surrogate": "a\ud800b", "DEL": "a\x7fb", "form feed": "a\fb",
    "arabic mark": "a\u061cb", "zero width": "a\u200bb", "joiner": "a\u200db", "word joiner": "a\u2060b",
    "byte order mark": "a\ufeffb", "soft hyphen": "a\u00adb", "tag": "a\U000e0041b", "filler": "a\u3164b",
    "shorthand control": "a\U0001bca0b", "private": "a\ue000b", "no-break space": "a\u00a0b",
}  # fmt: skip


class Writer:
    """A journal on a stream in memory whose turn of the hub ends when `lines` is asked."""

    def __init__(self, log_format: str = "text", level: str = "debug") -> None:
        self.stream = io.StringIO()
        self.turns: list[object] = []
        self.fact_log = FactLog(
            self.stream, FrozenClock(), level=level, log_format=log_format, later=self.turns.append
        )

    @property
    def lines(self) -> list[str]:
        """What was written, cut at line feeds only."""
        self.fact_log.flush()
        *lines, rest = self.stream.getvalue().split("\n")
        assert "" == rest
        return lines


def test_a_fact_is_time_level_name_and_fields():
    writer = Writer()
    writer.fact_log("task.finished", {"task": TASK, "seconds": 0.01234, "note": "two words"})

    assert [
        "00:00:00.000 INFO    task.finished "
        'task=000000000000000000000000 name=app.work attempt=2 ms=12.3 note="two words"'
    ] == writer.lines


def test_a_json_line_is_one_object_with_the_same_fields():
    writer = Writer("json")
    event = Event(ObjectId("1" * 24), "a.b", NOW, task_ids=[TASK.id])
    writer.fact_log("event.received", {"event": event, "at": NOW, "id": TASK.id})

    assert [
        {
            "time": "2026-01-01T00:00:00.000Z",
            "level": "info",
            "fact": "event.received",
            "event": "1" * 24,
            "topic": "a.b",
            "tasks": 1,
            "at": "2026-01-01T00:00:00.000Z",
            "id": "0" * 24,
        }
    ] == [json.loads(line) for line in writer.lines]


def test_an_outcome_tells_its_error_and_its_next_run():
    writer = Writer()
    again = Outcome("retry", {"state": "ready", "time_queue": NOW}, "ValueError: no")
    writer.fact_log("task.retried", {"outcome": again})

    assert writer.lines[0].endswith('task.retried error="ValueError: no" next=2026-01-01T00:00:00.000Z')


def test_what_a_task_printed_comes_last_and_unquoted():
    writer = Writer()
    writer.fact_log("task.printed", {"task": TASK, "line": 'say "hi"'})

    assert writer.lines[0].endswith('name=app.work attempt=2 | say "hi"')


@pytest.mark.parametrize("log_format", ["text", "json"])
@pytest.mark.parametrize("text", NASTY.values(), ids=NASTY)
def test_no_text_breaks_or_disguises_a_line(text, log_format):
    """Line ends, terminal commands and bidirectional signs are written as escapes."""
    writer = Writer(log_format)
    writer.fact_log("event.refused", {"reason": text, "error": ValueError(text)})
    writer.fact_log("task.printed", {"task": TASK, "line": text})

    assert 2 == len(writer.lines)
    for line in writer.lines:
        assert line.isprintable()
        assert "\\" in line


@given(text=st.text(st.characters(), max_size=50), log_format=st.sampled_from(["text", "json"]))
def test_one_fact_is_one_line(text, log_format):
    """For every text there is, by every reader's idea of a line."""
    writer = Writer(log_format)
    writer.fact_log("event.refused", {"reason": text, "line": text})

    (line,) = writer.lines
    assert [line] == line.splitlines()
    line.encode()
    if log_format == "json":
        assert {"reason", "line"} < set(json.loads(line))


def test_a_forged_fact_stays_inside_its_field():
    writer = Writer()
    writer.fact_log(
        "event.refused", {"reason": 'x" fact=task.finished', "line": "x\n00:00 INFO task.finished"}
    )

    (line,) = writer.lines
    assert 'reason="x\\" fact=task.finished"' in line
    assert "| x\\n00:00 INFO task.finished" in line


def test_a_field_is_cut_where_a_line_would_grow_without_end():
    writer = Writer()
    writer.fact_log("event.refused", {"reason": "x" * 100_000})

    assert FIELD_LIMIT < len(writer.lines[0]) < FIELD_LIMIT + 100


@pytest.mark.parametrize(
    ("level", "told"),
    [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)],
)
def test_the_level_decides_what_is_written(level, told):
    writer = Writer(level=level)
    for fact in ("task.posted", "task.finished", "task.retried", "task.gave_up"):
        writer.fact_log(fact, {})

    assert told == len(writer.lines)


def test_lines_of_one_turn_are_written_together():
    """A busy daemon says thousands of them a second."""
    writer = Writer()
    for _ in range(3):
        writer.fact_log("task.finished", {})

    assert ("", [writer.fact_log.flush]) == (writer.stream.getvalue(), writer.turns)
    assert 3 == len(writer.lines)


def test_an_urgent_line_does_not_wait_for_the_turn_to_end():
    """Nor does it take along what has gathered: that is the hub's, and only the hub writes it."""
    writer = Writer(level="warning")
    writer.fact_log("task.retried", {})
    writer.fact_log.say_now("hub.blocked", {"task": TASK, "seconds": 0.8})
    writer.fact_log.say_now("task.finished", {})
    at_once = writer.stream.getvalue()

    assert at_once.endswith(
        " ERROR   hub.blocked task=000000000000000000000000 name=app.work attempt=2 ms=800.0\n"
    )
    assert ["hub.blocked", "task.retried"] == [line.split()[2] for line in writer.lines]


def test_lines_of_two_threads_stay_whole(tmp_path):
    """A native thread and the hub write to one stream at the same time."""
    path = tmp_path / "log"
    with path.open("w") as stream:
        fact_log = FactLog(stream, FrozenClock(), level="info", log_format="json", later=lambda _: None)
        other = gevent.get_hub().threadpool.spawn(
            lambda: [fact_log.say_now("hub.blocked", {"reason": "x" * 1500}) for _ in range(300)]
        )
        for _ in range(300):
            for _ in range(20):
                fact_log("task.finished", {"reason": "y" * 1500})
            fact_log.flush()
        other.get()

    facts = [json.loads(line)["fact"] for line in path.read_text().splitlines()]
    assert [300, 6000] == [facts.count("hub.blocked"), facts.count("task.finished")]


def test_a_record_from_a_native_thread_does_not_wait_for_the_turn_to_end():
    """What gathers is the hub's; a foreign thread may not even tell the hub that something gathers."""
    writer = Writer()
    logger = logging.Logger("lib")
    logger.addHandler(RecordHandler(writer.fact_log))
    gevent.get_hub().threadpool.apply(logger.warning, ("from far away",))

    assert [] == writer.turns
    assert writer.stream.getvalue().endswith('WARNING log logger=lib message="from far away"\n')


def test_records_of_libraries_become_one_line_with_their_traceback():
    writer = Writer()
    logger = logging.Logger("lib")
    logger.addHandler(RecordHandler(writer.fact_log))
    try:
        _ = 1 / 0
    except ZeroDivisionError:
        logger.exception("it %s", "broke\n")

    (line,) = writer.lines
    assert 'ERROR   log logger=lib message="it broke\\\\n" traceback="Traceback' in line
    assert "ZeroDivisionError" in line


def test_every_fact_can_be_written():
    writer = Writer()
    for fact in FACTS:
        writer.fact_log(fact, {"task": TASK, "error": ValueError("x"), "seconds": 1})

    assert list(FACTS) == [line.split()[2] for line in writer.lines]


def test_a_record_of_another_thread_is_written_at_once():
    """What gathers for the end of a turn is the hub's, and its loop must not be touched from there."""
    writer = Writer()
    record = logging.makeLogRecord({"name": "shop", "levelname": "INFO", "msg": "from a native thread"})
    ThreadPool(1).apply(RecordHandler(writer.fact_log).emit, (record,))

    assert [] == writer.turns
    assert "from a native thread" in writer.stream.getvalue()
