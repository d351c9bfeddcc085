"""Handlers that call a declared task with arguments that the configuration takes out of the event."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from .. import strict_json
from ..config import Handler, nearest_name
from ..config.commands import PLACEHOLDERS
from ..errors import BadArguments, ConfigError
from ..model import Event
from ..placeholders import NoValue, Placeholder
from .event_told import NOWHERE, body_at, event_of
from .registry import Task, being_filled


@dataclass(frozen=True, slots=True)
class MappedCall:
    """A callable that calls *function* for one event. *args* and *kwargs* are JSON with placeholders."""

    function: Callable[..., Any]
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    where: str = ""

    def __call__(self, topic: str, *args: Any, **kwargs: Any) -> Any:
        """Call it; its return value. Raises BadArguments when the event does not fill a placeholder."""
        event = event_of(topic, args, kwargs)
        find = partial(_value, event, _content(event, (self.args, self.kwargs)))
        try:
            mapped, keywords = _filled(list(self.args), find), _filled(dict(self.kwargs), find)
        except NoValue as error:
            raise BadArguments(
                f"arguments: expected a value for {error}, the event has none; give it a default, "
                f"{str(error)[:-1]}|none}}, or let the function read the event"
            ) from None
        return self.function(*mapped, **keywords)


def target_of(handler: Handler) -> Task[..., Any]:
    """The task that *handler* calls. Raises ConfigError unless one is declared that takes its arguments."""
    known = being_filled().tasks
    subject = f"{handler.where}: [handler:{handler.name}]"
    if (task := known.get(handler.task)) is None:
        near = nearest_name(handler.task, known)
        remedy = f"did you mean {near}?" if near else "see `monqbus check` for those that are"
        raise ConfigError(f"{subject} task: expected one that an app declares, got {handler.task}; {remedy}")
    if task.defaults.cpu:
        raise ConfigError(
            f"{subject} task: expected one without cpu=True, got {handler.task}; "
            "let a function post it, and name that"
        )
    if (fault := task.misfit(handler.args, dict(handler.kwargs))) is not None:
        raise ConfigError(f"{subject} args: {fault}; give it what it takes")
    return task


def _content(event: Event, mapping: object) -> Any:
    """The value of the body, where a placeholder asks for it and it is there; NOWHERE where not."""
    paths = _paths_in(mapping)
    return body_at(event, paths) if paths else NOWHERE


def _paths_in(value: object) -> set[str]:
    """Where the placeholders of *value* look in the body, with all that is below: they may be objects."""
    if isinstance(value, str):
        placeholders = PLACEHOLDERS.compile(value).placeholders
        return {f"{one.where}.{strict_json.ALL}" for one in placeholders if one.kind == "body"}
    if isinstance(value, Mapping):
        return set().union(*map(_paths_in, value.values()))
    return set().union(*map(_paths_in, value)) if isinstance(value, (list, tuple)) else set()


def _filled(value: Any, find: Callable[[Placeholder], Any]) -> Any:
    """*value* with its texts filled; one that is a placeholder alone becomes the value itself."""
    if isinstance(value, dict):
        return {name: _filled(one, find) for name, one in value.items()}
    if isinstance(value, list):
        return [_filled(one, find) for one in value]
    if not isinstance(value, str):
        return value
    template = PLACEHOLDERS.compile(value)
    if len(template.parts) == 1 and not isinstance(alone := template.parts[0], str):
        found = find(alone)
        if alone.default is not None and (found is None or found is NOWHERE):
            return alone.default
        if found is NOWHERE:
            raise NoValue(str(alone))
        return found
    return template.fill(lambda placeholder: strict_json.scalar_text(find(placeholder)))


def _value(event: Event, content: Any, placeholder: Placeholder) -> Any:
    """The value for *placeholder*, as the event has it; NOWHERE when it has none."""
    kind, where = placeholder.kind, placeholder.where
    if kind == "header":
        return event.headers.get(where.lower(), NOWHERE)
    if kind in ("query", "attribute"):
        return (event.query if kind == "query" else event.attributes).get(where, NOWHERE)
    if kind in ("body", "args", "kwargs"):
        tree = {"body": content, "args": event.args, "kwargs": event.kwargs}[kind]
        return strict_json.value_at(tree, where, NOWHERE)
    own = {"topic": event.topic, "id": str(event.id), "hook": event.hook, "delivery": event.delivery}
    found = own[kind]
    return NOWHERE if found is None else found
