"""`post --from` and `event --from`: many calls, interrupted anywhere and run again, each stored once."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pymongo
import pytest

from bus.cli import journal
from bus.clock import Clock
from bus.errors import StoreUnavailable
from bus.store.inbox import writer
from bus.store.inbox.postings import from_payload
from bus.store.inbox.reader import InboxReader
from bus.store.inbox.writer import InboxWriter
from tests.acceptance.daemons import until
from tests.mongod import Deployment
from tests.program import PROGRAM

from .console import Command, write_place

CALLS = 2500
NUMBERS = list(range(CALLS))


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    """A file of 2,500 calls: three writes."""
    file = tmp_path / "calls.jsonl"
    file.write_text("".join(f"[{number}]\n" for number in NUMBERS))
    return file


def posted(tmp_path: Path) -> list[Any]:
    """What the inbox has, each id once, as the store takes it over."""
    reader = InboxReader(tmp_path / "data")
    found: dict[Any, Any] = {}
    for piece in _pieces(reader):
        for record in piece.records:
            batch = from_payload(record.payload, Clock().now())
            found.update({task.id: task for task in batch.tasks})
            found.update({made.event.id: made.event for made in batch.events})
        reader.taken(piece.name, piece.records[-1].end)
    reader.close()
    return [found[own] for own in sorted(found)]


def _pieces(reader: InboxReader) -> Iterator[Any]:
    while found := list(reader.pieces()):
        yield from found


def numbers(tmp_path: Path) -> list[Any]:
    return [one.args[0] for one in posted(tmp_path)]


def test_each_line_is_a_task_in_their_order_and_the_number_comes_last(
    alone: Command, lines: Path, tmp_path: Path
) -> None:
    """Without a daemon, which finds them in the inbox."""
    said = alone("post", "cliapp.double", "--from", lines)

    assert (0, "posted 2500\n", "") == said
    assert NUMBERS == numbers(tmp_path)


CTRL_C = KeyboardInterrupt()
CASES = {
    "Ctrl-C before it": ("before", CTRL_C, 130),
    "Ctrl-C behind it": ("behind", CTRL_C, 130),
    "Ctrl-C at the journal": ("journal", CTRL_C, 130),
    "no store": ("before", StoreUnavailable("inbox: gone; see the disk"), 69),
    "no answer of the store": ("behind", StoreUnavailable("inbox: gone; see the disk"), 69),
    "no room for the journal": ("journal", OSError(28, "No space left on device"), 75),
}


def interrupt(monkeypatch: pytest.MonkeyPatch, place: str, write: int, error: BaseException) -> None:
    """Let *error* happen at so many writes: before it, behind it, or when the journal is written."""
    writes = iter(range(100))
    append, sync = InboxWriter.append, os.fdatasync

    def failing(self: InboxWriter, payload: bytes) -> None:
        is_it = next(writes) == write
        if is_it and place == "before":
            raise error
        append(self, payload)
        if is_it and place == "behind":
            raise error
        if is_it:
            monkeypatch.setattr(journal.os, "fdatasync", broken)

    def broken(descriptor: int) -> None:
        monkeypatch.setattr(journal.os, "fdatasync", sync)
        raise error

    monkeypatch.setattr(InboxWriter, "append", failing)


@pytest.mark.parametrize("write", [0, 1, 2])
@pytest.mark.parametrize("case", CASES)
def test_a_run_that_was_interrupted_is_run_again_and_posts_the_others(  # noqa: PLR0917 - fixtures
    alone: Command, lines: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str, write: int
) -> None:
    """Wherever it was: nothing is posted twice, and nothing is lost."""
    place, error, code = CASES[case]
    with monkeypatch.context() as patch:
        interrupt(patch, place, write, error)
        first = alone("post", "cliapp.double", "--from", lines)
    second = alone("post", "cliapp.double", "--from", lines)

    assert code == first.code
    assert f"calls.jsonl: the first {write * 1000} lines are posted; run the same command again" in first.err
    assert 0 == second.code
    assert NUMBERS == numbers(tmp_path)


def test_a_full_disk_ends_the_run_which_goes_on_when_there_is_room(
    alone: Command, lines: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the watermark says it is full: nothing is stored behind it."""
    with monkeypatch.context() as patch:
        patch.setattr(writer.os, "fstatvfs", lambda _: SimpleNamespace(f_bavail=0, f_frsize=4096))
        full = alone("post", "cliapp.double", "--from", lines)
    again = alone("post", "cliapp.double", "--from", lines)

    assert (69, "") == (full.code, full.out)
    assert "calls.jsonl: the first 0 lines are posted; run the same command again" in full.err
    assert "low on disk space" in full.err
    assert (0, "posted 2500\n") == (again.code, again.out)
    assert NUMBERS == numbers(tmp_path)


