"""What a verified request brings: the content of one event, or, of CloudEvents, of any number."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ..errors import Refused
from ..http import Queue
from ..payload import ENCODINGS, BadPayload, cloudevents, decode, inflated, kind_of
from ..safe_text import without_surrogates
from .request import Request

if TYPE_CHECKING:
    from ..config import Hook

_PARSING = Queue()
_INFLATING = Queue()
EVENTS_A_PAUSE: Final = 32
_LONGEST_REASON: Final = 300
_TOLD_KINDS: Final = frozenset({"json", "xml"})
"""Bodies of these are read even when nothing of them is asked for, so that a broken one is told."""


class Room(NamedTuple):
    """What inflating a body may take: *most* bytes, each of which *set_aside* is told of before.

    It raises Refused(503) where there is no memory for them.
    """

    most: int
    set_aside: Callable[[int], object]


class Content(NamedTuple):
    """The content of one event: its exact *body* and the *value* of that, where one was asked for.

    *headers* replace those of the request that they name; None removes one. *unreadable* says why a body that
    should have a value has none. *attributes* and *identity* are those of a CloudEvent.
    """

    body: bytes
    value: Any = None
    unreadable: str = ""
    headers: Mapping[str, str | None] = {}
    attributes: Mapping[str, str] = {}
    identity: str = ""


class Contents(NamedTuple):
    """The content of each event, and whether they came as a batch."""

    each: list[Content]
    is_batch: bool = False


def check_encoding(hook: Hook, environ: Mapping[str, Any]) -> None:
    """Raise Refused(415) unless the body is as it is, or in an encoding that *hook* takes. Never blocks."""
    encoding = environ.get("HTTP_CONTENT_ENCODING", "").strip().lower()
    if encoding in ("", "identity") or (hook.accept_gzip and encoding in ENCODINGS):
        return
    taken = "gzip, identity" if hook.accept_gzip else "identity"
    remedy = "send the body uncompressed" + (", or with gzip alone" if hook.accept_gzip else "")
    raise Refused(
        415, "unsupported_encoding", f"header Content-Encoding: {remedy}", {"Accept-Encoding": taken}
    )


def read(hook: Hook, request: Request, paths: Collection[str], room: Room) -> Contents:
    """The contents of *request*. Lets the hub turn between the pieces of a long body.

    Of a plain hook there is one, whatever the body holds. Raises Refused for what is no CloudEvent at a hook
    that takes those; 503 when there is no room to inflate the body.
    """
    content_type = hook.content_type or request.headers.get("content-type", "")
    if hook.format == "cloudevents":
        return _cloud_events(request, content_type, paths, room)
    headers = {"content-type": content_type} if hook.content_type else {}
    value, unreadable = None, ""
    if paths or kind_of(content_type) in _TOLD_KINDS:
        try:
            value, unreadable = _value(_plain(request, room), content_type, paths)
        except BadPayload as error:
            unreadable = str(error)
    return Contents([Content(request.body, value, unreadable, headers)])


def _plain(request: Request, room: Room) -> bytes:
    """The body without its compression. Raises BadPayload."""
    if request.headers.get("content-encoding", "").strip().lower() not in ENCODINGS:
        return request.body
    return inflated(request.body, _INFLATING.step_back, room.set_aside, room.most)


def _value(body: bytes, content_type: str, paths: Collection[str]) -> tuple[Any, str]:
    """What is at *paths* in *body*, and why one that says it has a structure has none.

    Text and bytes are looked into as JSON: Amazon SNS sends it as text.
    """
    is_guessed = kind_of(content_type) in ("text", "binary")
    if is_guessed:
        content_type = f"application/json;{content_type.partition(';')[2]}"
    try:
        return decode(body, content_type, _PARSING.step_back, paths), ""
    except BadPayload as error:
        return None, "" if is_guessed else str(error)


def _cloud_events(request: Request, content_type: str, paths: Collection[str], room: Room) -> Contents:
    try:
        mode = cloudevents.mode_of(content_type, request.headers)
        body = _plain(request, room)
        events = cloudevents.read(mode, request.headers, body, content_type, _PARSING.step_back)
    except cloudevents.UnknownFormat as error:
        raise Refused(415, "unsupported_format", _reason(error)) from error
    except BadPayload as error:
        raise Refused(400, "bad_cloudevent", _reason(error)) from error
    each: dict[str, Content] = {}
    for event in events:
        if event.identity not in each:  # else it is the same event, twice in one batch
            each[event.identity] = _content_of(event, paths)
        if len(each) % EVENTS_A_PAUSE == 0:
            _PARSING.step_back()
    return Contents([*each.values()], mode == "batched")


def _content_of(event: cloudevents.CloudEvent, paths: Collection[str]) -> Content:
    headers = {"content-type": event.content_type or None, "content-encoding": None}
    value, unreadable = None, ""
    if event.data and (paths or kind_of(event.content_type) in _TOLD_KINDS):
        value, unreadable = _value(event.data, event.content_type, paths)
    return Content(event.data, value, unreadable, headers, event.attributes, event.identity)


def _reason(error: BadPayload) -> str:
    return without_surrogates(str(error))[:_LONGEST_REASON]
