"""What the handlers have seen: their runs, and their writes to the outside resource."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(slots=True)
class Run:
    """One call of a handler. Moments are CLOCK_MONOTONIC seconds; `ended` None = it never said.

    `token` is the generation of its claim, `daemon` the pid of the daemon that holds the claim and `pid`
    the process it ran in, which may be a worker of that daemon. `has_returned` is False for a run that
    was cut short. `seen` is its last sign of life, from those handlers that give any.
    """

    id: str
    delivery: str
    task: str
    attempt: int
    token: int
    pid: int
    daemon: int
    worker: str
    started: float
    ended: float | None = None
    has_returned: bool = False
    seen: float | None = None


@dataclass(frozen=True, slots=True)
class Write:
    """One write to the outside resource, in the order in which it decided."""

    run: str
    task: str
    token: int
    accepted: bool


@dataclass(slots=True)
class Evidence:
    """Everything the handlers have said so far. `last_at` is the moment of the latest line."""

    runs: list[Run] = field(default_factory=list)
    writes: list[Write] = field(default_factory=list)
    last_at: float = 0.0

    @property
    def ended(self) -> set[str]:
        """The ids of the deliveries whose handler has returned at least once."""
        return {run.delivery for run in self.runs if run.has_returned}


def read(path: Path) -> Evidence:
    """What stands in the file of records at *path*; nothing when there is none yet."""
    evidence = Evidence()
    runs: dict[str, Run] = {}
    whole = path.read_text().rpartition("\n")[0] if path.exists() else ""
    for text in whole.splitlines():
        line = json.loads(text)
        what, at = line.pop("what"), line.pop("at")
        evidence.last_at = max(evidence.last_at, at)
        if what == "start":
            run = Run(line.pop("run"), started=at, **line)
            runs[run.id] = run
        elif what == "write":
            evidence.writes.append(Write(**line))
        elif what == "alive":
            runs[line["run"]].seen = at
        else:
            runs[line["run"]].ended = at
            runs[line["run"]].has_returned = what == "end"
    evidence.runs = list(runs.values())
    return evidence
