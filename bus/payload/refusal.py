"""The one error of this room: a body does not hold what its type says."""

from __future__ import annotations


class BadPayload(ValueError):
    """A body cannot be understood as its type says; the message says why and where, for people."""
