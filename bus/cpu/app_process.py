"""The process that imports one version of the apps once; its workers are forked from it, copy-on-write."""

from __future__ import annotations

import gc
import logging
import sys
import threading
from functools import partial
from pathlib import Path
from socket import socket as plain_socket
from typing import Any

from ..apps import loading
from ..errors import ConfigError
from ..process import parent_death
from . import child_setup, worker
from .forkserver import END_SIGNAL, Forkserver


def live(order: dict[str, Any], descriptor: int, zygote: int) -> None:
    """Run an app process: import what *order* says, report the result, fork workers until it is told to end.

    Until the apps are imported it dies at once with the zygote; afterwards it kills its workers first.
    """
    parent_death.die_with(zygote)
    child_setup.stand_alone()
    child_setup.be_called("apps")
    if order["log_level"]:
        logging.getLogger().setLevel(order["log_level"])
    sys.dont_write_bytecode = True  # nor of what handlers import later; see loading.load
    forkserver = Forkserver(plain_socket(fileno=descriptor), leaders=True)
    try:
        loading.load(order["apps"], [Path(folder) for folder in order["path"]])
    except ConfigError as error:
        forkserver.tell(refused=[problem[:4000] for problem in error.problems])
        return
    child_setup.ignore_group_signals()  # again: an app may have thought otherwise
    parent_death.adopt_orphans()
    child_setup.be_called("apps")
    gc.collect()
    gc.freeze()  # what is here now lives as long as this process: its pages stay shared with the workers
    forkserver.tell(ready=True, threads=_threads())
    parent_death.die_with(zygote, END_SIGNAL)
    forkserver.serve(partial(worker.live, logs=bool(order["log_level"])))


def _threads() -> list[str]:
    """What the apps have started besides this thread; a forked worker has none of it."""
    return [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
