"""What is different for process 1 of a container: the kernel gives it no signal that it does not handle."""

from __future__ import annotations

import os
import signal
from types import FrameType
from typing import NoReturn


def heed_term() -> None:
    """End at TERM from now on, as any other process does; only for process 1, and until a daemon drains.

    Else the TERM of a container that is stopped while it starts would be forgotten, and it would be killed
    ten seconds later. For the main thread.
    """
    if os.getpid() == 1:
        signal.signal(signal.SIGTERM, _end)


def _end(number: int, _: FrameType | None) -> NoReturn:
    os._exit(128 + number)
