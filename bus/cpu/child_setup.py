"""Sets a forked process up: signals, streams, OOM score, process title."""

from __future__ import annotations

import fcntl
import os
import signal
import termios
from contextlib import suppress
from pathlib import Path
from typing import Final

from setproctitle import setproctitle

NICENESS: Final = 19
OOM_SCORE: Final = 800
"""How much sooner than others the kernel takes a process when memory is short: -1000 to 1000."""

GROUP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
"""What a terminal or a service manager sends to all processes of the daemon; the daemon alone decides."""


def stand_alone() -> None:
    """Leave the daemon's process group, terminal and standard input.

    Not its session: where autogroups are on, a session is scheduled as one, and niceness counts only
    inside it. A worker with a session of its own takes half of a core from the daemon however nice it is.
    """
    os.setpgid(0, 0)
    with suppress(OSError):  # there is none
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        fcntl.ioctl(terminal, termios.TIOCNOTTY)  # or its driver would stop what writes from the background
        os.close(terminal)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)


def ignore_group_signals() -> None:
    """Ignore signals that are sent to the whole process group."""
    for number in GROUP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def leave_manager() -> None:
    """Remove the service manager's variables from the environment: only the daemon notifies it."""
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"):
        os.environ.pop(name, None)


def be_expendable() -> None:
    """Lower this process's CPU priority below the hub's, and let the OOM killer choose it first."""
    with suppress(OSError):
        os.nice(NICENESS)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE))


def be_called(words: str) -> None:
    """Set the process title, which `ps` and `top` show."""
    setproctitle(f"monqbus {words}")
