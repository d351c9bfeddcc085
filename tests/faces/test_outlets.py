"""Every outlet of text: whatever a stranger has stored, a terminal shows it and obeys none of it."""

from __future__ import annotations

import ast
import json
import sys
from datetime import datetime, timezone
from pathlib import Path

import pymongo
import pytest
from bson import ObjectId
from hypothesis import given
from hypothesis import strategies as st

from bus.cli import terminal
from bus.safe_text import harmless, harmless_json

from .console import Command, write_place

NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)
ESC = "\x1b[31m"
HOSTILE = f"a{ESC}\r\n\x9b2J\u2028\u202e\u061c\u200b\u2060\ufeff\x00z"
TASK = ObjectId("6b04ec3f28e9893927a81901")
ROOT = Path(__file__).parents[2]


@pytest.fixture
def foreign(run: Command, tmp_path: Path, mongo_address: str) -> Command:
    """Runs a command on a store in which another program has left a task, all of it hostile text."""
    config = write_place(tmp_path, mongo_address)
    with pymongo.MongoClient(mongo_address) as client:
        client.get_default_database()["monq_task"].insert_one(
            {
                "_id": TASK, "state": "error", "task_name": HOSTILE, "time_queue": NOW, "result": HOSTILE,
                "topic": HOSTILE, "process": HOSTILE, "context": {HOSTILE[:-2]: HOSTILE}, "args": [HOSTILE],
                "history": [{"attempt": 1, "at": NOW, "error": HOSTILE}], "output": HOSTILE,
            }
        )  # fmt: skip
        client.get_default_database()["monq_delivery"].insert_one(
            {
                "_id": TASK, "outcome": "refused", "received": NOW, "status": 401, "by_stranger": True,
                "room": "x",
                **dict.fromkeys(("hook", "path", "method", "peer", "code", "reason", "request"), HOSTILE),
                "headers": [[HOSTILE, HOSTILE]], "parameters": [HOSTILE, 7], "body": HOSTILE.encode(),
            }
        )  # fmt: skip
    return lambda *words: run(*words, "--config", config)


@pytest.mark.parametrize(
    "words",
    [
        ["deliveries", "list"],
        ["deliveries", "list", "--json"],
        ["deliveries", "show", str(TASK)],
        ["deliveries", "show", str(TASK), "--json"],
        ["deliveries", "list", "--outcome", HOSTILE],
        ["deliveries", "replay", str(TASK)],
        ["list"],
        ["list", "--json"],
        ["show", str(TASK)],
        ["show", str(TASK), "--json"],
        ["count"],
        ["list", "--state", HOSTILE],
        ["show", HOSTILE],
        ["post", HOSTILE],
        ["post", "a.b", "--args", HOSTILE],
        [HOSTILE],
        ["check"],
    ],
    ids=lambda words: " ".join(words).encode("unicode_escape").decode(),
)
def test_a_command_prints_only_what_a_terminal_shows_as_it_is(foreign: Command, words: list[str]) -> None:
    """Foreign documents, and words that were pasted from somewhere."""
    said = foreign(*words)
    lines = f"{said.out}{said.err}".split("\n")

    assert any(lines)
    assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize("words", [["list", "--json"], ["show", str(TASK), "--json"]], ids=" ".join)
def test_json_says_what_is_stored(foreign: Command, words: list[str]) -> None:
    """Escaped for the terminal in JSON's own way: a program reads the text as it is."""
    (line,) = foreign(*words).lines

    assert HOSTILE == json.loads(line)["task_name"]


@given(st.text(st.characters(codec=None), max_size=60))
def test_no_text_breaks_a_line(text: str) -> None:
    """For every text there is; and what is harmless stays readable."""
    safe, as_json = harmless(text), harmless_json({text: [text]})

    assert safe.isprintable()
    assert as_json.isprintable()
    assert [text] == list(json.loads(as_json))
    assert not (text.isascii() and text.isprintable()) or text == safe


@pytest.mark.parametrize("text", ["Grüße", "日本語", "ελληνικά", "😀", "❤\ufe0f"])
def test_what_people_write_stays_as_it_is(text: str) -> None:
    assert text == harmless(text)


def test_a_state_that_nobody_knows_has_no_colour(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    """Its text is a stranger's as any other."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    terminal.line(terminal.State(f"red{ESC}"))

    assert "red\\x1b[31m\n" == capsys.readouterr().out


def test_commands_print_in_one_place() -> None:
    """A second `print` would be a second outlet, that somebody forgets to guard."""
    guilty = [
        path.name
        for path in (ROOT / "bus" / "cli").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if path.name != "terminal.py"
        and (
            (isinstance(node, ast.Name) and node.id == "print")
            or (isinstance(node, ast.Attribute) and node.attr in {"print_exc", "print_exception"})
        )
    ]

    assert [] == guilty
