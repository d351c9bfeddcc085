"""What monqbus offers, for type checkers: a single file cannot say that it has types (PEP 561)."""

from collections.abc import Sequence
from pathlib import Path

from bus import __version__ as __version__
from bus.apps.context import c as c
from bus.apps.context import carry as carry
from bus.apps.events import g as g
from bus.apps.events import post_event as post_event
from bus.apps.events import post_event_async as post_event_async
from bus.apps.poster import hold as hold
from bus.apps.poster import hold_async as hold_async
from bus.apps.registry import Task as Task
from bus.apps.registry import event_handler as event_handler
from bus.apps.registry import task as task
from bus.apps.scheduling import schedule as schedule
from bus.errors import Cancel as Cancel
from bus.errors import JoinTimeout as JoinTimeout
from bus.errors import MonqbusError as MonqbusError
from bus.errors import NotBound as NotBound
from bus.errors import NotStorable as NotStorable
from bus.errors import Retry as Retry
from bus.errors import Snooze as Snooze
from bus.errors import StoreUnavailable as StoreUnavailable
from bus.errors import TaskFailed as TaskFailed
from bus.errors import TaskSkipped as TaskSkipped
from bus.model import Event as Event
from bus.model import MonQTask as MonQTask

def connect(config: str | Path = "monqbus.ini") -> None: ...
def main(argv: Sequence[str] | None = None) -> int: ...
