"""Answers a sender of CloudEvents that asks whether it may send: OPTIONS of the web hook specification 1.0.2.

Section 4 of github.com/cloudevents/spec/blob/v1.0.2/cloudevents/http-webhook.md. The address that a sender
gives in WebHook-Request-Callback is never called: a stranger would choose where this machine connects to.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from ..errors import Refused
from ..http.problem import Answer

UNLIMITED: Final = "*"
_ORIGIN = re.compile(r"[A-Za-z0-9*](?:[A-Za-z0-9.*_-]{0,251}[A-Za-z0-9*])?(?::[0-9]{1,5})?")
_RATE = re.compile(r"\*|[1-9][0-9]{0,9}")


def answer(environ: Mapping[str, Any], methods: Iterable[str]) -> Answer | None:
    """200 with what is allowed, deliveries by *methods*; None when it asks for nothing. Never blocks.

    Any origin is allowed as often as it likes: who may send is decided by the proof in each delivery. Raises
    Refused(400) for an origin that is no name, or a rate that is no number.
    """
    origin = environ.get("HTTP_WEBHOOK_REQUEST_ORIGIN", "").strip()
    if not origin:
        return None
    if not _ORIGIN.fullmatch(origin):
        raise Refused(400, "bad_handshake", "header WebHook-Request-Origin: expected the name of a host")
    headers = [("Allow", ", ".join(methods)), ("WebHook-Allowed-Origin", origin)]
    rate = environ.get("HTTP_WEBHOOK_REQUEST_RATE", "").strip()
    if rate:
        if not _RATE.fullmatch(rate):
            raise Refused(400, "bad_handshake", "header WebHook-Request-Rate: expected a number or *")
        headers.append(("WebHook-Allowed-Rate", UNLIMITED))
    return Answer("200 OK", [*headers, ("Content-Length", "0")], b"")
