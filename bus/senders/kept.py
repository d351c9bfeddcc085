"""Which headers and parameters of a delivery are stored with it: those that may hold a secret are not."""

from __future__ import annotations

import re

from ..safe_text import cached_if_short

_SECRET = re.compile(r"authorization|cookie|token|secret|signature|api[-_]?key|password")
_SECRET_PARAMETER = re.compile(rf"{_SECRET.pattern}|^(?:key|sig|auth|pass|pwd)$")
_STORABLE = re.compile(r"[a-z0-9-]+")  # a "$" or "." in a key is not for every database


@cached_if_short(1024)
def is_kept(header: str) -> bool:
    """Whether a header of this lower-case name is stored with its event, if it does not carry the proof.

    GitHub once sent the hook's secret in one.
    """
    return bool(_STORABLE.fullmatch(header)) and not _SECRET.search(header)


@cached_if_short(1024)
def is_kept_parameter(name: str) -> bool:
    """Whether a parameter of the query, of any case, is stored with its event."""
    return not _SECRET_PARAMETER.search(name.lower())
