"""What a hook's rules, its log and the proof of its sender cost, in CPU time: other work does not move it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from bus.senders import SENDERS, adapted
from bus.webhook.request import Request
from bus.webhook.sign import sign
from bus.webhook.verify import verify
from tests import deliveries

from .daemons import Measured, daemon, place, write_config

ROUNDS: Final = 15
"""Of each of the two daemons, by turns."""
CALLS: Final = 300
BODY_BYTES: Final = 1024
RULES: Final = """\
when = body.ref == "refs/heads/main" and header.X-GitHub-Event in ("push", "release")
[handler:never]
topic = bench.push
command = /bin/true
when = body.ref matches "^refs/tags/" or body.repository.name == "none"
"""

Load = Callable[[Measured], dict[str, object]]


def costs_of_rules(load: Load) -> list[object]:
    """CPU µs of the daemon a delivery, without rules and log and with both: medians, ratios."""
    with place() as without, place() as with_:
        plain, ruled = write_config(without, "sqlite"), write_config(with_, "sqlite")
        _add(plain, "[monqbus]\n", "delivery_log = 0\n")
        ruled.write_text(ruled.read_text() + RULES)
        with daemon(plain) as one, daemon(ruled) as other:
            figures = [_pair(one, other, load, turned=turn % 2 == 1) for turn in range(ROUNDS + 1)][1:]
    first, second = (statistics.median(column) for column in zip(*figures, strict=True))
    ratios = sorted(b / a for a, b in figures)
    middle = f"{ratios[len(ratios) // 4]:.2f} to {ratios[-1 - len(ratios) // 4]:.2f}"
    return ["sqlite", first, second, second / first, middle]


def _pair(one: Measured, other: Measured, load: Load, *, turned: bool) -> tuple[float, float]:
    """The cost at each; every second pair begins with the *other*, as whoever is first finds other caches."""
    second = _cost(other, load) if turned else 0.0
    first = _cost(one, load)
    return first, second or _cost(other, load)


def _add(config: Path, behind: str, text: str) -> None:
    config.write_text(config.read_text().replace(behind, behind + text))


def _cost(server: Measured, load: Load) -> float:
    clock = ~server.process.pid << 3 | 2  # clock_getcpuclockid(3): all threads, in nanoseconds
    before = time.clock_gettime(clock)
    statuses = load(server)["statuses"]
    spent = time.clock_gettime(clock) - before
    assert isinstance(statuses, dict)
    assert set(statuses) == {"202"}, statuses
    return spent / statuses["202"] * 1e6


def costs_of_proofs() -> list[list[object]]:
    """CPU µs of verifying one delivery of 1 KiB, of each sender; the dearest first."""
    rows = []
    for name in SENDERS:
        if name == "none":
            continue
        one = deliveries.of(name)
        body = one.body
        if b"{" in body[:1] and len(body) < BODY_BYTES - 12:
            body = body[:-1] + b', "pad": "' + b"x" * (BODY_BYTES - 11 - len(body)) + b'"}'
        sender = adapted(name, **one.settings)
        request = Request("POST", deliveries.URL, one.type, body, time.time())
        request = sign(sender, one.signs or one.secret, request)
        verify(sender, (one.secret,), request)
        taken = []
        for _ in range(CALLS):
            began = time.thread_time()
            verify(sender, (one.secret,), request)
            taken.append(time.thread_time() - began)
        rows.append([name, len(request.body), statistics.median(taken) * 1e6])
    return sorted(rows, key=lambda row: -row[2])
