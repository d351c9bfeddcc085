"""The zygote: the process forked first of all in `run`, from which all CPU workers descend.

What forks later is copied from it: one thread, nothing patched, no socket, lock or client of the
daemon. It imports no apps itself, so that a reload can begin afresh.
"""

from __future__ import annotations

import os
import signal
import socket
import traceback

_ours: int | None = None


def start() -> None:
    """Fork the zygote of this process. To be called once, before gevent is imported; blocks shortly."""
    global _ours  # noqa: PLW0603 - one process, one zygote, forked long before there is a daemon to hold it
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    parent = os.getpid()
    if os.fork() == 0:
        try:
            ours.close()
            serve(theirs, parent)
        except BaseException:  # noqa: BLE001 - this process must not go on as a second daemon
            traceback.print_exc()
        finally:
            os._exit(0)
    theirs.close()
    _ours = ours.detach()


def connection() -> int | None:
    """The descriptor on which the zygote takes its orders; None in a process that has none."""
    return _ours


def serve(control: socket.socket, parent: int) -> None:
    """Run the zygote of process *parent*: fork app processes as ordered on *control* until that is gone."""
    from ..process import activation, parent_death, streams
    from . import child_setup  # here, and what follows: the daemon itself has no use for it
    from .app_process import live
    from .forkserver import Forkserver

    parent_death.die_with(parent, signal.SIGKILL)
    activation.close_in_child()
    streams.divert_child()
    child_setup.stand_alone()
    child_setup.ignore_group_signals()
    child_setup.leave_manager()
    parent_death.adopt_orphans()
    child_setup.be_called("zygote")
    Forkserver(control, leaders=False).serve(live)
