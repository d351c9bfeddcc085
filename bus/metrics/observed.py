"""Watches what no fact tells: answers of the public listener with their time, and calls of the store."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Any, Final, cast

from ..http.problem import Answer
from ..http.url_map import UrlMap
from ..store import Store
from .counts import Counts, Histogram

HOOKS: Final = "/hooks/"
VERBS: Final = ("post", "claim", "report")


class CountedUrls(UrlMap):
    """The URL map *urls*, whose answers are counted; what it refuses by raising is told as a fact."""

    def __init__(self, urls: UrlMap, counts: Counts) -> None:
        super().__init__({})
        self.paths = urls.paths
        self._answer = urls.answer
        self._counts = counts

    def answer(self, environ: Mapping[str, Any]) -> Answer:
        """The answer of *urls*. Blocks as long as that does; raises Refused."""
        began = perf_counter()
        whole = self._answer(environ)
        path: str = environ["PATH_INFO"]
        hook = path[len(HOOKS) :] if path.startswith(HOOKS) else ""
        self._counts.respond(hook, whole.status[:3], perf_counter() - began)
        return whole


class _TimedStore:
    """A store whose VERBS are timed; everything else of it is its own."""

    def __init__(self, store: Store, calls: Histogram) -> None:
        self._store = store
        for verb in VERBS:
            setattr(self, verb, _timed(getattr(store, verb), verb, calls))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def timed(store: Store, counts: Counts) -> Store:
    """*store*, how long whose calls take is counted."""
    return cast("Store", _TimedStore(store, counts.store_call))


def _timed(call: Callable[..., Any], verb: str, calls: Histogram) -> Callable[..., Any]:
    def timed_call(*args: Any, **kwargs: Any) -> Any:
        began = perf_counter()
        try:
            return call(*args, **kwargs)
        finally:
            calls.observe(verb, perf_counter() - began)

    return timed_call
