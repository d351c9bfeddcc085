"""The endpoint of deliveries: finds the hook that a request names, and hands it to the `Receiver`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ..errors import Refused
from ..http import Endpoint
from ..http.problem import Answer
from .delivery import Receiver

if TYPE_CHECKING:
    from ..config import Hook

    Hooks = Callable[[], Mapping[str, Hook]]


def deliveries(hooks: Hooks, receiver: Receiver) -> Endpoint:
    """The endpoint of ``POST /hooks/NAME``. Blocks until a delivery is durable; raises Refused.

    *hooks* gives the present hooks by name and is asked for each delivery.
    """

    def deliver(environ: Mapping[str, Any]) -> Answer:
        if environ["REQUEST_METHOD"] != "POST":
            # the same answer whether there is such a hook or not: its name is nobody's business
            raise Refused(405, "method_not_allowed", "method: a delivery is a POST", {"Allow": "POST"})
        path: str = environ["PATH_INFO"]
        hook = hooks().get(path[path.rindex("/") + 1 :])
        if hook is None:
            raise Refused(404, "unknown_hook", "hook: there is none of this name")
        return receiver.receive(hook, environ)

    return deliver
