"""The JSON API of the daemon, on its control socket and on the administrators' listener: one method a route.

JSON for people and scripts, BSON (``application/bson``) where values have to keep their types. Whoever asks
is the visitor in the environ: that of the Gate, or the operator behind the control socket (mode 0600).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from flask import Response, request

from ..access.masking import MASK, masked, masked_body
from ..access.roles import Role
from ..access.visitor import visitor_of
from ..admin import COUNTED_BY, PAGE, Admin
from ..apps.registry import Registry, Task
from ..clock import Clock
from ..codec import encode
from ..config.section_settings import Hook
from ..delivery_record import Delivery, DeliveryFilter
from ..errors import Refused, StoreError
from ..model import READY, TASK_NAME, TOPIC, EventFilter, Filter, MonQTask
from ..operations import Operations
from ..pauses import TASK
from ..posting import PostOffice
from ..presentation import (
    delivery_details,
    delivery_row,
    event_details,
    event_row,
    task_details,
    task_row,
    why_waiting,
)
from ..safe_text import shown
from ..store.documents import event_to_document, task_to_document
from ..telemetry import counted
from .requests import (
    answered,
    asked,
    call_of,
    cursor_of,
    filter_of,
    filter_with_moments,
    flag_of,
    generation_of,
    id_of,
    moment_of,
    optional_id,
    part_of,
    query_of,
    size_of,
    text_of,
    wants_bson,
)

PAGES: Final = frozenset({"limit", "cursor"})
BY_WORDS: Final = frozenset({"by"})
FINDS: Final = frozenset({"filter", "limit", "cursor"})
ACTS: Final = FINDS | {"dry_run", "all"}
COUNTS: Final = frozenset({"filter", "by"})
POSTS: Final = frozenset({"id", "name", "args", "kwargs", "context", "options", "is_checked"})
PUBLISHES: Final = frozenset({"id", "topic", "args", "kwargs", "context"})
ONLY_ID: Final = frozenset({"id"})
ONLY_PATH: Final = frozenset({"path"})
PAUSED: Final = "paused"
PAUSES: Final = frozenset({"what", "name", "reason", "until", "by"})
RESUMES: Final = frozenset({"what", "name"})
BY: Final = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]{0,200}")
_WITHOUT_TASKS: Final = frozenset({"facts", "status", "topics"})
ABSOLUTE_PATH: Final = re.compile(r"/[^\x00]{1,4000}")


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
        operations: Operations | None = None,
        hooks: Callable[[], Mapping[str, Hook]] = dict,
        workers: Callable[[], Mapping[str, Any]] = dict,
    ) -> None:
        self._admin = admin
        self._office = office
        self._registry = registry
        self._clock = clock
        self._status = status
        self._catch_up = catch_up
        self._operations = operations or Operations(admin, office)
        self._hooks = hooks
        self._workers = workers
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
        document = asked(POSTS)
        name = text_of(document, "name", TASK_NAME)
        changes, context = part_of(document, "options", dict), part_of(document, "context", dict)
        # checked before by the function of whoever posts it: that program may be newer than this daemon
        check = document.get("is_checked") is not True
        task = self._office.prepare_named(name, *call_of(document), changes, context, check=check)
        task.id = optional_id(document.get("id")) or task.id
        stored = self._acting.submit(task)
        if stored is not task and stored.id == task.id and not _is_same_call(stored, task):
            raise Refused(
                409, "id_taken", f"id: expected one that is free, or the same call, got {task.id}, which is "
                f"stored as another call of {stored.task_name}; choose a new id"
            )  # fmt: skip
        _, is_known, near = self._office.told(stored, name)
        return answered({"task": task_to_document(stored), "known": is_known, "near": near}, 201)

    @property
    def _acting(self) -> Operations:
        """The actions, by whoever has made this request."""
        return self._operations.by(visitor_of(request.environ))

    def list_tasks(self) -> Response:
        """One page of tasks, newest first, by the parameters of the query."""
        return self._page_of_tasks(query_of(Filter, PAGES))

    def find_tasks(self) -> Response:
        """One page of tasks, newest first; *cursor* is where the next one begins, null when this is empty."""
        return self._page_of_tasks(asked(FINDS))

    def _page_of_tasks(self, document: Mapping[str, Any]) -> Response:
        limit = size_of(document, "limit", 50)
        tasks = self._admin.find(filter_of(document), limit, cursor_of(document.get("cursor")))
        show = _document if wants_bson() else task_row
        rows = [_seen_task(show(task)) for task in tasks]
        return answered({"tasks": rows, "cursor": tasks[-1].id if tasks else None})

    def count_tasks(self) -> Response:
        """How many tasks match, by state, or by name; or how many of the ready ones are paused."""
        return self._counted(asked(COUNTS))

    def counts(self) -> Response:
        """How many tasks match the parameters of the query, by state, or by name."""
        return self._counted(query_of(Filter, BY_WORDS))

    def _counted(self, document: Mapping[str, Any]) -> Response:
        if document.get("by") == PAUSED:
            return answered({"counts": {PAUSED: self._admin.count_paused(filter_of(document))}})
        by = document.get("by", "state")
        if by not in COUNTED_BY:
            raise Refused(
                400, "malformed", f"by: expected {' or '.join([*COUNTED_BY, PAUSED])}, got {shown(by, 40)}"
            )
        return answered({"counts": self._admin.count(filter_of(document), by)})

    def act_on_tasks(self, action: str) -> Response:
        """One page of `retry`, `cancel` or `purge`; with *dry_run* how many of each name it would go through.

        A filter that says nothing means every task, and `all` has to say so, too.
        """
        document = asked(ACTS)
        filter, limit = filter_of(document), size_of(document, "limit", PAGE)
        cursor = cursor_of(document.get("cursor"))
        if filter.is_empty and not flag_of(document, "all"):
            raise Refused(400, "malformed", 'filter: expected a part, got none; "all": true means every task')
        if flag_of(document, "dry_run"):
            names = self._operations.forecast(action, filter)
            return answered({"would_be": sum(names.values()), "names": names})
        return answered(self._acting.step(action, filter, cursor, limit)._asdict())

    def show_task(self, task_id: str) -> Response:
        """Everything about one task."""
        task = self._admin.show(id_of(task_id))
        known = self._registry().tasks
        paused = self._admin.paused(task.task_name) if task.state == READY else None
        why = paused.sentence if paused else ""
        held = self._held_up(task)
        waiting = why_waiting(task, self._clock.now(), known.__contains__, why, held)
        document = _seen_task(_document(task) if wants_bson() else task_details(task))
        answer = answered({"task": document, "waiting": waiting})
        answer.headers["ETag"] = f'"{task.generation}"'
        return answer

    def _held_up(self, task: MonQTask) -> str:
        declared = self._registry().tasks.get(task.task_name)
        limit = declared.defaults.limit if declared is not None else None
        return self._admin.held_up(task, limit) if task.state == READY else ""

    def act_on_task(self, task_id: str, action: str) -> Response:
        """`retry`, `cancel` or `purge` one task; 409 when its state forbids it.

        With If-Match, 412 when it has been begun since it was looked at.
        """
        generation = generation_of(request.headers.get("If-Match"))
        return answered({"done": self._acting.act(action, id_of(task_id), generation)})

    def publish_event(self) -> Response:
        """Publish an event to the handlers of this daemon."""
        document = asked(PUBLISHES)
        receipt, near, is_filtered = self._acting.publish_named(
            text_of(document, "topic", TOPIC),
            *call_of(document),
            context=part_of(document, "context", dict),
            event_id=optional_id(document.get("id")),
        )
        answer = {"event": receipt.event_id, "tasks": receipt.task_ids, "near": near, "filtered": is_filtered}
        return answered(answer, 201)

    def list_events(self) -> Response:
        """One page of events, newest first, by the parameters of the query."""
        return self._page_of_events(query_of(EventFilter, PAGES))

    def find_events(self) -> Response:
        """One page of events, newest first, without headers, body and arguments; *cursor* as for tasks."""
        return self._page_of_events(asked(FINDS))

    def _page_of_events(self, document: Mapping[str, Any]) -> Response:
        limit = size_of(document, "limit", 50)
        which = filter_with_moments(EventFilter, document)
        events = self._admin.events(which, limit, cursor_of(document.get("cursor")))
        show = event_to_document if wants_bson() else event_row
        return answered(
            {"events": [show(event) for event in events], "cursor": events[-1].id if events else None}
        )

    def show_event(self, event_id: str) -> Response:
        """One event as it was received."""
        event = self._admin.event(id_of(event_id))
        if visitor_of(request.environ).may(Role.OPERATOR):
            return answered({"event": event_to_document(event)})
        return answered({"event": _seen({**event_details(event), "body": masked_body(event.body)})})

    def list_deliveries(self) -> Response:
        """One page of deliveries, newest first, by the parameters of the query."""
        return self._page_of_deliveries(query_of(DeliveryFilter, PAGES))

    def find_deliveries(self) -> Response:
        """One page of deliveries, newest first; *cursor* as for events."""
        return self._page_of_deliveries(asked(FINDS))

    def _page_of_deliveries(self, document: Mapping[str, Any]) -> Response:
        limit = size_of(document, "limit", 50)
        filter = filter_with_moments(DeliveryFilter, document)
        found = self._admin.deliveries(filter, limit, cursor_of(document.get("cursor")))
        show = _fields if wants_bson() else delivery_row
        return answered(
            {"deliveries": [show(one) for one in found], "cursor": found[-1].id if found else None}
        )

    def show_delivery(self, delivery_id: str) -> Response:
        """Everything that is logged of one delivery."""
        one = self._admin.delivery(id_of(delivery_id))
        if visitor_of(request.environ).may(Role.OPERATOR):
            return answered({"delivery": _fields(one) if wants_bson() else delivery_details(one)})
        return answered({"delivery": _seen({**delivery_details(one), "body": masked_body(one.body)})})

    def list_topics(self) -> Response:
        """The topics that have a handler here, the handlers of each, and the names of all tasks."""
        known = self._registry()
        names = sorted(known.tasks)
        return answered({"topics": known.topics, "handlers": known.handlers, "task_names": names})

    def list_handlers(self) -> Response:
        """Every declared task: where, for which topics, with which options, and why it is paused."""
        tasks = [self._handler(task) for _, task in sorted(self._registry().tasks.items())]
        return answered({"handlers": tasks})

    def _handler(self, task: Task[..., Any]) -> dict[str, Any]:
        paused = self._admin.paused(task.name)
        options = {
            name: value for name, value in dataclasses.asdict(task.defaults).items() if value is not None
        }
        return {
            "name": task.name,
            "topics": list(task.topics),
            "where": task.where,
            "options": options,
            "paused": paused.sentence if paused else None,
        }

    def list_hooks(self) -> Response:
        """Every hook, without its secrets."""
        found = [
            {"name": name, "verify": hook.verify, "topic": hook.topic, "where": hook.where}
            for name, hook in sorted(self._hooks().items())
        ]
        return answered({"hooks": found})

    def show_workers(self) -> Response:
        """The slots of this daemon, what runs in them for how many seconds, and the daemons of the store."""
        return answered(self._workers())

    def replay_event(self, event_id: str) -> Response:
        """Give an event without tasks the handlers there are now; 409 when it has tasks.

        Under an `id` that the request names for the first of its tasks it is done once.
        """
        document = asked(ONLY_ID) if request.content_length else {}
        receipt = self._acting.replay(id_of(event_id), optional_id(document.get("id")))
        return answered({"event": receipt.event_id, "tasks": receipt.task_ids}, 201)

    def show_schedules(self) -> Response:
        """Every declared schedule, its next moments and its last tick."""
        return answered({"schedules": [state._asdict() for state in self._admin.schedules()]})

    def run_schedule(self, name: str) -> Response:
        """Fire a schedule now, apart from its moments; once under an `id` that the request names."""
        document = asked(ONLY_ID) if request.content_length else {}
        receipt = self._acting.fire_now(name, optional_id(document.get("id")))
        return answered({"event": receipt.event_id, "tasks": receipt.task_ids}, 201)

    def show_pauses(self) -> Response:
        """Every pause that holds, and how many ready tasks it holds up."""
        states = self._admin.pauses()
        return answered({"pauses": [state.pause.row | {"ready": state.ready} for state in states]})

    def pause(self) -> Response:
        """Hold up tasks or schedules; one that is paused already gets this reason and end."""
        document = asked(PAUSES)
        pause = self._acting.pause(
            *_paused(document),
            document.get("reason", ""),
            until=moment_of("until", document.get("until")),
            by=text_of(document, "by", BY) if "by" in document else "",
        )
        return answered({"pause": pause.row}, 201)

    def resume(self) -> Response:
        """End one pause."""
        return answered({"pause": self._acting.resume(*_paused(asked(RESUMES))).row})

    def back_up(self) -> Response:
        """Write the store to a new file of this machine, named by its absolute path."""
        path = Path(text_of(asked(ONLY_PATH), "path", ABSOLUTE_PATH))
        self._acting.backup(path)
        return answered({"path": str(path), "size": path.stat().st_size}, 201)

    def count_facts(self) -> Response:
        """How often each fact has happened in this daemon, and since when."""
        return answered({"since": self._began, "facts": dict(counted)})

    def show_status(self) -> Response:
        """Whether the daemon is ready, if not why, and how each part of it is."""
        return answered(self._status())


def _seen(document: dict[str, Any]) -> Any:
    """*document* as whoever asks may see it."""
    return masked(document, visitor_of(request.environ))


def _seen_task(document: dict[str, Any]) -> Any:
    """As `_seen`; what a task has printed may hold anything, and is for operators alone."""
    visitor = visitor_of(request.environ)
    if document.get("output") and not visitor.may(Role.OPERATOR):
        document = {**document, "output": MASK}
    return masked(document, visitor)


def _document(task: MonQTask) -> dict[str, Any]:
    """As it is stored, and what of it cannot be read."""
    document = task_to_document(task)
    return document | {"fault": task.fault} if task.fault else document


def _is_same_call(one: MonQTask, other: MonQTask) -> bool:
    calls = [{"name": task.task_name, "args": task.args, "kwargs": task.kwargs} for task in (one, other)]
    return calls[0] == calls[1] or encode(calls[0]) == encode(calls[1])  # NaN is not equal to itself


def _fields(one: Delivery) -> dict[str, Any]:
    """*one* as BSON holds it; headers as pairs, since a key may not have any name."""
    fields = dataclasses.asdict(one)
    return fields | {"headers": [[name, value] for name, value in one.headers.items()]}


def _paused(document: Mapping[str, Any]) -> tuple[Any, Any]:
    """What a pause is of; Admin checks what they say."""
    what, name = document.get("what", TASK), document.get("name")
    if not isinstance(what, str) or not isinstance(name, str):
        raise Refused(400, "malformed", f"what, name: expected text, got {what!r:.40} and {name!r:.80}")
    return what, name
