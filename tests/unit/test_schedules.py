"""A schedule comes at the moments that are written, whatever clocks do in its zone, each decided once."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import takewhile
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bus.clock import UTC
from bus.schedules import ALIASES, At, Cron, Every, Schedule, due, next_moments, zone_of
from bus.schedules.due import MOST_TICKS

MINUTE = timedelta(minutes=1)
ZONES = (
    "Europe/Berlin", "Europe/London", "Europe/Lisbon", "Europe/Chisinau", "America/New_York",
    "America/St_Johns", "America/Santiago", "America/Havana", "America/Nuuk", "America/Sao_Paulo",
    "Asia/Beirut", "Asia/Jerusalem", "Asia/Kathmandu", "Asia/Tokyo", "Africa/Cairo", "Africa/Casablanca",
    "Atlantic/Azores", "Australia/Lord_Howe", "Pacific/Chatham", "Pacific/Auckland",
)  # fmt: skip
TRANSITIONS = [
    (zone, moment)
    for zone in ZONES
    for moment in (datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=hour) for hour in range(3 * 8766))
    if moment.astimezone(ZoneInfo(zone)).utcoffset()
    != (moment - timedelta(hours=1)).astimezone(ZoneInfo(zone)).utcoffset()
]
"""The full hours of 2026 to 2028, in UTC, in the hour before which the clocks of a zone were changed."""
NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


def at_fixed_times(hours, minutes, zone, begin, end):
    """By a table made minute by minute: each local time of the calendar once, a skipped one after the gap."""
    place, found = ZoneInfo(zone), set()
    wall = begin.astimezone(place).replace(tzinfo=None) - timedelta(days=1)
    while wall < end.astimezone(place).replace(tzinfo=None) + timedelta(days=1):
        if wall.hour in hours and wall.minute in minutes:
            local = wall
            while local.replace(tzinfo=place).astimezone(UTC).astimezone(place).replace(tzinfo=None) != local:
                local += MINUTE
            found.add(local.replace(tzinfo=place).astimezone(UTC))
        wall += MINUTE
    return sorted(moment for moment in found if begin < moment <= end)


def at_elapsed_times(matches, zone, begin, end):
    """By a table made minute by minute: each minute of time whose local reading matches."""
    place, found = ZoneInfo(zone), []
    moment = begin + MINUTE
    while moment <= end:
        if matches(moment.astimezone(place)):
            found.append(moment)
        moment += MINUTE
    return found


def between(moments, begin, end):
    return list(takewhile(lambda moment: moment <= end, moments.after(begin)))


@pytest.mark.parametrize(("zone", "change"), TRANSITIONS, ids=lambda one: str(one)[:16])
def test_a_fixed_time_comes_once_on_the_day_the_clocks_are_changed(zone, change):
    """One that is skipped right after the gap, one that comes twice the first time."""
    local = change.astimezone(ZoneInfo(zone))
    hours = {(local.hour + shift) % 24 for shift in range(-3, 2)}
    begin, end = change - timedelta(hours=6), change + timedelta(hours=6)
    cron = Cron(f"0,15,30,45 {','.join(map(str, sorted(hours)))} * * *", zone)

    assert at_fixed_times(hours, {0, 15, 30, 45}, zone, begin, end) == between(cron, begin, end)


@pytest.mark.parametrize(("zone", "change"), TRANSITIONS, ids=lambda one: str(one)[:16])
def test_a_wildcard_goes_by_elapsed_time_over_a_change_of_the_clocks(zone, change):
    """Every quarter of an hour: as many in the hour that comes twice, none in the one that is skipped."""
    begin, end = change - timedelta(hours=4), change + timedelta(hours=4)

    assert at_elapsed_times(lambda local: local.minute % 15 == 0, zone, begin, end) == between(
        Cron("*/15 * * * *", zone), begin, end
    )


@pytest.mark.parametrize(("zone", "change"), TRANSITIONS, ids=lambda one: str(one)[:16])
def test_where_one_begins_to_look_makes_no_difference(zone, change):
    """A daemon is started at any moment, in the hour that comes twice too."""
    begin, end = change - timedelta(hours=3), change + timedelta(hours=3)
    cron = Cron("20,50 * * * *", zone), Cron("5,35 0,1,2,3 * * *", zone)
    for one in cron:
        whole = between(one, begin, end)
        for minutes in range(0, 360, 7):
            start = begin + minutes * MINUTE
            assert [moment for moment in whole if moment > start] == between(one, start, end)


@pytest.mark.parametrize(
    ("expression", "first"),
    [
        ("15 3 * * *", "2026-06-02T03:15"),
        ("0 0 L * *", "2026-06-30T00:00"),
        ("0 9 * * mon#1", "2026-07-06T09:00"),
        ("0 9 * jan-mar 5L", "2027-01-29T09:00"),
        ("*/20 8-18 * * MON-FRI", "2026-06-01T12:20"),
        ("0 0 29 2 *", "2028-02-29T00:00"),
        ("0 12 * * 7", "2026-06-07T12:00"),
        ("@daily", "2026-06-02T00:00"),
        ("@Yearly", "2027-01-01T00:00"),
    ],
)
def test_an_expression_of_five_fields_with_names_steps_and_its_signs_is_understood(expression, first):
    (found,) = next_moments(Cron(expression), NOON, 1)

    assert datetime.fromisoformat(first).replace(tzinfo=UTC) == found


@pytest.mark.parametrize("alias", ALIASES)
def test_each_alias_is_the_expression_it_stands_for(alias):
    assert next_moments(Cron(ALIASES[alias]), NOON, 5) == next_moments(Cron(alias), NOON, 5)


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("", "0 fields"),
        ("* * * *", "4 fields"),
        ("* * * * * *", "6 fields"),
        ("60 * * * *", "bad minute"),
        ("* 24 * * *", "bad hour"),
        ("* * 0 * *", "bad day-of-month"),
        ("0 0 30 2 *", "bad day-of-month"),
        ("* * * 13 *", "bad month"),
        ("* * * * 8", "bad day-of-week"),
        ("*/0 * * * *", "bad minute"),
        ("@reboot", "1 fields"),
    ],
)
def test_what_is_no_expression_is_refused_by_its_part(expression, said):
    with pytest.raises(ValueError, match=f"^{said}$"):
        Cron(expression)


@given(st.text(alphabet="0123456789*/,-#L@ monfriJANdaily", max_size=40))
@settings(max_examples=300, deadline=None)
def test_whatever_is_written_is_an_expression_or_a_value_error(text):
    try:
        cron = Cron(text)
    except ValueError:
        return
    found = next_moments(cron, NOON, 3)

    assert found == sorted(set(found))
    assert all(moment > NOON for moment in found)


@pytest.mark.parametrize(
    "name", ["", "Europe", "Europe/Berln", "../etc/passwd", "/etc/passwd", "Nope/Nope", "\0"]
)
def test_a_zone_that_the_data_lacks_is_a_value_error(name):
    with pytest.raises(ValueError):
        zone_of(name)


def test_every_is_counted_from_the_epoch_or_from_its_start():
    start = datetime(2026, 6, 1, 12, 7, tzinfo=UTC)

    assert [NOON + timedelta(minutes=15 * n) for n in (1, 2)] == next_moments(Every(900), NOON, 2)
    assert [start, start + timedelta(minutes=15)] == next_moments(Every(900, start), NOON, 2)
    assert [start + timedelta(minutes=15)] == next_moments(Every(900, start), start, 1)


def test_at_comes_once():
    assert [NOON] == next_moments(At(NOON), NOON - MINUTE, 5)
    assert [] == next_moments(At(NOON), NOON, 5)


# what is due


def a_schedule(**fields):
    return Schedule("s", fields.pop("moments", Every(60)), task="t", **fields)


def oracle(schedule, seen, now):
    """What is to be stored, by the words of the documentation and without any thrift."""
    every = between(schedule.moments, seen, now)
    missed = [one for one in every if (now - one).total_seconds() >= schedule.lateness]
    on_time = [one for one in every if one not in missed]
    young = [one for one in missed if (now - one).total_seconds() < schedule.missed_within]
    late = {"skip": [], "once": young[-1:], "all": young}[schedule.missed]
    return late, on_time, len(missed) - len(late)


@given(
    missed=st.sampled_from(["skip", "once", "all"]),
    moments=st.one_of(
        st.builds(Every, st.integers(1, 7200)),
        st.sampled_from([Cron("*/7 * * * *"), Cron("30 2 * * *", "Europe/Berlin"), At(NOON)]),
    ),
    away=st.integers(-3600, 50_000),
    spans=st.tuples(st.integers(0, 90_000), st.integers(1, 600)),
    shift=st.integers(0, 86_400),
)
@settings(max_examples=300, deadline=None)
def test_what_was_missed_is_what_a_plain_table_says(missed, moments, away, spans, shift):
    within, lateness = spans
    schedule = a_schedule(
        moments=moments, missed=missed, missed_within=float(within), lateness=float(lateness)
    )
    now = NOON + timedelta(seconds=shift)
    seen = now - timedelta(seconds=away)
    stored, late, dropped, looks = [], 0, 0, 0
    while True:
        what = due(schedule, seen, now)
        stored, late, dropped, looks = (
            stored + what.ticks,
            late + what.late,
            dropped + what.dropped,
            looks + 1,
        )
        assert seen <= what.seen
        assert len(what.ticks) <= MOST_TICKS
        seen = what.seen
        if seen >= now:
            break
    expected_late, on_time, expected_dropped = oracle(schedule, now - timedelta(seconds=away), now)

    assert expected_late + on_time == stored
    assert len(expected_late) == late
    assert min(expected_dropped, MOST_TICKS) == dropped
    assert next(schedule.moments.after(seen), None) == what.next


def test_a_clock_that_was_set_back_decides_nothing_again():
    schedule, later = a_schedule(missed="all"), NOON + timedelta(hours=5)
    first = due(schedule, NOON, later)

    assert [] == due(schedule, first.seen, NOON + timedelta(hours=1)).ticks
    assert [later + MINUTE] == due(schedule, first.seen, later + MINUTE).ticks


@pytest.mark.parametrize("missed", ["skip", "once", "all"])
def test_a_year_away_costs_a_bounded_number_of_looks_at_moments(missed):
    """A schedule of each second has missed 31 million; a daemon starts all the same."""
    looked = 0

    class Counted(Every):
        def after(self, moment):
            nonlocal looked
            for found in super().after(moment):
                looked += 1
                yield found

    schedule = a_schedule(moments=Counted(1), missed=missed, missed_within=1e9)
    due(schedule, NOON - timedelta(days=365), NOON)

    assert looked < 4 * MOST_TICKS


def test_jitter_is_the_same_for_every_daemon_and_spread():
    schedule = a_schedule(jitter=600.0)
    delays = [schedule.delay(NOON + n * MINUTE).total_seconds() for n in range(1000)]

    assert delays == [a_schedule(jitter=600.0).delay(NOON + n * MINUTE).total_seconds() for n in range(1000)]
    assert all(0 <= delay < 600 for delay in delays)
    assert 270 < sum(delays) / len(delays) < 330
    assert timedelta(0) == a_schedule().delay(NOON)
