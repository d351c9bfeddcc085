"""Handlers that last longer than a lease, of each kind: what a daemon must end when it loses its own.

The handler in a worker and the command resist, so that each is ended the hard way. They give signs of
life, because nobody who is killed writes down when. The command is lastingcommand.py beside this file.
"""

import time
from contextlib import suppress

import gevent
from chaosapp import lasts, note, noted

from monqbus import c, event_handler

SHORTEST_SECONDS, LONGEST_SECONDS = 12.0, 15.0
SIGN_SECONDS = 0.05


@event_handler("chaos.lasting")
def lasting(topic, event):
    """A greenlet, which is interrupted where it waits."""
    with noted(event):
        gevent.sleep(lasts(event, SHORTEST_SECONDS, LONGEST_SECONDS))
        return c.task.generation


@event_handler("chaos.willing", cpu=True)
def willing(topic, event):
    """In a worker; goes when it is told to."""
    with noted(event) as run:
        _go_on(run, event)
        return c.task.generation


@event_handler("chaos.stubborn", cpu=True)
def stubborn(topic, event):
    """In a worker; does not listen."""
    with noted(event) as run:
        until = time.monotonic() + lasts(event, SHORTEST_SECONDS, LONGEST_SECONDS)
        while time.monotonic() < until:
            with suppress(BaseException):
                _go_on(run, event)
        return c.task.generation


def _go_on(run, event):
    until = time.monotonic() + lasts(event, SHORTEST_SECONDS, LONGEST_SECONDS)
    while time.monotonic() < until:
        time.sleep(SIGN_SECONDS)
        note("alive", run)
