"""A pause names what it holds up by a whole name with wildcards, and survives as a record."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.clock import FrozenClock
from bus.errors import BadFilter
from bus.model import Record
from bus.pauses import UNREAD_REASON, Pause, counted, covering, fits, pause_of, pauses_of, require

NOW = FrozenClock().now()
MAIL = Pause("task", "mail.*", "smtp is down", NOW, NOW + timedelta(hours=2), "ops@here")


@pytest.mark.parametrize(
    ("pattern", "names", "others"),
    [
        ("mail.send", ["mail.send"], ["mail.sender", "a.mail.send", "mail_send", ""]),
        ("mail.*", ["mail.send", "mail."], ["mail", "email.send"]),
        ("*", ["", "x"], []),
        ("*.send", ["mail.send", ".send"], ["send", "mail.sender"]),
        ("a*a", ["aa", "aba"], ["a"]),
        ("a*b*c", ["abc", "axbyc"], ["acb", "ac"]),
    ],
)
def test_a_name_is_whole_and_a_star_stands_for_any_text(pattern, names, others):
    assert names == [name for name in [*names, *others] if fits(pattern, name)]


@given(st.text("ab*", max_size=12), st.text("ab", max_size=12))
def test_it_fits_as_fnmatch_has_it(pattern, name):
    """The oracle knows more signs; of these letters it knows the star alone."""
    assert fnmatchcase(name, pattern) == fits(pattern, name)


def test_a_pause_is_the_one_that_its_record_says():
    record = MAIL.record

    assert replace(MAIL, version=7) == pause_of(replace(record, version=7))


def test_tasks_and_schedules_of_one_name_are_two_pauses():
    """A task may be called schedule:night; no record stands for both."""
    one, other = Pause("schedule", "night", "x"), Pause("task", "schedule:night", "x")

    assert one.record.name != other.record.name
    assert not one.covers("task", "night")
    assert not other.covers("schedule", "night")


@pytest.mark.parametrize("fields", [{}, {"reason": 7, "since": "x", "until": [], "by": None}])
def test_a_record_that_cannot_be_read_holds(fields):
    """Whoever wrote it has meant something to wait; it is shown, and can be resumed."""
    pause = pause_of(Record("pause", "task mail.*", fields, 3))

    assert Pause("task", "mail.*", UNREAD_REASON, version=3) == pause


@pytest.mark.parametrize("name", ["", "mail.*", "task ", "topic x", "tasks x"])
def test_a_record_that_names_nothing_is_none(name):
    assert [] == pauses_of([Record("pause", name, {"reason": "x"}, 1)])


def test_a_pause_is_over_at_its_end_and_not_before():
    end = NOW + timedelta(hours=2)

    assert [False, True] == [MAIL.is_over(end - timedelta(milliseconds=1)), MAIL.is_over(end)]
    assert not replace(MAIL, until=None).is_over(end)


def test_what_waits_under_two_pauses_is_counted_once():
    pauses = [MAIL, replace(MAIL, name="*.send"), replace(MAIL, what="schedule", name="*")]

    assert 7 == counted(pauses, {"mail.send": 3, "sms.send": 4, "other": 9})
    assert MAIL == covering(pauses, "task", "mail.send")


def test_a_sentence_says_why_since_when_until_when_and_who():
    assert (
        "smtp is down (since 2026-01-01 00:00:00Z, until 2026-01-01 02:00:00Z, by ops@here)" == MAIL.sentence
    )
    assert "x" == Pause("task", "*", "x").sentence
    assert ["mail.*", "all tasks", "schedule *"] == [
        MAIL.title, Pause("task", "*", "x").title, Pause("schedule", "*", "x").title,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("what", "name", "reason", "part"),
    [
        ("topic", "x", "why", "what"),
        (None, "x", "why", "what"),
        ("task", "", "why", "name"),
        ("task", "x" * 129, "why", "name"),
        ("task", "mail send", "why", "name"),
        ("task", "mail.?", "why", "name"),
        ("task", "möwe", "why", "name"),
        ("task", "x\n", "why", "name"),
        ("task", None, "why", "name"),
        ("task", "x", "", "reason"),
        ("task", "x", "  ", "reason"),
        ("task", "x", "y" * 1001, "reason"),
        ("task", "x", "a\ud800", "reason"),
        ("task", "x", "a\0", "reason"),
        ("task", "x", 7, "reason"),
    ],
)
def test_what_cannot_be_paused_is_one_sentence(what, name, reason, part):
    with pytest.raises(BadFilter) as caught:
        require(what, name, reason)

    assert part == caught.value.part
    assert "\n" not in str(caught.value)
    assert "expected" in str(caught.value)
