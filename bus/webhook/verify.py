"""Verifies the signature of a delivery, and its age. Pure: no clock, no I/O.

Headers are hostile: whatever they hold, the answer is None or Mismatch, never another exception.
Only bytes are compared, in constant time, against every secret; a candidate is never decoded.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from .presets import Preset

SLICE_BYTES: Final = 256 * 1024
MOST_ITEMS: Final = 64
"""In the list of one header: a sender who changes its key sends two signatures, some of them twice."""

_WHOLE = re.compile(r"[0-9]{1,15}")
_HOLE = re.compile(r"\{(id|timestamp|body)\}")


class Mismatch(Exception):
    """The delivery is not proven. *reason* is one word for the log; a sender is never told it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Claim(NamedTuple):
    """What a delivery's headers claim, as far as they can be judged without its body."""

    preset: Preset
    keys: tuple[bytes, ...] = ()
    candidates: tuple[bytes, ...] = ()
    moment: str = ""
    delivery: str = ""

    def check(self, body: bytes, now: float, pause: Callable[[], object] = lambda: None) -> None:
        """Return when *body* bears the claim out at *now* (Unix seconds), else raise Mismatch.

        Signature first, age second: a stale but true delivery is told apart, in the log, from a forged
        one. *pause* is called after each SLICE_BYTES of a long body.
        """
        if self.preset.scheme != "hmac":
            return
        signed = self._signed(body)
        _compare([_mac(self.preset, key, signed, pause) for key in self.keys], self.candidates)
        _check_age(self.preset, self.moment, now)

    def _signed(self, body: bytes) -> list[bytes]:
        if self.preset.signed == "{body}":
            return [body]
        values = {"id": _raw(self.delivery), "timestamp": _raw(self.moment), "body": body}
        words = _HOLE.split(self.preset.signed)
        return [values[word] if odd % 2 else word.encode() for odd, word in enumerate(words)]


def claim_of(preset: Preset, secrets: tuple[str, ...], headers: Mapping[str, str]) -> Claim:
    """The claim in *headers*, which have lower-case names; a token is proven by it.

    Raises Mismatch when no body could bear it out: then there is no need to read one.
    """
    if preset.scheme == "none":
        return Claim(preset)
    keys = tuple(key for key in (_key(preset, secret) for secret in secrets) if key)
    if not keys:
        raise Mismatch("no_secret")
    given = headers.get(preset.signature)
    if not given:
        raise Mismatch("missing")
    candidates = tuple(_candidates(preset, given))
    if not candidates:
        raise Mismatch("malformed")
    if preset.scheme == "token":
        _compare(keys, candidates)
        return Claim(preset)
    moment = _at(preset, preset.timestamp, headers)
    if preset.timestamp and not _WHOLE.fullmatch(moment):
        raise Mismatch("malformed")
    delivery = _at(preset, preset.delivery, headers) if "{id}" in preset.signed else ""
    return Claim(preset, keys, candidates, moment, delivery)


def verify(
    preset: Preset, secrets: tuple[str, ...], headers: Mapping[str, str], body: bytes, now: float
) -> None:
    """Return when one of *secrets* proves the delivery at *now* (Unix seconds), else raise Mismatch."""
    claim_of(preset, secrets, headers).check(body, now)


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
    if not preset.separator:
        return [given.strip()]
    items = given.split(preset.separator, MOST_ITEMS)
    if len(items) > MOST_ITEMS:
        raise Mismatch("malformed")
    return [item.strip() for item in items]


def _compare(expected: Sequence[bytes], candidates: Sequence[bytes]) -> None:
    matches = [hmac.compare_digest(mine, theirs) for mine in expected for theirs in candidates]
    if not any(matches):  # all of them were compared: time does not tell which secret is near
        raise Mismatch("wrong")


def _mac(preset: Preset, key: bytes, signed: list[bytes], pause: Callable[[], object]) -> bytes:
    if sum(map(len, signed)) <= SLICE_BYTES:
        mac = hmac.digest(key, b"".join(signed), preset.algorithm)
    else:
        mac = _slowly(hmac.new(key, digestmod=preset.algorithm), signed, pause)
    return base64.b64encode(mac) if preset.encoding == "base64" else mac.hex().encode("ascii")


def _slowly(mac: hmac.HMAC, signed: list[bytes], pause: Callable[[], object]) -> bytes:
    for part in signed:
        for start in range(0, len(part), SLICE_BYTES):
            mac.update(memoryview(part)[start : start + SLICE_BYTES])
            pause()
    return mac.digest()


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
    then = int(moment) / (1000 if preset.unit == "ms" else 1)
    if abs(now - then) > preset.tolerance:
        raise Mismatch("stale")


def _raw(text: str) -> bytes:
    """The bytes as they came: WSGI hands headers over as Latin-1."""
    return text.encode("latin-1", "replace")
