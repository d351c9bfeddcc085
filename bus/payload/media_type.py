"""Takes a Content-Type apart: the media type and its parameters. Pure, and never fails."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final, NamedTuple

LONGEST: Final = 1024
"""Characters of a type with its parameters; a longer one is as good as none."""

_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]{1,127}/[a-z0-9!#$&^_.+-]{1,127}")
_PARAMETER = re.compile(r";\s*([A-Za-z0-9!#$&^_.+*'-]+)\s*=\s*(?:\"((?:[^\"\\]|\\.)*)\"|([^\s;\"]+))")
_ESCAPED = re.compile(r"\\(.)")


class MediaType(NamedTuple):
    """A lower-case *name* such as ``text/xml``, "" for none, and its *parameters* by lower-case name."""

    name: str
    parameters: Mapping[str, str]


def parsed(content_type: str) -> MediaType:
    """*content_type* as RFC 9110 section 8.3.1 has it; of a parameter that comes twice the first."""
    return _parsed(content_type) if len(content_type) <= LONGEST else MediaType("", {})


@lru_cache(maxsize=256)
def _parsed(content_type: str) -> MediaType:
    name, mark, rest = content_type.partition(";")
    name = name.strip(" \t").lower()
    parameters: dict[str, str] = {}
    for match in _PARAMETER.finditer(mark + rest):
        value = match[3] if match[2] is None else _ESCAPED.sub(r"\1", match[2])
        parameters.setdefault(match[1].lower(), value)
    return MediaType(name if _TYPE.fullmatch(name) else "", parameters)
