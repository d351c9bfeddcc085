"""The page of errors: what fails, how often, since when, and one button for all of a kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from ..failures import Failure
from ..http.problem import Answer
from ..model import Filter
from . import searches
from .desk import Desk, link, query_of

MOST_LOOKED_AT: Final = 1000
MOST_GROUPS: Final = 100
PARTS: Final = 24


class Group(NamedTuple):
    """A kind of error with where its tasks are found, and when they came."""

    failure: Failure
    search: Mapping[str, str]
    place: str
    trend: Sequence[int]


def show(desk: Desk, environ: Mapping[str, Any]) -> Answer:
    """The newest failed tasks by kind. Blocks on the store, but for what was asked a moment ago."""
    query = query_of(environ)
    filter = searches.tasks(query, desk.clock.now())
    about = ("failures", *sorted(searches.without_place(query).items()))
    groups, looked = desk.remembered.ask(about, lambda: desk.admin.failures(filter, MOST_LOOKED_AT))
    return desk.page(
        environ,
        "errors.html",
        query=query,
        groups=[_group(one, groups) for one in groups[:MOST_GROUPS]],
        left_out=max(0, len(groups) - MOST_GROUPS),
        looked=looked,
        is_all=looked < MOST_LOOKED_AT,
        all_place=link("/tasks", state="error"),
        is_filtered=filter != Filter(),
    )


def _group(one: Failure, groups: Sequence[Failure]) -> Group:
    search = {"state": "error", "name": one.name, "error": one.pattern}
    ends = [end for group in groups for end in (group.ends[:1] + group.ends[-1:])]
    return Group(one, search, link("/tasks", **search), _trend(one.ends, ends))


def _trend(ends: Sequence[datetime], all_ends: Sequence[datetime]) -> list[int]:
    """How many ended in each of PARTS equal times, from the first to the last end on the page."""
    counts = [0] * PARTS
    if not all_ends:
        return counts
    first, last = min(all_ends), max(all_ends)
    span = max((last - first).total_seconds(), 1.0)
    for end in ends:
        place = int((end - first).total_seconds() / span * PARTS)
        counts[min(max(place, 0), PARTS - 1)] += 1
    return counts
