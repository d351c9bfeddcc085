"""Sends deliveries at a pace over several connections, each with one request under way.

An answer with 2xx is a promise, any other answer a refusal, none at all is unknown. A refused
connection is a refusal: not one byte of the delivery left this machine.
"""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .ledger import Delivery, Ledger, Outcome

Address = tuple[str, int]
PAUSE_SECONDS = 0.05
STOP_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Pace:
    """How a load is sent.

    *per_second* counts all *connections* together, *kinds* are the weights of the handlers (see
    apps/chaosapp.py), *patience* is how long an answer is awaited. With *resend* a delivery without
    a 2xx is sent again under its id until it gets one, as real senders do; without it each is sent once.
    """

    per_second: float = 200.0
    connections: int = 8
    patience: float = 10.0
    resend: bool = False
    kinds: Mapping[str, int] = field(default_factory=lambda: {"quick": 7, "slow": 2, "guarded": 1})


class SenderBroken(Exception):
    """A connection has died of something that is no answer of a daemon."""


class Load:
    """Threads that send to *addresses* in turn until they are stopped; `with` starts and stops it."""

    def __init__(self, ledger: Ledger, addresses: Sequence[Address], pace: Pace) -> None:
        self._ledger = ledger
        self._addresses = addresses
        self._pace = pace
        self._stop = threading.Event()
        self._broken: list[BaseException] = []
        self.threads = [
            threading.Thread(target=self._live, args=(number,), daemon=True)
            for number in range(pace.connections)
        ]

    def __enter__(self) -> Load:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Begin no delivery any more; block until each that is under way has its outcome.

        Raises SenderBroken when a connection has ended by itself: its deliveries are missing from the
        account, which would look better for it.
        """
        self._stop.set()
        deadline = time.monotonic() + STOP_SECONDS
        for thread in self.threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        if any(thread.is_alive() for thread in self.threads):
            raise TimeoutError(f"sender: deliveries still without outcome {STOP_SECONDS:g} s after the end")
        if self._broken:
            raise SenderBroken(f"sender: {self._broken[0]!r} has ended a connection") from self._broken[0]

    def _live(self, number: int) -> None:
        try:
            self._send_all(number)
        except BaseException as error:  # noqa: BLE001 - told by stop, whatever it was
            self._broken.append(error)

    def _send_all(self, number: int) -> None:
        """The life of connection *number*."""
        pace, dice = self._pace, random.Random(number)
        step = pace.connections / pace.per_second
        line = _Line(self._addresses[number % len(self._addresses)], pace.patience)
        due = time.monotonic() + step * number / pace.connections
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            due = max(due + step, time.monotonic() - 1.0)  # what a silence held up is not made up for
            (kind,) = dice.choices(list(pace.kinds), list(pace.kinds.values()))
            self._send(line, self._ledger.new(kind))
        line.close()

    def _send(self, line: _Line, delivery: Delivery) -> None:
        while True:
            sent = time.monotonic()
            outcome, status = line.send(delivery)
            self._ledger.note(delivery, sent, outcome, status)
            if outcome == "acked":
                return
            if status == 0 or self._pace.resend:
                self._stop.wait(PAUSE_SECONDS)
            if not self._pace.resend or self._stop.is_set():
                return


class _Line:
    """One connection, opened again when it is gone."""

    def __init__(self, address: Address, patience: float) -> None:
        self._address = address
        self._patience = patience
        self._connection: http.client.HTTPConnection | None = None

    def send(self, delivery: Delivery) -> tuple[Outcome, int]:
        """Send *delivery* once; what became of it, and the status."""
        try:
            connection = self._opened()
        except OSError:
            return "refused", 0
        try:
            connection.request("POST", "/hooks/chaos", _body(delivery), _headers(delivery))
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            self.close()
            return "unknown", 0
        return ("acked" if 200 <= answer.status < 300 else "refused"), answer.status

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _opened(self) -> http.client.HTTPConnection:
        if self._connection is None:
            connection = http.client.HTTPConnection(*self._address, timeout=self._patience)
            connection.connect()
            self._connection = connection
        return self._connection


def _body(delivery: Delivery) -> bytes:
    return json.dumps({"id": delivery.id, "pad": "x" * 200}).encode()


def _headers(delivery: Delivery) -> dict[str, str]:
    return {
        "Content-Type": "application/json",
        "Idempotency-Key": delivery.id,
        "X-Kind": delivery.kind,
    }
