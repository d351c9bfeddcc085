"""`user`, `token` and `audit`: beside a daemon, and on a store that nobody else has."""

from __future__ import annotations

import io
import json
import re

import pytest

from .console import Command

PASSWORD = "four cheap words here"


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard input has a password."""
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{PASSWORD}\n"))


@pytest.mark.usefixtures("typed")
def test_a_user_is_added_changed_and_removed_alone(alone: Command) -> None:
    """Where no daemon runs, the command writes the store itself, and notes who it was."""
    added = alone("user", "add", "anna", "--role", "operator")
    changed = alone("user", "role", "anna", "--role", "admin")
    listed = alone("user", "list", "--json")
    removed = alone("user", "remove", "anna")
    entries = [json.loads(line) for line in alone("audit", "--json").out.splitlines()]

    assert [0, 0, 0, 0] == [one.code for one in (added, changed, listed, removed)]
    assert ("anna", "admin", True) == tuple(
        json.loads(listed.out)[one] for one in ("name", "role", "has_password")
    )
    assert ["remove user", "set role", "add user"] == [one["action"] for one in entries]
    assert re.fullmatch(r"\S+@\S+", entries[0]["who"])
    assert PASSWORD not in added.out + listed.out + json.dumps(entries)


@pytest.mark.usefixtures("typed")
def test_a_user_is_added_and_removed_beside_a_daemon(beside: Command) -> None:
    beside("user", "add", "anna")
    listed = beside("user", "list")
    again = beside("user", "add", "anna", "--no-password")
    removed = beside("user", "remove", "anna")

    assert listed.out.startswith("anna  viewer  since ")
    assert 64 == again.code
    assert "expected a new name, got anna" in again.err
    assert "removed anna\n" == removed.out


def test_a_token_is_shown_once(beside: Command) -> None:
    word = beside("token", "add", "ci", "--scope", "metrics", "--expires", "30d").out.strip()
    listed = beside("token", "list")
    revoked = beside("token", "revoke", word.split("_")[1])

    assert re.fullmatch(r"mqb_[0-9a-f]{12}_[\w-]{43}", word)
    assert f"{word.split('_')[1]}  ci  metrics  until " in listed.out
    assert word not in listed.out
    assert f"revoked ci ({word.split('_')[1]})\n" == revoked.out


def test_a_link_names_the_listener_and_says_when_there_is_none(beside: Command) -> None:
    said = beside("user", "link")

    assert re.fullmatch(r"/link/[\w-]{43}\n", said.out)
    assert "it signs an admin in once, within 15 minutes" in said.err
    assert "set [admin] listen" in said.err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("user", "add"), 64, "user add: expected NAME, got none"),
        (("user", "add", "a b", "--no-password"), 64, "name: expected 1 to 64 letters"),
        (("user", "add", "anna", "--no-password", "--role", "root"), 64, "role: expected viewer or operator"),
        (("user", "role", "anna"), 64, "expected --role"),
        (("user", "list", "anna"), 64, "expected nothing more"),
        (("user", "remove", "nobody"), 1, "user nobody: not found"),
        (("user", "link", "nobody"), 1, "user nobody: not found"),
        (("user", "link", "--expires", "soon"), 64, "--expires"),
        (("token", "add", "ci"), 64, "expected --scope"),
        (("token", "add", "ci", "--scope", "root"), 64, "role: expected metrics or viewer"),
        (
            ("token", "add", "ci", "--scope", "viewer", "--expires", "5000d"),
            64,
            "expires: expected 1s to 3660d",
        ),
        (("token", "revoke", "nothing"), 1, "token nothing: not found"),
        (("user", "shout"), 64, "unknown command 'shout'"),
    ],
)
def test_what_cannot_be_is_one_sentence(
    beside: Command, words: tuple[str, ...], code: int, said: str
) -> None:
    """The same beside a daemon, which has checked it."""
    told = beside(*words)

    assert code == told.code
    assert said in told.err


@pytest.mark.usefixtures("typed")
def test_what_a_command_does_is_in_the_audit_of_the_daemon_by_the_machine_s_user(beside: Command) -> None:
    beside("pause", "nothing.*", "--reason", "test")
    beside("resume", "nothing.*")
    line = beside("audit", "--limit", "1").out

    assert re.search(r"  \S+@\S+ \(admin, machine\)  resume 1  what=task name=nothing\.\*\n", line)
