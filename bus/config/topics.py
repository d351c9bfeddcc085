"""The topic of a hook: text with placeholders that a request fills in."""

from __future__ import annotations

import re
from typing import Final

from ..placeholders import ALONE, HEADER, PATH, BadPlaceholder, Grammar
from .value_types import Unfit, ValueType, quoted

_PLAIN = re.compile(r"[A-Za-z0-9_.:-]*")
LONGEST: Final = 128
PLACEHOLDERS: Final = Grammar(
    {"event": ALONE, "name": ALONE, "header": HEADER, "body": PATH}, re.compile(r"[A-Za-z0-9_.:-]+")
)


def _read_topic(text: str) -> str:
    try:
        template = PLACEHOLDERS.compile(text)
    except BadPlaceholder as error:
        raise Unfit(quoted(error.got), expected=error.expected, remedy=error.remedy) from None
    if not text or len(text) > LONGEST or not _PLAIN.fullmatch(template.fixed):
        raise Unfit
    return text


TOPIC: Final = ValueType(
    f"a topic of letters, digits and _ . : -, at most {LONGEST} characters", "github.{event}", _read_topic
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
