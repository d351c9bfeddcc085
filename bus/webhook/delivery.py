"""Handles one delivery: checks it, stores one event with its tasks, answers 202.

The order of the steps is the law: address 403 → a closed hook 503 → room 503 → encoding 415 → size 413 → a
page in a browser 403 → the sender's headers 401 → raw bytes → sender 401 → a CloudEvent 400, 415, at hooks
that take those → the rule, for each event → ONE durable write → answer. No body is read that the head
condemns, nothing is parsed or inflated before it is verified, nothing is acknowledged before it is stored.
A delivery that is verified is stored, whatever its content, at all other hooks: what cannot be understood
of it is told as a fact.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache, partial
from json import dumps
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from bson import ObjectId

from .. import strict_json
from ..clock import Clock
from ..errors import Refused, StoreError
from ..http import Queue, check_size, problem, read_body, scheme
from ..http.problem import Answer
from ..model import Event, Receipt
from ..networks import Network
from ..senders import Sender
from ..senders.kept import is_kept, is_kept_parameter
from ..telemetry import emit
from . import abuse_protection, content, filtering, handshake, identity, topic
from .admission import Admission
from .answers import Awaited, own_answer, streamed
from .content import Content
from .delivery_log import DeliveryLog
from .once import Once
from .request import Request, headers_of, raw
from .signed import content_of, values_at
from .streams import Stream, Streams, is_asked
from .verify import Mismatch, claim_of

if TYPE_CHECKING:
    from ..config import Hook

Given = TypeVar("Given")
Got = TypeVar("Got")
Read = tuple[Event, dict[str, str]]
"""An event, and what is to be told of its content: a reason by its fact."""
Taken = tuple[list[Read], bool]
"""The events of a delivery, and whether it is a batch; one that is none has one event."""

NOT_THE_SENDERS: Final = "no URL of the sender's own: confirm nothing, somebody else may know the secret"

_VERIFYING, _EXPANDING, _HASHING = Queue(), Queue(), Queue()


class Receiver:
    """Answers deliveries. *publish* returns when the event is durable, or raises StoreError.

    *publish_all* does so for all events of a batch, in one write; without it they are published one by one.
    """

    def __init__(
        self,
        publish: Callable[[Event], Receipt],
        clock: Clock,
        max_body: int,
        admission: Admission,
        log: DeliveryLog,
        *,
        trusted_proxies: Collection[Network] = (),
        publish_all: Callable[[Sequence[Event]], list[Receipt]] | None = None,
        streams: Streams | None = None,
    ) -> None:
        self._streams = streams
        self._publish = publish
        self._publish_all = publish_all or (lambda events: [publish(event) for event in events])
        self._admission = admission
        self._clock = clock
        self._max_body = max_body
        self._log = log
        self._trusted_proxies = trusted_proxies
        self._once = Once()

    def receive(self, hook: Hook, environ: Mapping[str, Any]) -> Answer | Awaited:
        """Take the delivery that stands in *environ*. Blocks until it is durable or refused."""
        began = self._clock.monotonic()
        try:
            filtering.require_allowed(hook, environ, self._trusted_proxies)
            if hook.fault:
                taken: Taken | Answer = self._while_closed(hook, environ)
            else:
                taken = self._taken(hook, environ) if hook.has_extras else self._read(hook, environ)
            if isinstance(taken, Answer):
                self._log.answered(environ, taken, hook, began)
                emit("handshake.answered", hook=hook.name, peer=environ.get("REMOTE_ADDR", ""))
                return taken
            found, is_batch = taken
            events = [event for event, _ in found]
            stream = self._opened(hook, environ, events) if hook.stream and not is_batch else None
            receipts = self._receipts(events, stream, is_batch=is_batch)
        except Refused as refusal:
            self._log.refused(environ, refusal, hook=hook, reason=_reason(refusal), began=began)
            return refuse(refusal, environ, hook=hook.name)
        for (event, remarks), receipt in zip(found, receipts, strict=True):
            if receipt.duplicate:
                self._log.repeated(environ, event, receipt, began)
            for fact, reason in remarks.items():
                emit(fact, event=event, reason=reason)
        if stream is not None and (shown := streamed(hook, stream, receipts[0])) is not None:
            environ["wsgi.input"].give_back()
            return shown
        return _accepted_batch(events, receipts) if is_batch else _answered(hook, events[0], receipts[0])

    def _opened(self, hook: Hook, environ: Mapping[str, Any], events: Sequence[Event]) -> Stream | None:
        """A place among those who are shown what tasks print, where this request asks for it."""
        if self._streams is None or not is_asked(environ.get("HTTP_ACCEPT", "")):
            return None
        return self._streams.open(events[0].id)

    def _receipts(self, events: Sequence[Event], stream: Stream | None, *, is_batch: bool) -> list[Receipt]:
        """What became of *events* once they are durable. Raises Refused."""
        try:
            if is_batch:
                return self._store(self._publish_all, events)
            return [self._store(self._publish, events[0])]
        except BaseException:
            if stream is not None:
                stream.close()
            raise

    def retry_after(self) -> dict[str, str]:
        """The header that says when to try again: jittered, so that senders do not come back as one."""
        return problem.retry_after(self._clock)

    def _while_closed(self, hook: Hook, environ: Mapping[str, Any]) -> Answer:
        """The answer to a handshake that precedes the secret; everything else is refused."""
        request = _request(environ, 0.0, hook.public_url, self._trusted_proxies)
        answer = handshake.before_secret(hook.sender, request)
        if answer is None:
            raise self._disabled()
        return answer

    def _taken(self, hook: Hook, environ: Mapping[str, Any]) -> Taken | Answer:
        """The event of a delivery to a hook that takes more than POST, or the answer to a handshake."""
        sender, method = hook.sender, environ["REQUEST_METHOD"]
        if method == "OPTIONS" and (agreed := _agreed(hook, environ)) is not None:
            return agreed
        if any(one.method == method and not one.verified for one in sender.handshakes):
            content.check_encoding(hook, environ)
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
        content.check_encoding(hook, environ)
        check_size(environ, self._max_body)
        sender = hook.sender
        # the clock is asked twice only where the head alone can be too old
        now = self._clock.wall().timestamp() if sender.has_time else 0.0
        request = _request(environ, now, hook.public_url, self._trusted_proxies)
        if sender.is_open:
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
        if hook.has_extras:
            if (answer := handshake.proven(sender, hook.secret_texts, request)) is not None:
                return answer
            if request.method not in hook.methods:
                raise not_allowed(hook.methods)
        paths = topic.paths_in(hook.topic, sender, hook.delivery_id)
        if hook.when is not None:
            paths += hook.when.body_paths
        each, is_batch = content.read(hook, request, paths, environ["wsgi.input"], self._max_body)
        found = []
        for one in each:
            read = self._event(hook, sender, request, received, one)
            read[0].peer = environ.get("REMOTE_ADDR", "")
            self._judge(hook, request, read[0], one, environ)
            found.append(read)
            if is_batch and len(found) % content.EVENTS_A_PAUSE == 0:
                _EXPANDING.step_back()
        return found, is_batch

    def _judge(
        self, hook: Hook, request: Request, event: Event, given: Content, environ: Mapping[str, Any]
    ) -> None:
        """Refuse *event* where its proof counts once and has; note on it whether the hook's rule holds."""
        if hook.sender.once:
            self._check_once(hook, hook.sender, request, event)
        if hook.when is not None:
            filtering.let_through(hook, hook.when, event, environ, self._trusted_proxies)
        filtering.for_handlers(event, is_unreadable=bool(given.unreadable))

    def _check_once(self, hook: Hook, sender: Sender, request: Request, event: Event) -> None:
        """Refuse another delivery by the proof of one that has come: its body is not signed."""
        token = values_at(content_of(request), sender.once.partition(":")[2])[0]
        try:
            tolerance = sender.ways[0].tolerance
            self._once.check(hook.name, token, event.delivery or "", request.received, tolerance)
        except Mismatch as mismatch:
            raise _not_verified(sender, request.body) from mismatch

    def _event(
        self, hook: Hook, sender: Sender, request: Request, received: datetime, given: Content
    ) -> Read:
        """The event of a verified delivery, whatever its content is, and what is to be told of that."""
        kept = {
            name: value if value.isascii() else _text(value)
            for name, value in request.headers.items()
            if is_kept(name)
        }
        kept.pop(sender.header, None)
        for name, value in given.headers.items():
            if value is None:
                kept.pop(name, None)
            else:
                kept[name] = value
        query = _kept_query(request)
        if sender.parameter:
            query.pop(sender.parameter, None)
        sources = _Sources(kept, query, given.value, given.attributes)
        # not a function in here that calls itself: such a one keeps all headers until garbage is collected
        found = topic.fill(hook, partial(_value, hook, sender, sources))
        who = identity.identify(
            hook, sender, request, sources.at, _HASHING.step_back, of_event=given.identity
        )
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
            body=given.body,
            query=sources.query,
            attributes=given.attributes or {},
            is_test=bool(sender.tests) and _first(sender.event, sources) in sender.tests,
            parsed=given.value,
        )
        remarks = {
            "event.unreadable": given.unreadable,
            "topic.missed": found.missing,
            "topic.shortened": found.cut,
            "subscription.offered": _offered(sender, sources) if sender.offered else "",
            "delivery.renamed": who.was_renamed,
        }
        return event, {fact: reason for fact, reason in remarks.items() if reason}

    def _secrets(self, hook: Hook, sender: Sender) -> tuple[str, ...]:
        secrets = hook.secret_texts
        if not sender.is_open and not any(secrets):
            raise self._disabled()
        return secrets

    def _disabled(self) -> Refused:
        """503, so that senders come back: it opens when its secret is there. Nothing of it is read."""
        return Refused(503, "hook_disabled", "hook: not usable, its secret is missing", self.retry_after())

    def _store(self, publish: Callable[[Given], Got], given: Given) -> Got:
        self._admission.check(self._clock)  # others came in while the body did
        try:
            with self._admission.waiting():
                return publish(given)
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


