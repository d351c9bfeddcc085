"""The JSON API of the daemon on its control socket, for the CLI and other processes.

JSON for people and scripts, BSON (``application/bson``) where values have to keep their types. The
callers are trusted: the socket has mode 0600.
"""

from __future__ import annotations

import dataclasses
import re
from base64 import b64decode
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from functools import partial
from json import dumps
from pathlib import Path
from typing import Any, Final, TypeVar

from bson import ObjectId
from bson.errors import BSONError, InvalidId
from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from ..admin import COUNTED_BY, PAGE, Admin, why_not
from ..apps.registry import Registry
from ..clock import Clock
from ..codec import decode, encode
from ..delivery_record import Delivery, DeliveryFilter
from ..errors import (
    BadCall,
    BadDeclaration,
    BadFilter,
    MonqbusError,
    NotFound,
    NotStorable,
    Refused,
    StoreError,
    StoreUnavailable,
)
from ..http import Queue, read_body
from ..model import MOMENTS, READY, TASK_NAME, TOPIC, EventFilter, Filter, MonQTask
from ..pauses import TASK
from ..posting import PostOffice
from ..presentation import (
    delivery_details,
    delivery_row,
    event_row,
    plain,
    task_details,
    task_row,
    why_waiting,
)
from ..rfc3339 import moment_in_utc
from ..store.documents import event_to_document, task_to_document
from ..store.salvage import opened
from ..strict_json import BadJson, parse
from ..telemetry import counted

Part = TypeVar("Part", list[Any], dict[str, Any])

Parsed = TypeVar("Parsed")
BSON_TYPE: Final = "application/bson"
BODY_LIMIT: Final = 16 * 1024 * 1024
_PARSING: Final = Queue()
PAGE_LIMIT: Final = 1000
FINDS: Final = frozenset({"filter", "limit", "cursor"})
COUNTS: Final = frozenset({"filter", "by"})
PAUSED: Final = "paused"
PAUSES: Final = frozenset({"what", "name", "reason", "until", "by"})
RESUMES: Final = frozenset({"what", "name"})
BY: Final = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]{0,200}")
_WITHOUT_TASKS: Final = frozenset({"facts", "status", "topics"})
ABSOLUTE_PATH: Final = re.compile(r"/[^\x00]{1,4000}")
_CODES: Final[tuple[tuple[type[MonqbusError], int, str], ...]] = (
    (BadFilter, 400, "bad_filter"),
    (NotFound, 404, "not_found"),
    (NotStorable, 422, "not_storable"),
    (BadCall, 422, "bad_call"),
    (BadDeclaration, 422, "bad_declaration"),
    (StoreUnavailable, 503, "store_unavailable"),
    (StoreError, 409, "store_refused"),
)


