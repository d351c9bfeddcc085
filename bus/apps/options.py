"""How a task is stored and run: the options of its declaration, and what one post may change of them."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..breaker import DEFAULT_PROBE, EXPECTED, threshold_of
from ..errors import LONGEST_DELAY_SECONDS, BadDeclaration
from ..safe_text import shown
from ..spelling import nearest

LARGEST_WHOLE = 2**31 - 1  # every store can count so far
LONGEST_KEY = 1024
OF_THE_DECLARATION = ("cpu", "open_after", "probe")
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

    `cpu`, `open_after` and `probe` belong to the declaration and cannot be changed by a post: the first runs
    it in a process of its own, the others are its circuit breaker.
    """

    priority: int | None = None
    delay: float = 0.0
    max_attempts: int | None = None
    timeout: float | None = None
    key: str | None = None
    result_type: str = "forget"
    cpu: bool = False
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


def _is_pause(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return 0 <= value <= LONGEST_DELAY_SECONDS  # refuses NaN, too
