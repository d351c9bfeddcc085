"""What one stranger may cost us."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on connections, time and size. Sizes are bytes; the body's is the application's affair.

    A request head must be complete `header_seconds` after its first byte, a body `body_seconds`
    after its head. An answer refused by the client's side for `send_seconds` is given up. After a
    refusal we listen `linger_seconds` more, so that the answer is read before the reset.
    """

    connections: int = 512
    idle_seconds: float = 15.0
    header_seconds: float = 10.0
    body_seconds: float = 30.0
    send_seconds: float = 30.0
    linger_seconds: float = 2.0
    request_line: int = 8 * 1024
    header_bytes: int = 64 * 1024
    header_lines: int = 100
