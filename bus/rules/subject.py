"""What a rule sees of one event, while it is delivered or later from its stored form."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from .. import networks
from ..model import UNREAD, Event
from ..payload import BadPayload


@dataclass(slots=True)
class Subject:
    """The values by the names that rules have for them; None where there is none.

    *body* is the value of its kind: parsed JSON, a form's fields, the elements of XML.
    """

    body: Any = None
    header: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    attribute: Mapping[str, str] = field(default_factory=dict)
    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    topic: str | None = None
    hook: str | None = None
    sender: str | None = None
    method: str | None = None
    ip: str | None = None
    peer: str | None = None
    id: str | None = None
    delivery: str | None = None
    kind: str | None = None


class Reading(Protocol):
    """A rule, as far as it says what it reads."""

    @property
    def body_paths(self) -> Collection[str]:
        """The paths into the body, as `strict_json.parse` takes them; none when it does not read the body."""


def subject_of(
    event: Event, rules: Collection[Reading], *, sender: str = "", pause: Callable[[], object] = lambda: None
) -> Subject:
    """What *rules* see of *event*; its body is parsed only where one of them reads it. Never raises.

    *pause* is called between the pieces of a long body.
    """
    paths = {path for rule in rules for path in rule.body_paths}
    request = event.request
    return Subject(
        _body(event, paths, pause) if paths else None,
        event.headers,
        event.query,
        event.attributes,
        event.args,
        event.kwargs,
        event.topic,
        event.hook,
        sender or None,
        request.get("method"),
        request.get("ip"),
        _address(event.peer) if event.peer else None,
        str(event.id),
        event.delivery,
        event.kind,
    )


def _address(text: str) -> str | None:
    found = networks.address(text)
    return None if found is None else str(found)


def _body(event: Event, paths: Collection[str], pause: Callable[[], object]) -> Any:
    if event.parsed is not UNREAD:
        return event.parsed
    try:
        return event.tree_at(paths, pause)
    except BadPayload:
        return None
