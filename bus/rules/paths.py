"""What a name of a rule reads: ``body.commits.0.id``, ``header.X-Name``, ``topic``. Pure."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any, Final, NamedTuple

from ..strict_json import ALL
from .subject import Subject

Getter = Callable[[Subject], Any]
Names = frozenset[str]

TREES: Final[Names] = frozenset({"body", "args", "kwargs"})
"""Names that any number of steps may follow."""
TABLES: Final[Names] = frozenset({"header", "query", "attribute"})
"""Names that exactly one step follows."""
OF_REQUESTS: Final[Names] = frozenset({"method", "ip", "peer"})
"""What only the request tells: an event keeps the peer, the others where its hook's rule reads them."""
_OF_BOTH: Final = TABLES | {"body", "topic", "hook", "id", "delivery"}
OF_A_DELIVERY: Final[Names] = OF_REQUESTS | _OF_BOTH | {"sender"}
"""The names that the rule of a hook may use."""
OF_AN_EVENT: Final[Names] = _OF_BOTH | TREES | {"kind"}
"""The names that the rule of a handler may use: deliveries and published events have them."""
ADDRESSES: Final[Names] = frozenset({"ip", "peer"})

MOST_STEPS: Final = 16
LONGEST_PLACE: Final = 9
"""Digits of a place in a list."""


class Step(NamedTuple):
    """One step: the *key* in an object, and the *place* in a list where it is a number, else -1."""

    key: str
    place: int


def step(key: str) -> Step:
    """The step that *key*, as written, is."""
    is_place = key.isascii() and key.isdigit() and len(key) <= LONGEST_PLACE
    return Step(key, int(key) if is_place else -1)


def getter(root: str, steps: tuple[Step, ...]) -> Getter:
    """A function that reads what a path names, None where there is nothing. It never raises."""
    base: Getter = attrgetter(root)
    if root == "header":
        return _of_table("header", steps[0].key.lower())
    if root in TABLES:
        return _of_table(root, steps[0].key)
    if not steps:
        return base
    if len(steps) == 1:
        return _one_step(base, *steps[0])
    return _many_steps(base, steps)


def _of_table(root: str, key: str) -> Getter:
    def of_header(subject: Subject) -> Any:
        return subject.header.get(key)

    def of_query(subject: Subject) -> Any:
        return subject.query.get(key)

    def of_attribute(subject: Subject) -> Any:
        return subject.attribute.get(key)

    return {"header": of_header, "query": of_query}.get(root, of_attribute)


def _one_step(base: Getter, key: str, place: int) -> Getter:
    def get(subject: Subject) -> Any:
        value = base(subject)
        if isinstance(value, dict):
            return value.get(key)
        if place >= 0 and isinstance(value, list) and place < len(value):
            return value[place]
        return None

    return get


def _many_steps(base: Getter, steps: tuple[Step, ...]) -> Getter:
    def get(subject: Subject) -> Any:
        value = base(subject)
        for key, place in steps:
            if isinstance(value, dict):
                value = value.get(key)
            elif place >= 0 and isinstance(value, list) and place < len(value):
                value = value[place]
            else:
                return None
        return value

    return get


def body_path(steps: tuple[Step, ...]) -> str:
    """What `strict_json.parse` has to keep of a long body for a path: the value at it and all below it.

    A key with a dot in it cannot be said there: then all of what it stands in is kept.
    """
    keys: list[str] = []
    for key, _ in steps:
        if "." in key:
            break
        keys.append(key)
    return ".".join([*keys, ALL])