def _agreed(hook: Hook, environ: Mapping[str, Any]) -> Answer | None:
    """The answer to a sender of CloudEvents that asks whether it may send; None where nobody takes those."""
    return abuse_protection.answer(environ, hook.methods) if hook.format == "cloudevents" else None


def _not_verified(sender: Sender, body: bytes) -> Refused:
    scheme = sender.ways[0].prefix.strip() if sender.header == "authorization" else ""
    challenge = {"WWW-Authenticate": scheme + (' realm="hooks"' * (scheme == "Basic"))} if scheme else {}
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


def _request(
    environ: Mapping[str, Any], now: float, public_url: str, trusted: Collection[Network]
) -> Request:
    """The head of the request in *environ*; its body is to be read yet."""
    url = public_url or "".join(
        (scheme(environ, trusted), "://", environ.get("HTTP_HOST", ""), environ["PATH_INFO"])
    )
    if query := environ["QUERY_STRING"]:
        url = f"{url}?{query}"
    return Request(environ["REQUEST_METHOD"], url, headers_of(environ), received=now)


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
    attributes: Mapping[str, str]

    def at(self, place: str) -> str | None:
        kind, where = _parts_of(place)
        if kind == "header":
            return self.header.get(where)
        if kind == "attribute":
            return self.attributes.get(where)
        return self.query.get(where) if kind == "query" else strict_json.at_path(self.content, where)


