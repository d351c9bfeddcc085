"""Reads documents of any content, with ids of any type.

The driver decodes a page at once, so one document that it cannot decode would hide all others. Such a
page is asked for again undecoded, and taken apart. An `_id` that cannot be read, or not be compared
in Python, is sealed: hashable, storable, and opened again when the server is asked for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import bson
from bson import ObjectId, Timestamp
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo.collection import Collection
from pymongo.errors import PyMongoError

from ...process.identity import ProcessIdentity
from ..salvage import FRAME, READING, Unreadable, as_document, opened, salvage, seal

Document = dict[str, Any]
Find = Callable[[Collection[Any]], Iterable[Any]]

STRING: Final = 2  # the type byte
RAW: Final[CodecOptions[Any]] = CodecOptions(document_class=RawBSONDocument)
# exact types: True is equal to 1, and would be taken for it
PLAIN: Final = frozenset({ObjectId, str, int, bson.Int64, bytes, bson.Binary, UUID, datetime, Timestamp})
PLAIN_BSON: Final = ("objectId", "string", "int", "long", "double", "binData", "date", "timestamp")
# how BSON types compare (mongodb.com/docs/manual/reference/bson-type-comparison-order), by their numbers
_ORDER: Final = (
    (-1,), (6, 10), (1, 16, 18, 19), (2, 14), (3,), (4,), (5,), (7,), (8,), (9,), (17,), (11,), (127,),
)  # fmt: skip


def read(collection: Collection[Document], find: Find) -> list[Document]:
    """What *find* finds in *collection*; of what cannot be decoded the fields that can, others Unreadable."""
    try:
        return list(find(collection))
    except PyMongoError:
        raise
    except Exception:  # noqa: BLE001 - whatever the decoder raises about one of them
        undecoded = find(collection.with_options(codec_options=RAW))
        return [taken_apart(found.raw) for found in undecoded]


def taken_apart(raw: bytes) -> Document:
    """The document of *raw*, its `_id` sealed where it cannot be read."""
    document = salvage(raw)
    given = document.get("_id")
    if isinstance(given, Unreadable):
        document["_id"] = seal(given.element)
    elif "_id" not in document and FRAME in document:
        document["_id"] = None  # nothing that could be asked for
    return document


def id_of(document: Document) -> Any:
    """The id under which others know *document*: its `_id`, sealed where that is no plain value."""
    given = document["_id"]
    is_plain = type(given) in PLAIN or (type(given) is float and math.isfinite(given))
    return given if is_plain else seal(_element(given))


def identity_of(value: Any) -> ProcessIdentity | None:
    """What *value* says of a process; a newer version may say more, nonsense says nothing."""
    try:
        identity = ProcessIdentity(*(value[name] for name in ProcessIdentity._fields))
    except (KeyError, TypeError):
        return None
    is_sound = type(identity.pid) is int and type(identity.start) is int and 0 < identity.pid < 2**31
    return identity if is_sound else None


def texts_of(value: Any) -> list[str]:
    """The texts under which an index has *value*: itself, or the elements of an array."""
    values = value if isinstance(value, list) else [value]
    return [text for text in values if type(text) is str]


def is_text(value: Any) -> bool:
    """Whether *value* is text to the server, readable or sealed."""
    return type(value) is str or (opened(value) or b"\0")[0] == STRING


def is_(operator: str, item_id: Any) -> Any:
    """The condition of `_id` that compares it to *item_id*, sealed or not, as ``{"$lt": ...}``."""
    element = opened(item_id)
    return {operator: item_id} if element is None else RawBSONDocument(as_document(operator, element))


def one_of(ids: Sequence[Any], name: str = "_id") -> Document:
    """The condition that `_id`, or the field *name*, is one of *ids*, sealed or not."""
    sealed = [{name: is_("$eq", item_id)} for item_id in ids if opened(item_id) is not None]
    plain = {name: {"$in": [item_id for item_id in ids if opened(item_id) is None]}}
    return {"$or": [plain, *sealed]} if sealed else plain


def lower_types(item_id: Any) -> list[int]:
    """The BSON types that are lower than that of *item_id*: ``$lt`` passes over them."""
    kind = _element(item_id)[0]
    place = next((n for n, kinds in enumerate(_ORDER) if (kind if kind < 255 else -1) in kinds), 0)
    return [number for kinds in _ORDER[:place] for number in kinds]


def _element(value: Any) -> bytes:
    element = opened(value)
    if element is not None:
        return element
    data = bson.encode({"v": value}, codec_options=READING)
    return data[4:5] + data[7:-1]
