"""Records of the delivery log as documents, the same for both stores; what is read may hold anything."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from bson import ObjectId

from ..delivery_record import OUTCOMES, REFUSED, Delivery
from .documents import EPOCH

_FIELDS: Final[Mapping[str, type | tuple[type, ...]]] = {
    "received": datetime, "outcome": str, "status": int, "hook": str, "method": str, "path": str, "peer": str,
    "code": str, "reason": str, "seconds": (int, float), "size": int, "request": str, "delivery": str,
    "body": bytes, "event_id": ObjectId, "omitted": int,
}  # fmt: skip
ROOM_OF_RECORD: Final = 512
"""About how many bytes a record takes beside its texts."""


def record_to_document(one: Delivery) -> dict[str, Any]:
    """The document of *one*; what says nothing is left out, and what its event has."""
    document: dict[str, Any] = {"_id": one.id, "by_stranger": one.is_by_stranger}
    for name in _FIELDS:
        if value := getattr(one, name):
            document[name] = value
    if one.headers:  # as pairs: a header may have a name that a key in a document may not
        document["headers"] = [[name, value] for name, value in one.headers.items()]
    if one.parameters:
        document["parameters"] = one.parameters
    document["room"] = room_of(one)
    return document


def record_from_document(document: Mapping[str, Any]) -> Delivery:
    """The record of *document*; a field of a wrong type reads as absent."""
    found: dict[str, Any] = {
        name: value for name, kind in _FIELDS.items() if isinstance(value := document.get(name), kind)
    }
    found.setdefault("received", EPOCH)
    found.setdefault("status", 0)
    if found.get("outcome") not in OUTCOMES:
        found["outcome"] = REFUSED
    pairs, names = document.get("headers"), document.get("parameters")
    return Delivery(
        id=document["_id"],
        headers={
            pair[0]: pair[1]
            for pair in (pairs if isinstance(pairs, list) else ())
            if isinstance(pair, list) and [str, str] == [type(part) for part in pair]
        },
        parameters=[name for name in (names if isinstance(names, list) else ()) if isinstance(name, str)],
        **found,
    )


def room_of(one: Delivery) -> int:
    """About how many bytes *one* takes in a store."""
    texts = sum(len(name) + len(value) for name, value in one.headers.items())
    return ROOM_OF_RECORD + len(one.body) + texts + sum(map(len, one.parameters)) + len(one.path)
