"""The app that the measured daemons run."""

import time

import gevent
from notes import write_note

from monqbus import c, event_handler, task

_done = 0
_latencies: list[float] = []


@task
def nothing():
    """The no-op whose overhead is measured."""
    global _done  # noqa: PLW0603 - one daemon, one counter
    _done += 1


@task(cpu=True)
def nothing_elsewhere():
    """The same in a CPU worker."""


@task(cpu=True)
def count_up(number):
    """Pure Python on one core; the seconds it took."""
    started = time.monotonic()
    for _ in range(number):
        pass
    return time.monotonic() - started


@task(cpu=True)
def burn(seconds):
    """Computes on one core."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


@task
def done():
    """How many no-ops have run in this daemon, and when it was asked (monotonic seconds)."""
    return [_done, time.monotonic()]


@task
def stamp(sent):
    """Measures how long ago *sent* was, on the machine's monotonic clock."""
    _latencies.append(time.monotonic() - sent)


@task
def stamps():
    """The latencies measured so far; forgets them."""
    taken = list(_latencies)
    _latencies.clear()
    return taken


@task
def flood(posters, count):
    """Post *count* no-ops from *posters* greenlets; posts per second."""
    started = time.monotonic()
    workers = [gevent.spawn(_post, c.task, count // posters) for _ in range(posters)]
    gevent.joinall(workers, raise_error=True)
    return count / (time.monotonic() - started)


def _post(_, count):
    for _ in range(count):
        nothing.post()


@event_handler("bench.push")
def on_push(topic, event):
    """What a delivery runs."""
    nothing()


@task
def note(path, sent, seconds=0.0):
    """Appends to a file how long ago *sent* was, and when that is: what the peers' tasks do, too."""
    write_note(path, sent, seconds)
