"""The topic of a hook: text with placeholders that a request fills in."""

from __future__ import annotations

import re
from typing import Final

from .values import Kind, Unfit, shown

_PLACEHOLDER = re.compile(
    r"\{(?:event|name|header:[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}|body:[^{}.\s]+(?:\.[^{}.\s]+)*)\}"
)
_BRACED = re.compile(r"\{[^{}]*\}")
_PLAIN = re.compile(r"[^\s{}]*")
KNOWN: Final = "{event}, {name}, {header:X} and {body:dotted.path}"


def _read_topic(text: str) -> str:
    for braced in _BRACED.findall(text):
        if not _PLACEHOLDER.fullmatch(braced):
            raise Unfit(shown(braced), expected="a known placeholder", remedy=f"known are {KNOWN}")
    plain = _PLACEHOLDER.sub("", text)
    if "{" in plain or "}" in plain:
        raise Unfit(expected="a closing brace for every opening one", remedy=f"placeholders are {KNOWN}")
    if not text or len(text) > 200 or not _PLAIN.fullmatch(plain):
        raise Unfit
    return text


TOPIC: Final = Kind("a topic without spaces, at most 200 characters", "github.{event}", _read_topic)
