"""Divides the places of a claim among task names; the order within each is the store's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import TypeVar

from ..model import FairShare

Candidate = TypeVar("Candidate")


def divided(
    candidates: Iterable[Candidate], name_of: Callable[[Candidate], str], fair: FairShare
) -> tuple[list[Candidate], list[Candidate]]:
    """*candidates*, which are in the order of claiming, within their name's share and beyond it."""
    held = Counter(fair.held)
    within: list[Candidate] = []
    beyond: list[Candidate] = []
    for candidate in candidates:
        name = name_of(candidate)
        (within if held[name] < fair.most else beyond).append(candidate)
        held[name] += 1
    return within, beyond
