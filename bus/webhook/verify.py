"""Verifies the signature of a delivery, and its age, by the row of its sender. Pure: no clock, no I/O.

Requests are hostile: whatever they hold, the answer is None or Mismatch, never another exception.
Only bytes are compared, in constant time, against every secret; a candidate is never decoded.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from ..placeholders import Placeholder
from ..senders import Sender
from .request import Request, raw

SLICE_BYTES: Final = 256 * 1024
MOST_ITEMS: Final = 64
"""In the list of one header: a sender who changes its key sends two signatures, some of them twice."""

_WHOLE = re.compile(r"[0-9]{1,15}")


class Mismatch(Exception):
    """The delivery is not proven. *reason* is one word for the log; a sender is never told it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Claim(NamedTuple):
    """What a delivery's head claims, as far as it can be judged without the body."""

    sender: Sender
    keys: tuple[bytes, ...] = ()
    candidates: tuple[bytes, ...] = ()
    moment: str = ""
    delivery: str = ""

    def check(self, request: Request, pause: Callable[[], object] = lambda: None) -> None:
        """Return when *request*, whole now, bears the claim out, else raise Mismatch.

        *pause* is called after each SLICE_BYTES of a long body.
        """
        if self.sender.scheme != "hmac":
            return
        signed = self._signed(request)
        _compare([_mac(self.sender, key, signed, pause) for key in self.keys], self.candidates)
        _check_age(self.sender, self.moment, request.received)

    def _signed(self, request: Request) -> list[bytes]:
        if self.sender.signed == "{body}":
            return [request.body]
        parts = self.sender.content.parts
        return [part.encode() if isinstance(part, str) else self._value(part, request) for part in parts]

    def _value(self, part: Placeholder, request: Request) -> bytes:
        if part.kind == "body":
            return request.body
        if part.kind == "form":
            return request.sorted_form()
        own = {"id": self.delivery, "timestamp": self.moment, "method": request.method, "url": request.url}
        return raw(own[part.kind] if part.kind in own else request.at(part.name))


def claim_of(sender: Sender, secrets: tuple[str, ...], request: Request) -> Claim:
    """The claim of *request*, of which the head alone need be there; a token is proven by it.

    Raises Mismatch when no body could bear it out: then there is no need to read one.
    """
    if sender.scheme == "none":
        return Claim(sender)
    keys = tuple(key for key in (_key(sender, secret) for secret in secrets) if key)
    if not keys:
        raise Mismatch("no_secret")
    # nearly all proofs are in a header
    given = request.headers.get(sender.header, "") if sender.header else request.at(sender.signature)
    if not given:
        raise Mismatch("missing")
    candidates = tuple(_candidates(sender, given))
    if not candidates:
        raise Mismatch("malformed")
    if sender.scheme == "token":
        _compare(keys, candidates)
        return Claim(sender)
    if not sender.timestamp:
        moment = ""
    elif not _WHOLE.fullmatch(moment := _at(sender, sender.timestamp, given, request)):
        raise Mismatch("malformed")
    _check_age(sender, moment, request.received)
    delivery = _at(sender, sender.delivery[0], given, request) if "{id}" in sender.signed else ""
    return Claim(sender, keys, candidates, moment, delivery)


def verify(sender: Sender, secrets: tuple[str, ...], request: Request) -> None:
    """Return when one of *secrets* proves *request* at the time it was received, else raise Mismatch."""
    claim_of(sender, secrets, request).check(request)


def _key(sender: Sender, secret: str) -> bytes:
    if sender.key == "raw":
        return secret.encode("utf-8")
    try:
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except (ValueError, binascii.Error):  # ValueError: not ASCII
        return b""


def _candidates(sender: Sender, given: str) -> Iterator[bytes]:
    """The signatures in the header, without prefix. Other schemes' items in the list are passed over."""
    prefix = sender.prefix.lower()
    is_hex = sender.scheme == "hmac" and sender.encoding == "hex"
    for item in _items(sender, given):
        if item[: len(prefix)].lower() == prefix:
            candidate = raw(item[len(prefix) :].strip())
            if candidate:
                yield candidate.lower() if is_hex else candidate


def _items(sender: Sender, given: str) -> list[str]:
    if not sender.separator:
        return [given.strip()]
    items = given.split(sender.separator, MOST_ITEMS)
    if len(items) > MOST_ITEMS:
        raise Mismatch("malformed")
    return [item.strip() for item in items]


def _compare(expected: Sequence[bytes], candidates: Sequence[bytes]) -> None:
    matches = [hmac.compare_digest(mine, theirs) for mine in expected for theirs in candidates]
    if not any(matches):  # all of them were compared: time does not tell which secret is near
        raise Mismatch("wrong")


def _mac(sender: Sender, key: bytes, signed: list[bytes], pause: Callable[[], object]) -> bytes:
    if sum(map(len, signed)) <= SLICE_BYTES:
        mac = hmac.digest(key, b"".join(signed), sender.algorithm)
    else:
        mac = _slowly(hmac.new(key, digestmod=sender.algorithm), signed, pause)
    return base64.b64encode(mac) if sender.encoding == "base64" else mac.hex().encode("ascii")


def _slowly(mac: hmac.HMAC, signed: list[bytes], pause: Callable[[], object]) -> bytes:
    for part in signed:
        for start in range(0, len(part), SLICE_BYTES):
            mac.update(memoryview(part)[start : start + SLICE_BYTES])
            pause()
    return mac.digest()


def _at(sender: Sender, place: str, given: str, request: Request) -> str:
    """The value at *place*, "" for no place. Raises Mismatch when it should be there and is not."""
    if not place:
        return ""
    kind, _, name = place.partition(":")
    if kind == "item":
        items = _items(sender, given)
        value = next((item[len(name) :] for item in items if item.startswith(name)), "")
    else:
        value = request.at(place)
    if not value:
        raise Mismatch("missing")
    return value


def _check_age(sender: Sender, moment: str, now: float) -> None:
    if not sender.timestamp:
        return
    then = int(moment) / (1000 if sender.unit == "ms" else 1)
    if abs(now - then) > sender.tolerance:
        raise Mismatch("stale")
