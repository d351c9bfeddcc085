"""The command line as people and scripts meet it: answers, exit codes, one line for each mistake."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path

import gevent
import pytest
from bson import ObjectId

from bus.apps import registry
from bus.cli import session
from bus.cli.parser import build_parser
from bus.model import MonQTask, Posting, State
from bus.store import open_store
from tests.acceptance.daemons import ROOT

from .console import NOBODY, Command, write_place

LOST = "what it should have shown is lost"
ID = re.compile(r"[0-9a-f]{24}")


# words


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["frob"], 64, "unknown command 'frob'; see `monqbus --help`"),
        (["lst"], 64, "unknown command 'lst', did you mean list?"),
        (["--conf", "a.ini", "run"], 64, "unknown argument '--conf', did you mean --config?"),
        (["--debug", "--versio"], 64, "unknown argument '--versio', did you mean --version?"),
        (["docter"], 64, "unknown command 'docter', did you mean doctor?"),
        (["dashboard"], 64, "unknown command 'dashboard'"),
        (["list", "--staet", "error"], 64, "'--staet', did you mean --state?; see `monqbus list --help`"),
        (["list", "extra"], 64, "unknown argument 'extra'"),
        (["count", "--limit", "3"], 64, "unknown argument '--limit'"),
        (["list", "--limit", "0"], 64, "--limit: expected a whole number from 1"),
        (["list", "--state", "bogus"], 64, "skipped, got 'bogus' (parked is a word for itself)"),
        (["list", "--error", "("], 64, "--error: expected a regular expression, got '('"),
        (["list", "--older", "yesterday"], 64, "--older: expected a duration like 90s or 3d, or a time like"),
        (["show"], 64, "ID"),
        (["show", "abc"], 64, "ID: expected 24 hexadecimal digits, got 'abc'; `monqbus list` shows ids"),
        (["show", NOBODY], 1, f"task {NOBODY}: not found"),
        (["events", "lst", NOBODY], 64, "unknown command 'lst', did you mean list?; see `monqbus events --h"),
        (["events", "show", "abc"], 64, "ID: expected 24 hexadecimal digits, got 'abc'; the answer"),
        (["events", "replay", NOBODY], 1, f"event {NOBODY}: not found"),
        (["post"], 64, "NAME"),
        (["post", "a b"], 64, "NAME: expected module.function, got 'a b'"),
        (["post", "a.b", "--args", "{}"], 64, "--args: expected an array like '[1, \"two\"]', got '{}'"),
        (["post", "a.b", "--kwargs", "[]"], 64, "--kwargs: expected an object like"),
        (["post", "a.b", "--args", "[7, Berlin]"], 64, "in single quotes, such as --args '[7, \"Berlin\"]'"),
        (["post", "a.b", "--args", "[7,", "Berlin]"], 64, "single quotes, such as --args '[7, \"Berlin\"]'"),
        (["post", "a.b", "--kwargs", "{a: 1}"], 64, "such as --kwargs '{\"city\": \"Berlin\"}'"),
        (["post", "a.b", "--args", "[1"], 64, "--args: not JSON"),
        (["post", "a.b", "--wait", "long"], 64, "--wait: expected seconds or a duration like"),
        (["post", "a.b", "--delay", "nan"], 64, "--delay: expected seconds, a duration"),
        (["post", "a.b", "--priority", "x"], 64, "--priority: expected a whole number, got 'x'"),
        (["post", "a.b", "--priority", "9" * 30], 64, "task option priority"),
        (["event", "a b"], 64, "TOPIC: expected letters"),
        (["retry", "error"], 64, "24 hexadecimal digits, got 'error'; did you mean --state error?"),
        (["cancel", "mail.send"], 64, "got 'mail.send'; did you mean --name mail.send?"),
        (["purge", "abc"], 64, "got 'abc'; `monqbus list` shows ids"),
        (["retry"], 64, "retry: expected IDs or a filter; --all means every task that can be"),
        (["purge", NOBODY], 1, f"task {NOBODY}: not found; ended tasks are forgotten after their keep time"),
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

    assert {"monqbus.ini", "hello.py", "monqbus.service", "monqbus.socket"} == {path.name for path in written}
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


def test_check_compares_a_topic_that_nobody_handles_with_those_that_are(
    alone: Command, tmp_path: Path
) -> None:
    """A slip in a topic is found before events pile up under it."""
    with (tmp_path / "monqbus.ini").open("a") as config:
        config.write("[hook:open]\nverify = none\ntopic = shop.slod\n")

    assert "no handler for 'shop.slod', did you mean 'shop.sold'? Its events" in alone("check").err


def test_check_refuses_a_handler_that_does_not_take_the_deliveries_of_its_hook(
    alone: Command, tmp_path: Path
) -> None:
    """It was ok, and every delivery was answered 202 and failed eight times. A template may be meant."""
    with (tmp_path / "monqbus.ini").open("a") as config:
        config.write("[hook:open]\nverify = none\ntopic = x.one\n")
        config.write("[hook:many]\nverify = none\ntopic = y.{event}\n")
    app = tmp_path / "apps" / "cliapp.py"
    app.write_text(
        "from monqbus import event_handler\n@event_handler('x.one', 'y.one')\ndef one(event): ...\n"
        "@event_handler('x.one', 'y.one')\ndef right(topic, *args): ...\n"
    )

    said = alone("check")

    assert 78 == said.code
    (error,) = [line for line in said.err.splitlines() if "[hook:open]" in line and "calls" in line]
    (warning,) = [line for line in said.err.splitlines() if "[hook:many]" in line and "calls" in line]
    assert (
        f"{app}:2: cliapp.one(event): a delivery of [hook:open] for 'x.one' calls it with (topic, event): "
        "too many positional arguments; declare it with these two"
    ) in error
    assert "warning" in warning


def test_check_names_an_app_that_declares_nothing_and_refuses_another_module_of_its_name(
    alone: Command, tmp_path: Path
) -> None:
    """`apps = queue` was Python's own module, and ok."""
    config = tmp_path / "monqbus.ini"
    config.write_text(config.read_text().replace("apps = cliapp", "apps = cliidle, cliapp"))
    (tmp_path / "apps" / "cliidle.py").write_text("import os\n")
    idle = alone("check")
    config.write_text(config.read_text().replace("apps = cliidle", "apps = queue"))
    (tmp_path / "apps" / "queue.py").write_text("from monqbus import task\n@task\ndef one(): ...\n")
    other = alone("check")

    assert 0 == idle.code
    assert f"app cliidle: declares no task and no handler; it is {tmp_path}/apps/cliidle.py" in idle.err
    assert 78 == other.code
    assert f"app queue: expected {tmp_path}/apps/queue.py, but the module that is imported is" in other.err


