"""The floors of the house: a module imports from its own room and from floors below it.

`tests/test_architecture.py` checks this list, and docs/rooms.md is printed from it.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Floor(NamedTuple):
    """*rooms* are files or folders in bus/; neighbours on a floor do not know each other."""

    name: str
    rooms: tuple[str, ...]


FLOORS: Final = (
    Floor(
        "ground",
        (
            *("errors", "clock", "safe_text", "strict_json", "regex", "files", "diagnosis", "placeholders"),
            *("networks", "rfc3339", "spelling"),
        ),
    ),
    Floor("process", ("process", "payload", "filter_checks", "spoken_time")),
    Floor("words", ("model", "codec", "telemetry", "steady_clock", "senders", "schedules", "breaker")),
    Floor("expressions", ("rules",)),
    Floor("rules", ("retry", "config", "joining", "starter", "repetition", "delivery_record", "pauses")),
    Floor("forms", ("presentation", "failures")),
    Floor("apps", ("apps", "adnanh")),
    Floor("hands", ("store", "http", "cpu")),
    Floor("storing", ("direct_start", "schedule_run")),
    Floor("verbs", ("posting", "admin", "copying", "access")),
    Floor("operations", ("operations",)),
    Floor("engine", ("engine",)),
    Floor("maintenance", ("maintenance",)),
    Floor("faces", ("webhook", "api", "dashboard", "log", "metrics", "testing")),
    Floor("binding", ("connecting",)),
    Floor("assembly", ("daemon",)),
    Floor("door", ("cli",)),
)
FLOOR_OF: Final = {room: number for number, floor in enumerate(FLOORS) for room in floor.rooms}
