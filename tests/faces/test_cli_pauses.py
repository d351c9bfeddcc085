"""`pause`, `resume` and `pauses`: beside a running daemon on both stores, and without one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.acceptance.daemons import Daemon

from .console import Command, Said

REASON = ("--reason", "smtp is down")


@pytest.fixture
def beside(beside: Command) -> Command:
    """Runs a command beside the daemon, whose store is empty and pauses nothing."""
    beside("resume", "--all")
    return beside


def pause(beside: Command, daemon: Daemon, *words: str) -> Said:
    """Pause, and wait until the daemon says that it holds to it."""
    before = sum("pause.began" in line for line in daemon.lines)
    said = beside("pause", *words, *REASON)
    daemon.wait_for("pause.began", times=before + 1)
    return said


def test_what_is_paused_waits_is_counted_and_shown_and_runs_when_it_is_resumed(
    beside: Command, daemon: Daemon
) -> None:
    said = pause(beside, daemon, "cliapp.d*")
    waits = beside("post", "cliapp.double", "--args", "[21]").lines[0]
    runs = beside("post", "cliapp.count", "--args", '["shop.sold"]', "--wait", "10")
    counted, shown = beside("count"), beside("show", waits)
    (listed,) = beside("pauses").lines

    assert (0, ["paused cliapp.d*"], "") == (said.code, said.lines, said.err)
    assert 0 == runs.code
    assert re.search(r"^paused +1 +of the ready ones", counted.out, re.M)
    assert 1 == beside("count", "--json").rows[0]["paused"]
    assert re.search(r"^waiting +paused: smtp is down \(since ....-..-.. ..:..:..Z, by ", shown.out, re.M)
    assert re.match(r"cliapp\.d\*  1 ready  smtp is down \(since ", listed)
    again = beside("resume", "cliapp.d*")
    assert (0, ["resumed cliapp.d*"]) == (again.code, again.lines)
    daemon.wait_for("task.finished", waits)
    assert "complete" in beside("show", waits).out


def test_doctor_and_readyz_say_it_and_the_daemon_stays_ready(beside: Command, daemon: Daemon) -> None:
    pause(beside, daemon, "--all")
    said, (status, body) = beside("doctor"), daemon.request("GET", "/readyz")

    assert 0 == said.code
    assert re.search(r"^ok +paused +all tasks: smtp is down \(since ", said.out, re.M)
    assert 200 == status
    assert "paused: all tasks: smtp is down" in str(body)


def test_pauses_as_json_have_all_their_parts(beside: Command) -> None:
    beside("pause", "cliapp.fail", "--schedule", "night", *REASON, "--until", "2h")
    night, fail = beside("pauses", "--json").rows

    assert {"what", "name", "reason", "since", "until", "by", "ready"} == set(fail)
    assert ("task", "cliapp.fail", "smtp is down", 0) == (
        fail["what"], fail["name"], fail["reason"], fail["ready"],
    )  # fmt: skip
    assert ("schedule", "night", None) == (night["what"], night["name"], night["ready"])
    assert re.fullmatch(r"[^@ ]+@\S+", str(fail["by"]))
    assert str(fail["since"]) < str(fail["until"])


def test_resume_all_ends_each(beside: Command) -> None:
    beside("pause", "cliapp.fail", "--schedule", "night", *REASON)
    said = beside("resume", "--all")

    assert ["resumed cliapp.fail", "resumed schedule night"] == sorted(said.lines)
    assert (0, "", "monqbus: nothing is paused\n") == tuple(beside("pauses"))


def test_a_name_that_nothing_has_is_paused_and_told(beside: Command) -> None:
    """It may come yet, or be a mistake: the one is right, the other is seen at once."""
    said = beside("pause", "cliapp.doubel", *REASON)

    assert (0, ["paused cliapp.doubel"]) == (said.code, said.lines)
    assert "cliapp.doubel: no task has this name; did you mean cliapp.double?" in said.err


def test_to_resume_what_another_pause_holds_names_that(beside: Command) -> None:
    beside("pause", "cliapp.*", *REASON)
    said = beside("resume", "cliapp.double")

    assert 1 == said.code
    assert (
        "monqbus: cliapp.double: no pause of this name; it is paused as cliapp.*; resume that\n" == said.err
    )


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            ["pause", *REASON],
            "pause: expected NAME, --topic TOPIC, --hook NAME, --schedule NAME or --all, got none; `monqbus",
        ),
        (["resume"], "resume: expected NAME, --topic TOPIC, --hook NAME, --schedule NAME or --all, got none"),
        (["pause", "x"], "the following arguments are required: --reason; see"),
        (["pause", "x", "--reason", " "], "--reason: expected 1 to 1000 characters, got ' '"),
        (["pause", "a b", *REASON], "NAME: expected a whole name of 1 to 128 letters"),
        (["pause", "--schedule", "a?", *REASON], "--schedule: expected a whole name of 1 to 128 letters"),
        (["pause", "x", *REASON, "--until", "noon"], "--until: expected seconds, a duration like 90s"),
        (
            ["pause", "x", *REASON, "--until", "2020-01-01T00:00:00Z"],
            "--until: expected a time that is to come",
        ),
        (["pause", "x", *REASON, "--until", "0"], "--until: expected a time that is to come"),
        (
            ["pause", "--topic", "shop.slod", *REASON],
            "--topic shop.slod: no handler has this topic; did you mean shop.sold?",
        ),
        (["pause", "--hook", "nowhere", *REASON], "--hook: nowhere: the configuration has no such hook; "),
        (["pause", "--hook", "a b", *REASON], "--hook: expected a whole name of 1 to 128 letters"),
        (["pause", "--topic", "x", "--reason", ""], "--reason: expected 1 to 1000 characters"),
        (["resume", "--all", "--topic", "x"], "--all: expected nothing beside it, got 'x'"),
        (["pause", "x", "--all", *REASON], "--all: expected nothing beside it, got 'x'"),
        (["resume", "--all", "--schedule", "x"], "--all: expected nothing beside it, got 'x'"),
    ],
)
def test_what_cannot_be_is_one_sentence_and_pauses_nothing(
    alone: Command, words: list[str], expected: str
) -> None:
    said = alone(*words)

    assert (64, "") == (said.code, said.out)
    assert said.err.startswith(f"monqbus: {expected}")
    assert 1 == said.err.count("\n")
    assert "" == alone("pauses").out


def test_without_a_daemon_the_store_keeps_it_for_the_next_one(alone: Command) -> None:
    task_id = alone("post", "cliapp.double", "--args", "[1]").lines[0]
    said = alone("pause", "cliapp.double", *REASON)
    shown = alone("show", task_id).out

    assert (0, "paused cliapp.double\n", "") == tuple(said)
    assert "no daemon runs on this store" in shown
    assert "; paused: smtp is down (since " in shown
    assert re.search(r"^paused +1 ", alone("count").out, re.M)


def test_the_first_command_of_a_new_place_may_be_a_pause(alone: Command) -> None:
    """Before the first start, so that not even the first task runs."""
    alone("pause", "--all", *REASON)

    assert alone("pauses").out.startswith("all tasks  0 ready  smtp is down (since ")


def test_a_topic_is_its_handlers(beside: Command) -> None:
    said = beside("pause", "--topic", "shop.sold", *REASON)

    assert (0, ["paused cliapp.count", "paused cliapp.note"]) == (said.code, sorted(said.lines))
    assert 2 == len(beside("resume", "--topic", "shop.sold").lines)
    assert "" == beside("pauses").out


def test_a_topic_whose_handler_has_another_one_is_refused_and_nothing_of_it_paused(
    alone: Command, tmp_path: Path
) -> None:
    app = tmp_path / "apps" / "cliapp.py"
    app.write_text(app.read_text().replace('("shop.sold")\ndef note', '("shop.sold", "shop.lost")\ndef note'))
    said = alone("pause", "--topic", "shop.sold", *REASON)

    assert (64, "") == (said.code, said.out)
    assert (
        "its handler cliapp.note has also the topic shop.lost, whose tasks would wait too; pause" in said.err
    )
    assert "" == alone("pauses").out
    both = alone("pause", "--topic", "shop.sold", "--topic", "shop.lost", *REASON)
    assert (0, 2) == (both.code, len(both.lines))
