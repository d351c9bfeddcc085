"""Moments in options, settings and requests are read in one way."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from bus.rfc3339 import moment, moment_in_utc

UTC = timezone.utc
BERLIN = timezone(timedelta(hours=1))


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2026-01-31T12:00:05Z", datetime(2026, 1, 31, 12, 0, 5, tzinfo=UTC)),
        ("2026-01-31t12:00:05z", datetime(2026, 1, 31, 12, 0, 5, tzinfo=UTC)),
        ("2026-01-31 12:00:05+01:00", datetime(2026, 1, 31, 12, 0, 5, tzinfo=BERLIN)),
        ("2026-01-31T12:00:05.5Z", datetime(2026, 1, 31, 12, 0, 5, 500_000, tzinfo=UTC)),
        ("2026-01-31T12:00:05.123456789Z", datetime(2026, 1, 31, 12, 0, 5, 123_456, tzinfo=UTC)),
        ("2026-01-31T12:00", datetime(2026, 1, 31, 12, 0)),
        ("2026-01-31", datetime(2026, 1, 31)),
    ],
)
def test_a_moment_is_read_with_what_it_says(text: str, meant: datetime):
    """Also on Python 3.10, whose own reader takes neither Z nor fractions of one or nine digits."""
    found = moment(text)

    assert (meant, meant.tzinfo is None) == (found, found.tzinfo is None)
    assert (meant if meant.tzinfo else meant.replace(tzinfo=UTC)) == moment_in_utc(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-W05-6",
        "20260131T120000Z",
        "2026-01-31T12",
        "2026-01-31TZ",
        "2026-02-30",
        "2026-01-31T24:00:01Z",
        "2026-01-31T12:00:60Z",
        "2026-01-31T12:00:05,5Z",
        "2026-01-31T12:00:05+0100",
        "2026-01-31ZT12:00:05",
        "٢٠٢٦-01-31",
        "2026-01-31T12:00:05Z\n",
    ],
)
def test_what_is_no_rfc_3339_is_refused(text: str):
    """Some of these are read by one version of Python and refused by another."""
    with pytest.raises(ValueError):
        moment(text)
