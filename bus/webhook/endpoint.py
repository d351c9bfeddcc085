"""The endpoint of deliveries: finds the hook that a request names, and hands it to the `Receiver`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from ..errors import Refused
from ..http import Endpoint
from ..http.problem import Answer
from ..spelling import nearest
from .answers import Awaited, awaited
from .delivery import Receiver, not_allowed
from .delivery_log import DeliveryLog
from .endings import Endings

LONGEST_NAME: Final = 64
MOST_COMPARED: Final = 64

if TYPE_CHECKING:
    from ..config import Hook

    Hooks = Callable[[], Mapping[str, Hook]]


def meant(path: str, names: Collection[str]) -> str:
    """What the log says of a mistyped *path*: the hook of *names* that it resembles; "" for none.

    Neither names of more than LONGEST_NAME characters nor more than MOST_COMPARED hooks are compared: a
    stranger chooses the path and pays nothing for it.
    """
    name = path.strip("/ ").rpartition("/")[2].lower()
    if not 1 <= len(name) <= LONGEST_NAME:
        return ""
    compared = {one.lower(): one for one in islice(names, MOST_COMPARED)}
    near = name if name in compared else nearest(name, compared)
    return f"did you mean /hooks/{compared[near]}?" if near else ""


def deliveries(
    hooks: Hooks, receiver: Receiver, log: DeliveryLog, endings: Endings | None = None
) -> Endpoint:
    """The endpoint of ``/hooks/NAME``. Blocks until a delivery is durable; raises Refused.

    *hooks* gives the present hooks by name and is asked for each delivery. *endings* lets answers wait for
    tasks; without it none does.
    """

    def deliver(environ: Mapping[str, Any]) -> Answer:
        try:
            hook = _hook_of(environ, hooks())
        except Refused as refusal:
            log.refused(environ, refusal)
            raise
        answer = receiver.receive(hook, environ)
        if not isinstance(answer, Awaited):
            return answer
        return answer.otherwise if endings is None else awaited(answer, endings, environ)

    return deliver


def _hook_of(environ: Mapping[str, Any], known: Mapping[str, Hook]) -> Hook:
    """The hook that the request of *environ* names. Raises Refused."""
    path: str = environ["PATH_INFO"]
    hook = known.get(path[path.rindex("/") + 1 :])
    if environ["REQUEST_METHOD"] != "POST" and (hook is None or not hook.has_extras):
        # the same answer whether there is such a hook or not: its name is nobody's business
        raise not_allowed()
    if hook is None:
        raise Refused(404, "unknown_hook", "hook: there is none of this name", hint=meant(path, known))
    return hook
