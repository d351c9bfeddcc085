"""Writes counts and gauges in Prometheus' text format. Imported with the listener, and not without it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import CollectorRegistry

from .counts import Counts, Histogram
from .families import FAMILIES, Family

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST

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

    *pause* is called between two metrics: writing one takes up to some milliseconds.
    """
    return b"".join(_texts(counts, gauges, pause))


def _texts(counts: Counts, gauges: Gauges, pause: Callable[[], None]) -> Iterator[bytes]:
    for family in FAMILIES:
        if family.kind == "gauge" and family.name not in gauges:
            continue  # what this daemon does not have
        registry = CollectorRegistry()
        registry.register(_One(_metric(family, counts, gauges)))
        yield generate_latest(registry)
        pause()


def _metric(family: Family, counts: Counts, gauges: Gauges) -> Metric:
    if family.kind == "histogram":
        return _histogram(family, counts.histograms[family.name])
    if family.kind == "counter":
        counter = CounterMetricFamily(family.name, family.means, labels=family.labels)
        for labels, number in list(counts.counters[family.name].items()):
            counter.add_metric(labels, number)
        return counter
    gauge = GaugeMetricFamily(family.name, family.means, labels=family.labels)
    for labels, value in gauges[family.name].items():
        gauge.add_metric(labels, value)
    return gauge


def _histogram(family: Family, histogram: Histogram) -> Metric:
    metric = HistogramMetricFamily(family.name, family.means, labels=family.labels)
    names = [*(str(bound) for bound in histogram.bounds), "+Inf"]
    for label, (*below, total) in list(histogram.rows.items()):
        metric.add_metric([label], list(zip(names, accumulate(below), strict=True)), total)
    return metric
