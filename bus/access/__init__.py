"""Who may: visitors of the administrators' listener, their roles, and what keeps everybody else out.

A page or an API route is a `Route` with the least `Role` that it takes; `Gate` answers it only to a `Visitor`
who has that, and only to a page of ours when it changes something.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .roles import Role
from .visitor import Visitor, Way, visitor_of

if TYPE_CHECKING:
    from .gate import Gate, Route, form_of, names_of

__all__ = ["Gate", "Role", "Route", "Visitor", "Way", "form_of", "names_of", "visitor_of"]


def __getattr__(name: str) -> Any:
    """What is the gate's, when it is asked for: it needs the server, which applications must not load."""
    if name in __all__:
        from . import gate

        return getattr(gate, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
