"""Keeps the daemon's handlers at the root logger, whatever apps do to `logging` while they are imported.

`dictConfig` and `basicConfig(force=True)` take all handlers from the root logger. By default `dictConfig`
also disables every logger that is there already: at a first import those of libraries, at a second one, in a
reload, those of the apps' own modules as well.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


def attach(handler: logging.Handler) -> None:
    """Let the root logger have *handler*, once."""
    root = logging.getLogger()
    if handler not in root.handlers:
        root.addHandler(handler)


def detach(handler: logging.Handler) -> None:
    """Let the root logger be without *handler*."""
    logging.getLogger().removeHandler(handler)


@contextmanager
def enabled_loggers_kept() -> Iterator[None]:
    """Loggers that are enabled before are enabled after, as they would be in a new process."""
    before = [one for one in _loggers() if not one.disabled]
    try:
        yield
    finally:
        for one in before:
            one.disabled = False


def _loggers() -> list[logging.Logger]:
    known = logging.Logger.manager.loggerDict.copy()
    return [one for one in known.values() if isinstance(one, logging.Logger)]
