"""How the threshold of a circuit breaker is written."""

from __future__ import annotations

from typing import Final

from ..breaker import EXAMPLE, EXPECTED, threshold_of
from .value_types import Unfit, ValueType


def _read(text: str) -> str:
    if text:
        try:
            threshold_of(text)
        except ValueError as error:
            raise Unfit from error
    return text


OPEN_AFTER: Final = ValueType(EXPECTED, EXAMPLE, _read)
