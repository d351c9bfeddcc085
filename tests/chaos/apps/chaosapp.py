"""What the daemons under chaos run: every handler writes down when it begins and when it ends.

One line is one O_APPEND write, so that no kill tears it and several daemons share the file. `at` is
CLOCK_MONOTONIC, which all processes of a machine see alike.
"""

import fcntl
import json
import os
import time
import uuid
import zlib
from contextlib import contextmanager
from pathlib import Path

import gevent

from monqbus import c, event_handler

_records = os.open(os.environ["CHAOS_RECORDS"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
_resource = Path(os.environ["CHAOS_RESOURCE"])


def note(what, run, **more):
    """One line of *run*, in one write."""
    line = {"what": what, "run": run, **more, "at": time.monotonic()}
    os.write(_records, json.dumps(line).encode() + b"\n")


def _daemon(task):
    """The pid of the daemon that holds *task*: a suspect runs in a child, which dies with it."""
    return int(task.process.rpartition(" ")[2])


@contextmanager
def noted(event):
    """Write down that a run begins, and how it ends; gives its id."""
    run, task = uuid.uuid4().hex, c.task
    who = {"pid": os.getpid(), "daemon": _daemon(task), "worker": task.worker}
    what = {"delivery": event.delivery, "task": str(task.id), "attempt": task.attempt}
    note("start", run, **what, **who, token=task.generation)
    try:
        yield run
    except BaseException as error:
        note("cut", run, error=type(error).__name__)
        raise
    note("end", run)


def _write(run):
    """Write to an outside resource that takes only tokens which do not shrink."""
    task, token = str(c.task.id), c.task.generation
    file = os.open(_resource / task, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        is_accepted = token >= int(os.pread(file, 20, 0) or b"0")
        if is_accepted:
            os.pwrite(file, b"%020d" % token, 0)
        note("write", run, task=task, token=token, accepted=is_accepted)
    finally:
        os.close(file)


def lasts(event, shortest, longest):
    """Seconds between the two, the same at every run of a delivery."""
    share = zlib.crc32(event.delivery.encode()) / 0xFFFFFFFF
    return shortest + (longest - shortest) * share


@event_handler("chaos.quick")
def quick(topic, event):
    """Over at once."""
    with noted(event):
        return c.task.generation


@event_handler("chaos.slow")
def slow(topic, event):
    """Lasts 50 to 500 ms, so that a kill finds some in flight."""
    with noted(event):
        gevent.sleep(lasts(event, 0.05, 0.5))
        return c.task.generation


@event_handler("chaos.long")
def long(topic, event):
    """Lasts 1 to 3 s, so that another holder would find it under way."""
    with noted(event):
        gevent.sleep(lasts(event, 1.0, 3.0))
        return c.task.generation


@event_handler("chaos.guarded")
def guarded(topic, event):
    """Writes to the outside when it begins and when it ends, under its token."""
    with noted(event) as run:
        _write(run)
        gevent.sleep(lasts(event, 0.05, 0.5))
        _write(run)
        return c.task.generation


@event_handler("chaos.line", serial_by="topic")
def line(topic, event):
    """Lasts 5 to 50 ms, one at a time in all daemons."""
    with noted(event):
        gevent.sleep(lasts(event, 0.005, 0.05))
        return c.task.generation


@event_handler("chaos.seats", max_concurrent=3)
def seats(topic, event):
    """Lasts 5 to 100 ms, three at a time in all daemons."""
    with noted(event):
        gevent.sleep(lasts(event, 0.005, 0.1))
        return c.task.generation


@event_handler("chaos.paced", rate="10/s")
def paced(topic, event):
    """Over at once, ten a second in all daemons."""
    with noted(event):
        return c.task.generation
