"""Did the sender who knows the secret send exactly these bytes, and lately? Pure: no clock, no I/O.

Headers are hostile: whatever they hold, the answer is None or Mismatch, never another exception.
Only bytes are compared, in constant time, against every secret; a candidate is never decoded.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Iterator, Mapping

from .presets import Preset

_WHOLE = re.compile(r"[0-9]{1,15}")
_HOLE = re.compile(r"\{(id|timestamp|body)\}")


class Mismatch(Exception):
    """The delivery is not proven. *reason* is one word for the log; a sender is never told it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def verify(
    preset: Preset, secrets: tuple[str, ...], headers: Mapping[str, str], body: bytes, now: float
) -> None:
    """Return when one of *secrets* proves the delivery at *now* (Unix seconds), else raise Mismatch.

    *headers* have lower-case names. Signature first, age second: a stale but true delivery is told
    apart, in the log, from a forged one.
    """
    if preset.scheme == "none":
        return
    keys = [key for key in (_key(preset, secret) for secret in secrets) if key]
    if not keys:
        raise Mismatch("no_secret")
    given = headers.get(preset.signature)
    if not given:
        raise Mismatch("missing")
    candidates = list(_candidates(preset, given))
    if not candidates:
        raise Mismatch("malformed")
    if preset.scheme == "token":
        _compare(keys, candidates)
        return
    moment = _at(preset, preset.timestamp, headers)
    signed = _signed(preset, moment, headers, body)
    _compare([_mac(preset, key, signed) for key in keys], candidates)
    _check_age(preset, moment, now)


def _key(preset: Preset, secret: str) -> bytes:
    if preset.key == "raw":
        return secret.encode("utf-8")
    try:
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except (ValueError, binascii.Error):  # ValueError: not ASCII
        return b""


def _candidates(preset: Preset, given: str) -> Iterator[bytes]:
    """The signatures in the header, without prefix. Other schemes' items in the list are passed over."""
    prefix = preset.prefix.lower()
    is_hex = preset.scheme == "hmac" and preset.encoding == "hex"
    for item in _items(preset, given):
        if item[: len(prefix)].lower() == prefix:
            candidate = _raw(item[len(prefix) :].strip())
            if candidate:
                yield candidate.lower() if is_hex else candidate


def _items(preset: Preset, given: str) -> list[str]:
    items = given.split(preset.separator) if preset.separator else [given]
    return [item.strip() for item in items]


def _compare(expected: list[bytes], candidates: list[bytes]) -> None:
    matches = [hmac.compare_digest(mine, theirs) for mine in expected for theirs in candidates]
    if not any(matches):  # all of them were compared: time does not tell which secret is near
        raise Mismatch("wrong")


def _mac(preset: Preset, key: bytes, signed: bytes) -> bytes:
    mac = hmac.digest(key, signed, preset.algorithm)
    return base64.b64encode(mac) if preset.encoding == "base64" else mac.hex().encode("ascii")


def _signed(preset: Preset, moment: str, headers: Mapping[str, str], body: bytes) -> bytes:
    if preset.signed == "{body}":
        return body
    values = {
        "id": _raw(_at(preset, preset.delivery, headers)) if "{id}" in preset.signed else b"",
        "timestamp": _raw(moment),
        "body": body,
    }
    words = _HOLE.split(preset.signed)
    return b"".join(values[word] if odd % 2 else word.encode() for odd, word in enumerate(words))


def _at(preset: Preset, place: str, headers: Mapping[str, str]) -> str:
    """The value at *place*, "" for no place. Raises Mismatch when it should be there and is not."""
    if not place:
        return ""
    kind, _, name = place.partition(":")
    if kind == "header":
        value = headers.get(name, "")
    else:
        items = _items(preset, headers.get(preset.signature, ""))
        value = next((item[len(name) :] for item in items if item.startswith(name)), "")
    if not value:
        raise Mismatch("missing")
    return value


def _check_age(preset: Preset, moment: str, now: float) -> None:
    if not preset.timestamp:
        return
    if not _WHOLE.fullmatch(moment):
        raise Mismatch("malformed")
    then = int(moment) / (1000 if preset.unit == "ms" else 1)
    if abs(now - then) > preset.tolerance:
        raise Mismatch("stale")


def _raw(text: str) -> bytes:
    """The bytes as they came: WSGI hands headers over as Latin-1."""
    return text.encode("latin-1", "replace")
