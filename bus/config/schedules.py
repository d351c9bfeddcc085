"""Declares the section `[schedule:NAME]`: what its settings demand of each other, and its pages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from ..clock import UTC
from ..schedules import At, Cron, Every, Moments, Schedule, next_moments, zone_of
from .ini import Section
from .section_kinds import Live, SectionKind, Values
from .section_settings import ScheduleSection

WAYS: Final = ("cron", "every", "at")
TARGETS: Final = ("task", "topic")
_ONLY_WITH: Final[Mapping[str, tuple[str, ...]]] = {"start": ("every",), "timezone": ("cron", "at")}

_EXAMPLES: Final[Live] = {
    "schedule:nightly": {
        "cron": "15 3 * * *",
        "timezone": "Europe/Berlin",
        "task": "hello.clean_up",
        "missed": "once",
    },
    "schedule:poll": {
        "every": "15m",
        "start": "2026-01-01T00:05:00Z",
        "topic": "inventory.due",
        "args": '["north"]',
        "kwargs": '{"full": false}',
        "jitter": "30s",
        "overlap": "skip",
    },
    "schedule:christmas": {
        "at": "2026-12-24T18:00:00",
        "timezone": "Europe/Berlin",
        "task": "hello.greet",
        "priority": "20",
        "missed": "all",
        "missed_within": "6h",
        "lateness": "5m",
    },
}

_ABOUT: Final = """\

Each schedule is a section of its own; NAME has 1 to 64 letters, digits, `_` and `-`. It has exactly one of
`cron`, `every` and `at`, and exactly one of `task` and `topic`: [schedules.md](schedules.md).
"""


def _demands(section: Section, values: Values, _: Path) -> list[tuple[int, str]]:
    """What is missing, and what is there although it would do nothing: (line, sentence)."""
    subject = f"[{section.name}]"
    found = [*_one_of(section, WAYS), *_one_of(section, TARGETS), *_idle(section)]
    if not found and values.read.get("at") is not None:
        try:
            moments_of(values.read)
        except ValueError as error:
            found.append((section.entries["at"].line, f"{subject} at: {error}"))
    return found


def _one_of(section: Section, keys: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    given = [key for key in keys if key in section.entries and section.entries[key].text]
    if len(given) == 1:
        return
    words = f"{', '.join(keys[:-1])} and {keys[-1]}"
    remedy = f"write for example {keys[0]} = {_example(keys[0])}" if not given else f"remove {given[1]}"
    got = " and ".join(given) or "none"
    line = section.entries[given[1]].line if given else section.line
    yield line, f"[{section.name}]: expected exactly one of {words}, got {got}; {remedy}"


def _example(key: str) -> str:
    return next(keys[key] for keys in _EXAMPLES.values() if key in keys)


def _idle(section: Section) -> Iterator[tuple[int, str]]:
    for key, ways in _ONLY_WITH.items():
        if key in section.entries and not any(way in section.entries for way in ways):
            sentence = f"expected it with {' or '.join(ways)} only, got it without; remove it"
            yield section.entries[key].line, f"[{section.name}] {key}: {sentence}"


def moments_of(values: Mapping[str, Any]) -> Moments:
    """The moments that the *values* of a section describe. Raises ValueError with the sentence."""
    zone = values.get("timezone", "UTC")
    if cron := values.get("cron"):
        return Cron(cron, zone)
    if every := values.get("every"):
        return Every(every, _in_zone(values["start"], "UTC")) if values.get("start") else Every(every)
    return At(_in_zone(values["at"], zone))


def _in_zone(moment: datetime, zone: str) -> datetime:
    """*moment* in UTC; one without an offset is meant in *zone*. Raises ValueError for one it skips."""
    if moment.tzinfo is not None:
        return moment.astimezone(UTC)
    found = moment.replace(tzinfo=zone_of(zone)).astimezone(UTC)
    if found.astimezone(zone_of(zone)).replace(tzinfo=None) != moment:
        raise ValueError(
            f"expected a time that exists, got {moment.isoformat()}, which the clocks of {zone} skip; "
            "write another one, or one with its offset"
        )
    return found


def schedule_of(section: ScheduleSection) -> Schedule:
    """The schedule that *section*, which was checked, declares."""
    return Schedule(
        section.name,
        moments_of(vars(section)),
        task=section.task,
        topic=section.topic,
        args=section.args,
        kwargs=section.kwargs,
        priority=section.priority,
        jitter=section.jitter,
        missed=section.missed,
        missed_within=section.missed_within,
        overlap=section.overlap,
        lateness=section.lateness,
        where=section.where,
    )


def never_comes(schedule: Schedule, now: datetime) -> str:
    """What is odd about its moments, for a warning; "" for nothing."""
    first = next_moments(schedule.moments, now, 2)
    if not first:
        return "never comes any more; remove it, or correct its time"
    if (gap := (first[0] - now).days) > _SELDOM_DAYS or (
        len(first) > 1 and (gap := (first[1] - first[0]).days) > _SELDOM_DAYS
    ):
        return f"comes only every {gap // 365} years; see whether day and month are meant so"
    return ""


_SELDOM_DAYS: Final = 366 + 365

SCHEDULE: Final = SectionKind(
    "schedule",
    "schedules",
    ScheduleSection,
    "A task or an event at set times.",
    "nightly",
    _demands,
    _ABOUT,
    _EXAMPLES,
)
