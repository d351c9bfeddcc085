"""What the accepted daemons run in other processes."""

import os
import signal
import subprocess
import time
from pathlib import Path

from monqbus import c, task


def _write(*words):
    with Path(os.environ["RAN"]).open("a") as file:
        file.write(" ".join(str(word) for word in words) + "\n")


@task(cpu=True)
def where():
    """This process and the one that forked it."""
    return [os.getpid(), os.getppid()]


@task(cpu=True)
def burn(seconds):
    """Computes; says when it begins and when it ends."""
    _write("began", c.task.attempt)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass
    _write("ended", c.task.attempt)


@task(cpu=True)
def breed():
    """Computes beside a child that would outlive everybody; the second run ends at once."""
    if c.task.generation == 1:
        child = subprocess.Popen(["sleep", "600"], start_new_session=True)
        _write("child", child.pid)
        while True:
            pass
    _write("ended", c.task.generation)


@task(cpu=True, max_attempts=1)
def segfault():
    """Dies as a broken extension module would."""
    os.kill(os.getpid(), signal.SIGSEGV)


@task
def guilty():
    """Takes the process it runs in with it."""
    _write("guilty", c.task.generation)
    os.kill(os.getpid(), signal.SIGSEGV)
    time.sleep(600)


@task
def bystander():
    """The first run is still there when its daemon dies."""
    _write("bystander", c.task.generation)
    if c.task.generation == 1:
        time.sleep(600)
