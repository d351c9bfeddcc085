"""What a handler gives to a task: its arguments as JSON, with placeholders that an event fills in."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from .. import model
from ..placeholders import BadPlaceholder
from ..strict_json import BadJson, parse
from .commands import PLACEHOLDERS
from .topics import require_kept
from .value_types import Unfit, ValueType, quoted

_KEYWORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")


def _read_task(text: str) -> str:
    if text and not model.TASK_NAME.fullmatch(text):
        raise Unfit
    return text


def _reader(kind: type[Any]) -> Callable[[str], tuple[Any, ...]]:
    """Reads JSON of this *kind*: a list as a tuple, an object as pairs."""

    def read(text: str) -> tuple[Any, ...]:
        if not text:
            return ()
        try:
            value = parse(text.encode())
        except BadJson as error:
            raise Unfit(f"something else ({error})".replace("body: ", "", 1)) from None
        except UnicodeEncodeError:
            raise Unfit("half of a character") from None
        if not isinstance(value, kind):
            raise Unfit
        for name in value if isinstance(value, dict) else ():
            if not _KEYWORD.fullmatch(name):
                raise Unfit(quoted(name), expected="names of arguments as keys", remedy="name an argument")
        _check(value)
        return tuple(value.items() if isinstance(value, dict) else value)

    return read


def _check(value: Any) -> None:
    """Raise Unfit for a text in *value* that is no template, at whatever depth."""
    if isinstance(value, str):
        try:
            template = PLACEHOLDERS.compile(value)
        except BadPlaceholder as error:
            raise Unfit(quoted(error.got), expected=error.expected, remedy=error.remedy) from None
        require_kept(template.placeholders)
    elif isinstance(value, dict):
        for text in value:
            if "{" in text or "}" in text:
                raise Unfit(quoted(text), expected="keys without placeholders", remedy="write the key out")
        for one in value.values():
            _check(one)
    elif isinstance(value, list):
        for one in value:
            _check(one)


TASK: Final = ValueType("the name of a task", "mail.send_mail", _read_task)
ARGS: Final = ValueType(
    "a list in JSON, texts in double quotes", '["{body:pusher.email}", 3]', _reader(list), is_language=True
)
KWARGS: Final = ValueType(
    "an object in JSON, texts in double quotes", '{"ref": "{body:ref}"}', _reader(dict), is_language=True
)
