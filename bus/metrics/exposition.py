"""Writes counts and gauges in Prometheus' text format. Imported with the listener, and not without it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Final, TypeVar

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import CollectorRegistry

from .counts import Counts
from .families import FAMILIES, Family

T = TypeVar("T")
CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
LINES: Final = 500
HEAD_LINES: Final = 2
"""Help and type stand once, above the first sample of a metric."""

Gauges = Mapping[str, Mapping[tuple[str, ...], float]]


class _One:
    """A collector of one metric."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> Iterable[Metric]:
        """Asked for by the registry."""
        return (self._metric,)


def page(counts: Counts, gauges: Gauges, pause: Callable[[], None] = lambda: None) -> bytes:
    """The whole answer to a scrape, in the order of FAMILIES.

    *pause* is called after every LINES or so: five hundred of them take some five milliseconds.
    """
    return b"".join(_texts(counts, gauges, pause))


def _texts(counts: Counts, gauges: Gauges, pause: Callable[[], None]) -> Iterator[bytes]:
    for family in FAMILIES:
        if family.kind == "gauge" and family.name not in gauges:
            continue  # what this daemon does not have
        for number, metric in enumerate(_pieces(family, counts, gauges)):
            registry = CollectorRegistry()
            registry.register(_One(metric))
            text = generate_latest(registry)
            yield text if number == 0 else text.split(b"\n", HEAD_LINES)[-1]
            pause()


def _pieces(family: Family, counts: Counts, gauges: Gauges) -> Iterator[Metric]:
    """The metric *family*, a part of its label values at a time."""
    if family.kind == "histogram":
        histogram = counts.histograms[family.name]
        for rows in _cut([*histogram.rows.items()], LINES // len(histogram.bounds)):
            yield _histogram(family, histogram.bounds, rows)
        return
    kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    values = counts.counters[family.name] if family.kind == "counter" else gauges[family.name]
    for piece in _cut([*values.items()], LINES):
        metric = kind(family.name, family.means, labels=family.labels)
        for labels, value in piece:
            metric.add_metric(labels, value)
        yield metric


def _cut(rows: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """*rows* in pieces of *size*, at least one."""
    for first in range(0, max(1, len(rows)), size):
        yield rows[first : first + size]


def _histogram(
    family: Family, bounds: Sequence[float], rows: Iterable[tuple[str, Sequence[float]]]
) -> Metric:
    metric = HistogramMetricFamily(family.name, family.means, labels=family.labels)
    names = [*map(str, bounds), "+Inf"]
    for label, (*below, total) in rows:
        metric.add_metric([label], list(zip(names, accumulate(below), strict=True)), total)
    return metric
