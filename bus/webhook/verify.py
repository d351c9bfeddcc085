"""Verifies the proof of a delivery, and its age, by the row of its sender. Pure: no clock, no I/O.

Requests are hostile: whatever they hold, the answer is None or Mismatch, never another exception.
Only bytes are compared, in constant time, against every secret; a candidate for an HMAC is never decoded.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from ..senders import Proof, Sender
from ..senders.keys import ring
from ..senders.moments import seconds
from . import signed
from .request import Request, raw
from .signed import Mismatch

SLICE_BYTES: Final = 256 * 1024
MOST_ITEMS: Final = 64
"""In the list of one header: a sender who changes its key sends two signatures, some of them twice."""
MOST_PUBLIC: Final = 8
"""Candidates that are tried with a public key: each costs a tenth of a millisecond."""
LONGEST_CANDIDATE: Final = 1024
"""Characters; a longer one is no signature, and is not decoded."""

Pause = Callable[[], object]

__all__ = ["MOST_ITEMS", "SLICE_BYTES", "Claim", "Mismatch", "claim_of", "verify"]


class Line(NamedTuple):
    """One way in which a delivery may be proven, as far as its head says; without candidates it does not."""

    way: Proof
    keys: tuple[Any, ...]
    candidates: tuple[bytes, ...] = ()
    moment: str = ""
    delivery: str = ""

    def check(self, request: Request, pause: Pause) -> None:
        """Return when the whole *request* is proven in this way, else raise Mismatch."""
        way = self.way
        if not self.candidates:
            _line(way, self.keys, request, signed.content_of(request, pause)).check(request, pause)
            return
        if way.scheme == "token":  # of all that the body holds each has to be the secret
            for candidate in self.candidates:
                _compare(self.keys, (candidate,))
            return
        if way.digest:
            _check_digest(way, request, pause)
        parts = signed.parts(way, request, self.moment, self.delivery, pause)
        if way.scheme == "hmac":
            _compare([_mac(way, key, parts, pause) for key in self.keys], self.candidates)
        else:
            _check_public(way, self.keys, b"".join(parts), self.candidates)
        if way.timestamp:
            _check_age(way, self.moment, request.received)


class Claim(NamedTuple):
    """What a delivery's head claims, as far as it can be judged without the body. No lines: it is proven."""

    lines: tuple[Line, ...] = ()

    def check(self, request: Request, pause: Pause = lambda: None) -> None:
        """Return when *request*, whole now, bears the claim out, else raise Mismatch.

        *pause* is called after each SLICE_BYTES of a long body, but not within a check by a public key.
        """
        if len(self.lines) == 1:
            return self.lines[0].check(request, pause)
        mismatch = None
        for line in self.lines:
            try:
                return line.check(request, pause)
            except Mismatch as error:
                mismatch = mismatch or error
        if mismatch:
            raise mismatch
        return None


def claim_of(sender: Sender, secrets: tuple[str, ...], request: Request) -> Claim:
    """The claim of *request*, of which the head alone need be there; a token in it is proven by it.

    Raises Mismatch when no body could bear it out: then there is no need to read one.
    """
    if not sender.ways:
        return Claim()
    ways = ring(sender, secrets)
    if not ways:
        raise Mismatch("no_secret")
    if len(ways) == 1 and not ways[0][0].is_in_body:  # nearly all
        line = _line(*ways[0], request)
        return Claim() if line.way.scheme == "token" else Claim((line,))
    lines, mismatch = [], Mismatch("missing")
    for way, keys in ways:
        try:
            line = Line(way, keys) if way.is_in_body else _line(way, keys, request)
        except Mismatch as error:
            mismatch = error if mismatch.reason == "missing" else mismatch
            continue
        if way.scheme == "token" and not way.is_in_body:
            return Claim()
        lines.append(line)
    if not lines:
        raise mismatch
    return Claim(tuple(lines))


def verify(sender: Sender, secrets: tuple[str, ...], request: Request) -> None:
    """Return when one of *secrets* proves *request* at the time it was received, else raise Mismatch."""
    claim_of(sender, secrets, request).check(request)


def _line(way: Proof, keys: tuple[Any, ...], request: Request, content: Any = None) -> Line:
    """What *request* claims in one *way*; *content* is its parsed body, for proofs that stand there."""
    if way.place.startswith("body:"):
        return _line_in_body(way, keys, request, content)
    given = request.headers.get(way.header, "") if way.header else request.at(way.place)
    if not given:
        raise Mismatch("missing")
    if not way.is_plain and (
        (way.digest and not request.at(way.digest)) or (way.unless and request.at(way.unless))
    ):
        raise Mismatch("missing")
    candidates = _candidates(way, given)
    if not candidates:
        raise Mismatch("malformed")
    if way.scheme == "token":
        _compare(keys, candidates)
        return Line(way, keys, candidates)
    if way.is_plain:
        return Line(way, keys, candidates)
    return _dated(Line(way, keys, candidates), given, request, content)


