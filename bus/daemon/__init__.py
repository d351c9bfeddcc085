"""The assembly: `monqbus run`."""

from .lifecycle import Daemon
from .names import Names
from .reload import RELOADED

__all__ = ["RELOADED", "Daemon", "Names"]
