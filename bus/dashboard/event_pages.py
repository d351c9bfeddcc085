"""The pages of events and deliveries: what came, what became of it, and again if that is wanted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ..access import Role, form_of, names_of, visitor_of
from ..access.gate import see_other
from ..access.masking import MASK, masked
from ..delivery_record import OUTCOMES, Delivery
from ..errors import NotFound, Refused
from ..http.problem import Answer
from ..model import EVENT_OUTCOMES, TOPIC, Event
from ..presentation import event_details
from . import searches, text
from .desk import Desk, id_of, link, query_of
from .task_list import remark
from .task_page import BadArguments, loaded_arguments

ROWS: Final = 50


def show_events(desk: Desk, environ: Mapping[str, Any]) -> Answer:
    """One page of events. Blocks on the store; raises Refused(400)."""
    query = query_of(environ)
    filter = searches.events(query, desk.clock.now())
    found = desk.admin.events(filter, ROWS + 1, searches.cursor(query))
    search = searches.without_place(query)
    return desk.page(
        environ,
        "events.html",
        query=query,
        events=found[:ROWS],
        outcomes=EVENT_OUTCOMES,
        more=link("/events", **search, cursor=found[ROWS - 1].id) if len(found) > ROWS else "",
        first=link("/events", **search) if "cursor" in query else "",
    )


def show_event(desk: Desk, environ: Mapping[str, Any]) -> Answer:
    """One event and the tasks that it has become. Blocks on the store; raises Refused(404), NotFound."""
    (written,) = names_of(environ)
    event = desk.admin.event(id_of(written, "event"))
    details = masked(event_details(event), visitor_of(environ))
    tasks = desk.admin.tasks_of(event)
    takers = [handler.name for handler in desk.registry().handlers_of(event.topic)]
    return desk.page(
        environ,
        "event.html",
        event=event,
        details={name: value for name, value in details.items() if name not in _SHOWN_ELSEWHERE},
        headers=details["headers"],
        query_parameters=details["query"],
        args=details["args"],
        kwargs=details["kwargs"],
        body=_body(environ, event),
        tasks=[(task, remark(task)) for task in tasks],
        forgotten=max(0, len(event.task_ids) - len(tasks)),
        takers=takers,
    )


_SHOWN_ELSEWHERE: Final = frozenset(
    {"id", "headers", "query", "args", "kwargs", "body", "task_ids", "attributes"}
)


def _body(environ: Mapping[str, Any], event: Event) -> Any:
    """The body; JSON without its secrets for a viewer, who sees nothing of any other kind."""
    if not event.body:
        return None
    visitor = visitor_of(environ)
    try:
        return masked(event.json, visitor)
    except ValueError:
        return event_details(event)["body"] if visitor.may(Role.OPERATOR) else MASK


def replay(desk: Desk, environ: Mapping[str, Any]) -> Answer:
    """Give an event without tasks the handlers there are now. Raises NotFound, StoreError."""
    (written,) = names_of(environ)
    event_id = id_of(written, "event")
    receipt = desk.operations.by(visitor_of(environ)).replay(event_id)
    desk.remembered.forget()
    return see_other(link(f"/events/{event_id}", done="replay", number=str(len(receipt.task_ids))))


def publish(desk: Desk, environ: Mapping[str, Any]) -> Answer:
    """Publish an event to the handlers there are now. Raises Refused(400, 422), NotStorable."""
    form = form_of(environ)
    topic = form.get("topic", "").strip()
    if not TOPIC.fullmatch(topic):
        expected = "expected 1 to 128 letters, digits, _ . : and -"
        raise Refused(400, "bad_form", f"topic: {expected}, got {text.cell(topic) or 'none'}")
    try:
        args = loaded_arguments("args", form.get("args") or "[]", list)
        kwargs = loaded_arguments("kwargs", form.get("kwargs") or "{}", dict)
    except BadArguments as error:
        raise Refused(422, "bad_call", str(error)) from error
    receipt = desk.operations.by(visitor_of(environ)).publish_named(topic, args, kwargs).receipt
    desk.remembered.forget()
    number = str(len(receipt.task_ids))
    return see_other(link(f"/events/{receipt.event_id}", done="publish", number=number))


def show_deliveries(desk: Desk, environ: Mapping[str, Any]) -> Answer:
    """One page of deliveries. Blocks on the store; raises Refused(400)."""
    query = query_of(environ)
    filter = searches.deliveries(query, desk.clock.now())
    found = desk.admin.deliveries(filter, ROWS + 1, searches.cursor(query))
    search = searches.without_place(query)
    return desk.page(
        environ,
        "deliveries.html",
        query=query,
        deliveries=found[:ROWS],
        outcomes=OUTCOMES,
        hooks=sorted(desk.config().hooks),
        more=link("/deliveries", **search, cursor=found[ROWS - 1].id) if len(found) > ROWS else "",
        first=link("/deliveries", **search) if "cursor" in query else "",
    )


def show_delivery(desk: Desk, environ: Mapping[str, Any]) -> Answer:
    """One delivery and its event. Blocks on the store; raises Refused(404), NotFound."""
    (written,) = names_of(environ)
    delivery = desk.admin.delivery(id_of(written, "delivery"))
    event = _event_of(desk, delivery)
    return desk.page(
        environ,
        "delivery.html",
        delivery=delivery,
        headers=masked(delivery.headers, visitor_of(environ)),
        event=event,
        tasks=[(task, remark(task)) for task in desk.admin.tasks_of(event)] if event is not None else [],
    )


def _event_of(desk: Desk, delivery: Delivery) -> Event | None:
    try:
        return desk.admin.event(delivery.event_id or delivery.id)
    except NotFound:
        return None