def _line_in_body(way: Proof, keys: tuple[Any, ...], request: Request, content: Any) -> Line:
    """The same of a proof that stands in the body, perhaps several times: each has to be one."""
    values = signed.values_at(content, way.place[5:])
    if not all(values):
        raise Mismatch("missing")
    candidates = tuple(candidate for value in values for candidate in _candidates(way, value))
    if len(candidates) < len(values):
        raise Mismatch("malformed")
    return _dated(Line(way, keys, candidates), values[0], request, content)


def _dated(line: Line, given: str, request: Request, content: Any) -> Line:
    """*line* with the time and the id that are signed."""
    way, moment, delivery = line.way, "", ""
    if way.timestamp:
        moment = _at(way, way.timestamp, given, request, content)
        _check_age(way, moment, request.received)
    if way.id:
        delivery = _at(way, way.id, given, request, content)
    return line._replace(moment=moment, delivery=delivery)


def _candidates(way: Proof, given: str) -> tuple[bytes, ...]:
    """The proofs in what is *given*, without prefix. Other schemes' items in a list are passed over."""
    if way.separator:
        return tuple(candidate for item in _items(way, given) if (candidate := _candidate(way, item)))
    candidate = _candidate(way, given.strip())
    return (candidate,) if candidate else ()


def _candidate(way: Proof, item: str) -> bytes:
    if (length := way.prefix_length) and item[:length].lower() != way.lower_prefix:
        return b""
    candidate = raw(item[length:].strip())
    return candidate.lower() if way.is_hex else candidate


def _items(way: Proof, given: str) -> list[str]:
    items = given.split(way.separator, MOST_ITEMS)
    if len(items) > MOST_ITEMS:
        raise Mismatch("malformed")
    return [item.strip() for item in items]


def _compare(expected: Sequence[bytes], candidates: Sequence[bytes]) -> None:
    matches = [hmac.compare_digest(mine, theirs) for mine in expected for theirs in candidates]
    if not any(matches):  # all of them were compared: time does not tell which secret is near
        raise Mismatch("wrong")


def _mac(way: Proof, key: bytes, parts: list[bytes], pause: Pause) -> bytes:
    if sum(map(len, parts)) <= SLICE_BYTES:
        mac = hmac.digest(key, b"".join(parts), way.algorithm)
    else:
        mac = _slowly(hmac.new(key, digestmod=way.algorithm), parts, pause).digest()
    return base64.b64encode(mac) if way.encoding == "base64" else mac.hex().encode("ascii")


def _slowly(mac: Any, parts: list[bytes], pause: Pause) -> Any:
    for part in parts:
        for start in range(0, len(part), SLICE_BYTES):
            mac.update(memoryview(part)[start : start + SLICE_BYTES])
            pause()
    return mac


def _check_digest(way: Proof, request: Request, pause: Pause) -> None:
    digest = _slowly(hashlib.sha256(), [request.body], pause).hexdigest()
    _compare([digest.encode()], [raw(request.at(way.digest)).lower()])


def _check_public(way: Proof, keys: tuple[Any, ...], content: bytes, candidates: tuple[bytes, ...]) -> None:
    if len(candidates) > MOST_PUBLIC:
        raise Mismatch("malformed")
    signatures = [one for candidate in candidates if (one := _decoded(way, candidate))]
    if not signatures:
        raise Mismatch("malformed")
    if not any(signed.is_by(way, key, one, content) for key in keys for one in signatures):
        raise Mismatch("wrong")


def _decoded(way: Proof, candidate: bytes) -> bytes:
    """The signature as bytes; none for what is not in its encoding."""
    if len(candidate) > LONGEST_CANDIDATE:
        return b""
    try:
        if way.encoding == "hex":
            return bytes.fromhex(candidate.decode("ascii"))
        decoded = base64.b64decode(candidate, validate=True)
    except ValueError:  # binascii.Error and UnicodeDecodeError are some
        return b""
    return decoded if base64.b64encode(decoded) == candidate else b""  # unused bits say nothing else


def _at(way: Proof, place: str, given: str, request: Request, content: Any) -> str:
    """The value at *place*. Raises Mismatch when there is none."""
    kind, _, name = place.partition(":")
    if kind == "item":
        items = _items(way, given) if way.separator else [given.strip()]
        value = next((item[len(name) :] for item in items if item.startswith(name)), "")
    elif kind == "body":
        value = signed.values_at(content, name)[0]
    else:
        value = request.at(place)
    if not value:
        raise Mismatch("missing")
    return value


def _check_age(way: Proof, moment: str, now: float) -> None:
    then = seconds(moment, way.unit)
    if then is None:
        raise Mismatch("malformed")
    if abs(now - then) > way.tolerance:
        raise Mismatch("stale")
