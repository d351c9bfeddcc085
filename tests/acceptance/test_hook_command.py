"""`monqbus hook send`, `sign` and `verify` beside a daemon with a hook of every sender."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from bus.cli.entry import main
from bus.senders import SENDERS
from tests import deliveries

from .conftest import New
from .daemons import Daemon

_ALL = {name: deliveries.of(name) for name in SENDERS}


def _config() -> str:
    """One hook for each sender; those with public keys have their private ones in files beside it."""
    lines = ["[monqbus]", "data_dir = ./data", "store = {store}", "[http]", "listen = 127.0.0.1:0"]
    for name, one in _ALL.items():
        topic = "got.{{event}}" if SENDERS[name].event else "got.{{name}}"
        settings = {"verify": name, "topic": topic, "secret": one.secret, **one.settings}
        lines.append(f"[hook:{name}]")
        for key, value in settings.items():
            text = value if key == "topic" else value.replace("{", "{{").replace("}", "}}")
            lines += [f"{key} = {text}"] * bool(value)
    return "\n".join(lines) + "\n"


@pytest.fixture
def daemon(new_daemon: New, tmp_path: Path) -> Daemon:
    """A running one with all hooks."""
    started = new_daemon(text=_config())
    started.config.chmod(0o600)
    for name, one in _ALL.items():
        if one.signs:
            key = started.config.parent / f"{name}.key"
            key.write_text(one.signs)
            key.chmod(0o600)
    return started.start()


Hook = Callable[..., "Said"]


class Said(NamedTuple):
    """What a command that was run in this process printed, and its exit code."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def hook(daemon: Daemon, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Hook:
    """Runs `monqbus hook` beside the daemon, in the folder of its configuration."""
    monkeypatch.chdir(daemon.config.parent)

    def run(*words: str) -> Said:
        code = main(["hook", *words, "--config", str(daemon.config)])
        return Said(code, *capsys.readouterr())

    return run


def _sent(daemon: Daemon, hook: Hook, name: str, *words: str) -> Said:
    host, port = daemon.address
    key = ["--key", f"file:{name}.key"] if _ALL[name].signs else []
    return hook("send", name, "--to", f"http://{host}:{port}", *key, *words)


def test_send_tries_the_hook_of_every_sender(daemon: Daemon, hook: Hook) -> None:
    """202 and the event for each word of `verify`, with the body that is made up; no secret is printed."""
    found = {name: _sent(daemon, hook, name) for name in _ALL}
    answers = {
        name: (one.returncode, one.stdout.splitlines()[1:2], one.stderr) for name, one in found.items()
    }
    shown = [name for name, one in found.items() if _ALL[name].secret and _ALL[name].secret in one.stdout]

    assert {name: (0, ["202 Accepted"]) for name in _ALL} == {
        name: one[:2] for name, one in answers.items()
    }, answers
    assert [] == shown
    assert all(re.search(r"^event [0-9a-f]{24}$", one.stdout, re.MULTILINE) for one in found.values())


def test_what_sign_prints_is_verified_and_what_was_changed_is_not(daemon: Daemon, hook: Hook) -> None:
    """Headers and body go through files and come back as `ok`; another byte in the body is told of."""
    folder = daemon.config.parent
    signed = hook("sign", "github", "--out", "body", "--header", "X-GitHub-Event: push")
    (folder / "headers").write_text(signed.stdout)
    right = hook("verify", "github", "--headers", "headers", "--body", "body")
    (folder / "other").write_bytes((folder / "body").read_bytes() + b"!")
    wrong = hook("verify", "github", "--headers", "headers", "--body", "other")

    assert 0 == signed.returncode, signed.stderr
    assert "x-github-event: push" in signed.stdout
    assert (0, "ok") == (right.returncode, right.stdout.splitlines()[-1])
    assert 1 == wrong.returncode
    assert wrong.stdout.splitlines()[-1].startswith(
        "failed: proof: wrong for secret 1 of 1; compare the secret"
    )
    assert _ALL["github"].secret not in right.stdout + wrong.stdout


def test_a_public_key_cannot_sign_and_says_what_can(daemon: Daemon, hook: Hook) -> None:
    """The sender alone has the private key."""
    refused = hook("send", "discord", "--to", f"http://127.0.0.1:{daemon.address[1]}")

    assert 78 == refused.returncode
    assert "got a public key" in refused.stderr
    assert "--key file:PATH" in refused.stderr


def test_send_says_why_a_delivery_was_not_taken(daemon: Daemon, hook: Hook) -> None:
    """The answer's detail, and exit code 1; a listener that is not there is named with the remedy."""
    twisted = _sent(daemon, hook, "github", "--header", "Content-Encoding: gzip")
    nowhere = hook("send", "github", "--to", "http://127.0.0.1:9")

    assert 1 == twisted.returncode
    assert "415" in twisted.stdout.splitlines()[1]
    assert (1, True) == (nowhere.returncode, "start the daemon with `monqbus run`" in nowhere.stderr)
