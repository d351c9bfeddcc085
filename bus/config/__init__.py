"""The configuration of a daemon, from one INI file and the environment.

`load` reads it, `sample` and `reference` print what can be written in it; all three walk the table of
settings in `table`.
"""

from .loading import load
from .sample import hello, reference, sample
from .schedules import schedule_of
from .secrets import Secret, store_named
from .section_settings import Handler, Hook, ScheduleSection
from .settings import CONTROL_SOCKET, Config, Http, Monqbus, Worker
from .value_types import is_loopback, nearest_name

__all__ = [
    "CONTROL_SOCKET",
    "Config",
    "Handler",
    "Hook",
    "Http",
    "Monqbus",
    "ScheduleSection",
    "Secret",
    "Worker",
    "hello",
    "is_loopback",
    "load",
    "nearest_name",
    "reference",
    "sample",
    "schedule_of",
    "store_named",
]
