"""Payloads: what the bytes of a body mean, by its type. Pure; of no bytes another error than BadPayload.

::

    kinds       JSON, form, multipart, XML, text or binary, and the value of each
    compressed  gzip, within bounds
    cloudevents one, or a batch of them, out of a request
"""

from .compressed import ENCODINGS, inflated, nothing
from .kinds import GUESSED_KINDS, Kind, decode, is_json, kind_of, tree
from .refusal import BadPayload

__all__ = [
    "ENCODINGS",
    "GUESSED_KINDS",
    "BadPayload",
    "Kind",
    "decode",
    "inflated",
    "is_json",
    "kind_of",
    "nothing",
    "tree",
]
