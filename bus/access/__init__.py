"""Who may: visitors of the administrators' listener, their roles, and what keeps everybody else out.

A page or an API route is a `Route` with the least `Role` that it takes; `Gate` answers it only to a `Visitor`
who has that, and only to a page of ours when it changes something.
"""

from .gate import Gate, Route, form_of, names_of
from .roles import Role
from .visitor import Visitor, Way, visitor_of

__all__ = ["Gate", "Role", "Route", "Visitor", "Way", "form_of", "names_of", "visitor_of"]
