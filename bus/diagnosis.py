"""One row of `monqbus doctor`: what was looked at, whether it is well, and the remedy."""

from __future__ import annotations

from typing import Literal, NamedTuple

Verdict = Literal["ok", "warning", "problem"]


class Diagnosis(NamedTuple):
    """One part, what was found there, and what is to be done unless the verdict is ok.

    A *note* to an ok says what is worth knowing; to the others it is the remedy.
    """

    name: str
    value: str
    verdict: Verdict = "ok"
    note: str = ""
