"""The table of all metrics: name, kind, labels, meaning. docs/monitoring.md is printed from it.

Names begin with ``monqbus_`` and end with their base unit; what only grows ends with ``_total``.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

Kind = Literal["counter", "gauge", "histogram"]


class Family(NamedTuple):
    """One metric, with the names of its *labels*; *means* is its help, one sentence."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    means: str


FAMILIES: Final = (
    Family("monqbus_build_info", "gauge", ("version", "python", "store"), "Always 1; what runs."),
    Family("monqbus_start_time_seconds", "gauge", (), "When this daemon started, Unix time."),
    Family("monqbus_ready", "gauge", (), "1 while /readyz says yes, else 0."),
    Family("monqbus_services_failing", "gauge", (), "Parts of the daemon that are late or dead."),
    Family("monqbus_tasks_posted_total", "counter", ("task",), "Tasks that this daemon has stored."),
    Family(
        "monqbus_task_runs_total",
        "counter",
        ("task", "outcome"),
        "Recorded ends of runs: complete, retry, snooze, error, skipped, released.",
    ),
    Family(
        "monqbus_task_wait_seconds",
        "histogram",
        ("task",),
        "From the moment a task was due to its claim, told when its handler begins.",
    ),
    Family(
        "monqbus_task_run_seconds",
        "histogram",
        ("task",),
        "From the start of a run to its recorded end; released runs are left out.",
    ),
    Family(
        "monqbus_tasks",
        "gauge",
        ("state",),
        "Tasks now: ready in the store, counted up to max_ready_tasks (0: left out); busy in this daemon.",
    ),
    Family(
        "monqbus_ready_tasks",
        "gauge",
        ("task",),
        "Ready tasks of the store by name, due or not, at the last look, which is every 30 s.",
    ),
    Family(
        "monqbus_oldest_ready_task_age_seconds",
        "gauge",
        (),
        "For how long the oldest ready task has been due, as of the last look; 0 when none is.",
    ),
    Family("monqbus_slots", "gauge", ("lane",), "Slots for tasks: the greenlets, cpu, each limited command."),
    Family("monqbus_slots_taken", "gauge", ("lane",), "Slots in which a task runs, or is about to."),
    Family("monqbus_unrecorded_ends", "gauge", (), "Runs that are over and not recorded in the store yet."),
    Family(
        "monqbus_task_stale_ends_total",
        "counter",
        ("task",),
        "Ends that came after the claim was lost and changed nothing.",
    ),
    Family("monqbus_tasks_rescued_total", "counter", ("task",), "Tasks taken back from dead daemons."),
    Family(
        "monqbus_tasks_set_aside_total", "counter", (), "Times that a stored task could not be read or begun."
    ),
    Family("monqbus_leases_lost_total", "counter", (), "Times that this daemon could not renew its lease."),
    Family("monqbus_feed_reopenings_total", "counter", (), "Times that the wake-up feed was opened again."),
    Family("monqbus_hub_blocks_total", "counter", (), "Times that something kept the hub from turning."),
    Family("monqbus_hub_blocked_seconds_total", "counter", (), "For how long those lasted."),
    Family(
        "monqbus_cpu_worker_restarts_total",
        "counter",
        ("reason",),
        "Processes for cpu tasks that were replaced: crashed, recycled.",
    ),
    Family(
        "monqbus_http_responses_total",
        "counter",
        ("hook", "status"),
        "Answers to requests; hook is other for what is no delivery to a hook of the configuration.",
    ),
    Family(
        "monqbus_http_response_seconds",
        "histogram",
        ("hook",),
        "From a request's head to its answer, for the public listener.",
    ),
    Family("monqbus_http_connections", "gauge", (), "Open connections of the public listener."),
    Family(
        "monqbus_deliveries_total",
        "counter",
        ("hook", "outcome"),
        "Deliveries that were taken: accepted, duplicate, filtered, unhandled, test.",
    ),
    Family(
        "monqbus_deliveries_refused_total",
        "counter",
        ("hook", "reason"),
        "Requests that were refused, by the code of the answer.",
    ),
    Family(
        "monqbus_tls_handshakes_failed_total",
        "counter",
        ("reason",),
        "TLS handshakes that failed: certificate (the client does not trust ours), version, cipher, "
        "malformed, too_slow, hung_up.",
    ),
    Family(
        "monqbus_events_unhandled_total", "counter", (), "Events whose topic no handler takes, published too."
    ),
    Family(
        "monqbus_store_call_seconds",
        "histogram",
        ("verb",),
        "Calls of the store: post, claim, report; those that failed too.",
    ),
    Family("monqbus_store_up", "gauge", (), "1 while the store takes work, else 0."),
    Family("monqbus_store_failures_total", "counter", (), "Times that the store stopped answering."),
    Family(
        "monqbus_spool_deliveries", "gauge", (), "Deliveries that wait in the spool; left out without one."
    ),
    Family(
        "monqbus_spool_openings_total", "counter", (), "Times that deliveries began to go into the spool."
    ),
    Family(
        "monqbus_schedule_ticks_total",
        "counter",
        ("schedule", "outcome"),
        "Ticks of schedules: fired, late (which are fired too), missed, skipped, refused.",
    ),
)
