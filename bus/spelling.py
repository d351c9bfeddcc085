"""The known word that an unknown one was probably meant to be."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(text: str, words: Iterable[str]) -> str:
    """The one of *words* that *text* resembles, as it is written or else in small letters; "" for none."""
    from difflib import get_close_matches  # which only a mistake needs: it is 2 ms of every start

    known = list(words)
    return next(iter(get_close_matches(text, known, n=1) or get_close_matches(text.lower(), known, n=1)), "")
