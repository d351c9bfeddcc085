"""`GET /metrics`, the only path of the administrators' listener."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ..errors import Refused
from ..http.problem import Answer
from ..http.url_map import UrlMap
from .counts import Counts

if TYPE_CHECKING:
    from .exposition import Gauges


def metrics_urls(counts: Counts, gauges: Callable[[], Gauges], pause: Callable[[], None]) -> UrlMap:
    """The URL map. *gauges* gives what is measured at the moment of a scrape; *pause* lets the hub turn.

    Imports `prometheus_client`, which a daemon without this listener never does.
    """
    from . import exposition

    def metrics(environ: Mapping[str, Any]) -> Answer:
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            allow = {"Allow": "GET, HEAD"}
            raise Refused(405, "method_not_allowed", "request: method not allowed", allow)
        body = exposition.page(counts, gauges(), pause)
        headers = [
            ("Content-Type", exposition.CONTENT_TYPE),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
        ]
        return Answer("200 OK", headers, b"" if environ["REQUEST_METHOD"] == "HEAD" else body)

    return UrlMap({"/metrics": metrics})
