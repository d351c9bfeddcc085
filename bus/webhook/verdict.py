"""Says why a delivery is proven or not, step by step, for the person who sets the hook up. Pure.

No sentence holds a secret, an expected signature or the value of a header. A sender never reads them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final, NamedTuple

from ..senders import SENDERS, Proof, Sender
from ..senders.keys import EXPECTED, ring
from ..senders.moments import seconds
from . import signed
from .request import Request
from .verify import MOST_ITEMS, Mismatch, verify

_OTHER_ALGORITHMS: Final = ("sha256", "sha1", "sha512", "sha384")
_WRONG: Final = "proof: wrong for"
_USUAL: Final = "compare the secret with the sender's"
_BEGINNINGS: Final = ("sha1=", "sha256=", "sha512=", "v0=", "v1=", "v1,", "v1a,", "Bearer ", "Basic ")
_BODIES: Final[tuple[tuple[str, Callable[[bytes], bytes]], ...]] = (
    ("has a newline at its end that was not signed; save it without", lambda body: body.rstrip(b"\r\n")),
    ("lacks a newline at its end that was signed", lambda body: body + b"\n"),
    ("lacks the CR LF at its end that was signed", lambda body: body + b"\r\n"),
    ("has CR LF where LF was signed; save it unchanged", lambda body: body.replace(b"\r\n", b"\n")),
)


class Verdict(NamedTuple):
    """The *steps* that went well, and the *fault* that ends them; without one the delivery is proven."""

    steps: tuple[str, ...]
    fault: str = ""


def verdict(sender: Sender, secrets: tuple[str, ...], request: Request) -> Verdict:
    """Why `verify` believes *request* or not. It is the one that decides; this looks for the words."""
    if sender.is_open:
        return Verdict(("proof: none is asked for, whoever reaches the address may send",))
    if not any(secrets):
        return Verdict((), "secret: the hook has none, so every delivery is answered 503; write one")
    many = len(secrets)
    for number, secret in enumerate(secrets, 1):
        if not _mismatch(sender, secret, request):
            way = _way(sender, secret, request)
            return Verdict(
                (*(_steps(way, request) if way else ()), f"proof: right, by {_which(number, many)}")
            )
    faults = [
        _fault(sender, secret, request, _which(number, many)) for number, secret in enumerate(secrets, 1)
    ]
    # what comes furthest says most: a secret that is right, of a delivery that is too old; then a guess
    best = max(range(many), key=lambda place: (len(faults[place].steps), _USUAL not in faults[place].fault))
    if many > 1 and all(one.fault.startswith(_WRONG) for one in faults):
        return _fault(sender, secrets[best], request, f"each of {many} secrets")
    return faults[best]


def _which(number: int, many: int) -> str:
    return f"secret {number} of {many}"


def _mismatch(sender: Sender, secret: str, request: Request) -> str:
    try:
        verify(sender, (secret,), request)
    except Mismatch as mismatch:
        return mismatch.reason
    return ""


def _way(sender: Sender, secret: str, request: Request) -> Proof | None:
    """The way that *request* probably takes; None when *secret* is no key of this sender."""
    ways = [way for way, _ in ring(sender, (secret,))]
    if not ways:
        return None
    fitting = [way for way in ways if _is_taken(way, request)]
    return (fitting or ways)[0]


def _is_taken(way: Proof, request: Request) -> bool:
    if way.digest:
        return bool(request.at(way.digest))
    return not (way.unless and request.at(way.unless))


def _fault(sender: Sender, secret: str, request: Request, which: str) -> Verdict:
    way = _way(sender, secret, request)
    if way is None:
        expected = " or ".join(dict.fromkeys(EXPECTED[one.key] for one in sender.ways))
        return Verdict((), f"{which}: expected {expected}, got something else; copy it from the sender")
    steps: list[str] = []
    for step, fault in _looked_at(way, request):
        if fault:
            return Verdict(tuple(steps), fault)
        steps.append(step)
    if _mismatch(sender, secret, request) == "stale":
        return Verdict((*steps, f"proof: right, by {which}"), _stale(way, request))
    return Verdict(tuple(steps), f"{_WRONG} {which}; {_guess(sender, way, secret, request)}")


def _steps(way: Proof, request: Request) -> tuple[str, ...]:
    return tuple(step for step, fault in _looked_at(way, request) if not fault)


def _looked_at(way: Proof, request: Request) -> Iterator[tuple[str, str]]:
    """Each thing that `verify` looks for in *request*: what is there, and what is wrong with it or ""."""
    try:
        content = signed.content_of(request) if way.is_in_body else None
    except Mismatch:
        yield "", "body: expected JSON, in which this sender has its proof, got none; save it unchanged"
        return
    given = _value(way.place, request, content)
    place = _place(way.place)
    yield f"{place}: there", "" if given else _missing(way, place, request)
    items = [one.strip() for one in (given.split(way.separator) if way.separator else [given])]
    fitting = [
        item for item in items if item.lower().startswith(way.lower_prefix) and item[way.prefix_length :]
    ]
    shape = f"beginning with {way.prefix}" if way.prefix else "that is not empty"
    if len(items) > MOST_ITEMS:
        yield "", f"{place}: expected at most {MOST_ITEMS} signatures, got {len(items)}"
    elif not fitting:
        yield "", f"{place}: expected a value {shape}, got {_seen(given, way)}"
    if way.id:
        yield f"{_place(way.id)}: there", "" if request.at(way.id) else _none(way.id, "the id that is signed")
    if not way.timestamp:
        return
    moment = _moment(way, request, given, content)
    name = _place(way.timestamp, in_place=place)
    yield f"{name}: there", "" if moment else _none(way.timestamp, "the time that is signed", place)
    form = {
        "s": "Unix seconds",
        "ms": "Unix milliseconds",
        "rfc3339": "an RFC 3339 time",
        "http": "an HTTP date",
    }
    is_time = seconds(moment, way.unit) is not None
    yield f"{name}: a time", "" if is_time else f"{name}: expected {form[way.unit]}, got something else"


def _value(place: str, request: Request, content: object) -> str:
    kind, _, name = place.partition(":")
    return signed.values_at(content, name)[0] if kind == "body" else request.at(place)


def _moment(way: Proof, request: Request, given: str, content: object) -> str:
    kind, _, name = way.timestamp.partition(":")
    if kind != "item":
        return _value(way.timestamp, request, content)
    items = given.split(way.separator) if way.separator else [given]
    return next((item.strip()[len(name) :] for item in items if item.strip().startswith(name)), "")


def _place(place: str, in_place: str = "the signature") -> str:
    kind, _, name = place.partition(":")
    if kind == "item":
        return f"{name} in {in_place}"
    return {
        "header": f"header {name}",
        "query": f"parameter {name} of the URL",
        "body": f"{name} in the body",
    }[kind]


def _none(place: str, what: str, in_place: str = "the signature") -> str:
    return f"{_place(place, in_place)}: expected {what}, got none; save every header as it came"


def _missing(way: Proof, place: str, request: Request) -> str:
    others = [
        name
        for name, one in SENDERS.items()
        if one.header and one.header in request.headers and one.header not in ("authorization", way.header)
    ]
    hint = f"the headers are those of verify = {' or '.join(others)}" if others else ""
    if not hint and way.parameter:
        hint = "name the whole URL with --url"
    return f"{place}: expected the proof of the sender, got none; {hint or 'has the sender a secret?'}"


def _seen(given: str, way: Proof) -> str:
    """What the value looks like, without it."""
    if given.lower().startswith(way.lower_prefix) and not given[way.prefix_length :].strip():
        return "nothing behind it"
    known = next((word for word in _BEGINNINGS if given.startswith(word)), "")
    return f"one beginning with {known.strip()}" if known else f"{len(given)} other characters"


def _stale(way: Proof, request: Request) -> str:
    content = signed.content_of(request) if way.is_in_body else None
    moment = _moment(way, request, _value(way.place, request, content), content)
    away = request.received - (seconds(moment, way.unit) or 0.0)
    direction = "older" if away > 0 else "later"
    return (
        f"{_place(way.timestamp, _place(way.place))}: expected at most {way.tolerance:g} s from the time of "
        f"receiving, got {abs(away):.0f} s {direction}, {abs(away) - way.tolerance:.0f} s too much; name "
        "when it came with --at, set the clock, or write a larger tolerance"
    )


def _guess(sender: Sender, way: Proof, secret: str, request: Request) -> str:
    """What would make the proof right, where one thing does; else what usually is the matter."""
    if way.scheme == "token":
        return "the sender has another one"
    for words, change in _BODIES:
        body = change(request.body)
        if body != request.body and _is_signed(sender, secret, request._replace(body=body)):
            return f"the saved body {words}"
    if way.scheme == "hmac":
        for algorithm in _OTHER_ALGORITHMS:
            for encoding in ("hex", "base64"):
                if (algorithm, encoding) == (way.algorithm, way.encoding):
                    continue
                other = replace(way, algorithm=algorithm, encoding=encoding)
                if _is_signed(replace(sender, ways=(other,)), secret, request):
                    return f"it is made with {algorithm} in {encoding}, not {way.algorithm} in {way.encoding}"
    if "{url}" in way.signed and _is_signed(sender, secret, _other_scheme(request)):
        return "the other of http and https is signed; write it into public_url"
    about = " and the URL as the sender has it, --url or public_url" if "{url}" in way.signed else ""
    return f"{_USUAL}, save the body byte for byte{about}"


def _is_signed(sender: Sender, secret: str, request: Request) -> bool:
    """Whether the signature is right, whatever the time is."""
    return _mismatch(sender, secret, request) in ("", "stale")


def _other_scheme(request: Request) -> Request:
    scheme, _, rest = request.url.partition("://")
    return request._replace(url=f"{'http' if scheme == 'https' else 'https'}://{rest}")
