"""Remembers what a sender signs once: of `mailgun` a token is all that is signed, and proves one event."""

from __future__ import annotations

from itertools import islice
from typing import Final

from .signed import Mismatch

MOST: Final = 100_000
"""Tokens that are remembered; only proven ones are, so that a stranger can push none out."""


class Once:
    """For each hook and token the delivery that it proved, for as long as its time counts.

    In the memory of this process: what a restart forgets wears out within the sender's tolerance.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._proved: dict[tuple[str, str], tuple[str, float]] = {}

    def check(self, hook: str, token: str, delivery: str, now: float, tolerance: float) -> None:
        """Return when *token* proves *delivery* alone, else raise Mismatch. *now* is in Unix seconds."""
        proved, _ = self._proved.setdefault((hook, token), (delivery, now))
        if proved != delivery:
            raise Mismatch("replayed")
        # in the order in which they came; twice the tolerance, as a time may be that much ahead
        for key, (_, then) in list(islice(self._proved.items(), 2)):
            if now - then > 2 * tolerance or len(self._proved) > self._most:
                del self._proved[key]
