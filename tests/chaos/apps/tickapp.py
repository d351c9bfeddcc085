"""What schedules under chaos run: a tick is told of as a delivery, by its schedule's name and its moment."""

from types import SimpleNamespace

import gevent
from chaosapp import noted

from monqbus import c, task


def _told(name):
    return noted(SimpleNamespace(delivery=f"{name}@{c.task.scheduled_for:%Y-%m-%dT%H:%M:%SZ}"))


@task
def tick(name):
    """Lasts for a moment, so that a kill finds some in flight."""
    with _told(name):
        gevent.sleep(0.1)
        return c.task.generation


@task
def turn(name):
    """Lasts so long that two of one schedule would meet."""
    with _told(name):
        gevent.sleep(0.6)
        return c.task.generation
