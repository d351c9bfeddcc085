"""How a task is stored and run: the options of its declaration, and what one post may change of them."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ..breaker import DEFAULT_PROBE, EXPECTED, threshold_of
from ..errors import LONGEST_DELAY_SECONDS, BadDeclaration
from ..limits import COALESCE, MOST_RUNNING, MOST_STARTS, Limit, limit_of
from ..rules import OF_AN_EVENT, BadRule, KeyPath, key_path
from ..safe_text import shown
from ..spelling import nearest

LARGEST_WHOLE = 2**31 - 1  # every store can count so far
LONGEST_KEY = 1024
OF_THE_DECLARATION = (
    "cpu", "open_after", "probe", "serial_by", "coalesce", "max_concurrent", "rate", "burst",
)  # fmt: skip
"""Options that no post may change."""
_ELSEWHERE = {
    "bind": "c.task, which every handler has",
    "countdown": "delay",
    "eta": "delay",
    "max_retries": "max_attempts",
    "retries": "max_attempts",
    "autoretry_for": "raise Cancel(...) for the errors that are not to be tried again",
    "time_limit": "timeout",
    "soft_time_limit": "timeout",
    "job_timeout": "timeout",
    "job_id": "key",
    "task_id": "key",
}
"""Options of Celery, RQ, Huey and Dramatiq, and what does the same here."""
_CONTROL = re.compile(r"__task_(\w+)")


@dataclass(frozen=True, slots=True)
class Options:
    """How a task is stored and run. `delay` and `timeout` in seconds; None = the daemon's default.

    What is in OF_THE_DECLARATION cannot be changed by a post: `cpu`, it runs in a process of its own;
    `open_after` and `probe`, its circuit breaker; `serial_by`, of those with the same value at a path only
    the first unfinished one runs, and `coalesce`, of those that wait there only the latest or the first;
    `max_concurrent`, so many run at once in all daemons; `rate`, such as ``10/s``, so many begin, up to
    `burst` at once.
    """

    priority: int | None = None
    delay: float = 0.0
    max_attempts: int | None = None
    timeout: float | None = None
    key: str | None = None
    result_type: str = "forget"
    cpu: bool = False
    serial_by: str | None = None
    coalesce: str | None = None
    max_concurrent: int | None = None
    rate: str | None = None
    burst: int | None = None
    open_after: str = ""
    probe: float = DEFAULT_PROBE

    def __post_init__(self) -> None:
        _expect(
            self.priority is None or _is_whole(self.priority), "priority", "a whole number", self.priority
        )
        _expect(_is_pause(self.delay), "delay", f"0 to {LONGEST_DELAY_SECONDS} seconds", self.delay)
        attempts = self.max_attempts
        _expect(
            attempts is None or (_is_whole(attempts) and attempts > 0), "max_attempts", "1 or more", attempts
        )
        limit = self.timeout
        _expect(limit is None or (_is_pause(limit) and limit > 0), "timeout", "seconds above 0", limit)
        _expect(
            self.key is None or _is_key(self.key), "key", f"text of 1 to {LONGEST_KEY} characters", self.key
        )
        _expect(self.result_type in ("keep", "forget"), "result_type", "'keep' or 'forget'", self.result_type)
        _expect(isinstance(self.cpu, bool), "cpu", "True or False", self.cpu)
        _expect(_is_threshold(self.open_after), "open_after", EXPECTED, self.open_after)
        _expect(_is_pause(self.probe) and self.probe >= 1, "probe", "1 second or more", self.probe)
        if self.serial_by is not None:
            self.key_path()
        _expect(
            self.coalesce in (None, *COALESCE), "coalesce", f"one of {', '.join(COALESCE)}", self.coalesce
        )
        is_keyed = self.coalesce is None or self.serial_by is not None
        _expect(is_keyed, "coalesce", "it beside serial_by", self.coalesce)
        self._check_limit()

    def _check_limit(self) -> None:
        most = self.max_concurrent
        _expect(
            most is None or _is_within(most, MOST_RUNNING), "max_concurrent", f"1 to {MOST_RUNNING}", most
        )
        expected = "a rate such as '10/s', '100/min' or '5/h'"
        _expect(self.rate is None or isinstance(self.rate, str), "rate", expected, self.rate)
        burst = self.burst
        _expect(burst is None or _is_within(burst, MOST_STARTS), "burst", f"1 to {MOST_STARTS}", burst)
        _expect(burst is None or self.rate is not None, "burst", "it beside rate", burst)
        try:
            limit_of(most, self.rate, burst)
        except ValueError:
            _expect(False, "rate", expected, self.rate)

    @property
    def limit(self) -> Limit | None:
        """What `max_concurrent`, `rate` and `burst` say, None without them."""
        return limit_of(self.max_concurrent, self.rate, self.burst)

    def key_path(self) -> KeyPath | None:
        """What `serial_by` says, None without it. Raises BadDeclaration for what is no path."""
        return None if self.serial_by is None else _key_path(self.serial_by)

    def but(self, changes: Mapping[str, Any]) -> Options:
        """These options with *changes*; an unknown name raises BadDeclaration."""
        known = {field.name for field in dataclasses.fields(self)}
        for name in sorted(changes.keys() - known):
            near = _ELSEWHERE.get(name) or nearest(name, sorted(known))
            meant = f", did you mean {near}?" if near else ""
            raise BadDeclaration(
                f"task option {name}: expected one of {', '.join(sorted(known))}, "
                f"got an unknown option{meant}"
            )
        return dataclasses.replace(self, **changes)


def for_one_post(options: Options, changes: Mapping[str, Any]) -> Options:
    """*options* with what one post may change of them."""
    for name in OF_THE_DECLARATION:
        _expect(name not in changes, name, "it in @task(...), where it belongs", "it for one post")
    return options.but(changes) if changes else options


def without_controls(options: Options, kwargs: Mapping[str, Any]) -> tuple[Options, Mapping[str, Any]]:
    """*options* and *kwargs* of one post, with Allura's ``__task_delay=60`` and the like taken as options."""
    plain = {}
    controls = {}
    for name, value in kwargs.items():
        if control := _CONTROL.fullmatch(name):
            controls[control[1]] = value
        else:
            plain[name] = value
    # Allura's posts could wait for the end of the request; here a post is always durable at once
    if controls.pop("flush_immediately", True) is not True:
        raise BadDeclaration("__task_flush_immediately: expected True, a post is always stored at once")
    return for_one_post(options, controls), plain


def _expect(holds: bool, name: str, expectation: str, value: object) -> None:
    if not holds:
        raise BadDeclaration(f"task option {name}: expected {expectation}, got {shown(value, 80)}")


@lru_cache(maxsize=256)
def _key_path(text: object) -> KeyPath:
    _expect(isinstance(text, str), "serial_by", "a path in quotes, such as 'args.0'", text)
    try:
        return key_path(str(text), OF_AN_EVENT)
    except BadRule as error:
        raise BadDeclaration(
            f"task option serial_by: expected {error.expected} at column {error.column}, got {error.got}; "
            f"{error.remedy}"
        ) from None


def _is_threshold(value: object) -> bool:
    if not isinstance(value, str):
        return False
    try:
        return not value or bool(threshold_of(value))
    except ValueError:
        return False


def _is_key(value: object) -> bool:
    return (
        isinstance(value, str)
        and 0 < len(value) <= LONGEST_KEY
        and value.encode("utf-8", "replace").decode() == value
    )


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= LARGEST_WHOLE


def _is_within(value: object, most: int) -> bool:
    return _is_whole(value) and isinstance(value, int) and 1 <= value <= most


def _is_pause(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return 0 <= value <= LONGEST_DELAY_SECONDS  # refuses NaN, too
