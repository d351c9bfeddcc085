"""The slide: what becomes of a task, for every way a run can end."""

from __future__ import annotations

from datetime import timedelta

import pytest
from bson import ObjectId
from hypothesis import given
from hypothesis import strategies as st

from bus import retry
from bus.clock import FrozenClock
from bus.errors import Cancel, Retry, Snooze
from bus.model import MonQTask
from bus.retry import Crashed, Outcome, Overdue, Policy, Raised, Returned, Stopped, backoff, decide

NOW = FrozenClock().now()
POLICY = Policy(max_attempts=8, keep_complete=timedelta(days=7), keep_failed=timedelta(days=30))
TRACE = "Traceback (most recent call last)"
FAILED = Raised(ValueError("no"), TRACE)
GONE = Crashed("pid 7 is gone")
DIED = Crashed("pid 7 is gone", proven=False)


def a_task(attempt: int, crashes: int = 0, **fields: object) -> MonQTask:
    fields = {"attempt": attempt, "crashes": crashes, "process": "p", "worker": "w"} | fields
    return MonQTask(ObjectId(), "t", [], {}, NOW, state="busy", **fields)  # type: ignore[arg-type]


def after(outcome: Outcome) -> float | None:
    """In how many seconds it runs again; None when it keeps its place or has ended."""
    when = outcome.fields.get("time_queue")
    return None if when is None else (when - NOW).total_seconds()


# ending, attempt, crashes → kind, state, attempt afterwards, seconds until the next run
SLIDE = [
    (Returned(42),                            1, 0, "complete", "complete", None, None),
    (Returned(None),                          8, 0, "complete", "complete", None, None),
    (Returned(42),                            9, 2, "complete", "complete", None, None),
    (FAILED,                                  1, 0, "retry",    "ready",    1,    30.0),
    (FAILED,                                  2, 0, "retry",    "ready",    2,    46.0),
    (FAILED,                                  7, 0, "retry",    "ready",    7,    1416.0),
    (FAILED,                                  8, 0, "give_up",  "error",    None, None),
    (FAILED,                                  9, 0, "give_up",  "error",    None, None),
    (Raised(SystemExit(3), TRACE),            1, 0, "retry",    "ready",    1,    30.0),
    (Raised(KeyboardInterrupt(), TRACE),      8, 0, "give_up",  "error",    None, None),
    (Raised(Retry("busy", delay=5), TRACE),   1, 0, "retry",    "ready",    1,    5.0),
    (Raised(Retry("busy", delay=0), TRACE),   1, 0, "retry",    "ready",    1,    0.0),
    (Raised(Retry("busy"), TRACE),            2, 0, "retry",    "ready",    2,    46.0),
    (Raised(Retry("busy", delay=5), TRACE),   8, 0, "give_up",  "error",    None, None),
    (Raised(Snooze("later"), TRACE),          1, 0, "snooze",   "ready",    0,    60.0),
    (Raised(Snooze(delay=5), TRACE),          8, 0, "snooze",   "ready",    7,    5.0),
    (Raised(Cancel("moot"), TRACE),           1, 0, "cancel",   "skipped",  None, None),
    (Raised(Cancel(), TRACE),                 8, 0, "cancel",   "skipped",  None, None),
    (Overdue(2.0, TRACE),                     1, 0, "retry",    "ready",    1,    30.0),
    (Overdue(2.0, TRACE),                     8, 0, "give_up",  "error",    None, None),
    (Stopped("Drained"),                      1, 0, "release",  "ready",    0,    None),
    (Stopped("Drained"),                      8, 2, "release",  "ready",    7,    None),
    (Stopped("Drained"),                      0, 0, "release",  "ready",    0,    None),
    (GONE,                                    1, 0, "release",  "ready",    0,    None),
    (GONE,                                    8, 1, "release",  "ready",    7,    None),
    (GONE,                                    1, 2, "give_up",  "error",    None, None),
    (GONE,                                    1, 9, "give_up",  "error",    None, None),
    (DIED,                                    1, 2, "release",  "ready",    0,    None),
    (DIED,                                    1, 8, "release",  "ready",    0,    None),
    (DIED,                                    1, 9, "give_up",  "error",    None, None),
]  # fmt: skip


