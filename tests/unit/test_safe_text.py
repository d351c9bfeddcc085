"""Text from strangers: what is remembered of it has a bound in bytes."""

from __future__ import annotations

import pytest

from bus.safe_text import SHORT, cached_if_short, shortened


@pytest.mark.parametrize("kind", [str, str.encode])
def test_answers_to_short_texts_are_remembered_and_to_long_ones_found_anew(kind):
    """A cache that counts texts keeps 64 MiB when each may be 64 KiB."""
    asked = []

    @cached_if_short(10)
    def length(text):
        asked.append(len(text))
        return len(text)

    texts = [kind("a" * SHORT), kind("a" * (SHORT + 1))]

    assert [SHORT, SHORT + 1] * 3 == [length(text) for text in texts * 3]
    assert [SHORT, SHORT + 1, SHORT + 1, SHORT + 1] == asked


def test_only_so_many_answers_are_remembered():
    asked = []

    @cached_if_short(2)
    def itself(text):
        asked.append(text)
        return text

    for text in ("a", "b", "c", "a"):
        itself(text)

    assert ["a", "b", "c", "a"] == asked


@pytest.mark.parametrize(
    ("text", "limit", "shown"),
    [("abcdef", 6, "abcdef"), ("abcdefg", 6, "ab…efg"), ("abcdefgh", 7, "abc…fgh"), ("", 5, "")],
)
def test_a_text_that_is_cut_keeps_both_of_its_ends(text, limit, shown):
    """The subject of an error stands in front, what is missing at the end."""
    assert shown == shortened(text, limit)
    assert len(shown) <= limit
