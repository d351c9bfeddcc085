"""The topic of a hook: text with placeholders that a request fills in."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from ..placeholders import ALONE, ATTRIBUTE, HEADER, PARAMETER, PATH, BadPlaceholder, Grammar, Placeholder
from ..senders.kept import is_kept, is_kept_parameter
from .value_types import Unfit, ValueType, quoted

_PLAIN = re.compile(r"[A-Za-z0-9_.:-]*")
LONGEST: Final = 128
PLACEHOLDERS: Final = Grammar(
    {
        "event": ALONE,
        "name": ALONE,
        "header": HEADER,
        "query": PARAMETER,
        "body": PATH,
        "attribute": ATTRIBUTE,
    },
    re.compile(r"[A-Za-z0-9_.:-]+"),
)


FALLBACK_PLACEHOLDERS: Final = Grammar({"name": ALONE}, re.compile(r"[A-Za-z0-9_.:-]+"))


def require_kept(placeholders: Iterable[Placeholder]) -> None:
    """Raise Unfit for a header or parameter that is never stored: it has no value for any delivery."""
    for one in placeholders:
        is_header = one.kind == "header"
        if (is_header and not is_kept(one.where.lower())) or (
            one.kind == "query" and not is_kept_parameter(one.where)
        ):
            raise Unfit(
                quoted(str(one)),
                expected=f"a {'header' if is_header else 'query parameter'} that is kept",
                remedy="name another one: those that may hold a secret are never stored, nor are odd names",
            )


def _read_topic(text: str, grammar: Grammar = PLACEHOLDERS) -> str:
    try:
        template = grammar.compile(text)
    except BadPlaceholder as error:
        raise Unfit(quoted(error.got), expected=error.expected, remedy=error.remedy) from None
    require_kept(template.placeholders)
    if not text or len(text) > LONGEST or not _PLAIN.fullmatch(template.fixed):
        raise Unfit
    return text


TOPIC: Final = ValueType(
    f"a topic of letters, digits and _ . : -, at most {LONGEST} characters", "github.{event}", _read_topic
)


TOPIC_FALLBACK: Final = ValueType(
    f"a topic of letters, digits and _ . : -, at most {LONGEST} characters, in which {{name}} is the hook's",
    "{name}.other",
    lambda text: _read_topic(text, FALLBACK_PLACEHOLDERS),
)


def _read_topics(text: str) -> tuple[str, ...]:
    topics = tuple(item for item in (part.strip() for part in re.split(r"[,\n]", text)) if item)
    if not topics:
        raise Unfit
    for topic in topics:
        if len(topic) > LONGEST or not _PLAIN.fullmatch(topic):
            raise Unfit(quoted(topic))
    return topics


TOPICS: Final = ValueType(
    f"topics of letters, digits and _ . : -, at most {LONGEST} characters each, separated by commas",
    "github.push",
    _read_topics,
)


def _read_fixed_topic(text: str) -> str:
    if len(text) > LONGEST or not _PLAIN.fullmatch(text):
        raise Unfit
    return text


FIXED_TOPIC: Final = ValueType(
    f"a topic of letters, digits and _ . : -, at most {LONGEST} characters", "report.due", _read_fixed_topic
)
