"""The command line as people and scripts meet it: answers, exit codes, one line for each mistake."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import gevent
import pytest
from bson import ObjectId

from bus import registry
from bus.cli import door, place
from bus.cli.words import build_parser
from bus.model import MonQTask, Posting, State
from bus.registry import Registry
from bus.store import open_store
from tests.acceptance.daemons import ROOT, Daemon
from tests.mongod import Deployment

CONFIG = """\
[monqbus]
store = {store}
apps = cliapp
path = ./apps
[http]
listen = 127.0.0.1:0
"""
APP = """\
from monqbus import c, event_handler, task

@task
def double(number):
    return number * 2

@task(max_attempts=1)
def fail(text):
    raise ValueError(text)

@event_handler("shop.sold")
def note(topic, *args, **kwargs):
    return [topic, *args]

@event_handler("shop.sold")
def count(topic, *args, **kwargs):
    return len(args)
"""
COLUMNS = {
    "id", "task_name", "state", "priority", "attempt", "time_queue", "time_start", "time_stop", "topic",
    "result",
}  # fmt: skip
ID = re.compile(r"[0-9a-f]{24}")
NOBODY = "6b04ec3f28e9893927a81901"


class Said(NamedTuple):
    """What a command answered."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def rows(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.lines]


Command = Callable[..., Said]


def write_place(folder: Path, store: str = "sqlite") -> Path:
    """A config with an app in *folder*."""
    (folder / "apps").mkdir()
    (folder / "apps" / "cliapp.py").write_text(APP)
    config = folder / "monqbus.ini"
    config.write_text(CONFIG.format(store=store))
    config.chmod(0o600)
    return config


@pytest.fixture(autouse=True)
def strange_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every command of a test declares and imports as if in a process of its own."""
    monkeypatch.delenv("MONQBUS_CONFIG", raising=False)
    monkeypatch.setattr(registry, "_registry", Registry())
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield
    sys.modules.pop("cliapp", None)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs a command in this process."""

    def command(*words: str | Path) -> Said:
        capsys.readouterr()
        try:
            code = door.main([str(word) for word in words])
        except SystemExit as stop:
            code = int(stop.code or 0)
        return Said(code, *capsys.readouterr())

    return command


@pytest.fixture
def alone(run: Command, tmp_path: Path) -> Command:
    """Runs a command on an embedded store that no daemon has."""
    config = write_place(tmp_path)
    return lambda *words: run(*words, "--config", config)


