"""A fact is told once until it is over."""

from __future__ import annotations

from bus.telemetry import ToldOnce


def test_what_has_begun_is_news_once_until_it_has_ended() -> None:
    """Its end is news once, too."""
    told = ToldOnce()

    assert [True, False] == [told.begins(), told.begins()]
    assert [True, False] == [told.ends(), told.ends()]
    assert told.begins()


def test_each_thing_is_told_of_by_itself() -> None:
    """One address that has its connections does not hide another."""
    told = ToldOnce()
    told.begins("a")

    assert (False, True) == (told.begins("a"), told.begins("b"))
    assert (True, False) == (told.ends("b"), told.ends("c"))


def test_of_a_list_only_what_was_not_there_before_is_news() -> None:
    """What is missing from it is over, and news when it comes back."""
    told = ToldOnce()

    answers = [told.now(abouts) for abouts in (["b", "a"], ["a", "c"], [], ["c"])]

    assert [["b", "a"], ["c"], [], ["c"]] == answers
