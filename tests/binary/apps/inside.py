"""What tasks inside the executable see and start."""

import subprocess
import sys

from monqbus import task


@task
def child_variables():
    """The variables of a program that a task starts."""
    printed = subprocess.run(["env", "-0"], capture_output=True, text=True, check=True).stdout
    return sorted(line.partition("=")[0] for line in printed.split("\0") if line)


@task
def own_version():
    """The executable, started by a task."""
    return subprocess.run([sys.executable, "version"], capture_output=True, text=True, check=True).stdout


@task
def import_late(name):
    """A module that nothing has needed before; 1 if that is so."""
    is_new = name not in sys.modules
    __import__(name)
    return int(is_new)
