"""What `hook` and `import` refuse, and what they read and write, without a daemon."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from .console import Command

SECRET = "0123456789abcdef"


@pytest.fixture
def hook(alone: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """A configuration with one hook, and its folder as the present one."""
    config = tmp_path / "monqbus.ini"
    config.write_text(f"{config.read_text()}[hook:github]\nverify = github\nsecret = {SECRET}\n")
    monkeypatch.chdir(tmp_path)
    return alone


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["hook", "send", "gihub"], "the configuration has no hook 'gihub'; did you mean github?"),
        (["hook", "verify", "github"], "--headers: expected FILE, got none"),
        (["hook", "verify", "github", "--headers", "a"], "--body: expected FILE, got none"),
        (["hook", "verify", "github", "--headers", "-", "--body", "-"], "expected a file, got - twice"),
        (["hook", "verify", "github", "--headers", "no", "--body", "no"], "expected a readable file, got no"),
        (["hook", "sign", "github", "--at", "5"], "--at: expected with verify alone, got sign"),
        (["hook", "verify", "github", "--header", "A: b"], "--header: expected with sign or send alone"),
        (["hook", "send", "github"], "--to: expected a URL, because listen has port 0"),
        (["hook", "send", "github", "--to", "host:80"], "--to: expected a URL, got 'host:80'"),
        (["hook", "send", "github", "--to", "http://["], "--to: expected a URL, got 'http://['"),
        (["hook", "send", "github", "--to", "http://h:x"], "--to: expected a URL, got 'http://h:x'"),
        (["hook", "send", "github", "--to", "http://a:b@h/"], "without a user, got one with"),
        (["hook", "sign", "github", "--header", SECRET], "--header: expected NAME: VALUE, got"),
        (["hook", "sign", "github", "--body", "."], "expected a readable file, got .: Is a"),
        (["hook", "sign", "github", "--out", "monqbus.ini"], "--out: expected a new file, got monqbus.ini"),
        (["import", "no.json"], "FILE: expected a readable file, got no.json"),
    ],
)  # fmt: skip
def test_a_wrong_word_is_named_with_its_remedy(hook: Command, words: list[str], says: str) -> None:
    """Each with exit code 64; a value that may be a secret is not repeated."""
    said = hook(*words)

    assert (64, True) == (said.code, says in said.err), said.err
    assert SECRET not in said.err


def test_a_key_is_never_taken_from_the_command_line(hook: Command) -> None:
    """It would stand in the history and in the list of processes."""
    said = hook("hook", "sign", "github", "--key", SECRET)

    assert 78 == said.code
    assert "--key: expected env:NAME, file:PATH or credential:NAME, got something else" in said.err
    assert SECRET not in said.err


@pytest.mark.parametrize(
    ("head", "says"),
    [
        (b"DELETE /hooks/github HTTP/1.1\nHost: a\n", "failed: method: expected POST, got DELETE"),
        (b"Content-Encoding: gzip\n", "failed: header content-encoding: expected none, got one"),
        (b"X-Hub-Signature-256: sha256=00\n", "failed: proof: wrong for secret 1 of 1"),
        (b"{}", "failed: header x-hub-signature-256: expected the proof of the sender, got none"),
    ],
)
def test_verify_says_what_a_delivery_is_refused_for(
    hook: Command, tmp_path: Path, head: bytes, says: str
) -> None:
    """Method and encoding too, which are no matter of its proof."""
    (tmp_path / "head").write_bytes(head)
    (tmp_path / "body").write_bytes(b"{}")
    said = hook("hook", "verify", "github", "--headers", "head", "--body", "body")

    assert (1, True) == (said.code, says in said.lines[-1]), said.out
    assert SECRET not in said.out + said.err


def test_a_body_comes_from_standard_input(hook: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Byte for byte; what is signed verifies."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"a": "\xc3\xbc"}\n')))
    signed = hook("hook", "sign", "github", "--body", "-", "--out", "body")
    Path("head").write_text(signed.out)
    said = hook("hook", "verify", "github", "--headers", "head", "--body", "body")

    assert b'{"a": "\xc3\xbc"}\n' == Path("body").read_bytes()
    assert 0o600 == Path("body").stat().st_mode & 0o777
    assert (0, "ok") == (said.code, said.lines[-1])


def test_import_prints_no_secret_and_writes_over_nothing(hook: Command, tmp_path: Path) -> None:
    """Without --out a variable is named; with it no file that is there is touched."""
    rule = f'{{"match": {{"type": "scalr-signature", "secret": "{SECRET}"}}}}'
    text = f'[{{"id": "a.b", "execute-command": "/bin/true", "trigger-rule": {rule}}}]'
    Path("hooks.json").write_text(text)
    printed = hook("import", "hooks.json")
    Path("new.a-b.secret").write_text("mine")
    refused = hook("import", "hooks.json", "--out", "new.ini")

    assert (0, True) == (printed.code, "secret = env:A_B_SECRET" in printed.out)
    assert "set A_B_SECRET to that of the hook" in printed.err
    assert SECRET not in printed.out + printed.err
    assert (64, "mine", False) == (refused.code, Path("new.a-b.secret").read_text(), Path("new.ini").exists())
