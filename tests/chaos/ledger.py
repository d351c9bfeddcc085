"""What a sender was promised: an append-only account of every delivery and every answer.

A line is written before the first byte of a delivery leaves, and another one when its answer is
known, so that the file tells the truth whenever the sender dies.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Outcome = Literal["acked", "refused", "unknown"]


@dataclass(frozen=True, slots=True)
class Try:
    """One sending of a delivery. Moments are CLOCK_MONOTONIC seconds; status 0 = nothing came."""

    sent: float
    answered: float
    outcome: Outcome
    status: int


@dataclass(slots=True)
class Delivery:
    """One delivery under the sender's own *id*, and each of its tries."""

    id: str
    kind: str
    tries: list[Try] = field(default_factory=list)

    @property
    def outcome(self) -> Outcome:
        """The best that is known: one 2xx is a promise, and without any answer nothing is known."""
        outcomes = {one.outcome for one in self.tries}
        if "acked" in outcomes:
            return "acked"
        return "refused" if outcomes == {"refused"} else "unknown"


class Ledger:
    """Kept by all connections of all senders of a run; every method may be called from any thread."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._turn = threading.Lock()
        self._deliveries: dict[str, Delivery] = {}
        self._count = 0

    def new(self, kind: str) -> Delivery:
        """A delivery that was never sent before."""
        with self._turn:
            self._count += 1
            delivery = Delivery(f"d-{self._count}", kind)
            self._deliveries[delivery.id] = delivery
            self._write({"send": delivery.id, "kind": kind})
            return delivery

    def add(self, deliveries: Iterable[Delivery]) -> None:
        """What other processes have sent, with all that became of it."""
        with self._turn:
            self._deliveries.update((delivery.id, delivery) for delivery in deliveries)

    def note(self, delivery: Delivery, sent: float, outcome: Outcome, status: int) -> None:
        """The answer to one try of *delivery*, *sent* at that moment."""
        answered = time.monotonic()
        with self._turn:
            delivery.tries.append(Try(sent, answered, outcome, status))
            line = {"id": delivery.id, "outcome": outcome, "status": status}
            self._write({**line, "sent": sent, "answered": answered})

    def deliveries(self) -> list[Delivery]:
        """All that were ever sent, in order."""
        with self._turn:
            return list(self._deliveries.values())

    def of(self, outcome: Outcome) -> list[Delivery]:
        """Those that ended in *outcome*."""
        return [delivery for delivery in self.deliveries() if delivery.outcome == outcome]

    def acked_tries(self) -> list[Try]:
        """Every 2xx, in order of its arrival."""
        tries = [one for delivery in self.deliveries() for one in delivery.tries if one.outcome == "acked"]
        return sorted(tries, key=lambda one: one.answered)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def _write(self, line: dict[str, object]) -> None:
        os.write(self._file, json.dumps(line).encode() + b"\n")


def ids(deliveries: Iterable[Delivery]) -> set[str]:
    """The ids of *deliveries*."""
    return {delivery.id for delivery in deliveries}