@pytest.mark.parametrize(("ending", "attempt", "crashes", "kind", "state", "counted", "seconds"), SLIDE)
def test_the_slide(ending, attempt, crashes, kind, state, counted, seconds):  # noqa: PLR0917 - the columns
    """Every ending at the first, a middle, the last and one attempt beyond."""
    outcome = decide(a_task(attempt, crashes), ending, NOW, POLICY)

    assert (kind, state) == (outcome.kind, outcome.fields["state"])
    assert counted == outcome.fields.get("attempt")
    assert seconds == after(outcome)


@pytest.mark.parametrize(("ending", "attempt", "crashes"), [row[:3] for row in SLIDE])
def test_a_task_that_waits_again_is_nobodys_and_one_that_ended_has_an_end(ending, attempt, crashes):
    fields = decide(a_task(attempt, crashes), ending, NOW, POLICY).fields

    if fields["state"] == "ready":
        assert (None, False, False) == (fields["worker"], "time_stop" in fields, "expire_at" in fields)
    else:
        assert NOW == fields["time_stop"]
        assert NOW < fields["expire_at"]


def test_a_handler_that_cancels_says_why():
    """In the outcome's one line, which the log has; it is no failure, so no attempt is written down."""
    outcome = decide(a_task(1, 0), Raised(Cancel("the account is gone"), TRACE), NOW, POLICY)

    assert ("the account is gone", "the account is gone") == (outcome.error, outcome.fields["result"])
    assert "history" not in outcome.fields


@pytest.mark.parametrize(
    ("ending", "days"), [(Returned(1), 7), (FAILED, 30), (Raised(Cancel(), ""), 30), (GONE, 30)]
)
@pytest.mark.parametrize("result_type", ["forget", "keep"])
def test_an_ended_task_is_kept_for_its_keep_time(ending, days, result_type):
    """Unless its result_type says `keep`: then for ever."""
    outcome = decide(a_task(8, 2, result_type=result_type), ending, NOW, POLICY)

    expected = None if result_type == "keep" else NOW + timedelta(days=days)
    assert expected == outcome.fields["expire_at"]


@pytest.mark.parametrize(
    ("of_the_task", "of_the_declaration", "of_the_daemon", "limit"),
    [(2, 5, 8, 2), (None, 5, 8, 5), (None, None, 8, 8), (9, 5, 8, 9)],
)
def test_the_nearest_word_on_attempts_counts(of_the_task, of_the_declaration, of_the_daemon, limit):
    """The post's, else the declaration's, else the daemon's."""
    kinds = [
        decide(
            a_task(attempt, max_attempts=of_the_task),
            FAILED,
            NOW,
            Policy(max_attempts=of_the_daemon),
            limit=of_the_declaration,
        ).kind
        for attempt in (limit - 1, limit)
    ]

    assert ["retry", "give_up"] == kinds


def test_the_back_off_is_the_documented_curve():
    """15 + n⁴, without jitter: nobody should have to read the code to know it."""
    assert [15, 16, 31, 96, 271, 640, 1311, 2416] == [backoff(attempt, 0.0) for attempt in range(1, 9)]


@given(attempt=st.integers(1, 1000), chance=st.floats(0, 1))
def test_the_back_off_stays_between_its_bounds_and_jitter_only_adds(attempt, chance):
    seconds = backoff(attempt, chance)

    assert 15 <= backoff(attempt, 0.0) <= seconds <= 6 * 3600
    assert seconds <= backoff(attempt + 1, chance)


