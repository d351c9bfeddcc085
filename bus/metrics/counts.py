"""Counts what facts tell. A listener of telemetry; nothing but a scrape reads it.

Values of labels are bounded: names come from the registry and the configuration, all others are OTHER.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Container, Mapping, Sequence
from functools import partial
from typing import Any, Final

from .families import FAMILIES

OTHER: Final = "other"
MOST_NAMES: Final = 500
"""Of one label, over all reloads: each name is some forty lines of every scrape."""

TASK_SECONDS: Final = (
    *(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 3600.0),
)
CALL_SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

Fields = Mapping[str, Any]
Known = Callable[[], Container[str]]

_OUTCOMES: Final = {
    "task.finished": "complete",
    "task.retried": "retry",
    "task.snoozed": "snooze",
    "task.gave_up": "error",
    "task.skipped": "skipped",
    "task.released": "released",
}
_DELIVERIES: Final = {
    "event.received": "accepted",
    "event.repeated": "duplicate",
    "event.filtered": "filtered",
    "event.unhandled": "unhandled",
    "hook.tried": "test",
}
_PLAIN: Final = {
    "task.set_aside": "monqbus_tasks_set_aside_total",
    "lease.lost": "monqbus_leases_lost_total",
    "feed.reopened": "monqbus_feed_reopenings_total",
    "store.failed": "monqbus_store_failures_total",
    "spool.opened": "monqbus_spool_openings_total",
}
"""Facts that are counted without labels."""
_TICKS: Final = {
    "schedule.fired": "fired",
    "schedule.late": "late",
    "schedule.missed": "missed",
    "schedule.skipped": "skipped",
    "schedule.refused": "refused",
}


class Names(dict[str, str]):
    """The values of one label: the name itself when it is *known*, else OTHER, and never too many."""

    def __init__(self, known: Known) -> None:
        super().__init__()
        self._known = known

    def __missing__(self, name: str) -> str:
        if len(self) >= MOST_NAMES or name not in self._known():
            return OTHER
        self[name] = name
        return name


class Histogram:
    """Observations by one label's value: how many fell below each of *bounds*, and their sum."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.rows: dict[str, list[float]] = {}
        """Of each value a count for each bound, that of what is above all of them, and the sum."""

    def observe(self, label: str, value: float) -> None:
        """Count *value*. Never blocks."""
        row = self.rows.get(label)
        if row is None:
            row = self.rows[label] = [0.0] * (len(self.bounds) + 2)
        row[bisect_left(self.bounds, value)] += 1
        row[-1] += value


