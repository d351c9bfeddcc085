"""The URL map of one listener: the endpoint of each path, and 404 for all others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from typing import Any

from ..errors import Refused
from .problem import Answer

Endpoint = Callable[[Mapping[str, Any]], Answer]
"""Answers the request of a WSGI environ, whole; raises Refused for an answer that the log shall hear of."""


class UrlMap:
    """A WSGI application that gives each request to the endpoint of its path.

    A path matches letter by letter; its last segment, when it is NAME, stands for any one segment. The same
    path with a slash more is another one; *hint* says of a path without an endpoint what may have been meant,
    for the log alone. What endpoints raise propagates to the server: it answers a
    Refused as the problem document that it is.
    """

    def __init__(self, endpoints: Mapping[str, Endpoint], hint: Callable[[str], str] = lambda _: "") -> None:
        self._hint = hint
        self.paths = tuple(endpoints)
        """Every path that answers anything but 404."""
        self._exact = {path: one for path, one in endpoints.items() if not path.endswith("/NAME")}
        self._folders = {
            path.removesuffix("/NAME"): one for path, one in endpoints.items() if path.endswith("/NAME")
        }

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request by WSGI's way. Blocks as long as its endpoint does; raises Refused."""
        status, headers, body, rest = self.answer(environ)
        start_response(status, headers)
        return [body] if rest is None else chain([body], rest)

    def answer(self, environ: Mapping[str, Any]) -> Answer:
        """The answer of the endpoint. Blocks as long as that does; raises Refused."""
        path: str = environ["PATH_INFO"]
        endpoint = self._exact.get(path)
        if endpoint is None:
            folder, _, name = path.rpartition("/")
            endpoint = self._folders.get(folder) if name else None
            if endpoint is None:
                raise Refused(404, "not_found", "request: not found", hint=self._hint(path))
        return endpoint(environ)
