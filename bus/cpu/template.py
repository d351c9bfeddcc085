"""A template: imports one edition of the apps once; workers are forked from it, copy-on-write."""

from __future__ import annotations

import gc
import logging
import sys
import threading
from pathlib import Path
from socket import socket as plain_socket
from typing import Any

from .. import leash, registry
from ..errors import ConfigError
from . import descent, worker
from .nursery import END_SIGNAL, Nursery


def live(order: dict[str, Any], descriptor: int, zygote: int) -> None:
    """The life of a template: import what *order* says, tell how that went, fork until the end.

    Until the apps are imported it dies at once with the zygote; later it has workers to take along.
    """
    leash.die_with(zygote)
    descent.stand_alone()
    descent.be_called("apps")
    logging.getLogger().setLevel(order["log_level"])
    sys.dont_write_bytecode = True  # nor of what handlers import later; see registry.load
    nursery = Nursery(plain_socket(fileno=descriptor), leaders=True)
    try:
        registry.load(order["apps"], [Path(folder) for folder in order["path"]])
    except ConfigError as error:
        nursery.tell(refused=[problem[:4000] for problem in error.problems])
        return
    descent.ignore_group_signals()  # again: an app may have thought otherwise
    leash.adopt_orphans()
    descent.be_called("apps")
    gc.collect()
    gc.freeze()  # what is here now lives as long as this process: its pages stay shared with the workers
    nursery.tell(ready=True, threads=_threads())
    leash.die_with(zygote, END_SIGNAL)
    nursery.serve(worker.live)


def _threads() -> list[str]:
    """What the apps have started besides this thread; a forked worker has none of it."""
    return [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
