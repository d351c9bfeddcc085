"""Makes the delivery that tries a hook: a small body in the shape of its sender, and its signature. Pure."""

from __future__ import annotations

from json import dumps
from typing import Any, Final

from ..errors import ConfigError
from ..senders import Sender
from .request import Request
from .sign import sign
from .verify import Mismatch, verify

_EVENT: Final = "test"


def sample_body(sender: Sender, delivery: str) -> bytes:
    """JSON with the type of an event and *delivery* where *sender* has them; nothing of anybody is in it."""
    content: Any = {}
    values = [(sender.delivery, delivery), (sender.event, _event(sender))]
    for places, value in values:
        if places and places[0].startswith("body:"):
            content = _with(content, places[0][5:].split("."), value)
    for way in sender.ways:
        if ".*." in way.place:
            content = _with(content, way.place[5:].replace("*", "0").split("."), "")
    return dumps(content or {"test": True}).encode()


def completed(
    sender: Sender, headers: dict[str, str], delivery: str, *, is_cloudevent: bool = False
) -> dict[str, str]:
    """*headers* with those that *sender* has its event's type and the delivery's id in, where they lack.

    One that *is_cloudevent* and does not say otherwise is one in headers, CloudEvents 1.0 in binary mode.
    """
    own = {"content-type": "application/json"}
    for places, value in ((sender.event, _event(sender)), (sender.delivery, delivery)):
        if places and places[0].startswith("header:"):
            own[places[0][7:]] = value
    if is_cloudevent and "cloudevents" not in headers.get("content-type", ""):
        own |= {"ce-specversion": "1.0", "ce-id": delivery, "ce-source": "/monqbus/hook", "ce-type": _EVENT}
    for shake in sender.handshakes:
        for place, value in shake.given if shake.method == "POST" else ():
            if place.startswith("header:") and value:
                own[place[7:]] = "notification"
    return {**own, **headers}


def signed_by_any(
    sender: Sender, secrets: tuple[str, ...], request: Request, keys: tuple[str, ...] = ()
) -> Request:
    """*request*, signed with the first of *keys* by which a hook with *secrets* believes it.

    Without *keys* the secrets are tried. Raises ConfigError with the remedy, and Mismatch as `sign` does.
    """
    if sender.is_open:
        return request
    for key in keys or secrets:
        try:
            attempt = sign(sender, key, request)
        except ConfigError:
            continue
        try:
            verify(sender, secrets, attempt)
        except Mismatch:  # 64 hex digits are a private key as well as a public one
            continue
        return attempt
    if keys:
        raise ConfigError(
            "--key: expected what signs for a secret of the hook, got another one; name its own"
        )
    if any(way.is_asymmetric for way in sender.ways):
        raise ConfigError(
            "secret: expected one that signs, got a public key, for which its sender has the private one; "
            "let it send a test, or put a public key of your own beside it and name the private one with "
            "--key file:PATH"
        )
    raise ConfigError("secret: expected one that signs for this sender, got none; copy it from the sender")


def _event(sender: Sender) -> str:
    return sender.tests[0] if sender.tests else _EVENT


def _with(content: Any, steps: list[str], value: str) -> Any:
    """*content* with *value* at *steps*; what is not there is made, a list where a step is a number."""
    step, *rest = steps
    if step.isdigit():
        first = content[0] if isinstance(content, list) and content else {}
        return [_with(first, rest, value) if rest else value]
    content = content if isinstance(content, dict) else {}
    return {**content, step: _with(content.get(step, {}), rest, value) if rest else value}
