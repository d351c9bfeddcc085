"""The GitHub example does what its docstrings say, on its own sample payloads."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import SECRET
from .daemons import ROOT, Daemon

EXAMPLE = ROOT / "examples" / "github"
FEED = [
    "octo-org/demo: 0d1a26e Describe the feed (octocat)",
    "octo-org/demo: 59b20b8 Fix the tests on a slow disk (hubot)",
    "octo-org/demo: merged #12 Keep the feed sorted",
    "octo-org/demo: released v1.2.0",
]


@pytest.fixture
def github(tmp_path: Path) -> Iterator[Daemon]:
    """The example in a folder of the test, running on a free port."""
    for tool in ("openssl", "curl"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    place = tmp_path / "github"
    shutil.copytree(EXAMPLE, place)
    config = place / "monqbus.ini"
    config.write_text(config.read_text().replace("127.0.0.1:8080", "127.0.0.1:0"))
    daemon = Daemon(config, GITHUB_WEBHOOK_SECRET=SECRET, GITHUB_SUMMARY_SECONDS="0.01")
    try:
        yield daemon.start()
    finally:
        daemon.kill()


def send(daemon: Daemon, kind: str, delivery: str) -> dict[str, object]:
    """What send.sh gets for a sample payload."""
    host, port = daemon.address
    sent = subprocess.run(
        [str(daemon.config.parent / "send.sh"), kind, delivery],
        env={**daemon.environ, "MONQBUS_URL": f"http://{host}:{port}"},
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    answer: dict[str, object] = json.loads(sent.stdout)
    return answer


def test_the_three_samples_fill_the_feed(github: Daemon):
    """Commits, merged pull requests, releases; a release has three handlers, one of them is retried."""
    push = send(github, "push", "d1")
    github.wait_for("task.finished", "github_feed.summarise")
    send(github, "pull_request", "d2")
    github.wait_for("task.finished", "github_feed.note_pull_request")
    send(github, "release", "d3")
    for handler in ("note_release", "update_mirror", "thank_contributors"):
        github.wait_for("task.finished", f"github_feed.{handler}")
    again = send(github, "push", "d1")
    (summary,) = github.monqbus("list", "--name", "github_feed.summarise", "--json").stdout.splitlines()

    assert {**push, "duplicate": True} == again
    assert FEED == (github.config.parent / "changelog.txt").read_text().splitlines()
    assert {"repository": "octo-org/demo", "commits": 2, "words": 13} == json.loads(summary)["result"]
    assert "mirror is busy" in github.wait_for("task.retried", "github_feed.update_mirror")


def test_the_example_passes_its_own_check(github: Daemon):
    """Every declaration is found, nothing is wrong."""
    checked = github.monqbus("check")

    assert (0, "ok") == (checked.returncode, checked.stdout.splitlines()[-1])
    assert 3 == checked.stdout.count("handler  release.published")


def test_samples_have_the_shape_of_github(tmp_path: Path):
    """The parts that every delivery of GitHub has; a push names what was before and after it."""
    payloads = {path.stem: json.loads(path.read_text()) for path in (EXAMPLE / "payloads").glob("*.json")}

    assert {"push", "pull_request", "release"} <= payloads.keys()
    for payload in payloads.values():
        assert {"repository", "sender"} <= payload.keys()
        assert {"id", "name", "full_name", "private"} <= payload["repository"].keys()
    push = payloads["push"]
    assert {"ref", "before", "after", "created", "deleted", "forced", "commits", "head_commit"} <= push.keys()
    assert push["after"] == push["commits"][-1]["id"] == push["head_commit"]["id"]
