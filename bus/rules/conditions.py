"""What operators and functions do, for values of every type. Pure; nothing here raises.

A value is text, a number, true or false, a list, an object, none (null, or nothing at all), or something that
only a published event can hold, such as bytes. Types are never turned into each other: 1 is neither "1" nor
true. Every comparison with none is false, `!=` and `not in` too. What is looked at is bounded by the MOST and
LONGEST of this module, so that no event can keep the hub.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from .. import networks
from ..regex import LONGEST_SEARCHED, searching
from .paths import Getter
from .subject import Subject

Test = Callable[[Subject], bool]

MOST_ITEMS: Final = 10_000
"""Of a list in an event: those behind are not looked at."""
LONGEST_LOWERED: Final = LONGEST_SEARCHED
"""Characters: of a longer text there is no lower one."""
LONGEST_NUMBER: Final = 40
"""Characters of a text that `number` reads."""


def is_number(value: Any) -> bool:
    """Whether *value* is a number: true and false are none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def equals(left: Any, right: Any) -> bool:
    """Whether both are the same text, number, or truth value; lists and objects equal nothing."""
    if isinstance(left, str):
        return isinstance(right, str) and left == right
    if isinstance(left, bool):
        return left is right
    if is_number(left):
        return is_number(right) and bool(left == right)
    return False


def differs(left: Any, right: Any) -> bool:
    """Whether both are there and not equal."""
    return left is not None and right is not None and not equals(left, right)


def _is_ordered(left: Any, right: Any) -> bool:
    return (isinstance(left, str) and isinstance(right, str)) or (is_number(left) and is_number(right))


def is_less(left: Any, right: Any) -> bool:
    """Numbers by size, texts by their characters' code points; nothing else has an order."""
    return _is_ordered(left, right) and bool(left < right)


def is_at_most(left: Any, right: Any) -> bool:
    """As `is_less`, or equal."""
    return _is_ordered(left, right) and bool(left <= right)


COMPARED: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "==": equals,
    "!=": differs,
    "<": is_less,
    "<=": is_at_most,
    ">": lambda left, right: is_less(right, left),
    ">=": lambda left, right: is_at_most(right, left),
}


def contains(whole: Any, part: Any) -> bool:
    """Whether a list has *part* as an item, or a text has it as a piece."""
    if isinstance(whole, str):
        return isinstance(part, str) and part in whole[:LONGEST_SEARCHED]
    if isinstance(whole, list):
        if isinstance(part, str):
            return part in whole[:MOST_ITEMS]  # equal to texts alone, so Python's own search is right
        return any(equals(part, item) for item in whole[:MOST_ITEMS])
    return False


def lower(value: Any) -> str | None:
    """A text in lower case; none for what is no text, or one of more than LONGEST_LOWERED characters."""
    return value.lower() if isinstance(value, str) and len(value) <= LONGEST_LOWERED else None


def number(value: Any) -> int | float | None:
    """The number that a text of digits is, as headers and parameters have them; a number as it is."""
    if is_number(value):
        return value  # type: ignore[no-any-return]
    if not isinstance(value, str) or len(value) > LONGEST_NUMBER or not value.isascii() or "_" in value:
        return None
    try:
        return int(value)
    except ValueError:
        pass
    try:
        found = float(value)
    except ValueError:
        return None
    return found if abs(found) < float("inf") else None


def length(value: Any) -> int | None:
    """How many characters, items or keys; none for what has no length."""
    return len(value) if isinstance(value, (str, list, dict)) else None


def starts(value: Any, start: Any) -> bool:
    """Whether a text begins with another one."""
    return isinstance(value, str) and isinstance(start, str) and value.startswith(start)


def ends(value: Any, end: Any) -> bool:
    """Whether a text ends with another one."""
    return isinstance(value, str) and isinstance(end, str) and value.endswith(end)


# compiled


def is_true(get: Getter) -> Test:
    """The value itself as a condition: true alone holds."""
    return lambda subject: get(subject) is True


def compared(sign: str, left: Getter, right: Getter) -> Test:
    """*left* and *right* compared by an operator."""
    holds: Callable[[Any, Any], bool] = COMPARED[sign]
    return lambda subject: holds(left(subject), right(subject))


def is_text(get: Getter, text: str) -> Test:
    """Whether a value is this *text*: the quick way for what nearly all rules ask."""
    return lambda subject: get(subject) == text


def is_one_of(get: Getter, texts: frozenset[str]) -> Test:
    """Whether a value is one of these *texts*."""

    def holds(subject: Subject) -> bool:
        value = get(subject)
        return isinstance(value, str) and value in texts

    return holds


def is_in(get: Getter, whole: Getter) -> Test:
    """Whether a value is an item of a list, or a piece of a text."""
    return lambda subject: contains(whole(subject), get(subject))


def is_within(get: Getter, among: tuple[networks.Network, ...]) -> Test:
    """Whether a value is an address in one of the networks."""

    def holds(subject: Subject) -> bool:
        value = get(subject)
        return isinstance(value, str) and networks.is_within(networks.address(value), among)

    return holds


def matches(get: Getter, pattern: str) -> Test:
    """Whether *pattern* is found in a text. Raises BadRegex, here and now only."""
    search = searching(pattern)

    def holds(subject: Subject) -> bool:
        value = get(subject)
        return isinstance(value, str) and search(value)

    return holds


def absent_is_false(test: Test, *needed: Getter) -> Test:
    """The opposite of *test*, except that nothing holds of none."""

    def holds(subject: Subject) -> bool:
        return all(get(subject) is not None for get in needed) and not test(subject)

    return holds


def negated(test: Test) -> Test:
    """True where *test* is false."""
    return lambda subject: not test(subject)


def all_of(tests: tuple[Test, ...]) -> Test:
    """True when all are; those behind the first false one are not asked."""
    if len(tests) == 2:
        first, second = tests
        return lambda subject: first(subject) and second(subject)
    return lambda subject: all(test(subject) for test in tests)


def any_of(tests: tuple[Test, ...]) -> Test:
    """True when one is; those behind it are not asked."""
    if len(tests) == 2:
        first, second = tests
        return lambda subject: first(subject) or second(subject)
    return lambda subject: any(test(subject) for test in tests)