class Api:
    """One method a route. Each answers with a Response or raises a MonqbusError."""

    def __init__(
        self,
        admin: Admin,
        office: PostOffice,
        registry: Callable[[], Registry],
        clock: Clock,
        *,
        status: Callable[[], Mapping[str, Any]] = dict,
        catch_up: Callable[[], object] = lambda: None,
    ) -> None:
        self._admin = admin
        self._office = office
        self._registry = registry
        self._clock = clock
        self._status = status
        self._catch_up = catch_up
        self._began = clock.wall()

    def catch_up(self) -> None:
        """Take over what has been posted before this request, so that it is seen and can be steered.

        Not for those that ask how the daemon is: they have to be answered while the store is away.
        """
        if request.path.rpartition("/")[2] in _WITHOUT_TASKS:
            return
        with suppress(StoreError, OSError):
            self._catch_up()

    def post_task(self) -> Response:
        """Store one task; the declaration's options count where the request names none.

        Under an `id` that the request names it is stored once, whatever has become of it since.
        """
        document = _asked()
        name = _text(document, "name", TASK_NAME)
        changes, context = _part(document, "options", dict), _part(document, "context", dict)
        # checked before by the function of whoever posts it: that program may be newer than this daemon
        check = document.get("is_checked") is not True
        task = self._office.prepare_named(name, *_call(document), changes, context, check=check)
        task.id = _optional_id(document.get("id")) or task.id
        stored = self._office.submit(task)
        if stored is not task and stored.id == task.id and not _is_same_call(stored, task):
            raise Refused(
                409, "id_taken", f"id: expected one that is free, or the same call, got {task.id}, which is "
                f"stored as another call of {stored.task_name}; choose a new id"
            )  # fmt: skip
        _, is_known, near = self._office.told(stored, name)
        return _answer({"task": task_to_document(stored), "known": is_known, "near": near}, 201)

    def find_tasks(self) -> Response:
        """One page of tasks, newest first; *cursor* is where the next one begins, null when this is empty."""
        document = _asked(FINDS)
        limit = _size(document, "limit", 50)
        tasks = self._admin.find(_filter(document), limit, _cursor(document.get("cursor")))
        show = _document if _wants_bson() else task_row
        return _answer({"tasks": [show(task) for task in tasks], "cursor": tasks[-1].id if tasks else None})

    def count_tasks(self) -> Response:
        """How many tasks match, by state, or by name; or how many of the ready ones are paused."""
        document = _asked(COUNTS)
        if document.get("by") == PAUSED:
            return _answer({"counts": {PAUSED: self._admin.count_paused(_filter(document))}})
        by = document.get("by", "state")
        if by not in COUNTED_BY:
            raise Refused(
                400, "malformed", f"by: expected {' or '.join([*COUNTED_BY, PAUSED])}, got {by!r:.40}"
            )
        return _answer({"counts": self._admin.count(_filter(document), by)})

    def act_on_tasks(self, action: str) -> Response:
        """One page of a bulk action."""
        document = _asked(FINDS)
        steps = {"retry": self._admin.retry, "cancel": self._admin.cancel, "purge": self._admin.purge}
        limit = _size(document, "limit", PAGE)
        step = steps[action](_filter(document), _cursor(document.get("cursor")), limit)
        return _answer(step._asdict())

    def show_task(self, task_id: str) -> Response:
        """Everything about one task."""
        task = self._admin.show(_id(task_id))
        known = self._registry().tasks
        paused = self._admin.paused(task.task_name) if task.state == READY else None
        why = paused.sentence if paused else ""
        waiting = why_waiting(task, self._clock.now(), known.__contains__, why)
        document = _document(task) if _wants_bson() else task_details(task)
        return _answer({"task": document, "waiting": waiting})

    def act_on_task(self, task_id: str, action: str) -> Response:
        """Retry or cancel one task; 409 when its state forbids it."""
        task = self._admin.show(_id(task_id))
        step = (self._admin.retry if action == "retry" else self._admin.cancel)(Filter(ids=(task.id,)))
        if not step.done:
            raise Refused(409, "illegal_move", why_not(action, task))
        return _answer({"done": step.done})

    def publish_event(self) -> Response:
        """Publish an event to the handlers of this daemon."""
        document = _asked()
        receipt, near, is_filtered = self._office.publish_named(
            _text(document, "topic", TOPIC),
            *_call(document),
            context=_part(document, "context", dict),
            event_id=_optional_id(document.get("id")),
        )
        answer = {"event": receipt.event_id, "tasks": receipt.task_ids, "near": near, "filtered": is_filtered}
        return _answer(answer, 201)

    def find_events(self) -> Response:
        """One page of events, newest first, without headers, body and arguments; *cursor* as for tasks."""
        document = _asked(FINDS)
        limit = _size(document, "limit", 50)
        which = _with_moments(EventFilter, document)
        events = self._admin.events(which, limit, _cursor(document.get("cursor")))
        show = event_to_document if _wants_bson() else event_row
        return _answer(
            {"events": [show(event) for event in events], "cursor": events[-1].id if events else None}
        )

    def show_event(self, event_id: str) -> Response:
        """One event as it was received."""
        return _answer({"event": event_to_document(self._admin.event(_id(event_id)))})

    def find_deliveries(self) -> Response:
        """One page of deliveries, newest first; *cursor* as for events."""
        document = _asked(FINDS)
        limit = _size(document, "limit", 50)
        filter = _with_moments(DeliveryFilter, document)
        found = self._admin.deliveries(filter, limit, _cursor(document.get("cursor")))
        show = _fields if _wants_bson() else delivery_row
        return _answer(
            {"deliveries": [show(one) for one in found], "cursor": found[-1].id if found else None}
        )

    def show_delivery(self, delivery_id: str) -> Response:
        """Everything that is logged of one delivery."""
        one = self._admin.delivery(_id(delivery_id))
        return _answer({"delivery": _fields(one) if _wants_bson() else delivery_details(one)})

    def list_topics(self) -> Response:
        """The topics that have a handler here, the handlers of each, and the names of all tasks."""
        known = self._registry()
        names = sorted(known.tasks)
        return _answer({"topics": known.topics, "handlers": known.handlers, "task_names": names})

    def replay_event(self, event_id: str) -> Response:
        """Give an event without tasks the handlers there are now; 409 when it has tasks.

        Under an `id` that the request names for the first of its tasks it is done once.
        """
        document = _asked() if request.content_length else {}
        receipt = self._office.replay(_id(event_id), _optional_id(document.get("id")))
        return _answer({"event": receipt.event_id, "tasks": receipt.task_ids}, 201)

    def show_schedules(self) -> Response:
        """Every declared schedule, its next moments and its last tick."""
        return _answer({"schedules": [state._asdict() for state in self._admin.schedules()]})

    def run_schedule(self, name: str) -> Response:
        """Fire a schedule now, apart from its moments; once under an `id` that the request names."""
        document = _asked() if request.content_length else {}
        receipt = self._office.fire_now(name, _optional_id(document.get("id")))
        return _answer({"event": receipt.event_id, "tasks": receipt.task_ids}, 201)

    def show_pauses(self) -> Response:
        """Every pause that holds, and how many ready tasks it holds up."""
        states = self._admin.pauses()
        return _answer({"pauses": [state.pause.row | {"ready": state.ready} for state in states]})

    def pause(self) -> Response:
        """Hold up tasks or schedules; one that is paused already gets this reason and end."""
        asked = _asked(PAUSES)
        pause = self._admin.pause(
            *_paused(asked),
            asked.get("reason", ""),
            until=_moment("until", asked.get("until")),
            by=_text(asked, "by", BY) if "by" in asked else "",
        )
        return _answer({"pause": pause.row}, 201)

    def resume(self) -> Response:
        """End one pause."""
        return _answer({"pause": self._admin.resume(*_paused(_asked(RESUMES))).row})

    def back_up(self) -> Response:
        """Write the store to a new file of this machine, named by its absolute path."""
        path = Path(_text(_asked(), "path", ABSOLUTE_PATH))
        self._admin.backup(path)
        return _answer({"path": str(path), "size": path.stat().st_size}, 201)

    def count_facts(self) -> Response:
        """How often each fact has happened in this daemon, and since when."""
        return _answer({"since": self._began, "facts": dict(counted)})

    def show_status(self) -> Response:
        """Whether the daemon is ready, if not why, and how each part of it is."""
        return _answer(self._status())


