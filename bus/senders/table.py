"""The table of senders, by the word that a hook's `verify` has for each.

A sender is one row in the file of its kind, one of `tests/senders.py` and one in `guides.py`. One that signs
in a way of its own takes a field of `sender.Proof` more, which `bus/webhook/verify.py` and `sign.py` read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from .business import BUSINESS
from .chat import CHAT
from .code import CODE
from .generic import GENERIC
from .monitoring import MONITORING
from .sender import Proof, Sender

SENDERS: Final[Mapping[str, Sender]] = {**GENERIC, **CODE, **BUSINESS, **CHAT, **MONITORING}

_TAKEN_OVER: Final = ("prefix", "separator", "algorithm", "encoding", "key", "signed")
"""Settings of a hook that are fields of a `Proof` by the same name."""


def names() -> tuple[str, ...]:
    """Every word that `verify` may be, in the order of the table."""
    return tuple(SENDERS)


def those(fits: Callable[[Sender], bool], joint: str = "and") -> str:
    """The senders that *fits* is true of, for a sentence: ``token, github and gitlab``."""
    return either([name for name, sender in SENDERS.items() if fits(sender)], joint)


def either(words: Sequence[str], joint: str = "or") -> str:
    """*words* for a sentence: ``a, b or c``."""
    return f" {joint} ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def adapted(name: str, **own: Any) -> Sender:
    """The row *name* with a hook's own settings put in, as far as it takes them; "" and 0 are not given.

    Raises KeyError for a name that is not in the table, which a checked configuration never holds.
    """
    row = SENDERS[name]
    given = {key: value for key, value in own.items() if value and key in row.takes}
    if not given:
        return row
    return replace(row, ways=tuple(_way(way, given) for way in row.ways))


def _way(way: Proof, given: Mapping[str, Any]) -> Proof:
    changes: dict[str, Any] = {key: given[key] for key in _TAKEN_OVER if key in given}
    if changes.get("separator") == "space":  # a value of the file cannot be one
        changes["separator"] = " "
    if "header" in given and (place := f"header:{given['header'].lower()}") != way.place:
        changes["place"] = place
        if way.scheme == "token":
            changes["prefix"] = ""  # "Bearer" belongs to Authorization alone
    if "scheme" in given and "place" not in changes:
        changes["prefix"] = f"{given['scheme']} "
    if "query" in given:
        changes.update(place=f"query:{given['query']}", prefix="")
    if "user" in given:
        changes.update(place="header:authorization", prefix="Basic ", key="basic", user=given["user"])
    if "timestamp" in given:
        kind, colon, where = given["timestamp"].partition(":")
        changes["timestamp"] = f"{kind}{colon}{where.lower() if kind == 'header' else where}"
        changes["unit"] = given.get("time_format", way.unit)
        if way.timed:
            changes["signed"] = way.timed
    if "tolerance" in given:
        changes["tolerance"] = given["tolerance"]
    return replace(way, **changes)
