"""`monqbus run`: assembles all parts into one daemon, starts and stops them."""

from .lifecycle import Daemon
from .names import Names
from .reloadable import RELOADED

__all__ = ["RELOADED", "Daemon", "Names"]
