"""[schedule:NAME]: what is read, and each mistake found with its line before the first tick."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from bus.clock import UTC
from bus.config import schedule_of
from bus.config.schedules import never_comes
from bus.schedules import At, Cron, Every

from .inifile import problems, read

pytestmark = pytest.mark.usefixtures("folder")

HEAD = "[schedule:x]\n"
BERLIN = "timezone = Europe/Berlin\n"
NOW = datetime(2026, 6, 1, tzinfo=UTC)


def declared(text):
    return schedule_of(read(HEAD + text).schedules["x"])


def test_a_schedule_is_read_with_its_defaults(folder):
    one = declared("cron = 15 3 * * *\ntask = a.b\n")

    assert ("x", Cron("15 3 * * *"), "a.b", "") == (one.name, one.moments, one.task, one.topic)
    assert ((), {}, None, 0.0) == (one.args, one.kwargs, one.priority, one.jitter)
    assert ("once", 3600.0, "allow", 60.0) == (one.missed, one.missed_within, one.overlap, one.lateness)
    assert "monqbus.ini:1" == one.where


def test_every_is_counted_from_a_start_that_means_utc_without_an_offset(folder):
    start = datetime(2026, 1, 1, 0, 5, tzinfo=UTC)

    assert Every(900, start) == declared("every = 15m\nstart = 2026-01-01T00:05:00\ntopic = t\n").moments
    assert (
        Every(900, start) == declared("every = 15m\nstart = 2026-01-01T01:05:00+01:00\ntopic = t\n").moments
    )


def test_at_without_an_offset_is_meant_in_its_zone(folder):
    assert (
        At(datetime(2026, 12, 24, 17, tzinfo=UTC))
        == declared(f"at = 2026-12-24T18:00:00\n{BERLIN}task = t\n").moments
    )
    assert (
        At(datetime(2026, 12, 24, 18, tzinfo=UTC))
        == declared(f"at = 2026-12-24T18:00:00Z\n{BERLIN}task = t\n").moments
    )


def test_arguments_are_json_with_its_types(folder):
    one = declared('every = 1d\ntask = t\nargs = ["a", 1, null]\nkwargs = {"deep": {"x": [true]}}\n')

    assert ("a", 1, None) == one.args
    assert {"deep": {"x": [True]}} == one.kwargs


MISTAKES = [
    ("task = t\n", "1: [schedule:x]: expected exactly one of cron, every and at, got none; "
     "write for example cron = 15 3 * * *"),
    ("cron = 0 0 * * *\nevery = 1h\ntask = t\n", "3: [schedule:x]: expected exactly one of cron, "
     "every and at, got cron and every; remove every"),
    ("every = 1h\n", "1: [schedule:x]: expected exactly one of task and topic, got none; "
     "write for example task = hello.clean_up"),
    ("every = 1h\ntask = t\ntopic = u\n", "4: [schedule:x]: expected exactly one of task and topic, "
     "got task and topic; remove topic"),
    ("every = 1h\nstart = 2026-01-01\ntask = t\ntimezone = UTC\n", "5: [schedule:x] timezone: expected it "
     "with cron or at only, got it without; remove it"),
    ("cron = 0 0 * * *\nstart = 2026-01-01\ntask = t\n", "3: [schedule:x] start: expected it with every "
     "only, got it without; remove it"),
    ("every = 500ms\ntask = t\n", "2: [schedule:x] every: expected a duration in whole seconds from 1s to "
     "3650d "
     "(unit s, m, h or d), got '500ms'; write for example 15m"),
    ("every = 1500ms\ntask = t\n", "2: [schedule:x] every: expected whole seconds, got '1500ms'; "
     "write for example 15m"),
    (f"at = 2026-03-29T02:30:00\n{BERLIN}task = t\n", "2: [schedule:x] at: expected a time that "
     "exists, got 2026-03-29T02:30:00, which the clocks of Europe/Berlin skip; write another one, or one "
     "with its offset"),
    ("at = 1900-01-01T00:00:00Z\ntask = t\n", "2: [schedule:x] at: expected a time of whole seconds since "
     "1970, got '1900-01-01T00:00:00Z'; write for example 2026-12-24T18:00:00"),
    ("at = soon\ntask = t\n", "2: [schedule:x] at: expected an RFC 3339 time, got 'soon'; "
     "write for example 2026-12-24T18:00:00"),
    ("cron = 0 0 * * *\ntimezone = Europe/Berln\ntask = t\n", "3: [schedule:x] timezone: expected the name "
     "of a time zone of the IANA database that this machine has, got 'Europe/Berln'; did you mean "
     "Europe/Berlin?"),
    ("every = 1h\ntask = t\nargs = {}\n", "4: [schedule:x] args: expected a JSON array, got '{}'; "
     "write for example [\"eu\", 7]"),
    ("every = 1h\ntask = 1\n", "3: [schedule:x] task: expected the name of a task, got '1'; "
     "write for example hello.clean_up"),
    ("every = 1h\ntopic = a b\n", "3: [schedule:x] topic: expected a topic of letters, digits and _ . : "
     "-, at most "
     "128 characters, got 'a b'; write for example report.due"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "said"), MISTAKES, ids=[said[:70] for _, said in MISTAKES])
def test_a_mistake_is_one_sentence_with_its_place_and_remedy(text, said):
    assert [f"monqbus.ini:{said}"] == problems(HEAD + text)


@pytest.mark.parametrize(
    ("expression", "said", "remedy"),
    [
        ("* * * *", "4 fields", "write for example 15 3 * * *"),
        ("*/10 * * * * *", "6 fields", "for more than once a minute write every = 10s"),
        ("61 * * * *", "bad minute", "write for example 15 3 * * *"),
    ],
)
def test_what_is_no_expression_says_which_part_of_it(expression, said, remedy):
    (found,) = problems(f"{HEAD}cron = {expression}\ntask = t\n")

    assert found.startswith("monqbus.ini:2: [schedule:x] cron: expected a cron expression of five fields")
    assert found.endswith(f"got {expression!r} ({said}); {remedy}")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cron = 0 0 29 2 *\n", "comes only every 4 years"),
        ("at = 2026-01-01\n", "never comes any more"),
        ("cron = 0 0 1 1 *\n", ""),
        ("every = 3650d\n", "comes only every"),
    ],
)
def test_what_comes_seldom_or_never_is_odd(text, said):
    found = never_comes(declared(f"{text}task = t\n"), NOW)

    assert found.startswith(said) if said else not found


def test_the_offset_of_a_time_counts_whatever_the_zone(folder):
    offset = timezone(timedelta(hours=-3))

    assert (
        At(datetime(2026, 5, 5, 12, tzinfo=offset).astimezone(UTC))
        == declared(f"at = 2026-05-05T12:00:00-03:00\n{BERLIN}task = t\n").moments
    )