@lru_cache(maxsize=1024)  # places stand in the configuration and in the table of senders
def _parts_of(place: str) -> tuple[str, str]:
    kind, _, where = place.partition(":")
    return kind, where.lower() if kind == "header" else where


def _value(hook: Hook, sender: Sender, sources: _Sources, placeholder: str) -> str | None:
    if placeholder == "event" and sources.attributes:
        return sources.attributes["type"]
    if placeholder == "name" or (placeholder == "event" and not sender.event):
        return hook.name
    return _first(sender.event if placeholder == "event" else (placeholder,), sources)


def _offered(sender: Sender, sources: _Sources) -> str:
    """The URL that confirms a subscription, where it is the sender's own; "" for other deliveries."""
    if _first(sender.event, sources) != sender.offers:
        return ""
    url = sources.at(sender.offered) or ""
    return url if sender.offered_at.fullmatch(url) else NOT_THE_SENDERS


def _first(places: Iterable[str], sources: _Sources) -> str | None:
    """The first value there is at one of *places*."""
    for place in places:
        if value := sources.at(place):
            return value
    return None


def _quoted(stored_id: Any) -> str:
    """The JSON text of an id; one that another program has stored may be anything."""
    return f'"{stored_id}"' if type(stored_id) is ObjectId else dumps(str(stored_id))


def _answered(hook: Hook, event: Event, receipt: Receipt) -> Answer | Awaited:
    answer = _accepted(event, receipt)
    return own_answer(hook, event, receipt, answer) if hook.has_own_answer else answer


def _accepted(event: Event, receipt: Receipt) -> Answer:
    return _answer(_told(event, receipt), is_new=not receipt.duplicate)


def _accepted_batch(events: Sequence[Event], receipts: Sequence[Receipt]) -> Answer:
    each = ", ".join([_told(event, receipt) for event, receipt in zip(events, receipts, strict=True)])
    is_new = not all(receipt.duplicate for receipt in receipts)
    return _answer(f'{{"events": [{each}]}}', is_new=is_new)


def _told(event: Event, receipt: Receipt) -> str:
    # put together here, where all of it is known: the encoder takes three times as long
    event_id = _quoted(receipt.event_id or event.id)
    task_ids = ", ".join([_quoted(task_id) for task_id in receipt.task_ids])
    duplicate = ', "duplicate": true' if receipt.duplicate else ""
    retried = f', "retried": {receipt.retried}' if receipt.retried else ""
    filtered = ', "filtered": true' if event.is_filtered and not receipt.task_ids else ""
    return f'{{"event": {event_id}, "tasks": [{task_ids}]{duplicate}{retried}{filtered}}}'


def _answer(told: str, *, is_new: bool) -> Answer:
    body = f"{told}\n".encode()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    return Answer("202 Accepted" if is_new else "200 OK", headers, body)
