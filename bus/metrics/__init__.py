"""Metrics: what the daemon counts from facts, and the endpoint that tells it to Prometheus.

Counting is ours, and costs a dictionary's look-up; `prometheus_client` only writes the text, and
is imported only where somebody may ask for it.
"""

from .counts import Counts
from .endpoint import metrics_endpoint
from .observed import CountedUrls, timed

__all__ = ["CountedUrls", "Counts", "metrics_endpoint", "timed"]
