"""What keeps pages fresh and cheap: hints, samples of counters, and answers that are a moment old."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus import telemetry
from bus.clock import FrozenClock
from bus.dashboard.history import History
from bus.dashboard.live import LONGEST_SECONDS, MOST_LISTENERS, Live
from bus.dashboard.remembered import Remembered
from bus.dashboard.spark import spark_line
from bus.errors import Refused
from bus.failures import grouped, normalised
from bus.metrics.counts import Counts
from bus.model import MonQTask
from bus.regex import searching


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock()


def opened(live: Live):
    """The hints of one more listener, who has begun to listen."""
    answer = live.answer({"REQUEST_METHOD": "GET"})
    assert answer.rest is not None
    assert b"" == next(answer.rest)
    return answer.rest


# hints


def test_many_facts_are_one_hint_and_hints_come_four_times_a_second_at_most(clock):
    """However many tasks run; a fact that changes no page is none."""
    hints = opened(Live(clock))
    said = []
    for _ in range(8):
        for _ in range(1000):
            telemetry.emit("task.moved", to="ready", count=1)
        said.append((next(hints)[:14], clock.monotonic()))
    telemetry.emit("http.answered")

    assert [b"event: changed"] * 8 == [hint for hint, _ in said]
    assert 2.0 <= said[-1][1]
    assert b"" == next(hints)


def test_silence_is_broken_so_that_proxies_keep_the_connection(clock):
    hints = opened(Live(clock))
    said = [next(hints) for _ in range(80)]

    assert [b": nothing new\n\n"] == [hint for hint in said if hint]


def test_listeners_are_bounded_and_one_that_left_makes_room(clock):
    """Browsers have six connections a site, and a daemon of pages 32: the others ask every few seconds."""
    live = Live(clock)
    listeners = [opened(live) for _ in range(MOST_LISTENERS)]
    with pytest.raises(Refused, match="expected at most 12 listeners"):
        live.answer({"REQUEST_METHOD": "GET"})
    listeners.pop().close()

    assert MOST_LISTENERS - 1 == live.listeners
    assert opened(live)


def test_a_listener_ends_with_the_daemon_and_after_a_while(clock):
    """A browser then connects anew, and has to show again who it is."""
    is_over: list[bool] = []
    live = Live(clock, lambda: bool(is_over))
    first, second = opened(live), opened(live)
    clock.advance(LONGEST_SECONDS)
    with pytest.raises(StopIteration):
        next(first)
    second.close()
    third = opened(live)
    is_over.append(True)
    with pytest.raises(StopIteration):
        next(third)

    assert 0 == live.listeners


# history


def task(name: str, clock: FrozenClock, waited: float = 0.0) -> MonQTask:
    from bson import ObjectId

    now = clock.now()
    made = MonQTask(ObjectId(), name, [], {}, now)
    clock.advance(waited)
    made.time_start = clock.now()
    return made


def test_rates_and_percentiles_are_those_of_the_last_minutes(clock):
    """Counted from counters that are counted anyway; what was before the first sample is no part of it."""
    counts = Counts(lambda: {"a.b", "a.c"}, dict, dict)
    counts("task.finished", {"task": task("a.b", clock), "seconds": 100.0})
    history = History(counts, clock)
    history.tick()
    for seconds in [0.02] * 90 + [2.0] * 10:
        counts("task.finished", {"task": task("a.b", clock), "seconds": seconds})
    counts("task.gave_up", {"task": task("a.c", clock), "seconds": 0.02})
    clock.advance(10)
    history.tick()
    _, run = history.latency("a.b")
    handlers = history.handlers()

    assert [10.0] == history.ended("complete")
    assert (100, 0, [100]) == (handlers["a.b"].finished, handlers["a.b"].failed, handlers["a.b"].spark)
    assert 1 == handlers["a.c"].failed
    assert 0.01 < run.p50 <= 0.025
    assert 1.0 < run.p95 <= 2.5


def test_a_daemon_that_has_just_begun_has_no_history_and_no_mistake(clock):
    history = History(Counts(dict, dict, dict), clock)

    assert ([], {}, None) == (history.ended("complete"), history.handlers(), history.latency()[0].p50)


@given(st.lists(st.floats(0, 1e9), max_size=300))
def test_a_line_is_drawn_of_any_numbers(values):
    assert spark_line(values, "x").count("<path") >= 1


# answers that are a moment old


def test_a_slow_question_is_asked_so_rarely_that_it_takes_two_percent_of_the_time(clock):
    """Any number of open pages ask as often as one does."""
    asked = []

    def slow() -> int:
        clock.advance(0.2)
        asked.append(clock.monotonic())
        return len(asked)

    kept = Remembered(clock)
    while clock.monotonic() < 100:
        kept.ask("x", slow)
        clock.advance(0.1)

    assert 10 >= len(asked)


def test_what_was_changed_here_is_asked_anew(clock):
    kept = Remembered(clock)
    kept.ask("x", lambda: 1)
    before = kept.ask("x", lambda: 2)
    kept.forget()

    assert (1, 3) == (before, kept.ask("x", lambda: 3))


# kinds of errors


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("TimeoutError: order 4711 took 3.5 s", "TimeoutError: order 9 took 12 s"),
        ("KeyError: 'ann'", "KeyError: 'bob'"),
        ("E: <object at 0x7f00ff>", "E: <object at 0x7f1234>"),
        ("E: task 6b04ec3f28e9893927a81901", "E: task 6b04ec3f28e9893927a81902"),
        ("E: 123e4567-e89b-12d3-a456-426614174000", "E: 00000000-e89b-12d3-a456-426614174000"),
    ],
)
def test_what_differs_each_time_does_not_make_another_kind(one, other):
    assert normalised(one) == normalised(other)
    assert searching(normalised(one)[1])(f"Traceback\n{other}")


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r\x00"), max_size=300))
def test_the_expression_of_a_kind_finds_whatever_it_was_made_of(error):
    """Its text is taken letter by letter, whatever signs are in it."""
    assert searching(normalised(error)[1])(error)


def test_groups_come_by_size_with_their_newest_example(clock):
    failed = []
    for name, error in (("a.b", "E: 1"), ("a.c", "E: 2"), ("a.b", "E: 3")):
        made = task(name, clock)
        made.state, made.result, made.time_stop = "error", error, clock.now()
        failed.append(made)
    first, second = grouped(failed)

    assert ("a.b", "E: <n>", 2, failed[0].id) == (first.name, first.error, first.count, first.example)
    assert ("a.c", 1) == (second.name, second.count)
