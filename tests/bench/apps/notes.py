"""What a task of each peer does. Imports nothing but Python: it runs in their environments, too."""

import os
import time


def write_note(path, sent, seconds=0.0):
    """After *seconds* append one line: how long ago *sent* was, now, and *sent*, of the monotonic clock."""
    time.sleep(seconds)
    now = time.monotonic()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        os.write(descriptor, f"{now - sent} {now} {sent}\n".encode())
    finally:
        os.close(descriptor)