ROUTES: Final[tuple[tuple[str, str, Callable[..., Response]], ...]] = (
    ("POST", "/tasks", Api.post_task),
    ("POST", "/tasks/find", Api.find_tasks),
    ("POST", "/tasks/count", Api.count_tasks),
    ("POST", "/tasks/<any(retry, cancel, purge):action>", Api.act_on_tasks),
    ("GET", "/tasks/<task_id>", Api.show_task),
    ("POST", "/tasks/<task_id>/<any(retry, cancel):action>", Api.act_on_task),
    ("POST", "/events", Api.publish_event),
    ("POST", "/events/find", Api.find_events),
    ("GET", "/events/<event_id>", Api.show_event),
    ("POST", "/events/<event_id>/replay", Api.replay_event),
    ("POST", "/deliveries/find", Api.find_deliveries),
    ("GET", "/deliveries/<delivery_id>", Api.show_delivery),
    ("GET", "/topics", Api.list_topics),
    ("GET", "/schedules", Api.show_schedules),
    ("POST", "/schedules/<name>/run", Api.run_schedule),
    ("GET", "/pauses", Api.show_pauses),
    ("POST", "/pauses", Api.pause),
    ("POST", "/pauses/resume", Api.resume),
    ("POST", "/backup", Api.back_up),
    ("GET", "/facts", Api.count_facts),
    ("GET", "/status", Api.show_status),
)


def create_api(api: Api) -> Flask:
    """The WSGI application that serves *api* under ``/api/v1``."""
    app = Flask("monqbus.api", static_folder=None, root_path="/")
    for method, rule, answer in ROUTES:
        app.add_url_rule(f"/api/v1{rule}", answer.__name__, partial(answer, api), methods=[method])
    app.before_request(api.catch_up)
    app.register_error_handler(MonqbusError, _failed)
    app.register_error_handler(HTTPException, _no_such_thing)
    return app


def _document(task: MonQTask) -> dict[str, Any]:
    """As it is stored, and what of it cannot be read."""
    document = task_to_document(task)
    return document | {"fault": task.fault} if task.fault else document


def _failed(error: MonqbusError) -> Response:
    if isinstance(error, Refused):
        return _problem(error.status, error.code, error.detail)
    for kind, status, code in _CODES:
        if isinstance(error, kind):
            return _problem(status, code, str(error))
    return _problem(400, "refused", str(error))


def _no_such_thing(error: HTTPException) -> Response:
    return _problem(error.code or 500, "http", error.description or error.name)


def _problem(status: int, code: str, detail: str) -> Response:
    return _answer({"status": status, "code": code, "detail": detail}, status)


def _asked(words: frozenset[str] | None = None) -> dict[str, Any]:
    """The request's object, which may have these *words* alone: one left unread could widen what is meant."""
    document = _decoded(read_body(request.environ, BODY_LIMIT), request.headers.get("Content-Type", ""))
    if words is not None and (unknown := sorted(document.keys() - words)):
        raise Refused(400, "malformed", f"{unknown[0]:.80}: expected one of {', '.join(sorted(words))}")
    return document


def _wants_bson() -> bool:
    return request.headers.get("Accept") == BSON_TYPE