def test_a_post_that_the_declared_function_does_not_take_is_refused(alone: Command) -> None:
    """It was stored, and failed eight times."""
    posted = alone("post", "cliapp.double", "--args", "[1, 2, 3]")

    assert 1 == posted.code
    assert "task cliapp.double: too many positional arguments; it is declared as (" in posted.err
    assert [] == alone("list", "--json").rows


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


def test_a_broken_app_is_one_mistake_and_no_more(alone: Command, tmp_path: Path) -> None:
    """What only it could have declared is not said to be missing; with all apps imported it is."""
    config = tmp_path / "monqbus.ini"
    config.write_text(
        config.read_text().replace("apps = cliapp", "apps = cliapp, one")
        + "[schedule:nightly]\nevery = 1d\ntask = one.clean\n[hook:open]\nverify = none\ntopic = one.sold\n"
    )
    (tmp_path / "apps" / "one.py").write_text("import nowhere\n")
    broken = alone("check")
    (tmp_path / "apps" / "one.py").write_text("from monqbus import task\n@task\ndef other(): ...\n")
    whole = alone("check")

    assert [78, 78] == [broken.code, whole.code]
    assert ["no module named 'nowhere'"] == [
        line
        for line in ("no module named 'nowhere'", "no app declares one.clean", "no handler for 'one.sold'")
        if line in broken.err
    ]
    assert "no app declares one.clean" in whole.err
    assert "no handler for 'one.sold'" in whole.err


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
    monkeypatch.setattr(session, "HELD_SECONDS", 0.0)
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


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("list >&-", 0, ""),
        ("check >&- 2>&-", 0, ""),
        ("show nope 2>&-", 64, ""),
        ("count >/dev/full", 1, f"monqbus: standard output: No space left on device; {LOST}\n"),
    ],
)  # fmt: skip
def test_a_stream_that_takes_nothing_is_no_traceback(
    alone: Command, tmp_path: Path, line: str, code: int, said: str
) -> None:
    """As at(1) and old init scripts start it: an error never goes where the answer belongs."""
    words = [sys.executable, str(ROOT / "monqbus.py"), "--config", str(tmp_path / "monqbus.ini")]
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {line}', "sh", *words],
        capture_output=True, text=True, check=False, timeout=20,
    )  # fmt: skip

    assert (code, "", said) == (done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("words", ["post hello.count_letters", "event nobody.cares"])
def test_what_is_stored_is_no_failure_when_its_id_cannot_be_shown(
    alone: Command, tmp_path: Path, words: str
) -> None:
    """A script that reads a failure posts it again; the id goes to standard error."""
    program = f"{sys.executable} {ROOT}/monqbus.py {words} --config {tmp_path}/monqbus.ini >/dev/full"
    done = subprocess.run(["sh", "-c", program], capture_output=True, text=True, check=False, timeout=20)
    line = done.stderr.splitlines()[0]

    assert 0 == done.returncode
    assert re.fullmatch(r"monqbus: (event )?[0-9a-f]{24}: stored, but standard output: No space left.*", line)


def test_a_reader_that_has_seen_enough_is_no_error(alone: Command, tmp_path: Path) -> None:
    """`monqbus list | head -1` ends quietly."""
    store_ended(tmp_path, 400)
    command = f"{sys.executable} {ROOT}/monqbus.py list --limit 400 --json --config {tmp_path}/monqbus.ini"

    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command} | head -1"], capture_output=True, text=True, check=False
    )

    assert (0, "") == (done.returncode, done.stderr)
    assert 1 == done.stdout.count("\n")