def test_the_seven_pauses_of_a_hopeless_task_take_less_than_two_hours():
    """Eight attempts by default; an operator hears of it the same morning."""
    assert sum(backoff(attempt, 1.0) for attempt in range(1, 8)) < 2 * 3600


def test_what_a_task_returned_is_its_result_and_what_it_raised_is_its_traceback():
    complete = decide(a_task(1), Returned({"n": 1}), NOW, POLICY)
    again = decide(a_task(1), FAILED, NOW, POLICY)
    gave_up = decide(a_task(8), FAILED, NOW, POLICY)
    skipped = decide(a_task(1), Raised(Cancel("moot"), TRACE), NOW, POLICY)

    assert {"n": 1} == complete.fields["result"]
    assert [TRACE, TRACE, "moot"] == [
        outcome.fields["result"] for outcome in (again, gave_up, skipped)
    ]  # fmt: skip


def test_a_result_that_cannot_be_stored_completes_its_task_all_the_same():
    """Running it again would not make its result storable."""
    outcome = decide(a_task(1), Returned(object()), NOW, POLICY)

    assert "complete" == outcome.kind
    assert "object" == outcome.fields["result"]["not_storable"]


def test_every_failed_attempt_and_every_crash_leaves_a_line_of_history():
    expected = {"attempt": 1, "at": NOW, "process": "p"}

    failed = decide(a_task(1), FAILED, NOW, POLICY).fields["history"]
    late = decide(a_task(1), Overdue(2.5, TRACE), NOW, POLICY).fields["history"]
    crashed = decide(a_task(1, crashes=1), GONE, NOW, POLICY).fields["history"]

    assert [expected | {"error": "ValueError: no"}] == failed
    assert [expected | {"error": "TimedOut: ran longer than its timeout of 2.5 s"}] == late
    assert [expected | {"error": "crash 2: pid 7 is gone"}] == crashed


def test_what_is_nobodys_fault_leaves_no_history():
    for ending in (Returned(1), Stopped("Drained"), Raised(Snooze(), ""), Raised(Cancel(), "")):
        assert "history" not in decide(a_task(1), ending, NOW, POLICY).fields


@pytest.mark.parametrize("ending", [FAILED, GONE])
def test_the_history_keeps_the_last_twenty_lines(ending):
    """A document must not grow with every attempt; the task's own list is not touched."""
    history = [{"attempt": n, "error": "old"} for n in range(25)]
    task = a_task(1, history=list(history))

    kept = decide(task, ending, NOW, POLICY).fields["history"]

    assert retry.HISTORY_LIMIT == len(kept)
    assert history[6:] == kept[:-1]
    assert history == task.history


def test_a_quarantined_task_says_how_often_and_why():
    outcome = decide(a_task(1, crashes=2), GONE, NOW, POLICY)

    assert "quarantined after 3 crashes: pid 7 is gone" == outcome.fields["result"] == outcome.error
    assert 3 == outcome.fields["crashes"]


def test_a_long_traceback_loses_its_middle():
    """The first and the last frames tell most."""
    text = "first" + "x" * 100_000 + "last"

    kept = decide(a_task(8), Raised(ValueError(), text), NOW, POLICY).fields["result"]

    assert retry.TRACEBACK_LIMIT <= len(kept) <= retry.TRACEBACK_LIMIT + 100
    assert (kept[:5], kept[-4:]) == ("first", "last")
    assert f"{len(text) - retry.TRACEBACK_LIMIT} characters left out" in kept


def test_no_exception_is_too_odd_to_be_told():
    """A `__str__` that raises, a text of lone surrogates, a text without end."""

    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    lines = [
        decide(a_task(1), Raised(error, "\ud800"), NOW, POLICY).error
        for error in (Mute(), ValueError("\ud800"), ValueError("x" * 9999))
    ]

    assert "Mute: <str() of the exception failed>" == lines[0]
    assert "ValueError: \\ud800" == lines[1]
    assert retry.ERROR_LINE_LIMIT == len(lines[2])
