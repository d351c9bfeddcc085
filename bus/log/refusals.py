"""Limits log lines of refused requests and failed TLS handshakes: of each kind the first ones a minute.

A forged delivery costs its sender some bytes and would cost the log a line each: measured, 44 GiB a day
over one connection.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from ..telemetry import Listener, emit

PERIOD_SECONDS: Final = 60.0
MOST_TOLD: Final = 10
"""So many of one kind are told in a period."""


class RefusalKind(NamedTuple):
    """What refusals have in common. Its words are ours and few: no stranger can make new ones."""

    hook: str
    status: int
    code: str


class HandshakeKind(NamedTuple):
    """What failed TLS handshakes have in common, in words of ours."""

    tls: str


class Refusals:
    """A listener in front of *listener*, which hears everything but what is too much of what strangers cause.

    That is `event.refused`, `access.refused` and `tls.failed`.

    `tick` says, once a period, how many of each kind it has not heard.
    """

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._counts: Counter[RefusalKind | HandshakeKind] = Counter()

    def __call__(self, fact: str, fields: Mapping[str, Any]) -> None:
        """Telemetry's listener."""
        kind: RefusalKind | HandshakeKind | None = None
        if fact in ("event.refused", "access.refused"):
            kind = RefusalKind(fields["hook"], fields["status"], fields["code"])
        elif fact == "tls.failed":
            kind = HandshakeKind(fields["code"])
        if kind is not None:
            self._counts[kind] += 1
            if self._counts[kind] > MOST_TOLD:
                return
        self._listener(fact, fields)

    def tick(self) -> float:
        """Tell of the period that is over, and begin the next one; the seconds until its end."""
        counts, self._counts = self._counts, Counter()
        for kind, count in counts.items():
            if count > MOST_TOLD:
                emit("refusals.omitted", **kind._asdict(), count=count - MOST_TOLD)
        return PERIOD_SECONDS
