"""Handles one delivery: checks it, stores one event with its tasks, answers 202.

The order of the steps is the law: address 403 → room 503 → encoding 415 → size 413 → a page in a browser
403 → the sender's headers 401 → raw bytes → sender 401 → the rule → ONE durable write → answer. No body is
read that the head condemns, nothing is parsed before it is verified, nothing is acknowledged before it is
stored. A delivery that is verified is stored, whatever its content: what cannot be understood of it is told
as a fact.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime
from functools import lru_cache, partial
from json import dumps
from typing import TYPE_CHECKING, Any, NamedTuple

from bson import ObjectId

from .. import strict_json
from ..clock import Clock
from ..errors import Refused, StoreError
from ..http import Queue, check_size, problem, read_body, scheme
from ..http.problem import Answer
from ..model import Event, Receipt
from ..networks import Network
from ..safe_text import cached_if_short
from ..senders import Sender
from ..senders.kept import is_kept, is_kept_parameter
from ..telemetry import emit
from . import filtering, handshake, topic
from .admission import Admission
from .once import Once
from .request import Request, raw
from .signed import content_of, values_at
from .verify import Mismatch, claim_of

if TYPE_CHECKING:
    from ..config import Hook

Taken = tuple[Event, dict[str, str]]
"""An event, and what is to be told of its content: a reason by its fact."""

_VERIFYING, _PARSING = Queue(), Queue()
_DELIVERY_ID = re.compile(r"[\x20-\x7e]{1,256}")


class Receiver:
    """Answers deliveries. *publish* returns when the event is durable, or raises StoreError."""

    def __init__(
        self,
        publish: Callable[[Event], Receipt],
        clock: Clock,
        max_body: int,
        admission: Admission,
        trusted_proxies: Collection[Network] = (),
    ) -> None:
        self._publish = publish
        self._admission = admission
        self._clock = clock
        self._max_body = max_body
        self._trusted_proxies = trusted_proxies
        self._once = Once()

    def receive(self, hook: Hook, environ: Mapping[str, Any]) -> Answer:
        """Take the delivery that stands in *environ*. Blocks until it is durable or refused."""
        try:
            filtering.require_allowed(hook, environ, self._trusted_proxies)
            taken = self._taken(hook, environ) if hook.has_extras else self._read(hook, environ)
            if isinstance(taken, Answer):
                emit("handshake.answered", hook=hook.name, peer=environ.get("REMOTE_ADDR", ""))
                return taken
            event, remarks = taken
            receipt = self._store(event)
        except Refused as refusal:
            return refuse(refusal, environ, hook=hook.name)
        for fact, reason in remarks.items():
            emit(fact, event=event, reason=reason)
        return _accepted(event, receipt)

    def retry_after(self) -> dict[str, str]:
        """The header that says when to try again: jittered, so that senders do not come back as one."""
        return problem.retry_after(self._clock)

    def _taken(self, hook: Hook, environ: Mapping[str, Any]) -> Taken | Answer:
        """The event of a delivery to a hook that takes more than POST, or the answer to a handshake."""
        sender, method = hook.sender, environ["REQUEST_METHOD"]
        if any(one.method == method and not one.verified for one in sender.handshakes):
            _check_encoding(environ)
            request = _request(environ, 0.0, hook.public_url, self._trusted_proxies)
            tokens = tuple(token.reveal() for token in hook.verify_token)
            answer = handshake.unproven(sender, self._secrets(hook, sender), tokens, request)
            if answer is not None:
                return answer
        if method == "HEAD" and method in hook.methods:
            return handshake.EMPTY
        if method in hook.methods or any(one.verified for one in sender.handshakes if one.method == method):
            return self._read(hook, environ)
        raise not_allowed(hook.methods)

    def _read(self, hook: Hook, environ: Mapping[str, Any]) -> Taken | Answer:
        self._admission.check(self._clock)  # before the body is read: turning away must stay cheap
        _check_encoding(environ)
        check_size(environ, self._max_body)
        sender = hook.sender
        # the clock is asked twice only where the head alone can be too old
        now = self._clock.wall().timestamp() if sender.has_time else 0.0
        request = _request(environ, now, hook.public_url, self._trusted_proxies)
        if sender.is_open:
            _require_no_page(request.headers)
        try:
            claim = claim_of(sender, self._secrets(hook, sender), request)
            body = read_body(environ, self._max_body)
            received = self._clock.now()
            now = self._clock.wall().timestamp()
            request = Request(request.method, request.url, request.headers, body, now)
            claim.check(request, _VERIFYING.step_back)
        except Mismatch as mismatch:
            raise _not_verified(sender) from mismatch
        if hook.has_extras:
            if (answer := handshake.proven(sender, hook.secret_texts, request)) is not None:
                return answer
            if request.method not in hook.methods:
                raise not_allowed(hook.methods)
        event, remarks = self._event(hook, sender, request, received)
        if sender.once:
            self._check_once(hook, sender, request, event)
        if hook.when is not None:
            filtering.let_through(hook, hook.when, event, environ, self._trusted_proxies)
        filtering.for_handlers(event)
        return event, remarks

    def _check_once(self, hook: Hook, sender: Sender, request: Request, event: Event) -> None:
        """Refuse another delivery by the proof of one that has come: its body is not signed."""
        token = values_at(content_of(request), sender.once.partition(":")[2])[0]
        try:
            tolerance = sender.ways[0].tolerance
            self._once.check(hook.name, token, event.delivery or "", request.received, tolerance)
        except Mismatch as mismatch:
            raise _not_verified(sender) from mismatch

    def _event(self, hook: Hook, sender: Sender, request: Request, received: datetime) -> Taken:
        """The event of a verified delivery, whatever its content is, and what is to be told of that."""
        kept = {
            name: value if value.isascii() else _text(value)
            for name, value in request.headers.items()
            if is_kept(name)
        }
        kept.pop(sender.header, None)
        paths = topic.paths_in(hook.topic, sender)
        if hook.when is not None:
            paths += hook.when.body_paths
        content, unreadable = _parse(request, paths)
        query = _kept_query(request)
        if sender.parameter:
            query.pop(sender.parameter, None)
        sources = _Sources(kept, query, content)
        # not a function in here that calls itself: such a one keeps all headers until garbage is collected
        found = topic.fill(hook, partial(_value, hook, sender, sources))
        given = _first(sender.delivery, sources) or kept.get("idempotency-key")
        delivery = _delivery_id(given) if given else None
        event = Event(
            id=self._clock.new_id(),
            topic=found.text,
            received=received,
            hook=hook.name,
            delivery=delivery,
            headers=kept,
            body=request.body,
            query=sources.query,
            is_test=bool(sender.tests) and _first(sender.event, sources) in sender.tests,
            parsed=content,
        )
        remarks = {"event.unreadable": unreadable} if unreadable else {}
        if found.missing:
            remarks["topic.missed"] = found.missing
        if found.cut:
            remarks["topic.shortened"] = found.cut
        if given and given != delivery:
            remarks["delivery.renamed"] = "delivery id: not 1 to 256 printable ASCII characters"
        return event, remarks

    def _secrets(self, hook: Hook, sender: Sender) -> tuple[str, ...]:
        secrets = hook.secret_texts
        if not sender.is_open and not any(secrets):
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


def not_allowed(methods: Iterable[str] = ("POST",)) -> Refused:
    """The refusal of a method that the hook does not take, with those that it does."""
    allowed = ", ".join(methods)
    return Refused(
        405,
        "method_not_allowed",
        f"method: a delivery is a {allowed.replace(', ', ' or ')}",
        {"Allow": allowed},
    )


def _not_verified(sender: Sender) -> Refused:
    scheme = sender.ways[0].prefix.strip() if sender.header == "authorization" else ""
    challenge = {"WWW-Authenticate": scheme + (' realm="hooks"' * (scheme == "Basic"))} if scheme else {}
    return Refused(401, "not_verified", "delivery: its sender could not be verified", challenge)


def refuse(refusal: Refused, environ: Mapping[str, Any], *, hook: str = "") -> Answer:
    """The answer to a refused request; the fact tells the log more than the answer tells the sender."""
    cause = refusal.__cause__
    reason = cause.reason if isinstance(cause, Mismatch) else ""
    problem.tell(refusal, environ, hook=hook, reason=reason)
    return problem.answer(refusal, environ.get(problem.REQUEST_ID, ""))


def _check_encoding(environ: Mapping[str, Any]) -> None:
    if environ.get("HTTP_CONTENT_ENCODING", "").lower() not in ("", "identity"):
        raise Refused(
            415,
            "unsupported_encoding",
            "header Content-Encoding: send the body uncompressed",
            {"Accept-Encoding": "identity"},
        )


def _request(
    environ: Mapping[str, Any], now: float, public_url: str, trusted: Collection[Network]
) -> Request:
    """The head of the request in *environ*; its body is to be read yet."""
    url = public_url or "".join(
        (scheme(environ, trusted), "://", environ.get("HTTP_HOST", ""), environ["PATH_INFO"])
    )
    if query := environ["QUERY_STRING"]:
        url = f"{url}?{query}"
    return Request(environ["REQUEST_METHOD"], url, _headers(environ), received=now)


def _headers(environ: Mapping[str, Any]) -> dict[str, str]:
    return {name: value for key, value in environ.items() if (name := _header_name(key))}


@cached_if_short(1024)
def _header_name(key: str) -> str:
    """``HTTP_X_GITHUB_EVENT`` → ``x-github-event``; "" for what is not a header."""
    if key.startswith("HTTP_"):
        key = key[5:]
    elif key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        return ""
    return key.replace("_", "-").lower()


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
        kind, where = _parts_of(place)
        if kind == "header":
            return self.header.get(where)
        return self.query.get(where) if kind == "query" else strict_json.at_path(self.content, where)


@lru_cache(maxsize=1024)  # places stand in the configuration and in the table of senders
def _parts_of(place: str) -> tuple[str, str]:
    kind, _, where = place.partition(":")
    return kind, where.lower() if kind == "header" else where


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


def _delivery_id(given: str) -> str:
    """The sender's own id of the delivery, by which a second coming is recognised; of an odd one its hash."""
    if _DELIVERY_ID.fullmatch(given):
        return given
    return f"sha256:{hashlib.sha256(given.encode('utf-8', 'surrogatepass')).hexdigest()}"


def _quoted(stored_id: Any) -> str:
    """The JSON text of an id; one that another program has stored may be anything."""
    return f'"{stored_id}"' if type(stored_id) is ObjectId else dumps(str(stored_id))


def _accepted(event: Event, receipt: Receipt) -> Answer:
    # put together here, where all of it is known: the encoder takes three times as long
    event_id = _quoted(receipt.event_id or event.id)
    task_ids = ", ".join([_quoted(task_id) for task_id in receipt.task_ids])
    duplicate = ', "duplicate": true' if receipt.duplicate else ""
    filtered = ', "filtered": true' if event.is_filtered and not receipt.task_ids else ""
    body = f'{{"event": {event_id}, "tasks": [{task_ids}]{duplicate}{filtered}}}\n'.encode()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    return Answer("200 OK" if receipt.duplicate else "202 Accepted", headers, body)
