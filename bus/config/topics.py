"""The topic of a hook: text with placeholders that a request fills in."""

from __future__ import annotations

import re
from typing import Final

from .value_types import Kind, Unfit, shown

_PLACEHOLDER = re.compile(
    r"\{(?:event|name|header:[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}|body:[^{}.\s]+(?:\.[^{}.\s]+)*)\}"
)
_BRACED = re.compile(r"\{[^{}]*\}")
_PLAIN = re.compile(r"[A-Za-z0-9_.:-]*")
LONGEST: Final = 128
KNOWN: Final = "{event}, {name}, {header:X} and {body:dotted.path}"


def _read_topic(text: str) -> str:
    for braced in _BRACED.findall(text):
        if not _PLACEHOLDER.fullmatch(braced):
            raise Unfit(shown(braced), expected="a known placeholder", remedy=f"known are {KNOWN}")
    plain = _PLACEHOLDER.sub("", text)
    if "{" in plain or "}" in plain:
        raise Unfit(expected="a closing brace for every opening one", remedy=f"placeholders are {KNOWN}")
    if not text or len(text) > LONGEST or not _PLAIN.fullmatch(plain):
        raise Unfit
    return text


TOPIC: Final = Kind(
    f"a topic of letters, digits and _ . : -, at most {LONGEST} characters", "github.{event}", _read_topic
)


def _read_topics(text: str) -> tuple[str, ...]:
    topics = tuple(item for item in (part.strip() for part in re.split(r"[,\n]", text)) if item)
    if not topics:
        raise Unfit
    for topic in topics:
        if len(topic) > LONGEST or not _PLAIN.fullmatch(topic):
            raise Unfit(shown(topic))
    return topics


TOPICS: Final = Kind(
    f"topics of letters, digits and _ . : -, at most {LONGEST} characters each, separated by commas",
    "github.push",
    _read_topics,
)
