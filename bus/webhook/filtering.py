"""Which senders a hook lets in by their address, and which deliveries its rule lets through."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from .. import networks
from ..errors import Refused
from ..http import client
from ..model import UNREAD, Event
from ..networks import Network
from ..rules import OF_REQUESTS, Rule, subject_of
from ..strict_json import PIECE_BYTES

if TYPE_CHECKING:
    from ..config import Hook


def require_allowed(hook: Hook, environ: Mapping[str, Any], trusted: Collection[Network]) -> None:
    """Refuse a sender whose address is not one of `allow_ips`. Asked before anything of a body is read."""
    if not hook.allow_ips or networks.is_within(found := client(environ, trusted), hook.allow_ips):
        return
    hint = f"the client is {found}" if found else "the proxy names no client"
    raise Refused(403, "address_not_allowed", "delivery: the hook takes none from this address", hint=hint)


def let_through(
    hook: Hook, rule: Rule, event: Event, environ: Mapping[str, Any], trusted: Collection[Network]
) -> None:
    """Note on *event* whether *rule* holds for it, and what of the request has to be kept to ask again."""
    told = {"method": environ["REQUEST_METHOD"]}
    if "ip" in rule.names:
        told["ip"] = str(client(environ, trusted) or "")
    event.request = {name: told[name] for name in sorted(rule.names & OF_REQUESTS) if told.get(name)}
    event.is_filtered = not rule.holds(subject_of(event, (rule,), sender=hook.verify))


def for_handlers(event: Event, *, is_unreadable: bool) -> None:
    """Let rules of handlers use what was parsed of the body where that is all of it, for certain.

    Of a long one only what the hook asks for was kept; a charset may make the text twice as long, and what is
    compressed has any length. A body that could not be read is not tried again: none has a value in it.
    """
    if is_unreadable:
        event.parsed = None
    elif event.parsed is None or "content-encoding" in event.headers or 2 * len(event.body) > PIECE_BYTES:
        event.parsed = UNREAD
