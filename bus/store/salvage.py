"""Reads what is readable of a damaged item, field by field; the rest becomes Unreadable.

Another program, a failing disk or a hand at work may have left anything. A whole page is decoded
at once as long as that succeeds, and only one that does not is read in this way. The layout of the
elements is that of bsonspec.org, version 1.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import bson
from bson.binary import USER_DEFINED_SUBTYPE, Binary
from bson.codec_options import CodecOptions, DatetimeConversion

from ..codec import OPTIONS
from ..safe_text import shown

READING: Final[CodecOptions[dict[str, Any]]] = OPTIONS.with_options(
    datetime_conversion=DatetimeConversion.DATETIME_AUTO
)
"""As the codec's, but a date beyond the year 9999, which Python cannot hold, stops nothing."""

FRAME: Final = ""
"""Under this name stands what cannot even be taken apart."""

_SIZES: Final[Mapping[int, int]] = {
    0x01: 8, 0x06: 0, 0x07: 12, 0x08: 1, 0x09: 8, 0x0A: 0, 0x10: 4, 0x11: 8, 0x12: 8, 0x13: 16,
    0x7F: 0, 0xFF: 0,
}  # fmt: skip
# the bytes of a value that the length in front of it does not count, by type
_PREFIXED: Final[Mapping[int, int]] = {
    0x02: 4, 0x0D: 4, 0x0E: 4, 0x03: 0, 0x04: 0, 0x0F: 0, 0x05: 5, 0x0C: 16,
}  # fmt: skip
_REGEX: Final = 0x0B
_SEAL: Final = b"monqbus: unreadable id\x00"


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A value that cannot be decoded: the *reason*, and its *element*, type byte first, without its name."""

    reason: str
    element: bytes = b""


class Salvaged(dict[str, Any]):
    """A document that was taken apart, so that something in it may be Unreadable."""


def salvage(data: Any) -> dict[str, Any]:
    """The fields of the BSON document *data*, each that cannot be decoded as Unreadable. Never raises."""
    if not isinstance(data, bytes):
        return Salvaged({FRAME: Unreadable(f"expected BSON, got {shown(data)}")})
    try:
        return bson.decode(data, READING)
    except Exception as error:  # noqa: BLE001 - whatever the decoder raises about it
        return _by_field(data, _short(error))


def _by_field(data: bytes, reason: str) -> dict[str, Any]:
    fields = Salvaged()
    place, end = 4, min(len(data), int.from_bytes(data[:4], "little")) - 1
    while place < end:
        kind, named = data[place], data.find(b"\0", place + 1, end)
        stop = _end_of(kind, data, named + 1) if named > 0 else None
        if stop is None or stop > end:
            break
        name = data[place + 1 : named].decode("utf-8", "backslashreplace")
        fields[name] = _value(bytes([kind]) + data[named + 1 : stop])
        place = stop
    if place != end or not _has_fault(fields):
        fields[FRAME] = Unreadable(reason)
    return fields


def _value(element: bytes) -> Any:
    try:
        return bson.decode(as_document("v", element), READING)["v"]
    except Exception as error:  # noqa: BLE001 - as above
        return Unreadable(_short(error), element)


def _end_of(kind: int, data: bytes, start: int) -> int | None:
    """Where the value of this *kind* that begins at *start* ends, if that can be told."""
    if kind in _SIZES:
        return start + _SIZES[kind]
    if kind in _PREFIXED:
        return start + _PREFIXED[kind] + int.from_bytes(data[start : start + 4], "little")
    if kind == _REGEX:
        pattern = data.find(b"\0", start)
        options = data.find(b"\0", pattern + 1) if pattern >= 0 else -1
        return options + 1 if options >= 0 else None
    return None


def _has_fault(fields: Mapping[str, Any]) -> bool:
    return any(isinstance(value, Unreadable) for value in fields.values())


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:120]


def as_document(name: str, element: bytes) -> bytes:
    """The BSON document whose only field has this *element*."""
    inner = element[:1] + name.encode() + b"\0" + element[1:]
    return (len(inner) + 5).to_bytes(4, "little") + inner + b"\0"


def seal(raw: bytes) -> Any:
    """The id under which an item is shown whose own id nobody can read; `opened` gives back *raw*."""
    return Binary(_SEAL + raw, USER_DEFINED_SUBTYPE)


def opened(item_id: Any) -> bytes | None:
    """What was sealed in *item_id*, None for any other id."""
    if isinstance(item_id, bytes) and item_id.startswith(_SEAL):
        return bytes(item_id[len(_SEAL) :])
    return None
