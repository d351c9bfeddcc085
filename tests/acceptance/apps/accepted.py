"""What the accepted daemons run: every handler writes down that it ran."""

import hashlib
import os
import time
from pathlib import Path

import gevent

from monqbus import c, event_handler, task


def _write(*words):
    with Path(os.environ["RAN"]).open("a") as file:
        file.write(" ".join(str(word) for word in words) + "\n")


@event_handler("github.push", "github.pull_request", "github.release", "github.issues", "github.ping")
def note(topic, event):
    """One line a delivery."""
    _write(topic, event.delivery, event.json["number"])


@event_handler("github.release")
def note_again(topic, event):
    """A second handler of one topic."""
    _write("again", topic, event.delivery, event.json["number"])


@task
def add(left, right):
    """A result to wait for."""
    return left + right


@task
def whose():
    """The context it was posted in."""
    return [c.project, c.user]


@task(max_attempts=1)
def fail(text):
    """Always in vain."""
    raise ValueError(text)


@task
def linger(seconds):
    """Says when it begins and when it ends."""
    _write("began", c.task.attempt)
    gevent.sleep(seconds)
    _write("ended", c.task.attempt)


@task
def stumble():
    """The first run never ends, every later one at once."""
    _write("began", c.task.generation)
    if c.task.generation == 1:
        gevent.sleep(600)
    _write("ended", c.task.generation)


@task
def burn(seconds):
    """Computes without yielding; says when it begins and when it ends."""
    _write("began", c.task.generation)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass
    _write("ended", c.task.generation)


@event_handler("events.made")
def note_event(topic, event):
    """One line an event, whichever mode it came in."""
    _write(event.attributes["source"], event.attributes["id"], event.data["n"])


@event_handler("content.large")
def measure(topic, event):
    """What arrived, byte for byte, and that it could be read."""
    _write("greenlet", hashlib.sha256(event.body).hexdigest(), len(event.data["texts"]))


@event_handler("content.large", cpu=True)
def measure_apart(topic, event):
    """The same in a process of its own."""
    _write("process", hashlib.sha256(event.body).hexdigest(), len(event.data["texts"]))
