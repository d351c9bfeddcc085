"""What a task of each peer does. Imports nothing but Python: it runs in their environments, too."""

import os
import time


def write_note(path, sent):
    """Append one line: seconds since *sent*, and now, both of the machine's monotonic clock."""
    now = time.monotonic()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        os.write(descriptor, f"{now - sent} {now}\n".encode())
    finally:
        os.close(descriptor)