def test_a_line_of_the_write_in_doubt_that_was_changed_meanwhile_is_posted(
    alone: Command, lines: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its id follows from its text too: what nobody has posted is not taken for what somebody has."""
    with monkeypatch.context() as patch:
        interrupt(patch, "behind", 0, CTRL_C)
        alone("post", "cliapp.double", "--from", lines)
    lines.write_text(lines.read_text().replace("[7]\n", "[-7]\n", 1))
    alone("post", "cliapp.double", "--from", lines)

    assert sorted([*NUMBERS, -7]) == sorted(numbers(tmp_path))


def test_a_bad_line_is_named_and_the_run_goes_on_with_it_when_it_is_mended(
    alone: Command, lines: Path, tmp_path: Path
) -> None:
    """What stands before it is posted, nothing behind it."""
    whole = lines.read_text()
    lines.write_text(whole.replace("[1200]\n", "[1200\n", 1))
    bad = alone("post", "cliapp.double", "--from", lines)
    lines.write_text(whole)
    mended = alone("post", "cliapp.double", "--from", lines)

    assert 64 == bad.code
    assert "calls.jsonl line 1201: not JSON" in bad.err
    assert 'expected [1, "two"] or {"args": [1], "kwargs": {"name": 2}}, got \'[1200\'' in bad.err
    assert "the first 1200 lines are posted; run the same command again to post the others" in bad.err
    assert (0, "posted 1300\n") == (mended.code, mended.out)
    assert NUMBERS == numbers(tmp_path)


@pytest.mark.parametrize(
    ("line", "code", "says"),
    [
        ("7", 64, 'line 2: expected [1, "two"] or {"args": [1], "kwargs": {"name": 2}}, got \'7\''),
        ('{"number": 7}', 64, "line 2: expected args, kwargs, delay, priority, key, got 'number'; a ha"),
        ('{"args": 7}', 64, "line 2: args: expected an array, got 7"),
        ('{"kwargs": [7]}', 64, "line 2: kwargs: expected an object, got [7]"),
        ('{"args": [7], "priority": "high"}', 64, "line 2: task option priority: expected a whole number"),
        ('{"args": [7], "delay": -1}', 64, "line 2: task option delay: expected 0 to"),
        ("[1, 2]", 1, "line 2: task cliapp.double: too many positional arguments"),
        ("[99999999999999999999]", 64, "too large for 64 bits; expected [1,"),
        ('["' + "a" * 17_000_000 + '"]', 64, "line 2: expected at most 16777216 bytes, got more"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_line_is_said(
    alone: Command, tmp_path: Path, line: str, code: int, says: str
) -> None:
    """Its number, what was expected, and the remedy."""
    file = tmp_path / "bad.jsonl"
    file.write_text(f"[1]\n{line}\n[3]\n")
    said = alone("post", "cliapp.double", "--from", file)

    assert code == said.code
    assert says in said.err
    assert [1] == numbers(tmp_path)


def test_a_line_that_the_store_does_not_take_is_named_too(
    run: Command, standalone: Deployment, tmp_path: Path
) -> None:
    """A validator of the database; what stands before it is stored."""
    address = standalone.address(f"lines_{uuid4().hex[:8]}")
    config = write_place(tmp_path, address)
    file = tmp_path / "calls.jsonl"
    file.write_text("[0]\n\n[1]\n[2]\n[3]\n")
    run("post", "cliapp.double", "--args", "[9]", "--config", config)
    with pymongo.MongoClient[dict[str, Any]](address) as client:
        database = client.get_default_database()
        database.command("collMod", "monq_task", validator={"args": {"$ne": 2}})
        bad = run("post", "cliapp.double", "--from", file, "--config", config)
        database.command("collMod", "monq_task", validator={})
        mended = run("post", "cliapp.double", "--from", file, "--config", config)
        stored = [task["args"] for task in database["monq_task"].find().sort("_id")]

    assert 1 == bad.code
    assert "calls.jsonl line 4: " in bad.err
    assert "calls.jsonl: the first 3 lines are posted" in bad.err
    assert (0, "posted 2\n") == (mended.code, mended.out)
    assert sorted([[9], [0], [1], [2], [3]]) == sorted(stored)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--from", "none.jsonl"], "--from: expected a file of JSON lines, got 'none.jsonl': No such file"),
        (["--from", "."], "--from: expected a file of JSON lines, got '.': Is a directory"),
        (["--from", "-", "--args", "[1]"], "--args: expected it without --from, which posts many"),
        (["--from", "-", "--key", "k"], "--key: expected it without --from"),
        (["--from", "-", "--wait", "1"], "--wait: expected it without --from"),
        (["--journal", "x"], "--journal: expected it with --from FILE"),
    ],
)
def test_words_that_belong_to_one_call_are_refused(alone: Command, words: list[str], says: str) -> None:
    """Rather than left unread."""
    said = alone("post", "cliapp.double", *words)

    assert 64 == said.code
    assert says in said.err


def test_a_file_is_posted_once_and_what_was_appended_to_it_is_posted_then(
    alone: Command, lines: Path, tmp_path: Path
) -> None:
    """A script whose answer got lost asks again."""
    alone("post", "cliapp.double", "--from", lines)
    again = alone("post", "cliapp.double", "--from", lines)
    with lines.open("a") as file:
        file.write("[2500]\n")
    grown = alone("post", "cliapp.double", "--from", lines)

    assert (0, "posted 0\n") == (again.code, again.out)
    assert "calls.jsonl: the first 2500 lines are posted already" in again.err
    assert (0, "posted 1\n") == (grown.code, grown.out)
    assert [*NUMBERS, 2500] == numbers(tmp_path)


def test_another_file_of_the_name_of_one_that_was_posted_whole_is_posted(
    alone: Command, lines: Path, tmp_path: Path
) -> None:
    """As that of every night; what it has in common with the last one is posted again."""
    lines.write_text("[1]\n[2]\n")
    alone("post", "cliapp.double", "--from", lines)
    lines.write_text("[3]\n[2]\n")
    said = alone("post", "cliapp.double", "--from", lines)

    assert (0, "posted 2\n", "") == said
    assert [1, 2, 2, 3] == sorted(numbers(tmp_path))


def test_another_file_in_place_of_one_that_was_not_posted_whole_is_refused(
    alone: Command, lines: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest of the first one would be lost, and nobody told."""
    with monkeypatch.context() as patch:
        interrupt(patch, "before", 1, CTRL_C)
        alone("post", "cliapp.double", "--from", lines)
    lines.write_text("[1]\n[2]\n")
    said = alone("post", "cliapp.double", "--from", lines)

    assert 64 == said.code
    assert "expected the 1000 lines that" in said.err
    assert "got others; bring them back, or delete that file" in said.err


def test_a_journal_of_something_else_is_refused(alone: Command, lines: Path, tmp_path: Path) -> None:
    """And never written to."""
    other = tmp_path / "notes.txt"
    other.write_text("mine")
    foreign = alone("post", "cliapp.double", "--from", lines, "--journal", other)
    alone("post", "cliapp.double", "--from", lines)
    name = alone("post", "cliapp.fail", "--from", lines)
    absent = alone("post", "cliapp.double", "--from", lines, "--journal", tmp_path / "no" / "x")

    assert 64 == foreign.code
    assert "notes.txt: expected the journal of a post, got another file" in foreign.err
    assert "mine" == other.read_text()
    assert "expected the journal of post cliapp.fail, got that of 'post cliapp.double'" in name.err
    assert 75 == absent.code


def test_two_runs_do_not_post_by_one_journal(alone: Command, lines: Path, tmp_path: Path) -> None:
    """The second one would not know of the first one's lines."""
    first = journal.Journal(tmp_path / "calls.jsonl.journal", "post cliapp.double", "x", Clock())
    second = alone("post", "cliapp.double", "--from", lines)
    first.close()

    assert 64 == second.code
    assert "expected one run at a time, got another that posts by this journal" in second.err


def test_a_journal_whose_last_line_was_cut_off_is_one_without_it(
    alone: Command, lines: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut in the middle of writing it."""
    with monkeypatch.context() as patch:
        interrupt(patch, "before", 2, CTRL_C)
        alone("post", "cliapp.double", "--from", lines)
    kept = tmp_path / "calls.jsonl.journal"
    for cut in (-10, -150, 5):
        kept.write_bytes(kept.read_bytes()[:cut])
        if cut == 5:
            continue  # of the first line: nothing had been posted by it
        said = alone("post", "cliapp.double", "--from", lines)
        assert 0 == said.code
    assert NUMBERS == numbers(tmp_path)


def test_lines_have_options_of_their_own_in_place_of_those_of_the_command(
    alone: Command, tmp_path: Path
) -> None:
    """An object says what belongs to one call."""
    file = tmp_path / "options.jsonl"
    file.write_text('[1]\n{"kwargs": {"number": 2}, "key": "k", "priority": 7, "delay": 3600}\r\n\n[3]')
    alone("post", "cliapp.double", "--from", file, "--priority", "3")
    one, two, three = posted(tmp_path)

    assert ([1], {}, 3, None) == (one.args, one.kwargs, one.priority, one.key)
    assert ([], {"number": 2}, 7, "k") == (two.args, two.kwargs, two.priority, two.key)
    assert 3000 < (two.time_queue - one.time_queue).total_seconds()
    assert [3] == three.args


def test_each_line_is_an_event_and_an_unknown_topic_is_told(
    alone: Command, lines: Path, tmp_path: Path
) -> None:
    """Run twice, published once."""
    said = alone("event", "shop.sol", "--from", lines)
    again = alone("event", "shop.sol", "--from", lines)

    assert (0, "posted 2500\n") == (said.code, said.out)
    assert "no handler for topic shop.sol; the events are recorded; did you mean shop.sold?" in said.err
    assert "posted 0\n" == again.out
    assert NUMBERS == numbers(tmp_path)


def test_a_pipe_is_stored_while_it_is_read_and_goes_on_behind_its_journal(
    lines: Path, tmp_path: Path, alone: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not held in memory until its end; the same lines again post the others only."""
    words = ["post", "cliapp.double", "--from", "-", "--journal", "pipe.journal"]
    command = [*PROGRAM, *words, "--config", str(tmp_path / "monqbus.ini")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, cwd=tmp_path) as process:
        assert process.stdin is not None
        process.stdin.write(lines.read_bytes())
        process.stdin.flush()
        kept = tmp_path / "pipe.journal"
        until(lambda: kept.read_text().splitlines()[1:] if kept.exists() else [], 2)
        process.kill()
    monkeypatch.chdir(tmp_path)
    with lines.open() as again:
        monkeypatch.setattr(sys, "stdin", again)
        said = alone(*words)

    assert (0, "posted 500\n") == (said.code, said.out)
    assert "standard input: the first 2000 lines are posted already" in said.err
    assert NUMBERS == numbers(tmp_path)


def test_a_pipe_without_a_journal_says_how_far_it_came(
    alone: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody can know whether another pipe is the same one."""
    with open(_piped(b"[1]\n[2]\nno\n")) as pipe:
        monkeypatch.setattr(sys, "stdin", pipe)
        said = alone("post", "cliapp.double", "--from", "-")

    assert 64 == said.code
    assert "standard input: the first 2 lines are posted; with --journal FILE the same command" in said.err


def _piped(data: bytes) -> int:
    ours, theirs = os.pipe()
    os.write(theirs, data)
    os.close(theirs)
    return ours


def test_a_terminal_shows_how_far_it_is(lines: Path, tmp_path: Path, alone: Command) -> None:
    """In number and share; a pipe gets the number at the end only."""
    ours, theirs = pty.openpty()
    words = ["post", "cliapp.double", "--from", str(lines), "--config", str(tmp_path / "monqbus.ini")]
    done = subprocess.run([*PROGRAM, *words], stdout=subprocess.PIPE, stderr=theirs, check=True)
    seen = os.read(ours, 4096).decode()
    os.close(ours)
    os.close(theirs)

    assert "\rposted 1000, 35 % …\rposted 2000, 78 % …\rposted 2500, 100 % …\r" in seen
    assert b"posted 2500\n" == done.stdout


def test_the_ids_of_a_run_grow_with_the_lines() -> None:
    """So that what was posted in one moment is run in the order of the file, also beyond 2**24 lines."""
    seed = Clock().new_id()
    places = [1, 2, 255, 256, 2**24 - 1, 2**24, 2**32 - 1]

    found = [journal.id_of(seed, place, b"[1]") for place in places]
    assert sorted(set(found)) == found
