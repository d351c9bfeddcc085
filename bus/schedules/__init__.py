"""Schedules: the moments at which one comes, and which of them are due. Pure, no I/O but for zones' data.

A leaf below `config` and `apps`: the sections of the file and the decorator declare the same thing.
"""

from .due import Due, due
from .moments import ALIASES, At, Cron, Every, Moments, next_moments, zone_of
from .schedule import KIND, MISSED, OVERLAP, Missed, Overlap, Schedule

__all__ = [
    "ALIASES", "KIND", "MISSED", "OVERLAP", "At", "Cron", "Due", "Every", "Missed", "Moments", "Overlap",
    "Schedule", "due", "next_moments", "zone_of",
]  # fmt: skip
