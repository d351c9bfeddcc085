"""A command that lasts longer than a lease and does not hear SIGTERM; it tells the same as a handler."""

import json
import os
import signal
import sys
import time
import uuid
import zlib

SIGN_SECONDS = 0.05
_records = os.open(os.environ["CHAOS_RECORDS"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def main(shortest, longest):
    """Begin, give signs of life, end."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    run, delivery = uuid.uuid4().hex, os.environ["MONQBUS_DELIVERY"]
    task, _, generation = os.environ["MONQBUS_TOKEN"].partition(":")
    who = {"pid": os.getpid(), "daemon": os.getppid(), "worker": ""}
    attempt = int(os.environ["MONQBUS_ATTEMPT"])
    what = {"delivery": delivery, "task": task, "attempt": attempt, "token": int(generation)}
    note("start", run, **what, **who)
    until = time.monotonic() + shortest + (longest - shortest) * zlib.crc32(delivery.encode()) / 0xFFFFFFFF
    while time.monotonic() < until:
        time.sleep(SIGN_SECONDS)
        note("alive", run)
    note("end", run)


def note(what, run, **more):
    """One line, in one write."""
    line = {"what": what, "run": run, **more, "at": time.monotonic()}
    os.write(_records, json.dumps(line).encode() + b"\n")


if __name__ == "__main__":
    main(float(sys.argv[1]), float(sys.argv[2]))