def _answer(document: Mapping[str, Any], status: int = 200) -> Response:
    if _wants_bson():
        return Response(encode(document), status, content_type=BSON_TYPE)
    kind = "application/json" if status < 400 else "application/problem+json"
    return Response(_json(document), status, content_type=kind)


def _json(document: Mapping[str, Any]) -> str:
    return dumps(plain(document), ensure_ascii=False) + "\n"


def _decoded(body: bytes, content_type: str) -> dict[str, Any]:
    try:
        document = decode(body) if content_type == BSON_TYPE else parse(body, _PARSING.step_back)
    except (BSONError, BadJson) as error:
        raise Refused(400, "malformed", str(error)) from error
    if not isinstance(document, dict):
        raise Refused(400, "malformed", f"body: expected an object, got {type(document).__name__}")
    return document


def _text(document: Mapping[str, Any], name: str, pattern: Any) -> str:
    value = document.get(name)
    if not isinstance(value, str) or pattern.fullmatch(value) is None:
        raise Refused(400, "malformed", f"{name}: expected {pattern.pattern}, got {value!r:.80}")
    return value


def _part(document: Mapping[str, Any], name: str, kind: type[Part]) -> Part:
    value = document.get(name)
    if value is None:
        return kind()
    if not isinstance(value, kind):
        shape = "an array" if kind is list else "an object"
        raise Refused(400, "malformed", f"{name}: expected {shape}, got {value!r:.80}")
    return value


def _call(document: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    return _part(document, "args", list), _part(document, "kwargs", dict)


def _is_same_call(one: MonQTask, other: MonQTask) -> bool:
    calls = [{"name": task.task_name, "args": task.args, "kwargs": task.kwargs} for task in (one, other)]
    return calls[0] == calls[1] or encode(calls[0]) == encode(calls[1])  # NaN is not equal to itself


def _size(document: Mapping[str, Any], name: str, default: int) -> int:
    value = document.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise Refused(400, "malformed", f"{name}: expected a whole number above 0, got {value!r:.40}")
    return min(value, PAGE_LIMIT)


def _id(value: Any) -> ObjectId:
    try:
        return ObjectId(value)
    except (InvalidId, TypeError) as error:
        raise Refused(400, "malformed", f"id: expected 24 hexadecimal digits, got {value!r:.60}") from error


def _optional_id(value: Any) -> ObjectId | None:
    return None if value is None else _id(value)


def _cursor(value: Any) -> Any:
    """The id behind which a page begins: as an earlier page ended, which may be under a seal."""
    if isinstance(value, dict) and isinstance(text := value.get("base64"), str):  # as JSON has it
        with suppress(ValueError):
            value = b64decode(text, validate=True)
    return value if opened(value) is not None else _optional_id(value)


def _moment(name: str, value: Any) -> datetime | None:
    """A moment as BSON holds it, or RFC 3339 text."""
    if value is None or isinstance(value, datetime):
        return value
    try:
        return moment_in_utc(value)
    except (TypeError, ValueError) as error:
        raise Refused(400, "malformed", f"{name}: expected an RFC 3339 time, got {value!r:.40}") from error


def _paused(document: Mapping[str, Any]) -> tuple[Any, Any]:
    """What a pause is of; Admin checks what they say."""
    what, name = document.get("what", TASK), document.get("name")
    if not isinstance(what, str) or not isinstance(name, str):
        raise Refused(400, "malformed", f"what, name: expected text, got {what!r:.40} and {name!r:.80}")
    return what, name


def _filter(document: Mapping[str, Any]) -> Filter:
    """The filter of a request, whose values have their types; Filter itself checks what they say."""
    which = dict(_part(document, "filter", dict))
    for name in ("ids", "states", "names"):
        which[name] = tuple(_part(which, name, list))
        if which[name] == () and name in document.get("filter", {}):
            raise Refused(400, "malformed", f"{name}: expected at least one, got none, which means all")
    which["ids"] = tuple(_id(value) for value in which["ids"])
    for name in MOMENTS:
        which[name] = _moment(name, which.get(name))
    return _parsed(Filter, which)


def _with_moments(kind: Callable[..., Parsed], document: Mapping[str, Any]) -> Parsed:
    """The filter of a request about events or deliveries."""
    which = dict(_part(document, "filter", dict))
    for name in ("older", "newer"):
        which[name] = _moment(name, which.get(name))
    return _parsed(kind, which)


def _fields(one: Delivery) -> dict[str, Any]:
    """*one* as BSON holds it; headers as pairs, since a key may not have any name."""
    fields = dataclasses.asdict(one)
    return fields | {"headers": [[name, value] for name, value in one.headers.items()]}


def _parsed(kind: Callable[..., Parsed], which: dict[str, Any]) -> Parsed:
    try:
        return kind(**which)
    except TypeError as error:
        raise Refused(400, "malformed", f"filter: {error}") from error
