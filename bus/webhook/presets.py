"""The table of presets: how each kind of sender signs its deliveries.

A *place* says where a value stands: ``header:NAME`` in a header, ``item:PREFIX`` in the list inside
the signature header (``t=1700000000,v1=…``), ``body:dotted.path`` in the JSON body, "" nowhere.
Sources of the rows: the senders' own documentation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from ..config import Hook

Scheme = Literal["none", "token", "hmac"]
Encoding = Literal["hex", "base64"]
KeyForm = Literal["raw", "whsec"]
Unit = Literal["s", "ms"]


@dataclass(frozen=True, slots=True)
class Preset:
    """One sender's way of proving itself, and where it puts the delivery's id and the event's type.

    `signed` is the template of the signed bytes. Where it has no `{id}`, somebody who
    captured a delivery can send it again under another id or type. `key` "whsec" means: base64 after
    ``whsec_``; with "raw" the secret's own bytes are the key, ``whsec_`` or not.
    """

    scheme: Scheme
    signature: str = ""
    prefix: str = ""
    separator: str = ""
    algorithm: str = "sha256"
    encoding: Encoding = "hex"
    key: KeyForm = "raw"
    signed: str = "{body}"
    timestamp: str = ""
    unit: Unit = "s"
    tolerance: float = 300.0
    delivery: str = ""
    event: str = ""


PRESETS: Final[Mapping[str, Preset]] = {
    "none": Preset(scheme="none"),
    "token": Preset(scheme="token", signature="authorization", prefix="Bearer "),
    "github": Preset(
        scheme="hmac",
        signature="x-hub-signature-256",
        prefix="sha256=",
        delivery="header:x-github-delivery",
        event="header:x-github-event",
    ),
    "standard": Preset(
        scheme="hmac",
        signature="webhook-signature",
        prefix="v1,",
        separator=" ",
        encoding="base64",
        key="whsec",
        signed="{id}.{timestamp}.{body}",
        timestamp="header:webhook-timestamp",
        delivery="header:webhook-id",
        event="body:type",
    ),
}


def preset_of(hook: Hook) -> Preset:
    """The row that *hook* names, with the hook's own header and tolerance put in.

    Raises KeyError for a name that is not in the table, which a checked configuration never holds.
    """
    return _adapted(hook.verify, hook.header.lower(), hook.tolerance)


@lru_cache(maxsize=256)
def _adapted(name: str, header: str, tolerance: float) -> Preset:
    row = replace(PRESETS[name], tolerance=tolerance)
    if row.scheme == "token" and header != row.signature:
        return replace(row, signature=header, prefix="")  # "Bearer" belongs to Authorization alone
    return row
