"""What a command says when its answer is empty or its refusal short: which name, topic or state was meant."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bus.api.client import ApiClient
from bus.cli import hints, session
from bus.clock import Clock
from bus.model import Filter, MonQTask, Posting, State
from bus.store import open_store

from .console import NOBODY, Command


def stored(folder: Path, *states: State, name: str = "cliapp.double") -> list[str]:
    """Tasks in these states, as a daemon would have left them; their ids."""
    store = open_store("sqlite", folder / "data")
    clock = Clock()
    ids = []
    for state in states:
        task = MonQTask(clock.new_id(), name, [], {}, clock.now(), state=state)
        if state == "busy":
            task.worker = "w"
        store.post([Posting([task])])
        ids.append(str(task.id))
    store.close()
    return ids


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["list", "--name", "cliap.double"], "no task has this name, did you mean cliapp.double?"),
        (["list", "--name", "double"], "no task has this name, did you mean cliapp.double?"),
        (["list", "--name", "duble"], "no task has this name, did you mean cliapp.double?"),
        (["list", "--name", "cliapp"], "; it is the whole name, and * stands for any text: --name 'cliapp*'"),
        (["count", "--name", "cliapp.doubel"], "no task has this name, did you mean cliapp.double?"),
        (["retry", "--name", "cliapp.doubel"], "no task has this name, did you mean cliapp.double?"),
        (["cancel", "--name", "Double"], "no task has this name, did you mean cliapp.double?"),
        (["purge", "--name", "cliapp.doubel"], "no task has this name, did you mean cliapp.double?"),
        (["retry", "--name", "elsewhere"], "--name elsewhere: no task has this name\n"),
        (["list", "--topic", "shop.slod"], "shop.slod: no handler has this topic, did you mean shop.sold?"),
        (["retry", "--topic", "sold"], "--topic sold: no handler has this topic, did you mean shop.sold?"),
        (["events", "list", "--topic", "shop.sodl"], "no handler has this topic, did you mean shop.sold?"),
        (["events", "list", "--hook", "gihub"], "the configuration has no such hook, did you mean github?"),
        (["retry", "--state", "busy"], "--state: retry expects error or skipped, got busy"),
        (["purge", "--state", "ready"], "--state: purge expects complete or error or skipped, got ready"),
    ],
)  # fmt: skip
def test_a_filter_that_matches_nothing_names_what_was_meant(
    alone: Command, tmp_path: Path, words: list[str], says: str
) -> None:
    """A mistyped name and an empty queue look alike."""
    stored(tmp_path, "error", "ready")
    config = tmp_path / "monqbus.ini"
    config.write_text(config.read_text() + "[hook:github]\nverify = token\nsecret = 0123456789abcdef\n")
    said = alone(*words)

    assert 0 == said.code
    assert says in said.err


@pytest.mark.parametrize(
    "words",
    [
        ["list", "--name", "cliapp.double", "--state", "busy"],
        ["list", "--name", "doubel*"],
        ["retry", "--name", "cliapp.double", "--error", "Timeout"],
        ["events", "list", "--topic", "shop.sold"],
        ["count", "--topic", "shop.sold"],
        ["list", "--name", "cliapp.doubel", "--json"],
        ["retry", "--name", "cliapp.doubel", "--json"],
    ],
)
def test_a_name_that_is_right_is_not_doubted(alone: Command, tmp_path: Path, words: list[str]) -> None:
    """There are such tasks, or could be; only none of the kind that was asked for. Programs get no hint."""
    stored(tmp_path, "error", "ready")

    assert "" == alone(*words).err


def test_a_store_that_does_not_count_in_time_has_no_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer stands; only the hint is left out."""
    client = ApiClient(Path("/nowhere/control.sock"), Clock())

    hints.tell_of_no_match(client, Filter(name="a"))


