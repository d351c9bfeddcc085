"""Imports the whole standard library the way an app does, and what comes from an environment."""

import importlib
import os

from monqbus import task

MISSING = {}
for _name in os.environ["MODULES"].split():
    try:
        importlib.import_module(_name)
    except Exception as _error:  # noqa: BLE001 - all of them are wanted, not the first
        MISSING[_name] = repr(_error)
if MISSING:
    raise ImportError(f"missing: {MISSING}")


@task
def found():
    """Shows that the app was taken."""
