"""What a scenario is: a fault done to daemons under load, and controls that show it can fail.

A module of scenarios declares functions::

    @scenario("daemon killed", store="embedded", controls=[
        Control("acknowledged before stored", weakness="intake.ack_before_store", shows="lost"),
    ])
    def daemon_killed(arena: Arena) -> None:
        victim = arena.daemon().start()
        with arena.load(Pace(resend=True)):
            for _ in range(arena.pick(short=3, long=10)):
                arena.pause(1.5)
                arena.kill(victim)
                victim.start()
        arena.settle()

The same function runs once as it is and once for each control, with the control's weakness in its
daemons. As it is, all figures must be right; under a control the figure named in `shows` must be wrong,
and in a null control (`--null`: the same, but nothing is switched off) it must be right.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .arena import Arena

Body = Callable[["Arena"], None]


class Missing(Exception):
    """Raised by a scenario that needs something this machine does not have; it is then skipped."""


@dataclass(frozen=True, slots=True)
class Control:
    """A guarantee switched off. *shows* is a figure that then is not 0.

    *weakness* is a function of weaknesses/ (``module.function``), or "" when the scenario itself
    asks `arena.is_weak` what to do differently.
    """

    name: str
    shows: str
    weakness: str = ""
    in_short: bool = False


@dataclass(frozen=True, slots=True)
class Scenario:
    """A fault with its *controls*. *aims* are upper bounds of figures, judged in the long form only."""

    name: str
    store: str
    body: Body
    controls: Sequence[Control] = ()
    aims: Mapping[str, float] = field(default_factory=dict)
    in_short: bool = True


SCENARIOS: list[Scenario] = []


def scenario(name: str, *, store: str, **more: Any) -> Callable[[Body], Body]:
    """Declare the decorated function as a scenario; *more* are the fields of Scenario."""

    def declare(body: Body) -> Body:
        SCENARIOS.append(Scenario(name, store, body, **more))
        return body

    return declare