class Counts:
    """All counters and histograms of one daemon. *tasks*, *hooks* and *schedules* give the known names.

    Called in the hub's thread; a native thread that tells a fact at the same moment may cost a count.
    """

    def __init__(self, tasks: Known, hooks: Known, schedules: Known) -> None:
        self.counters: dict[str, Counter[tuple[str, ...]]] = {
            one.name: Counter() if one.labels else Counter({(): 0})
            for one in FAMILIES
            if one.kind == "counter"
        }
        self.wait, self.run = Histogram(TASK_SECONDS), Histogram(TASK_SECONDS)
        self.response, self.store_call = Histogram(CALL_SECONDS), Histogram(CALL_SECONDS)
        self.histograms: Mapping[str, Histogram] = {
            "monqbus_task_wait_seconds": self.wait,
            "monqbus_task_run_seconds": self.run,
            "monqbus_http_response_seconds": self.response,
            "monqbus_store_call_seconds": self.store_call,
        }
        self.tasks, self.hooks, self.schedules = Names(tasks), Names(hooks), Names(schedules)
        self._runs = self.counters["monqbus_task_runs_total"]
        self._posted = self.counters["monqbus_tasks_posted_total"]
        self._responses = self.counters["monqbus_http_responses_total"]
        self._deliveries = self.counters["monqbus_deliveries_total"]
        self._hears: Mapping[str, Callable[[Fields], None]] = {
            "task.posted": self._hear_posted,
            "task.started": self._hear_started,
            "task.lost": partial(self._hear_of_task, self.counters["monqbus_task_stale_ends_total"]),
            "task.rescued": partial(self._hear_of_task, self.counters["monqbus_tasks_rescued_total"]),
            "hub.unblocked": self._hear_unblocked,
            "cpu_worker.crashed": partial(self._hear_restart, "crashed"),
            "cpu_worker.recycled": partial(self._hear_restart, "recycled"),
            "event.refused": self._hear_refused,
            "tls.failed": self._hear_failed_handshake,
            **{fact: partial(self._hear_ended, outcome) for fact, outcome in _OUTCOMES.items()},
            **{fact: partial(self._hear_delivery, outcome) for fact, outcome in _DELIVERIES.items()},
            **{fact: partial(self._hear_tick, outcome) for fact, outcome in _TICKS.items()},
            **{fact: partial(self._hear_plain, self.counters[name]) for fact, name in _PLAIN.items()},
        }

    def __call__(self, fact: str, fields: Fields) -> None:
        """Telemetry's listener. Never blocks."""
        hear = self._hears.get(fact)
        if hear is not None:
            hear(fields)

    def respond(self, hook: str, status: str, seconds: float) -> None:
        """An answer was made in so many *seconds*; *status* are its three digits."""
        label = self.hooks[hook]
        self._responses[label, status] += 1
        self.response.observe(label, seconds)

    def _hear_posted(self, fields: Fields) -> None:
        self._posted[(self.tasks[fields["task"].task_name],)] += 1

    def _hear_started(self, fields: Fields) -> None:
        task = fields["task"]
        if task.time_start is not None:
            waited = (task.time_start - task.time_queue).total_seconds()
            self.wait.observe(self.tasks[task.task_name], max(0.0, waited))

    def _hear_ended(self, outcome: str, fields: Fields) -> None:
        label = self.tasks[fields["task"].task_name]
        self._runs[label, outcome] += 1
        if "seconds" in fields and outcome != "released":
            self.run.observe(label, fields["seconds"])

    def _hear_of_task(self, counter: Counter[tuple[str, ...]], fields: Fields) -> None:
        counter[(self.tasks[fields["task"].task_name],)] += 1

    def _hear_delivery(self, outcome: str, fields: Fields) -> None:
        event = fields["event"]
        if event.is_delivery:
            self._deliveries[self.hooks[event.hook], outcome] += 1
        if outcome == "unhandled":
            self.counters["monqbus_events_unhandled_total"][()] += 1

    def _hear_refused(self, fields: Fields) -> None:
        label = self.hooks[fields["hook"]]
        self.counters["monqbus_deliveries_refused_total"][label, fields["code"]] += 1
        if not fields["hook"]:  # else whoever answers counts the answer
            self._responses[label, str(int(fields["status"]))] += 1

    def _hear_failed_handshake(self, fields: Fields) -> None:
        self.counters["monqbus_tls_handshakes_failed_total"][(fields["code"],)] += 1

    def _hear_tick(self, outcome: str, fields: Fields) -> None:
        ticks = self.counters["monqbus_schedule_ticks_total"]
        ticks[self.schedules[fields["schedule"]], outcome] += fields.get("count", 1)

    def _hear_unblocked(self, fields: Fields) -> None:
        self.counters["monqbus_hub_blocks_total"][()] += 1
        # a Counter takes any number
        self.counters["monqbus_hub_blocked_seconds_total"][()] += fields["seconds"]

    def _hear_restart(self, reason: str, _: Fields) -> None:
        self.counters["monqbus_cpu_worker_restarts_total"][(reason,)] += 1

    @staticmethod
    def _hear_plain(counter: Counter[tuple[str, ...]], _: Fields) -> None:
        counter[()] += 1
