"""The command of a handler: words with placeholders that an event fills in, never a shell's line."""

from __future__ import annotations

import re
import shlex
from typing import Final

from .value_types import Kind, Unfit, shown

KNOWN: Final = "{topic}, {id}, {hook}, {delivery}, {header:X}, {body:dotted.path}, {args:0} and {kwargs:name}"
_PLACEHOLDER = re.compile(
    r"\{(?:topic|id|hook|delivery|header:[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}"
    r"|(?:body|args|kwargs):[^{}.\s]+(?:\.[^{}.\s]+)*)\}"
)
_BRACED = re.compile(r"\{[^{}]*\}")


def _read_command(text: str) -> tuple[str, ...]:
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise Unfit(remedy=f"close what was opened ({error})") from None
    if not words:
        raise Unfit
    if "{" in words[0]:
        raise Unfit(shown(words[0]), expected="a fixed program", remedy="no sender may choose what is run")
    for word in words:
        for braced in _BRACED.findall(word):
            if not _PLACEHOLDER.fullmatch(braced):
                raise Unfit(shown(braced), expected="a known placeholder", remedy=f"known are {KNOWN}")
        if word in ("|", "||", "&&", ";", "&", "<", ">", ">>", "2>&1"):
            raise Unfit(
                shown(word),
                expected="one program and its arguments, no shell between them",
                remedy="put it into a script and name that",
            )
    return tuple(words)


COMMAND: Final = Kind(
    "a program and its arguments", "/usr/local/bin/deploy.sh {body:repository.name}", _read_command
)
