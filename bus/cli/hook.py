"""`hook`: verify a delivery that was saved, sign one, send one that tries the hook."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from ..clock import Clock
from ..config import Config, Hook, Secret, nearest_name, secrets_named
from ..errors import ConfigError, UsageError
from ..webhook.attempt import completed, sample_body, signed_by_any
from ..webhook.request import Request
from ..webhook.saved import Head, head_of, header_of
from ..webhook.signed import Mismatch
from ..webhook.verdict import verdict
from . import terminal
from .files import content_of, write_new
from .sending import Answer, address_of, send
from .session import config_path, read_config

_OWN: Final[Mapping[str, tuple[str, ...]]] = {
    "verify": ("headers", "at"),
    "sign": ("header", "key", "out"),
    "send": ("header", "key", "to"),
}
"""Options of one action that others do not take."""


def hook(options: argparse.Namespace) -> int:
    """Verify, sign or send one delivery to the hook NAME of the configuration."""
    _require_own(options)
    config = read_config(options)
    one = config.hooks.get(options.name)
    if one is None:
        near = nearest_name(options.name, config.hooks)
        remedy = f"did you mean {near}?" if near else f"write [hook:{options.name}]"
        raise UsageError(f"NAME: the configuration has no hook {options.name!r}; {remedy}")
    if one.fault:
        raise ConfigError(one.fault)
    act: Callable[[argparse.Namespace, Config, Hook], int] = _ACTIONS[options.action]
    return act(options, config, one)


def _require_own(options: argparse.Namespace) -> None:
    for action, names in _OWN.items():
        for name in names:
            others = [other for other, taken in _OWN.items() if name in taken]
            if action != options.action and options.action not in others and getattr(options, name):
                raise UsageError(
                    f"--{name}: expected with {' or '.join(others)} alone, got {options.action}; leave it out"
                )


def _verify(options: argparse.Namespace, config: Config, hook: Hook) -> int:
    if not options.headers or not options.body:
        missing = "--body" if options.headers else "--headers"
        raise UsageError(f"{missing}: expected FILE, got none; save what came with the delivery and name it")
    if options.headers == options.body == "-":
        raise UsageError("--body: expected a file, got - twice; save one of them")
    head = head_of(content_of("--headers", options.headers))
    body = content_of("--body", options.body)
    now = Clock().wall().timestamp() if options.at is None else options.at
    request = Request(
        options.method or head.method or hook.methods[0], _url(options, hook, head), head.headers, body, now
    )
    terminal.line(f"hook {hook.name}: verify = {hook.verify}, {len(hook.secrets)} secrets, {hook.where}")
    if fault := _outside(config, hook, request):
        terminal.line(f"failed: {fault}")
        return 1
    found = verdict(hook.sender, hook.secret_texts, request)
    for step in found.steps:
        terminal.line(step)
    terminal.line(f"failed: {found.fault}" if found.fault else "ok")
    return 1 if found.fault else 0


def _url(options: argparse.Namespace, hook: Hook, head: Head) -> str:
    """What the sender asked for, as its delivery is verified: `public_url` with the query that came."""
    given = options.url or head.url
    path, mark, query = given.partition("?")
    if path.startswith("/"):
        path = f"http://{head.headers.get('host', '127.0.0.1')}{path}"
    return f"{hook.public_url or path or f'http://127.0.0.1/hooks/{hook.name}'}{mark}{query}"


def _outside(config: Config, hook: Hook, request: Request) -> str:
    """What a delivery is refused for before its proof is looked at, and what is no matter of the sender."""
    allowed = {*hook.methods, *(shake.method for shake in hook.sender.handshakes)}
    if request.method not in allowed:
        return (
            f"method: expected {' or '.join(hook.methods)}, got {request.method}; write methods, or --method"
        )
    encodings = ("", "identity", "gzip") if hook.accept_gzip else ("", "identity")
    if request.headers.get("content-encoding", "").lower() not in encodings:
        return "header content-encoding: expected none, got one; write accept_gzip for gzip (415)"
    if len(request.body) > config.http.max_body:
        most = config.http.max_body
        return f"body: expected at most {most} bytes, got {len(request.body)}; write a larger max_body (413)"
    return ""


def _made(options: argparse.Namespace, hook: Hook, url: str) -> tuple[Request, bytes]:
    """The signed delivery, and its body before it was signed."""
    clock = Clock()
    delivery = str(clock.new_id())
    sender = hook.sender
    body = content_of("--body", options.body) if options.body else sample_body(sender, delivery)
    given = dict(map(header_of, options.header or ()))
    headers = completed(sender, given, delivery, is_cloudevent=hook.format == "cloudevents")
    method = options.method or ("POST" if "POST" in hook.methods else hook.methods[0])
    request = Request(method, url, headers, body, clock.wall().timestamp())
    keys: tuple[str, ...] = ()
    if options.key:
        folder = config_path(options).absolute().parent
        keys = tuple(map(Secret.reveal, secrets_named("--key", options.key, folder, os.environ)))
    try:
        return signed_by_any(sender, hook.secret_texts, request, keys), body
    except Mismatch:
        raise UsageError(
            f"--body: expected a body that {hook.verify} signs, got another kind; name one in JSON"
        ) from None


def _sign(options: argparse.Namespace, config: Config, hook: Hook) -> int:
    asked = _url(options, hook, Head({}))
    request, body = _made(options, hook, asked)
    for name, value in request.headers.items():
        terminal.line(f"{name}: {_shown(value)}")
    if options.out:
        write_new("--out", Path(options.out), request.body)
    elif request.body != body or not options.body:
        why = "is changed by the signature" if request.body != body else "is made up"
        terminal.note(f"the body {why}: write it into a new file with --out FILE, and send that")
    if request.url != asked:
        terminal.note(f"the URL is part of the proof: {request.url}")
    return 0


def _send(options: argparse.Namespace, config: Config, hook: Hook) -> int:
    place, _, asked = (options.to or "").partition("?")
    target = address_of(place, hook.name, config.http.listen)
    public = options.url or hook.public_url or target.url
    request, _body = _made(options, hook, f"{public}?{asked}" if asked else public)
    query = request.url.partition("?")[2]
    terminal.line(f"{request.method} {target.url}", at_once=True)
    return tell(send(target, request, query))


def tell(answer: Answer) -> int:
    """Print what came, with the event and its tasks a line each; 1 when it is no 2xx."""
    terminal.line(f"{answer.status} {answer.reason}")
    try:
        said: Any = json.loads(answer.body)
    except ValueError:
        said = None
    events = _events_in(said)
    if not events and not (isinstance(said, dict) and "events" in said):
        detail = said.get("detail") if isinstance(said, dict) else None
        terminal.text(str(detail or answer.body.decode("utf-8", "replace")))
    for event in events:
        terminal.line(f"event {event['event']}")
        for task_id in event.get("tasks", ()):
            terminal.line(f"task  {task_id}")
        if event.get("filtered"):
            terminal.note("filtered: a rule (`when`) does not hold for it; the event is recorded")
        elif not event.get("tasks"):
            terminal.note("no handler took it; the event is recorded")
    if answer.status == 401:
        terminal.note(
            "not verified: has the daemon the same configuration and clock, and this hook's public_url?"
        )
    return 0 if 200 <= answer.status < 300 else 1


def _events_in(said: Any) -> list[dict[str, Any]]:
    """The events that an answer names: one, or those of a batch."""
    if not isinstance(said, dict):
        return []
    each = said.get("events", [said])
    return [one for one in each if isinstance(one, dict) and "event" in one] if isinstance(each, list) else []


def _shown(value: str) -> str:
    """A header's value as text: each of its characters is a byte."""
    return value.encode("latin-1", "replace").decode("utf-8", "replace")


_ACTIONS: Final = {"verify": _verify, "sign": _sign, "send": _send}
