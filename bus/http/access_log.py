"""Tells each answered request, where the operator has asked for that."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final, NamedTuple

from ..networks import Network
from ..safe_text import shortened
from ..telemetry import emit
from . import problem
from .origin import client

LONGEST_PATH: Final = 200


class Said(NamedTuple):
    """One answer: its *status*, how many *sent* bytes its head and body had, after how many *seconds*."""

    status: int
    sent: int
    seconds: float


class AccessLog:
    """Emits `http.answered`. The client is the one that *trusted* proxies name.

    Never the query, nor a header: they may hold a secret. Without a head that could be read there is no
    method and no path.
    """

    def __init__(self, trusted: Collection[Network]) -> None:
        self._trusted = trusted

    def note(self, environ: Mapping[str, Any], said: Said) -> None:
        """Tell the answer *said* to the request of *environ*. Never blocks."""
        who = client(environ, self._trusted)
        emit(
            "http.answered",
            status=said.status,
            method=environ.get("REQUEST_METHOD", ""),
            path=shortened(environ.get("PATH_INFO", ""), LONGEST_PATH),
            bytes=said.sent,
            ms=round(said.seconds * 1000, 1),
            peer=environ.get("REMOTE_ADDR", "") if who is None else str(who),
            request=environ.get(problem.REQUEST_ID, ""),
        )
