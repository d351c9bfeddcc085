"""`c`, the context of the running task: captured where it is posted, restored around its run.

`c` belongs to one greenlet or thread. What it carries is a table: three rows are Allura's
(`project`, `app`, `user`), an application adds its own or teaches a row to turn its objects into
storable ids and back::

    carry("project", store=lambda project: project._id, load=Project.by_id)
    carry("trace_id")
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from ..errors import BadDeclaration

Convert = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Carried:
    """One attribute of `c` that travels with a task, and the field of `context` that holds it."""

    field: str
    store: Convert | None = None
    load: Convert | None = None


_carried: dict[str, Carried] = {
    "project": Carried("project_id"),
    "app": Carried("app_config_id"),
    "user": Carried("user_id"),
}
_space: ContextVar[dict[str, Any] | None] = ContextVar("monqbus_c", default=None)


class Context:
    """The namespace `c`: any attribute may be set; a missing carried one reads as None."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        space = _space.get()
        if space is not None and name in space:
            return space[name]
        if name in _carried:
            return None
        if name == "task":
            raise AttributeError("c.task: there is no running task here; it exists only inside a handler")
        raise AttributeError(f"c.{name}: nothing was set under this name in this task or request")

    def __setattr__(self, name: str, value: Any) -> None:
        space = _space.get()
        if space is None:
            space = {}
            _space.set(space)
        space[name] = value

    def __delattr__(self, name: str) -> None:
        (_space.get() or {}).pop(name, None)


c = Context()


def carry(name: str, *, field: str = "", store: Convert | None = None, load: Convert | None = None) -> None:
    """Let `c.<name>` travel with every task posted from now on, converted by *store* and *load*.

    *field* is its name in the stored `context`; it defaults to the present one or to *name*.
    """
    if not name.isidentifier() or name == "task":
        raise BadDeclaration(f"carry: expected a name that c can have, got {name!r}; 'task' is taken")
    known = _carried.get(name)
    _carried[name] = Carried(field or (known.field if known else name), store, load)


def capture() -> dict[str, Any]:
    """The present `c` as the storable `context` of a task; carried attributes that are None stay out."""
    space = _space.get()
    if not space:
        return {}
    captured = {}
    for name, row in _carried.items():
        if (value := space.get(name)) is not None:
            captured[row.field] = row.store(value) if row.store else value
    return captured


class restored:  # noqa: N801 - used as a function is; no generator, because each task pays for it
    """A fresh `c` made from a stored *context* plus *extra*; what was there before comes back after."""

    __slots__ = ("_context", "_extra", "_token")

    def __init__(self, context: dict[str, Any], **extra: Any) -> None:
        self._context = context
        self._extra = extra

    def __enter__(self) -> None:
        self._token = _space.set(self._extra)
        if self._context:
            try:
                _load(self._context)
            except BaseException:
                _space.reset(self._token)
                raise

    def __exit__(self, *_: object) -> None:
        _space.reset(self._token)


def _load(context: dict[str, Any]) -> None:
    for name, row in _carried.items():
        if (value := context.get(row.field)) is not None:
            setattr(c, name, row.load(value) if row.load else value)
