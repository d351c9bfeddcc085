"""The command of a handler: words with placeholders that an event fills in, never a shell's line."""

from __future__ import annotations

import shlex
from typing import Final

from ..placeholders import ALONE, ATTRIBUTE, HEADER, ITEM, MEMBER, PARAMETER, PATH, BadPlaceholder, Grammar
from .topics import require_kept
from .value_types import Unfit, ValueType, quoted

PLACEHOLDERS: Final = Grammar(
    {
        **dict.fromkeys(("topic", "id", "hook", "delivery"), ALONE),
        "header": HEADER,
        "query": PARAMETER,
        "body": PATH,
        "attribute": ATTRIBUTE,
        "args": ITEM,
        "kwargs": MEMBER,
    }
)


def _read_command(text: str) -> tuple[str, ...]:
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise Unfit(remedy=f"close what was opened ({error})") from None
    if not words:
        return ()
    if "{" in words[0]:
        raise Unfit(quoted(words[0]), expected="a fixed program", remedy="no sender may choose what is run")
    for word in words:
        _check_placeholders(word)
        if word in ("|", "||", "&&", ";", "&", "<", ">", ">>", "2>&1"):
            raise Unfit(
                quoted(word),
                expected="one program and its arguments, no shell between them",
                remedy="put it into a script and name that",
            )
    return tuple(words)


def _check_placeholders(word: str) -> None:
    try:
        template = PLACEHOLDERS.compile(word)
    except BadPlaceholder as error:
        raise Unfit(quoted(error.got), expected=error.expected, remedy=error.remedy) from None
    require_kept(template.placeholders)
    for first in template.parts[:1]:
        if not isinstance(first, str) and (first.default or "").startswith("-"):
            raise Unfit(
                quoted(f"{{{first.name}|{first.default}}}"),
                expected="a default that makes its argument no option",
                remedy="write the option in front of the placeholder",
            )


COMMAND: Final = ValueType(
    "a program and its arguments", "/usr/local/bin/deploy.sh {body:repository.name}", _read_command
)
