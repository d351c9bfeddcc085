"""Tasks, endings and errors as documents for frames, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any, Final

from ..errors import (
    BadCall,
    BadDeclaration,
    Cancel,
    MonqbusError,
    NotBound,
    NotFound,
    NotStorable,
    Retry,
    Snooze,
    StoreFull,
    StoreUnavailable,
    Verdict,
)
from ..model import Event, MonQTask
from ..retry import Ending, Failed, Overdue, Raised, Returned, Stopped, Unrunnable, failure
from .frames import BadFrame

MEMORY_ONLY: Final = ("is_bereft", "event", "waiter")
_TASK: Final = tuple(field.name for field in fields(MonQTask) if field.name not in MEMORY_ONLY)
_PLAIN: Final = {
    field.name: field.default if field.default_factory is MISSING else field.default_factory()
    for field in fields(MonQTask)
}
"""What a field holds that nobody has set; MISSING for those that are always set."""

_EVENT: Final = tuple(field.name for field in fields(Event) if field.name != "parsed")  # in memory only
_VERDICTS: Final[Mapping[str, type[Verdict]]] = {kind.__name__: kind for kind in (Retry, Snooze, Cancel)}
_ERRORS: Final[Mapping[str, type[MonqbusError]]] = {
    kind.__name__: kind
    for kind in (BadCall, BadDeclaration, MonqbusError, NotFound, NotStorable, StoreFull, StoreUnavailable)
}


def of_task(task: MonQTask) -> dict[str, Any]:
    """Everything about *task* that a handler may see, its delivery too; but not what nobody has set."""
    document = {name: value for name in _TASK if (value := getattr(task, name)) != _PLAIN[name]}
    if task.event is not None:
        document["event"] = of_event(task.event)
    return document


def of_event(event: Event) -> dict[str, Any]:
    """Everything about *event*."""
    return {name: getattr(event, name) for name in _EVENT}


def task_of(document: Mapping[str, Any]) -> MonQTask:
    """The task of *document*."""
    event = document.get("event")
    return MonQTask(**{**document, "event": None if event is None else Event(**event)})


def of_ending(ending: Ending) -> dict[str, Any]:
    """How a run ended; an exception becomes its line and its traceback, a verdict stays one."""
    if isinstance(ending, Returned):
        return {"ended": "returned", "value": ending.value}
    if isinstance(ending, Raised):
        failed = failure(ending.error, ending.traceback)
        verdict = next((name for name, kind in _VERDICTS.items() if isinstance(ending.error, kind)), None)
        if verdict is not None and isinstance(ending.error, Verdict):
            said = failed.line.partition(": ")[2]
            return {"ended": verdict, "delay": ending.error.delay, **failed._asdict(), "line": said}
        return {"ended": "failed", **failed._asdict()}
    if isinstance(ending, Overdue):
        return {"ended": "overdue", "traceback": ending.traceback}
    if isinstance(ending, Stopped):
        return {"ended": "stopped", "line": ending.reason}
    if isinstance(ending, Unrunnable):
        return {"ended": "unrunnable", "line": ending.reason}
    raise TypeError(f"ending: expected one that a worker can tell, got {ending!r:.200}")


def ending_of(document: Mapping[str, Any], seconds: float | None) -> Ending:
    """The ending that *document* tells of a run that might take *seconds*. Raises BadFrame."""
    try:
        kind = document["ended"]
        if kind == "returned":
            return Returned(document["value"], is_storable=True)
        if kind == "failed":
            return Failed(document["line"], document["traceback"])
        if kind == "overdue":
            return Overdue(seconds or 0.0, document["traceback"])
        if kind == "stopped":
            return Stopped(document["line"])
        if kind == "unrunnable":
            return Unrunnable(document["line"])
        verdict = _VERDICTS[kind](document["line"], delay=document["delay"])
        return Raised(verdict, document["traceback"])
    except Exception as error:
        raise BadFrame(f"frame: expected an ending, got {document!r:.200}") from error


def of_error(error: MonqbusError) -> dict[str, str]:
    """An answer that says what went wrong."""
    return {"error": type(error).__name__, "text": str(error)}


def error_of(document: Mapping[str, Any]) -> MonqbusError:
    """The error of an answer; one that is not meant for handlers comes as its root."""
    if document["error"] == "NotBound":
        return NotBound()
    return _ERRORS.get(document["error"], MonqbusError)(document["text"])
