"""What posters post: tasks and an event's handler, told of as deliveries are."""

from typing import NamedTuple

import gevent
from chaosapp import lasts, noted

from monqbus import c, event_handler, task


class Posted(NamedTuple):
    """What `noted` wants to know of a posting: the id under which its poster knows it."""

    delivery: str


@task
def quick(posted):
    """Over at once."""
    with noted(Posted(posted)):
        return c.task.generation


@task
def slow(posted):
    """Lasts 50 to 500 ms, so that a kill finds some in flight."""
    event = Posted(posted)
    with noted(event):
        gevent.sleep(lasts(event, 0.05, 0.5))
        return c.task.generation


@event_handler("posted.order")
def order(topic, posted):
    """Of a published event."""
    with noted(Posted(posted)):
        return c.task.generation
