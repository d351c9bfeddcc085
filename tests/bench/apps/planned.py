"""Declares as many schedules as the bench asks for."""

import os
from datetime import datetime, timedelta, timezone

from benchapp import nothing

from monqbus import schedule

COUNT = int(os.environ.get("BENCH_SCHEDULES", "0"))
EVERY = float(os.environ.get("BENCH_EVERY", "3600"))
FIRST = float(os.environ.get("BENCH_FIRST", "0"))
"""The moment of the first one, in seconds since 1970."""
SPREAD = float(os.environ.get("BENCH_SPREAD", "0"))
"""Over so many seconds they are spread."""

for number in range(COUNT):
    start = datetime.fromtimestamp(FIRST + SPREAD * number // COUNT, timezone.utc)
    schedule(every=timedelta(seconds=EVERY), start=start, name=f"s{number}", lateness=1)(nothing)
