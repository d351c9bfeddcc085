"""Signs a request as its sender would: what `verify` believes. Pure.

Who tries a hook signs with it, and so do the tests, for every row of the table.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from json import dumps
from typing import Any

from .. import strict_json
from ..errors import ConfigError
from ..senders import Proof, Sender
from ..senders.keys import private_key, way_of
from ..senders.moments import written
from . import signed
from .request import Request


def sign(sender: Sender, secret: str, request: Request) -> Request:
    """*request* with the proof of *sender* in it, made at the time it is `received`.

    Most proofs are headers; some stand in the URL or change the JSON of the body. *secret* is that of the
    hook, for a sender that signs with a pair of keys the private one. An id that is signed is the header's,
    where it has none a hash of the body. Raises ConfigError when *secret* cannot sign for this sender, and
    `signed.Mismatch` when the body is not of the kind that the sender signs.
    """
    if sender.is_open:
        return request
    way, key = _way(sender, secret, request)
    request = _with_digest(way, request)
    moment = written(request.received, way.unit) if way.timestamp else ""
    if way.timestamp.startswith("header:"):
        request = _with_header(request, way.timestamp[7:], moment)
    elif way.timestamp.startswith("query:"):
        request = _with_parameter(request, way.timestamp[6:], moment)
    elif way.timestamp.startswith("body:"):
        request = _with_value(request, way.timestamp[5:], moment)
    delivery = request.at(way.id) if way.id else ""
    if way.id and not delivery:
        delivery = hashlib.sha256(request.body).hexdigest()[:32]
        request = _with_header(request, way.id.partition(":")[2], delivery)
    if way.is_in_body and "{json:signature.token}" in way.signed:
        request = _with_value(request, "signature.token", hashlib.sha256(moment.encode()).hexdigest()[:50])
    proof = _proof(way, key, request, moment, delivery)
    return _placed(way, request, proof, moment)


def _way(sender: Sender, secret: str, request: Request) -> tuple[Proof, Any]:
    first = way_of(sender, secret)
    ways = (
        [first, *(way for way in sender.ways if way is not first and way.key == first.key)]
        if first and not first.is_asymmetric
        else [way for way in sender.ways if way.is_asymmetric]
    )
    is_whole = bool(request.body) and not request.is_form
    for way in ways:
        if (key := private_key(way, secret)) is not None and (not way.digest or is_whole):
            return way, key
    raise ConfigError("secret: expected one that signs for this sender, got none; of a pair the private key")


def _with_digest(way: Proof, request: Request) -> Request:
    if not way.digest:
        return request
    return _with_parameter(request, way.digest.partition(":")[2], hashlib.sha256(request.body).hexdigest())


def _proof(way: Proof, key: Any, request: Request, moment: str, delivery: str) -> str:
    if way.scheme == "token":
        return bytes(key).decode("utf-8")
    content = b"".join(signed.parts(way, request, moment, delivery))
    if way.scheme == "hmac":
        made = hmac.digest(key, content, way.algorithm)
    elif way.scheme == "ed25519":
        made = key.sign(content)
    else:
        from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
        from cryptography.hazmat.primitives.hashes import SHA256

        made = key.sign(content, ECDSA(SHA256()))
    return base64.b64encode(made).decode() if way.encoding == "base64" else made.hex()


def _placed(way: Proof, request: Request, proof: str, moment: str) -> Request:
    text = f"{way.prefix}{proof}"
    if way.timestamp.startswith("item:"):
        text = f"{way.timestamp[5:]}{moment}{way.separator}{text}"
    if way.header:
        return _with_header(request, way.header, text)
    if way.parameter:
        return _with_parameter(request, way.parameter, text)
    return _with_value(request, way.place[5:], text)


def _with_header(request: Request, name: str, value: str) -> Request:
    value = value.encode("utf-8").decode("latin-1")  # as a header's bytes arrive
    return request._replace(headers={**request.headers, name.lower(): value})


def _with_parameter(request: Request, name: str, value: str) -> Request:
    from urllib.parse import urlencode

    joint = "&" if "?" in request.url else "?"
    return request._replace(url=f"{request.url}{joint}{urlencode({name: value})}")


def _with_value(request: Request, path: str, value: str) -> Request:
    """*request* with *value* at *path* of its JSON; the objects on the way are made."""
    try:
        content = strict_json.parse(request.body)
    except strict_json.BadJson:
        raise signed.Mismatch("malformed") from None
    before, star, behind = path.partition(".*.")
    for target in content[before] if star else [content]:
        *steps, last = (behind if star else path).split(".")
        for step in steps:
            target = target.setdefault(step, {})  # noqa: PLW2901
        target[last] = value
    body = dumps(content).encode()
    return request._replace(body=body)
