"""What a verified request brings: the content of one event, or, of CloudEvents, of any number."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from ..errors import Refused
from ..http import Queue
from ..payload import ENCODINGS, GUESSED_KINDS, BadPayload, cloudevents, inflated, kind_of, tree
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


class Stream(Protocol):
    """Where the body came from, and what takes room in memory for what it has in it."""

    def set_aside(self, count: int) -> None:
        """Take room for *count* bytes. Raises Refused(503) where there is none."""


class Content(NamedTuple):
    """The content of one event: its exact *body* and the *value* of that, where one was asked for.

    *headers* replace those of the request that they name; None removes one. *unreadable* says why a body that
    should have a value has none. *attributes* and *identity* are those of a CloudEvent.
    """

    body: bytes
    value: Any = None
    unreadable: str = ""
    headers: Mapping[str, str | None] = {}
    attributes: dict[str, str] = {}  # noqa: RUF012 - of each plain event the same, and nobody writes into it
    identity: str = ""


Contents = tuple[list[Content], bool]
"""The content of each event, and whether they came as a batch."""


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


def read(hook: Hook, request: Request, paths: Collection[str], stream: Stream, most: int) -> Contents:
    """The contents of *request*. Lets the hub turn between the pieces of a long body.

    A compressed body is inflated to *most* bytes. Of a plain hook there is one content, whatever the body
    holds. Raises Refused for what is no CloudEvent at a hook that takes those; 503 when *stream* has no room.
    """
    if hook.format == "cloudevents":
        return _cloud_events(hook, request, paths, stream, most)
    if hook.content_type:
        headers = {"content-type": hook.content_type}
        return [_content_of(request, hook.content_type, paths, stream, most)._replace(headers=headers)], False
    return [_content_of(request, request.headers.get("content-type", ""), paths, stream, most)], False


def _content_of(
    request: Request, content_type: str, paths: Collection[str], stream: Stream, most: int
) -> Content:
    is_asked = bool(paths) or kind_of(content_type) in _TOLD_KINDS
    if not is_asked and "content-encoding" not in request.headers:
        return Content(request.body)
    try:
        # also where nothing is asked of it: what rules of handlers inflate then is known to be within bounds
        body = _plain(request, stream, most)
        return (
            Content(request.body, *_value(body, content_type, paths)) if is_asked else Content(request.body)
        )
    except BadPayload as error:
        return Content(request.body, None, str(error))


def _plain(request: Request, stream: Stream, most: int) -> bytes:
    """The body without its compression. Raises BadPayload."""
    encoding = request.headers.get("content-encoding")
    if encoding is None or encoding.strip().lower() not in ENCODINGS:
        return request.body
    return inflated(request.body, _INFLATING.step_back, stream.set_aside, most)


def _value(body: bytes, content_type: str, paths: Collection[str]) -> tuple[Any, str]:
    """What is at *paths* in *body*, and why one that says it has a structure has none."""
    try:
        return tree(body, content_type, _PARSING.step_back, paths), ""
    except BadPayload as error:
        return None, "" if kind_of(content_type) in GUESSED_KINDS else str(error)


def _cloud_events(
    hook: Hook, request: Request, paths: Collection[str], stream: Stream, most: int
) -> Contents:
    content_type = hook.content_type or request.headers.get("content-type", "")
    try:
        mode = cloudevents.mode_of(content_type, request.headers)
        body = _plain(request, stream, most)
        events = cloudevents.read(mode, request.headers, body, content_type, _PARSING.step_back)
    except cloudevents.UnknownFormat as error:
        raise Refused(415, "unsupported_format", _reason(error)) from error
    except BadPayload as error:
        raise Refused(400, "bad_cloudevent", _reason(error)) from error
    each: dict[str, Content] = {}
    for event in events:
        if event.identity not in each:  # else it is the same event, twice in one batch
            each[event.identity] = _content_of_event(event, paths)
        if len(each) % EVENTS_A_PAUSE == 0:
            _PARSING.step_back()
    return [*each.values()], mode == "batched"


def _content_of_event(event: cloudevents.CloudEvent, paths: Collection[str]) -> Content:
    headers = {"content-type": event.content_type or None, "content-encoding": None}
    value, unreadable = None, ""
    if event.data and (paths or kind_of(event.content_type) in _TOLD_KINDS):
        value, unreadable = _value(event.data, event.content_type, paths)
    return Content(event.data, value, unreadable, headers, event.attributes, event.identity)


def _reason(error: BadPayload) -> str:
    return without_surrogates(str(error))[:_LONGEST_REASON]