@pytest.fixture(scope="module", params=["sqlite", "standalone"])
def daemon(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A running daemon on each kind of store, for all tests of this file."""
    store: str = request.param
    if store == "standalone":
        deployment: Deployment = request.getfixturevalue("standalone")
        store = deployment.address(f"cli_{uuid4().hex[:8]}")
    running = Daemon(write_place(tmp_path_factory.mktemp("place"), store))
    try:
        yield running.start()
    finally:
        running.kill()


@pytest.fixture
def beside(daemon: Daemon, run: Command) -> Command:
    """Runs a command beside the daemon, whose store is empty."""

    def command(*words: str | Path) -> Said:
        return run(*words, "--config", daemon.config)

    command("cancel", "--all")
    command("purge", "--all")
    return command


# words


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["frob"], 64, "unknown command 'frob'; see `monqbus --help`"),
        (["lst"], 64, "unknown command 'lst', did you mean list?"),
        (["doctor"], 64, "unknown command 'doctor'"),
        (["schedules"], 64, "unknown command 'schedules'"),
        (["list", "--staet", "error"], 64, "'--staet', did you mean --state?; see `monqbus list --help`"),
        (["list", "extra"], 64, "unknown argument 'extra'"),
        (["count", "--limit", "3"], 64, "unknown argument '--limit'"),
        (["list", "--limit", "0"], 64, "--limit: expected a whole number from 1"),
        (["list", "--state", "bogus"], 64, "complete, error, skipped, got 'bogus'"),
        (["list", "--error", "("], 64, "--error: expected a regular expression, got '('"),
        (["list", "--older", "yesterday"], 64, "--older: expected a duration like 90s or 3d, or a time like"),
        (["show"], 64, "ID"),
        (["show", "abc"], 64, "ID: expected 24 hexadecimal digits, got 'abc'; `monqbus list` shows ids"),
        (["show", NOBODY], 1, f"task {NOBODY}: not found"),
        (["post"], 64, "NAME"),
        (["post", "a b"], 64, "NAME: expected module.function, got 'a b'"),
        (["post", "a.b", "--args", "{}"], 64, "--args: expected an array like '[1, \"two\"]', got '{}'"),
        (["post", "a.b", "--kwargs", "[]"], 64, "--kwargs: expected an object like"),
        (["post", "a.b", "--args", "[1"], 64, "--args: not JSON"),
        (["post", "a.b", "--wait", "long"], 64, "--wait: expected seconds or a duration like"),
        (["post", "a.b", "--delay", "nan"], 64, "--delay: expected seconds, a duration"),
        (["post", "a.b", "--priority", "x"], 64, "--priority: expected a whole number, got 'x'"),
        (["post", "a.b", "--priority", "9" * 30], 64, "task option priority"),
        (["event", "a b"], 64, "TOPIC: expected letters"),
        (["retry"], 64, "retry: expected IDs or a filter; --all means every task that can be"),
        (["purge", NOBODY], 1, "1 of 1 tasks: not found, or in a state that forbids it"),
        (["run", "--only", "a,,b"], 64, "--only: expected a comma list of task names"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_with_what_was_expected(
    alone: Command, words: list[str], code: int, says: str
) -> None:
    """Subject, expectation, value, remedy; the exit code says whose mistake it is."""
    said = alone(*words)

    assert code == said.code
    assert says in said.err
    assert said.err.startswith("monqbus: ")
    assert 1 == said.err.count("\n")


def test_without_a_command_the_help_is_printed(run: Command) -> None:
    """An impatient user types the bare name: help, and the exit code of wrong usage."""
    said = run()

    assert 64 == said.code
    assert "commands:" in said.out
    assert "monqbus init shop" in said.out


@pytest.mark.parametrize("name", sorted(build_parser()._subparsers._group_actions[0].choices))  # type: ignore[union-attr, arg-type]
def test_every_command_explains_itself_with_an_example(run: Command, name: str) -> None:
    """`monqbus COMMAND --help` ends with a line to paste."""
    said = run(name, "--help")

    assert 0 == said.code
    assert f"example:\n  monqbus {name}" in said.out


def test_the_examples_of_the_help_are_accepted() -> None:
    """Each line that begins with monqbus parses."""
    parser = build_parser()
    lines = [line.strip() for line in str(parser.epilog).splitlines() if line.startswith("  monqbus")]

    for line in lines:
        words = [word.strip("'") for word in re.findall(r"'[^']*'|\S+", re.split(r"  +|&&", line)[0])[1:]]
        assert parser.parse_args(words).module
    assert lines


def test_options_of_place_are_taken_before_the_command_too(run: Command, tmp_path: Path) -> None:
    """`monqbus --config FILE list` and `monqbus list --config FILE` are the same."""
    config = write_place(tmp_path)

    assert [0, 0] == [run("--config", config, "list").code, run("list", "--config", config).code]


# config


def test_a_missing_config_says_how_to_begin(
    run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit 78, and `monqbus init` stands in the line."""
    monkeypatch.chdir(tmp_path)

    said = run("list")

    assert 78 == said.code
    assert (
        "monqbus: monqbus.ini: expected a configuration file, got nothing; write one with: monqbus init\n"
        == said.err
    )


def test_the_config_comes_from_the_option_or_the_environment_or_the_folder(
    run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this order; a command says which file it has missed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MONQBUS_CONFIG", "from-environment.ini")

    assert "from-option.ini:" in run("list", "--config", "from-option.ini").err
    assert "from-environment.ini" in run("list").err


def test_each_mistake_of_a_config_is_a_line_of_its_own(run: Command, tmp_path: Path) -> None:
    """Every command prints all of them with file:line and ends with 78."""
    config = tmp_path / "bad.ini"
    config.write_text("[monqbus]\nstoer = sqlite\n[worker]\ngreenlets = many\n")

    said = run("list", "--config", config)

    assert 78 == said.code
    assert [f"monqbus: {config}:2:", f"monqbus: {config}:4:"] == [
        line[: len(f"monqbus: {config}:2:")] for line in said.err.splitlines()
    ]


def test_debug_shows_where_an_error_came_from(alone: Command) -> None:
    """A traceback only when asked for, and the one line after it."""
    plain, debugged = alone("show", NOBODY), alone("show", NOBODY, "--debug")

    assert "Traceback" not in plain.err
    assert "Traceback" in debugged.err
    assert plain.err == debugged.err.splitlines(keepends=True)[-1]


def test_what_nobody_expected_is_one_line_too(run: Command) -> None:
    """The last resort: class, message, and how to see more."""
    said = run("init", "/proc/1/nowhere")

    assert 1 == said.code
    assert 1 == said.err.count("\n")
    assert "--debug shows where" in said.err


# begin


def test_init_writes_a_place_that_checks_and_never_overwrites(run: Command, tmp_path: Path) -> None:
    """Config, app, unit; the printed command starts them; a second init changes nothing."""
    folder = tmp_path / "shop"
    first = run("init", folder)
    written = {path: path.read_text() for path in folder.rglob("*.*") if path.is_file()}
    checked = run("check", "--config", folder / "monqbus.ini")
    sys.modules.pop("hello", None)
    second = run("init", folder)

    assert {"monqbus.ini", "hello.py", "monqbus.service"} == {path.name for path in written}
    assert f"start it with: monqbus run --config {folder}/monqbus.ini" == first.lines[-1]
    assert (0, "ok") == (checked.code, checked.lines[-1])
    assert 64 == second.code
    assert "exists already; choose another DIR" in second.err
    assert written == {path: path.read_text() for path in written}


def test_check_prints_what_would_run_with_source_lines(alone: Command, tmp_path: Path) -> None:
    """Each task, handler and hook with file:line."""
    with (tmp_path / "monqbus.ini").open("a") as config:
        config.write("[hook:open]\nverify = none\ntopic = shop.unheard\n")

    said = alone("check")

    app = tmp_path / "apps" / "cliapp.py"
    assert 0 == said.code
    assert f"task     cliapp.double  {app}:3" in said.out
    assert f"handler  shop.sold → cliapp.note  {app}:11" in said.out
    assert f"hook     /hooks/open → shop.unheard (verify = none)  {tmp_path}/monqbus.ini:7" in said.out
    assert "no handler for 'shop.unheard'" in said.err


def test_check_finds_the_mistake_of_every_app(alone: Command, tmp_path: Path) -> None:
    """One broken app does not hide another."""
    config = tmp_path / "monqbus.ini"
    config.write_text(config.read_text().replace("apps = cliapp", "apps = one, cliapp, two"))
    (tmp_path / "apps" / "one.py").write_text("import nowhere\n")
    (tmp_path / "apps" / "two.py").write_text("1 / 0\n")

    said = alone("check")

    assert 78 == said.code
    assert "no module named 'nowhere'" in said.err
    assert f"app two: {tmp_path}/apps/two.py:1: ZeroDivisionError" in said.err
    assert "cliapp.double" in said.out


def test_config_prints_a_config_that_can_be_used(run: Command, tmp_path: Path) -> None:
    """What it prints is what init writes: it loads without a mistake."""
    run("init", tmp_path)

    assert (tmp_path / "monqbus.ini").read_text() == run("config").out


def test_version_is_one_line(run: Command) -> None:
    """As a command and as an option."""
    assert re.fullmatch(r"monqbus \d+\.\d+\.\d+\n", run("version").out)
    assert run("version").out == run("--version").out


# without a daemon


def test_without_a_daemon_a_post_waits_in_the_file(alone: Command) -> None:
    """The command takes the embedded store for itself and says why nothing happens yet."""
    posted = alone("post", "cliapp.double", "--args", "[4]")
    shown = alone("show", posted.out.strip(), "--json").rows[0]

    assert (0, "") == (posted.code, posted.err)
    assert ["ready", [4]] == [shown["state"], shown["args"]]
    assert "no daemon runs on this store; start one with `monqbus run`" == shown["waiting"]


def test_waiting_without_a_daemon_ends_at_once(alone: Command) -> None:
    """Holding the file for the wait would keep the daemon out that could end it."""
    said = alone("post", "cliapp.double", "--args", "[4]", "--wait", "1h")

    assert 1 == said.code
    assert ID.fullmatch(said.out.strip())
    assert "--wait: no daemon runs on this store" in said.err


def test_a_command_waits_for_another_one_that_has_the_file(alone: Command, tmp_path: Path) -> None:
    """Two commands at once are a matter of milliseconds, not of errors."""
    held = open_store("sqlite", tmp_path / "data")
    command = gevent.spawn(alone, "count", "--json")
    is_done_at_once = bool(command.join(0.2) or command.dead)
    held.close()

    assert not is_done_at_once
    assert 0 == command.get(timeout=5).code


def test_a_store_that_stays_held_is_exit_73_naming_the_holder(
    alone: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line says which process has it."""
    monkeypatch.setattr(place, "HELD_SECONDS", 0.0)
    held = open_store("sqlite", tmp_path / "data")

    said = alone("list")
    held.close()

    assert 73 == said.code
    assert f"held by pid {os.getpid()}" in said.err


def test_the_socket_of_a_killed_daemon_is_passed_over(alone: Command, tmp_path: Path) -> None:
    """A socket file that nobody listens on is no daemon."""
    (tmp_path / "data").mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(tmp_path / "data" / "control.sock"))

    assert 0 == alone("list").code


def test_an_unreachable_mongodb_is_exit_69_without_its_password(run: Command, tmp_path: Path) -> None:
    """The line names the servers, never the credentials."""
    config = write_place(tmp_path, "mongodb://me:hush@127.0.0.1:1/x?timeoutMS=300")

    for words in (["list"], ["post", "cliapp.double"], ["check"]):
        said = run(*words, "--config", config)

        assert 69 == said.code
        assert "mongodb://127.0.0.1:1/x: no answer" in said.err
        assert "hush" not in said.err


# beside a daemon, on both stores


def test_post_prints_the_id_and_with_wait_the_result(beside: Command) -> None:
    """The id first, so that it is there even if the wait is in vain."""
    said = beside("post", "cliapp.double", "--args", "[21]", "--wait", "10")

    assert (0, "") == (said.code, said.err)
    assert ID.fullmatch(said.lines[0])
    assert ["42"] == said.lines[1:]


def test_a_failed_wait_prints_the_remote_traceback(beside: Command) -> None:
    """Exit 1; control characters of the error do not reach the terminal."""
    said = beside("post", "cliapp.fail", "--args", '["in\\u001b[31mvain"]', "--wait", "10")

    assert 1 == said.code
    assert "ValueError: in\\x1b[31mvain" in said.err
    assert "cliapp.py" in said.err
    assert "\x1b" not in said.err


def test_a_wait_that_is_too_short_says_what_the_task_is_doing(beside: Command) -> None:
    """Exit 1, and the task goes on."""
    said = beside("post", "cliapp.double", "--args", "[1]", "--delay", "1h", "--wait", "0.2")

    assert 1 == said.code
    assert "still ready after 0.2 s" in said.err


def test_an_event_prints_its_id_and_one_id_for_each_handler(beside: Command) -> None:
    """With --wait their results, in the order of the ids."""
    said = beside("event", "shop.sold", "--args", "[7]", "--wait", "10")
    listed = beside("list", "--topic", "shop.sold", "--json").rows

    event_id, *rest = said.lines
    assert 0 == said.code
    assert {row["id"] for row in listed} == set(rest[:2])
    assert ['["shop.sold", 7]', "1"] == rest[2:]
    assert ID.fullmatch(event_id)


def test_an_event_that_nobody_handles_is_said_to_be(beside: Command) -> None:
    """It is recorded: done, with a word about it; waiting for nothing ends at once."""
    said = beside("event", "shop.unheard", "--wait", "60")

    assert 0 == said.code
    assert 1 == len(said.lines)
    assert "no handler for topic shop.unheard; the event is recorded" in said.err


def test_a_name_that_no_app_declares_waits_and_is_said_to(beside: Command) -> None:
    """A warning at once, and `show` says why it waits."""
    posted = beside("post", "no.such")
    shown = beside("show", posted.out.strip())

    assert 0 == posted.code
    assert "no app declares no.such; the task waits until one does" in posted.err
    assert re.search(r"^waiting +parked: no app declares no\.such", shown.out, re.M)


def test_rows_carry_the_promised_columns(beside: Command) -> None:
    """One JSON object a line; moments are RFC 3339 in UTC."""
    beside("post", "cliapp.double", "--args", "[1]", "--wait", "10")

    (row,) = beside("list", "--json").rows
    assert COLUMNS <= row.keys()
    assert ["cliapp.double", "complete", 10, 1, 2] == [
        row[name] for name in ("task_name", "state", "priority", "attempt", "result")
    ]
    for name in ("time_queue", "time_start", "time_stop"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", str(row[name]))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], ["a.two", "cliapp.fail", "a.one"]),
        (["--limit", "1"], ["a.two"]),
        (["--name", "a."], ["a.two", "a.one"]),
        (["--state", "error"], ["cliapp.fail"]),
        (["--state", "error,complete"], ["cliapp.fail"]),
        (["--error", "in v[a]in"], ["cliapp.fail"]),
        (["--topic", "shop.sold"], []),
        (["--newer", "1h", "--name", "a."], ["a.two", "a.one"]),
        (["--older", "1h"], []),
        (["--newer", "2100-01-01T00:00:00Z"], []),
        (["--older", "2100-01-01"], ["a.two", "cliapp.fail", "a.one"]),
    ],
)
def test_filters_choose_and_the_newest_come_first(
    beside: Command, words: list[str], expected: list[str]
) -> None:
    """Every given filter must match."""
    beside("post", "a.one")
    beside("post", "cliapp.fail", "--args", '["in vain"]', "--wait", "10")
    beside("post", "a.two")

    assert expected == [row["task_name"] for row in beside("list", *words, "--json").rows]


def test_count_prints_the_total_last(beside: Command) -> None:
    """By state, those with none left out; as JSON all states."""
    for _ in range(2):
        beside("post", "a.one")
    beside("post", "cliapp.double", "--args", "[1]", "--wait", "10")

    assert [["ready", "2"], ["complete", "1"], ["total", "3"]] == [
        line.split() for line in beside("count").lines
    ]
    assert {"ready": 2, "busy": 0, "complete": 1, "error": 0, "skipped": 0, "total": 3} == beside(
        "count", "--json"
    ).rows[0]
    assert ["total", "2"] == beside("count", "--name", "a.").lines[-1].split()


def test_show_prints_everything_with_the_traceback(beside: Command) -> None:
    """For people in lines, for programs as one object."""
    beside("post", "cliapp.fail", "--args", '["in vain"]', "--wait", "10")
    task_id = str(beside("list", "--json").rows[0]["id"])

    shown = beside("show", task_id)
    (row,) = beside("show", task_id, "--json").rows

    assert re.search(r"^state +error$", shown.out, re.M)
    assert re.search(r"^attempt 1 +\d{4}-.* ValueError: in vain$", shown.out, re.M)
    assert "    ValueError: in vain" in shown.lines
    assert {"args", "history", "output", "waiting"} <= row.keys()
    assert row["waiting"] is None


def test_a_delay_is_seconds_a_duration_or_a_time(beside: Command) -> None:
    """`time_queue` is the moment before which it does not run, and `show` says so."""
    before = datetime.now(timezone.utc)
    in_an_hour = (before + timedelta(hours=1)).isoformat()
    ids = [
        beside("post", "cliapp.double", "--delay", delay).out.strip()
        for delay in ("3600", "60m", in_an_hour, in_an_hour.replace("+00:00", "Z"))
    ]
    rows = [beside("show", task_id, "--json").rows[0] for task_id in ids]

    moments = [datetime.fromisoformat(str(row["time_queue"]).replace("Z", "+00:00")) for row in rows]
    assert all(3599 < (moment - before).total_seconds() < 3660 for moment in moments)
    assert all(str(row["waiting"]) == f"due at {row['time_queue']}" for row in rows)


def test_a_key_that_is_held_gives_the_id_of_its_holder(beside: Command) -> None:
    """Posting again while the first waits stores nothing."""
    first = beside("post", "a.one", "--key", "k1")
    second = beside("post", "a.one", "--key", "k1")

    assert first.out == second.out
    assert 1 == len(beside("list").lines)


def test_retry_and_cancel_take_ids_and_filters_and_print_the_number_last(beside: Command) -> None:
    """Cancelled is `skipped`, a retried task begins anew."""
    ids = [beside("post", "a.one").out.strip() for _ in range(3)]
    by_id = beside("cancel", ids[0], ids[0])
    by_filter = beside("cancel", "--name", "a.", "--json")
    states = [row["state"] for row in beside("list", "--json").rows]
    retried = beside("retry", "--state", "skipped")

    assert (0, ["cancelled 1"]) == (by_id.code, by_id.lines)
    assert {"cancelled": 2} == by_filter.rows[0]
    assert ["skipped"] * 3 == states
    assert "retried 3" == retried.lines[-1]
    assert ["ready"] * 3 == [row["state"] for row in beside("list", "--json").rows]


def test_a_retried_task_runs_again(beside: Command, daemon: Daemon) -> None:
    """Beside a daemon it runs at once."""
    beside("post", "cliapp.fail", "--args", '["again"]', "--wait", "10")
    task_id = str(beside("list", "--json").rows[0]["id"])

    beside("retry", task_id)

    daemon.wait_for("task.gave_up", task_id, times=2)


def test_ids_that_are_not_there_are_counted_and_exit_1(beside: Command) -> None:
    """What could be done is done."""
    task_id = beside("post", "a.one").out.strip()

    said = beside("cancel", task_id, NOBODY)

    assert (1, "cancelled 1\n") == (said.code, said.out)
    assert "1 of 2 tasks: not found, or in a state that forbids it" in said.err


def test_purge_never_touches_what_has_not_ended(beside: Command) -> None:
    """Ready tasks stay, whatever the filter says."""
    beside("post", "a.one")
    beside("post", "cliapp.double", "--args", "[1]", "--wait", "10")

    assert "purged 0" == beside("purge", "--state", "ready").lines[-1]
    assert "purged 1" == beside("purge", "--all").lines[-1]
    assert ["a.one"] == [row["task_name"] for row in beside("list", "--json").rows]


def test_a_limit_bounds_an_action_to_the_newest(beside: Command) -> None:
    """`--limit 2` of three cancels two."""
    for _ in range(3):
        beside("post", "a.one")

    assert "cancelled 2" == beside("cancel", "--name", "a.", "--limit", "2").lines[-1]
    assert ["skipped", "skipped", "ready"] == [row["state"] for row in beside("list", "--json").rows]


# terminals and pipes


def store_ended(folder: Path, number: int, state: State = "complete") -> None:
    """Put *number* ended tasks into the embedded store of *folder*."""
    now = datetime.now(timezone.utc)
    tasks = [MonQTask(ObjectId(), "a.b", [], {}, now, state=state) for _ in range(number)]
    store = open_store("sqlite", folder / "data")
    store.post([Posting(tasks)])
    store.close()


def on_a_terminal(folder: Path, *words: str, **environ: str) -> str:
    """What a command writes to a terminal."""
    theirs, ours = os.openpty()
    try:
        subprocess.run(
            [sys.executable, str(ROOT / "monqbus.py"), *words, "--config", str(folder / "monqbus.ini")],
            stdin=ours, stdout=ours, stderr=ours, timeout=20, check=True,
            env={**os.environ, "TERM": "xterm", **environ},
        )  # fmt: skip
        return os.read(theirs, 4096).decode()
    finally:
        os.close(ours)
        os.close(theirs)


def test_colours_appear_on_a_terminal_only(alone: Command, tmp_path: Path) -> None:
    """A pipe gets plain text, and so does who has set NO_COLOR."""
    store_ended(tmp_path, 1)

    assert "\x1b[32mcomplete\x1b[0m" in on_a_terminal(tmp_path, "list", NO_COLOR="")
    assert "\x1b" not in on_a_terminal(tmp_path, "list", NO_COLOR="1")
    assert "\x1b" not in alone("list").out


def test_a_long_purge_shows_on_a_terminal_how_far_it_is(alone: Command, tmp_path: Path) -> None:
    """A line that renews itself, and the number last; a pipe gets only the number."""
    store_ended(tmp_path, 1100)
    seen = on_a_terminal(tmp_path, "purge", "--all")
    store_ended(tmp_path, 1100, "error")
    piped = alone("purge", "--all")

    assert "\rpurged 500 …\rpurged 1000 …" in seen
    assert seen.endswith("purged 1100\r\n")
    assert ("purged 1100\n", "") == (piped.out, piped.err)


def test_a_reader_that_has_seen_enough_is_no_error(alone: Command, tmp_path: Path) -> None:
    """`monqbus list | head -1` ends quietly."""
    store_ended(tmp_path, 400)
    command = f"{sys.executable} {ROOT}/monqbus.py list --limit 400 --json --config {tmp_path}/monqbus.ini"

    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command} | head -1"], capture_output=True, text=True, check=False
    )

    assert (0, "") == (done.returncode, done.stderr)
    assert 1 == done.stdout.count("\n")
