"""What the last minutes were like: rates, outcomes and latencies from counters that are counted anyway.

Nothing here listens to facts: every few seconds the counters are copied, and pages compare copies.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Final, NamedTuple, Protocol

from ..clock import Clock

SAMPLE_SECONDS: Final = 5.0
SAMPLES: Final = 120
"""Ten minutes."""
MINUTE: Final = round(60 / SAMPLE_SECONDS)

Row = Sequence[float]
"""Of a histogram: a count for each bound, that of what is above all of them, and the sum."""


class Observed(Protocol):
    """A histogram of a daemon's counters."""

    @property
    def bounds(self) -> Sequence[float]:
        """Seconds, ascending."""

    @property
    def rows(self) -> Mapping[str, Sequence[float]]:
        """The counts of each name."""


class Counted(Protocol):
    """The counters of a daemon, by name and labels."""

    @property
    def counters(self) -> Mapping[str, Mapping[tuple[str, ...], int]]:
        """Since its start."""

    @property
    def wait(self) -> Observed:
        """How long tasks waited."""

    @property
    def run(self) -> Observed:
        """How long they ran."""


class Sample(NamedTuple):
    """The counters at one moment, by name and outcome; histograms once a minute only, they are larger."""

    at: float
    posted: int
    runs: Mapping[tuple[str, ...], int]
    wait: Mapping[str, Row] | None
    run: Mapping[str, Row] | None


class Latency(NamedTuple):
    """Percentiles in seconds; None where nothing was observed."""

    p50: float | None
    p95: float | None


class HandlerHistory(NamedTuple):
    """One name over the last minutes: how many runs ended well, failed and will be retried, gave up."""

    finished: int
    retried: int
    failed: int
    wait: Latency
    run: Latency
    spark: Sequence[int]


class History:
    """Copies of *counted*, SAMPLES of them at most."""

    def __init__(self, counted: Counted, clock: Clock) -> None:
        self._counted = counted
        self._clock = clock
        self._samples: deque[Sample] = deque(maxlen=SAMPLES + 1)
        self._until_rows = 0

    def tick(self) -> float:
        """Take a copy. The seconds until the next one."""
        with_rows = self._until_rows == 0
        self._until_rows = (self._until_rows or MINUTE) - 1
        counters = self._counted.counters
        self._samples.append(
            Sample(
                self._clock.monotonic(),
                sum(counters["monqbus_tasks_posted_total"].values()),
                dict(counters["monqbus_task_runs_total"]),
                _rows(self._counted.wait) if with_rows else None,
                _rows(self._counted.run) if with_rows else None,
            )
        )
        return SAMPLE_SECONDS

    @property
    def seconds(self) -> float:
        """How long a time the copies are about."""
        return self._samples[-1].at - self._samples[0].at if self._samples else 0.0

    def posted(self) -> list[float]:
        """Tasks posted a second, oldest first."""
        return _rates([(one.at, one.posted) for one in self._samples])

    def ended(self, *outcomes: str) -> list[float]:
        """Runs a second with one of these *outcomes*, oldest first."""
        return _rates([(one.at, _with(one.runs, outcomes)) for one in self._samples])

    def latency(self, name: str | None = None) -> tuple[Latency, Latency]:
        """The wait and the run of *name*, or of all names, over these minutes."""
        return self._latency("wait", name), self._latency("run", name)

    def _latency(self, which: str, name: str | None) -> Latency:
        observed: Observed = getattr(self._counted, which)
        before: Mapping[str, Row] = next(
            (rows for one in self._samples if (rows := getattr(one, which)) is not None), {}
        )
        names = observed.rows if name is None else {name: observed.rows.get(name, [])}
        counts = [0.0] * (len(observed.bounds) + 1)
        for key in names:
            now, then = observed.rows.get(key, []), before.get(key, [])
            for place in range(min(len(counts), len(now))):
                counts[place] += now[place] - (then[place] if then else 0.0)
        return Latency(_percentile(observed.bounds, counts, 0.5), _percentile(observed.bounds, counts, 0.95))

    def handlers(self) -> dict[str, HandlerHistory]:
        """Every name that has run in these minutes."""
        if not self._samples:
            return {}
        first, now = self._samples[0].runs, self._counted.counters["monqbus_task_runs_total"]
        gained: Counter[tuple[str, ...]] = Counter(
            {key: count - first.get(key, 0) for key, count in now.items()}
        )
        names = sorted({key[0] for key, count in gained.items() if count})
        ended = [_by_name(one.runs) for one in self._samples]
        return {name: self._handler(name, gained, [one.get(name, 0) for one in ended]) for name in names}

    def _handler(
        self, name: str, gained: Mapping[tuple[str, ...], int], ended: Sequence[int]
    ) -> HandlerHistory:
        wait, run = self.latency(name)
        spark = [max(0, after - before) for before, after in pairwise(ended)]
        return HandlerHistory(
            gained.get((name, "complete"), 0),
            gained.get((name, "retry"), 0),
            gained.get((name, "error"), 0),
            wait,
            run,
            spark,
        )


def _rows(observed: Observed) -> dict[str, Row]:
    return {name: tuple(row) for name, row in observed.rows.items()}


def _by_name(runs: Mapping[tuple[str, ...], int]) -> dict[str, int]:
    found: dict[str, int] = {}
    for key, count in runs.items():
        found[key[0]] = found.get(key[0], 0) + count
    return found


def _with(runs: Mapping[tuple[str, ...], int], outcomes: Sequence[str]) -> int:
    return sum(count for key, count in runs.items() if key[-1] in outcomes)


def _rates(points: Sequence[tuple[float, int]]) -> list[float]:
    return [
        max(0, after - before) / max(later - at, 0.001) for (at, before), (later, after) in pairwise(points)
    ]


def _percentile(bounds: Sequence[float], counts: Sequence[float], share: float) -> float | None:
    """Where *share* of the observations lie below: between two bounds by proportion."""
    total = sum(counts)
    if total <= 0:
        return None
    wanted = total * share
    for place, reached in enumerate(accumulate(counts)):
        if reached >= wanted:
            if place >= len(bounds):
                return bounds[-1]
            low = bounds[place - 1] if place else 0.0
            within = (wanted - (reached - counts[place])) / counts[place]
            return low + (bounds[place] - low) * within
    return bounds[-1]
