"""`GET /metrics` of the administrators' listener."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ..http.problem import Answer
from ..http.url_map import Endpoint
from .counts import Counts

if TYPE_CHECKING:
    from .exposition import Gauges


def metrics_endpoint(counts: Counts, gauges: Callable[[], Gauges], pause: Callable[[], None]) -> Endpoint:
    """Answers GET. *gauges* gives what is measured at a scrape's moment; *pause* lets the hub turn.

    Imports `prometheus_client`, which a daemon without this listener never does.
    """
    from . import exposition

    def metrics(_: Mapping[str, Any]) -> Answer:
        body = exposition.page(counts, gauges(), pause)
        headers = [
            ("Content-Type", exposition.CONTENT_TYPE),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
        ]
        return Answer("200 OK", headers, body)

    return metrics
