"""Reacts to GitHub deliveries: a changelog feed in a file, a slow summary, one event for three handlers."""

import os
import time
from pathlib import Path

from monqbus import Retry, c, event_handler, post_event, task

FEED = Path(os.environ.get("GITHUB_FEED", "changelog.txt"))


@event_handler("github.push")
def note_push(topic, event):
    """One line in the feed for each pushed commit; then the slow part as a task of its own."""
    push = event.json
    repository = push["repository"]["full_name"]
    for commit in push["commits"]:
        first_line = commit["message"].splitlines()[0]
        _write(f"{repository}: {commit['id'][:7]} {first_line} ({commit['author']['name']})")
    if push["commits"]:
        summarise.post(repository, [commit["message"] for commit in push["commits"]])


@event_handler("github.pull_request")
def note_pull_request(topic, event):
    """Opened and merged pull requests; everything else about them is noise here."""
    body = event.json
    pull = body["pull_request"]
    if body["action"] == "closed" and pull["merged"]:
        _write(f"{body['repository']['full_name']}: merged #{body['number']} {pull['title']}")
    elif body["action"] == "opened":
        _write(f"{body['repository']['full_name']}: opened #{body['number']} {pull['title']}")


@event_handler("github.release")
def publish_release(topic, event):
    """Turns GitHub's words into ours: whoever is interested handles `release.published`."""
    body = event.json
    if body["action"] == "published":
        post_event("release.published", body["repository"]["full_name"], tag=body["release"]["tag_name"])


@event_handler("release.published")
def note_release(topic, repository, tag):
    """First of three handlers: the feed."""
    _write(f"{repository}: released {tag}")


@event_handler("release.published", max_attempts=5)
def update_mirror(topic, repository, tag):
    """Second: fails the first time, to show that it is retried without the other two."""
    if c.task.attempt == 1:
        raise Retry("the mirror is busy", delay=1)
    print(f"mirror has {repository} {tag}")


@event_handler("release.published")
def thank_contributors(topic, repository, tag):
    """Third: prints."""
    print(f"thanks to everybody who made {repository} {tag}")


@task(timeout=60, max_attempts=3)
def summarise(repository, messages):
    """A slow task that shows how far it is; `monqbus show ID` prints it."""
    for number, message in enumerate(messages, 1):
        time.sleep(float(os.environ.get("GITHUB_SUMMARY_SECONDS", "0.5")))
        c.task.progress(number / len(messages), message.splitlines()[0])
    print(f"{repository}: {len(messages)} commits summarised")
    return {
        "repository": repository,
        "commits": len(messages),
        "words": sum(len(m.split()) for m in messages),
    }


def _write(line):
    with FEED.open("a") as feed:
        feed.write(line + "\n")
    print(line)