COMMANDS = [
    ["check"], ["check", "--offline"], ["post", "cliapp.double"], ["event", "shop.sold"],
    ["list", "--state", "parked"], ["retry", "--all"],
]  # fmt: skip


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_command_in_a_strangers_folder_runs_nothing_of_it(
    run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    """Its ./monqbus.ini names apps that would run as whoever came by."""
    write_place(tmp_path)
    (tmp_path / "apps" / "cliapp.py").write_text("from pathlib import Path\nPath('ran').touch()\n")
    monkeypatch.chdir(tmp_path)
    if os.geteuid() == 0:
        os.chown(tmp_path / "monqbus.ini", 60_123, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 60_123)

    said = run(*words)

    assert 78 == said.code
    assert "give it over with chown" in said.err
    assert ["apps", "monqbus.ini"] == sorted(path.name for path in tmp_path.iterdir())


def test_an_event_is_replayed_in_a_store_without_a_daemon(alone: Command, tmp_path: Path) -> None:
    """By the apps of the configuration; the ids of its tasks are printed, and they wait."""
    (printed,) = alone("event", "shop.later").lines
    event_id = printed.removeprefix("event ")
    app = tmp_path / "apps" / "cliapp.py"
    app.write_text(app.read_text() + '\n@event_handler("shop.later")\ndef late(topic): pass\n')
    sys.modules.pop("cliapp", None)
    registry._registry = registry.Registry()
    said = alone("events", "replay", event_id)
    (row,) = alone("list", "--json").rows

    assert (0, [row["id"]]) == (said.code, said.lines)
    assert "ready" == row["state"]
