"""Handles one delivery: checks it, stores one event with its tasks, answers 202.

The order of the steps is the law: room 503 → encoding 415 → size 413 → a page in a browser 403 → the
sender's headers 401 → raw bytes → sender 401 → ONE durable write → answer. No body is read that the head
condemns, nothing is parsed before it is verified, nothing is acknowledged before it is stored. A delivery
that is verified is stored, whatever its content: what cannot be understood of it is told as a fact.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime
from functools import partial
from json import dumps
from typing import TYPE_CHECKING, Any, NamedTuple

from .. import strict_json
from ..clock import Clock
from ..errors import Refused, StoreError
from ..http import Queue, check_size, problem, read_body
from ..http.problem import Answer
from ..model import Event, Receipt
from ..safe_text import cached_if_short
from ..senders import Sender, adapted
from ..senders.kept import is_kept, is_kept_parameter
from ..telemetry import emit
from . import identity, topic
from .admission import Admission
from .delivery_log import DeliveryLog
from .request import Request, headers_of, raw
from .verify import Mismatch, claim_of

if TYPE_CHECKING:
    from ..config import Hook

_VERIFYING, _PARSING, _HASHING = Queue(), Queue(), Queue()


class Receiver:
    """Answers deliveries. *publish* returns when the event is durable, or raises StoreError."""

    def __init__(
        self,
        publish: Callable[[Event], Receipt],
        clock: Clock,
        max_body: int,
        admission: Admission,
        log: DeliveryLog,
    ) -> None:
        self._publish = publish
        self._admission = admission
        self._clock = clock
        self._max_body = max_body
        self._log = log

    def receive(self, hook: Hook, environ: Mapping[str, Any]) -> Answer:
        """Take the delivery that stands in *environ*. Blocks until it is durable or refused."""
        began = self._clock.monotonic()
        try:
            event, remarks = self._read(hook, environ)
            receipt = self._store(event)
        except Refused as refusal:
            self._log.refused(environ, refusal, hook=hook, reason=_reason(refusal), began=began)
            return refuse(refusal, environ, hook=hook.name)
        if receipt.duplicate:
            self._log.repeated(environ, event, receipt, began)
        for fact, reason in remarks.items():
            emit(fact, event=event, reason=reason)
        return _accepted(event, receipt)

    def retry_after(self) -> dict[str, str]:
        """The header that says when to try again: jittered, so that senders do not come back as one."""
        return problem.retry_after(self._clock)

    def _read(self, hook: Hook, environ: Mapping[str, Any]) -> tuple[Event, dict[str, str]]:
        self._admission.check(self._clock)  # before the body is read: turning away must stay cheap
        _check_encoding(environ)
        check_size(environ, self._max_body)
        sender = adapted(hook.verify, hook.header, hook.tolerance)
        # the clock is asked twice only where the head alone can be too old
        request = _request(environ, self._clock.wall().timestamp() if sender.timestamp else 0.0)
        if sender.scheme == "none":
            _require_no_page(request.headers)
        body = b""
        try:
            claim = claim_of(sender, self._secrets(hook, sender), request)
            body = read_body(environ, self._max_body)
            received = self._clock.now()
            now = self._clock.wall().timestamp()
            request = Request(request.method, request.url, request.headers, body, now)
            claim.check(request, _VERIFYING.step_back)
        except Mismatch as mismatch:
            raise _not_verified(sender, body) from mismatch
        event, remarks = self._event(hook, sender, request, received)
        event.peer = environ.get("REMOTE_ADDR", "")
        return event, remarks

    def _event(
        self, hook: Hook, sender: Sender, request: Request, received: datetime
    ) -> tuple[Event, dict[str, str]]:
        """The event of a verified delivery, whatever its content is, and what is to be told of that."""
        kept = {
            name: value if value.isascii() else _text(value)
            for name, value in request.headers.items()
            if is_kept(name)
        }
        kept.pop(sender.header, None)
        content, unreadable = _parse(request, topic.paths_in(hook.topic, sender, hook.delivery_id))
        sources = _Sources(kept, _kept_query(request), content)
        # not a function in here that calls itself: such a one keeps all headers until garbage is collected
        found = topic.fill(hook, partial(_value, hook, sender, sources))
        who = identity.identify(hook, sender, request.body, sources.at, _HASHING.step_back)
        event_id = self._clock.new_id()
        event = Event(
            id=event_id,
            topic=found.text,
            received=received,
            hook=hook.name,
            delivery=who.delivery,
            key=identity.key_of(hook, who.delivery, event_id),
            guard=who.guard,
            on_duplicate=hook.on_duplicate,
            headers=kept,
            body=request.body,
            query=sources.query,
            is_test=bool(sender.tests) and _first(sender.event, sources) in sender.tests,
        )
        remarks = {"event.unreadable": unreadable} if unreadable else {}
        if found.missing:
            remarks["topic.missed"] = found.missing
        if found.cut:
            remarks["topic.shortened"] = found.cut
        if who.was_renamed:
            remarks["delivery.renamed"] = who.was_renamed
        return event, remarks

    def _secrets(self, hook: Hook, sender: Sender) -> tuple[str, ...]:
        secrets = tuple(secret.reveal() for secret in hook.secrets)
        if sender.scheme != "none" and not any(secrets):
            raise Refused(503, "hook_disabled", "hook: not usable, its secret is missing", self.retry_after())
        return secrets

    def _store(self, event: Event) -> Receipt:
        self._admission.check(self._clock)  # others came in while the body did
        try:
            with self._admission.waiting():
                return self._publish(event)
        except StoreError as error:
            raise Refused(
                503, "store_unavailable", "event: could not be stored, send it again", self.retry_after()
            ) from error


def _require_no_page(headers: Mapping[str, str]) -> None:
    """Refuse a page in a browser: it reaches what listens on its machine, and nothing else keeps it out.

    Browsers say so with every POST (fetch.spec.whatwg.org, section 3.2; w3.org/TR/fetch-metadata), under a
    name that leads to this machine by DNS rebinding too; no sender of webhooks does.
    """
    if "origin" in headers or headers.get("sec-fetch-site", "none") != "none":
        raise Refused(
            403, "from_a_page", "delivery: pages in browsers cannot send to a hook without a secret"
        )


def _not_verified(sender: Sender, body: bytes) -> Refused:
    challenge = {"WWW-Authenticate": "Bearer"} if sender.header == "authorization" else {}
    refusal = Refused(401, "not_verified", "delivery: its sender could not be verified", challenge)
    refusal.body = body
    return refusal


def _reason(refusal: Refused) -> str:
    """What the log says and the sender is not told: the step of the verification that failed."""
    cause = refusal.__cause__
    return cause.reason if isinstance(cause, Mismatch) else ""


def refuse(refusal: Refused, environ: Mapping[str, Any], *, hook: str = "") -> Answer:
    """The answer to a refused request; the fact tells the log more than the answer tells the sender."""
    problem.tell(refusal, environ, hook=hook, reason=_reason(refusal))
    return problem.answer(refusal, environ.get(problem.REQUEST_ID, ""))


def _check_encoding(environ: Mapping[str, Any]) -> None:
    if environ.get("HTTP_CONTENT_ENCODING", "").lower() not in ("", "identity"):
        raise Refused(
            415,
            "unsupported_encoding",
            "header Content-Encoding: send the body uncompressed",
            {"Accept-Encoding": "identity"},
        )


def _request(environ: Mapping[str, Any], now: float) -> Request:
    """The head of the request in *environ*; its body is to be read yet."""
    url = f"{environ['wsgi.url_scheme']}://{environ.get('HTTP_HOST', '')}{environ['PATH_INFO']}"
    if query := environ["QUERY_STRING"]:
        url = f"{url}?{query}"
    return Request(environ["REQUEST_METHOD"], url, headers_of(environ), received=now)


@cached_if_short(1024)
def _is_json(content_type: str) -> bool:
    media_type = content_type.partition(";")[0].strip().lower()
    return media_type == "application/json" or media_type.endswith("+json")


def _parse(request: Request, paths: Collection[str]) -> tuple[Any, str]:
    """The body's JSON, of a long one what is at *paths*, and why one that says it is JSON cannot be read.

    A body of another type is looked into for *paths* alone: Amazon SNS sends JSON as text. Lets the hub turn
    between the pieces of a long one.
    """
    content_type = request.headers.get("content-type", "")
    is_json = _is_json(content_type)
    if not is_json and not paths:
        return None, ""
    try:
        text = strict_json.text_in(request.body, content_type, _PARSING.step_back)
        return strict_json.parse(text, _PARSING.step_back, paths), ""
    except strict_json.BadJson as error:
        return None, str(error) if is_json else ""


def _text(value: str) -> str:
    """A header's value that is not ASCII, as its sender wrote it: UTF-8 where it is that, else Latin-1."""
    try:
        return raw(value).decode("utf-8")
    except UnicodeDecodeError:
        return value


