"""Where a hook's deliveries have their id: text with placeholders that a request fills in."""

from __future__ import annotations

import re
from typing import Final

from ..placeholders import HEADER, PARAMETER, PATH, BadPlaceholder, Grammar
from .topics import require_kept
from .value_types import Unfit, ValueType, quoted

LONGEST: Final = 256
PLACEHOLDERS: Final = Grammar({"header": HEADER, "query": PARAMETER, "body": PATH})
_FIXED: Final = re.compile(r"[\x20-\x7e]*")


def _read(text: str) -> str:
    try:
        template = PLACEHOLDERS.compile(text)
    except BadPlaceholder as error:
        raise Unfit(quoted(error.got), expected=error.expected, remedy=error.remedy) from None
    require_kept(template.placeholders)
    if text and (not template.placeholders or len(text) > LONGEST or not _FIXED.fullmatch(template.fixed)):
        raise Unfit
    return text


DELIVERY_ID: Final = ValueType(
    "a placeholder such as {header:X} or {body:id}, or nothing", "{header:X-Delivery-Id}", _read
)
