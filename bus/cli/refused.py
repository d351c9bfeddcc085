"""Replays refused deliveries of the log: signed by this side with the hook's secret, and sent like any other.

Nobody has verified them. The person who names one vouches for it, and what it says goes the way of every
delivery: address, proof, rules, the guard against repetitions.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import Final

from bson import ObjectId

from ..clock import Clock
from ..config import Config, Hook
from ..delivery_record import REFUSED, Delivery
from ..errors import ConfigError, NotFound, UsageError
from ..webhook.attempt import signed_by_any
from ..webhook.redaction import REDACTED
from ..webhook.request import Request
from ..webhook.signed import Mismatch
from . import terminal
from .hook import tell
from .sending import address_of, send
from .session import open_admin, read_config

CODE: Final = "not_verified"
"""What was refused for anything else was not wanted, or its body was not read."""


def replay_refused(options: argparse.Namespace, ids: Iterable[ObjectId]) -> int:
    """Send each delivery of *ids* again, in their order; the first that cannot be sent ends it.

    Raises NotFound where nothing is kept that could be sent, ConfigError where the hook cannot sign.
    """
    config = read_config(options)
    with open_admin(options, looks=True) as admin:
        found = [admin.delivery(one) for one in ids]
    for one in found:
        _require_body(one)
    return max(_again(options, config, one) for one in found)


def _require_body(one: Delivery) -> None:
    if one.outcome != REFUSED or one.code != CODE:
        what = f"{one.outcome} ({one.status} {one.code})".replace(" )", ")")
        raise NotFound(f"delivery {one.id}: expected one that was refused as {CODE}, got one that was {what}")
    if not one.body:
        raise NotFound(
            f"delivery {one.id}: its body is not kept; have its sender send it again, and for the next ones "
            "write [http] log_refused_bodies = yes"
        )


def _again(options: argparse.Namespace, config: Config, one: Delivery) -> int:
    hook = config.hooks.get(one.hook)
    if hook is None:
        raise ConfigError(f"delivery {one.id}: the configuration has no hook {one.hook!r} any more; write it")
    if hook.fault:
        raise ConfigError(hook.fault)
    if lost := [name for name in one.parameters if name != hook.sender.parameter]:
        terminal.note(f"of the URL the values of {', '.join(lost)} are not kept, and are left out")
    target = address_of(options.to or "", hook.name, config.http.listen)
    request = _signed(hook, one, hook.public_url or target.url)
    terminal.line(f"{request.method} {target.url}", at_once=True)
    return tell(send(target, request, request.url.partition("?")[2]))


def _signed(hook: Hook, one: Delivery, url: str) -> Request:
    headers = {name: value for name, value in one.headers.items() if value != REDACTED}
    request = Request(one.method or "POST", url, headers, one.body, Clock().wall().timestamp())
    try:
        return signed_by_any(hook.sender, hook.secret_texts, request, ())
    except Mismatch:
        raise UsageError(
            f"delivery {one.id}: expected a body that {hook.verify} signs, got another kind; it was not of "
            "this sender"
        ) from None