def _kept_query(request: Request) -> dict[str, str]:
    """The parameters that are stored; of one that came several times all values, joined by commas."""
    query: dict[str, str] = {}
    for name, value in request.query:
        if is_kept_parameter(name):
            query[name] = f"{query[name]},{value}" if name in query else value
    return query


class _Sources(NamedTuple):
    """Where the values of places are found."""

    header: Mapping[str, str]
    query: dict[str, str]
    content: Any

    def at(self, place: str) -> str | None:
        kind, _, where = place.partition(":")
        if kind == "header":
            return self.header.get(where.lower())
        return self.query.get(where) if kind == "query" else strict_json.at_path(self.content, where)


def _value(hook: Hook, sender: Sender, sources: _Sources, placeholder: str) -> str | None:
    if placeholder == "name" or (placeholder == "event" and not sender.event):
        return hook.name
    return _first(sender.event if placeholder == "event" else (placeholder,), sources)


def _first(places: Iterable[str], sources: _Sources) -> str | None:
    """The first value there is at one of *places*."""
    for place in places:
        if value := sources.at(place):
            return value
    return None


def _accepted(event: Event, receipt: Receipt) -> Answer:
    content: dict[str, Any] = {
        "event": str(receipt.event_id or event.id),
        "tasks": [str(task_id) for task_id in receipt.task_ids],
    }
    if receipt.duplicate:
        content["duplicate"] = True
    if receipt.retried:
        content["retried"] = receipt.retried
    body = dumps(content).encode() + b"\n"
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    return Answer("200 OK" if receipt.duplicate else "202 Accepted", headers, body)
