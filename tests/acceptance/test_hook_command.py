"""`monqbus hook send`, `sign` and `verify` beside a daemon with a hook of every sender."""

from __future__ import annotations

import json
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

_SCRIPT = 'printf "%s\\n" "$@" "$REF" > got; cat "$FILE" >> got'
_THEIRS = [
    {
        "id": "build",
        "execute-command": "/bin/sh",
        "command-working-directory": ".",
        "response-message": "building",
        "pass-arguments-to-command": [
            {"source": "string", "name": "-c"},
            {"source": "string", "name": _SCRIPT},
            {"source": "string", "name": "sh"},
            {"source": "payload", "name": "by"},
            {"source": "entire-payload"},
            {"source": "string", "name": "end"},
        ],
        "pass-environment-to-command": [{"source": "payload", "name": "ref", "envname": "REF"}],
        "pass-file-to-command": [{"source": "raw-request-body", "envname": "FILE"}],
        "trigger-rule": {
            "and": [
                {
                    "match": {
                        "type": "payload-hmac-sha256",
                        "secret": deliveries.KEY,
                        "parameter": {"source": "header", "name": "X-Hub-Signature-256"},
                    }
                },
                {
                    "match": {
                        "type": "value",
                        "value": "main",
                        "parameter": {"source": "payload", "name": "ref"},
                    }
                },
            ]
        },
    }
]
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


def test_send_goes_through_a_socket_file_and_knows_cloudevents(
    new_daemon: New, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without --to it is the first address of `listen`; a hook of CloudEvents is sent one."""
    monkeypatch.chdir(tmp_path)
    text = f"[monqbus]\ndata_dir = ./data\n[http]\nlisten = unix:{tmp_path}/public\n[hook:clouds]\n"
    started = new_daemon(text=f"{text}verify = token\nsecret = {deliveries.KEY}\nformat = cloudevents\n")
    started.config.chmod(0o600)
    started.start()
    code = main(["hook", "send", "clouds", "--config", str(started.config)])
    said = capsys.readouterr()

    assert (0, "202 Accepted") == (code, said.out.splitlines()[1]), said
    assert "event " in said.out


def test_what_is_imported_runs_as_it_did(
    new_daemon: New, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Signed, matched, and its command has the arguments, the variable and the file of the body."""
    monkeypatch.chdir(tmp_path)
    Path("hooks.json").write_text(json.dumps(_THEIRS))
    imported = main(["import", "hooks.json", "--out", "moved.ini"])
    told = capsys.readouterr()
    text = Path("moved.ini").read_text().replace("listen = 127.0.0.1:9000", "listen = 127.0.0.1:0")
    Path("data").mkdir(mode=0o700)
    started = new_daemon(text=text.replace("{", "{{").replace("}", "}}"))
    started.config.chmod(0o600)
    checked = main(["check", "--offline", "--config", str(started.config)])
    started.start()
    words = ["--to", f"http://127.0.0.1:{started.address[1]}", "--config", str(started.config)]
    body = '{"ref": "main", "by": "it\'s; $(id)"}'
    Path("body").write_text(body)
    capsys.readouterr()
    sent = main(["hook", "send", "build", "--body", "body", *words])
    done = started.wait_for("task.finished")

    assert (0, 0, 0) == (imported, checked, sent), told.err
    assert "moved.build.secret" in told.out
    assert (
        0o600 == Path("moved.build.secret").stat().st_mode & 0o777 == Path("moved.ini").stat().st_mode & 0o777
    )
    assert "body = building" in Path("moved.ini").read_text()
    assert "handler:build" in done
    assert ["it's; $(id)", body, "end", "main", body] == Path("got").read_text().splitlines()