@pytest.mark.parametrize(
    ("verb", "state", "says"),
    [
        ("retry", "busy", "retry expects one that is error or skipped, got one that is busy; it runs; "
         "`monqbus cancel` it first, or wait for its end"),
        ("retry", "ready", "got one that is ready; it waits to run already; `monqbus show` says for what"),
        ("retry", "complete", "got one that is complete; it has done its work; `monqbus post` runs"),
        ("cancel", "error", "cancel expects one that is ready or busy, got one that is error; it has ended"),
        ("purge", "busy", "got one that is busy; `monqbus cancel` it first"),
    ],
)  # fmt: skip
def test_a_task_whose_state_forbids_it_says_which_state_and_what_helps(
    alone: Command, tmp_path: Path, verb: str, state: State, says: str
) -> None:
    """One sentence for both, not found and in a wrong state, sends people looking in two places."""
    (task_id,) = stored(tmp_path, state)
    said = alone(verb, task_id)

    assert (1, 1) == (said.code, said.err.count("\n"))
    assert f"task {task_id}: " in said.err
    assert says in said.err


def test_of_many_tasks_that_stay_as_they_are_the_first_reasons_are_told(
    alone: Command, tmp_path: Path
) -> None:
    """And how many they are; those that could be were changed."""
    ids = stored(tmp_path, "error", *["busy"] * 6)
    said = alone("retry", *ids, NOBODY)

    assert (1, ["retried 1"]) == (said.code, said.lines)
    assert 5 == said.err.count("got one that is busy")
    assert said.err.endswith("7 of 8 tasks: not found, or in a state that forbids it\n")


def test_a_retried_event_is_told_apart_from_a_task(alone: Command) -> None:
    """Both have an id of the same form."""
    event_id = alone("event", "shop.none").lines[0].removeprefix("event ")

    assert f"task {event_id}: that is an event; `monqbus events show" in alone("retry", event_id).err


def test_list_shows_both_ends_of_a_long_error(alone: Command, tmp_path: Path) -> None:
    """A TypeError names the function in front and what is missing at its end."""
    store = open_store("sqlite", tmp_path / "data")
    clock = Clock()
    error = f"TypeError: send() missing 2 required {'positional ' * 40}arguments: 'to' and 'subject'"
    task = MonQTask(clock.new_id(), "mail.send", [], {}, clock.now(), state="error", attempt=1)
    task.history = [{"attempt": 1, "at": clock.now(), "process": "p", "error": error}]
    store.post([Posting([task])])
    store.close()
    (_, line) = alone("list").lines

    assert "attempt 1: TypeError: send() missing 2 required" in line
    assert line.endswith("arguments: 'to' and 'subject'")


@pytest.fixture
def unhandled(alone: Command) -> str:
    """The id of an event whose topic is mistyped."""
    said = alone("event", "shop.slod")
    return said.lines[0].removeprefix("event ")


def test_an_event_without_tasks_is_shown_with_the_topic_that_was_meant(
    alone: Command, unhandled: str
) -> None:
    """Who asks why it ran nothing reads it there, whether by `show`, `events show` or as JSON."""
    reason = (
        "no handler for topic shop.slod, did you mean shop.sold? "
        f"`monqbus events replay {unhandled}` once there is one"
    )

    assert reason in alone("events", "show", unhandled).out
    assert reason in alone("show", unhandled).out
    assert reason == json.loads(alone("show", unhandled, "--json").out)["unhandled"]


def test_an_event_whose_handler_has_come_since_says_so(
    alone: Command, unhandled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then a replay is all that is missing."""
    monkeypatch.setattr(session.OwnAdmin, "topics", lambda admin: ["shop.slod"])

    assert "there is one now: `monqbus events replay" in alone("events", "show", unhandled).out


def test_a_replay_without_a_handler_names_the_topic_that_was_meant(alone: Command, unhandled: str) -> None:
    said = alone("events", "replay", unhandled)

    assert 1 == said.code
    assert "no handler for topic shop.slod, did you mean shop.sold? declare one, then replay it" in said.err
