"""A command is run for an event: never by a shell, told everything, gone with its task."""

from __future__ import annotations

import gzip
import json
import os
import pwd
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import gevent
import pytest
from bson import ObjectId
from gevent import socket

from bus.apps.command import Command
from bus.apps.command_program import fault
from bus.apps.event_told import MOST_TOLD_BYTES
from bus.apps.options import Options
from bus.engine.output import TOLD_LINES, Capture
from bus.engine.run import Run
from bus.errors import Withdrawn
from bus.model import Event, Filter, Posting
from bus.posting import prepare

PATIENCE = 10.0
BODY = {
    "name": "a b; rm -rf / $(id) `id` 'q' \"q\" *",
    "n": 7,
    "yes": True,
    "empty": "",
    "deep": {"list": ["x", {"y": "ÿ"}]},
    "option": "--help",
    "nul": "a\u0000b",
}


@pytest.fixture
def capture():
    """Started by each test itself: pytest puts its own streams in place between set-up and call."""
    switch = Capture()
    yield switch
    switch.stop()


@pytest.fixture
def run(engine, tmp_path, capture):
    """Runs a command for a delivery; the task as it is stored afterwards."""

    def perform(
        *words, body=None, folder=tmp_path, attributes=None, content_type="", encoding="", **settings
    ):
        text = json.dumps(BODY if body is None else body).encode() if not isinstance(body, bytes) else body
        command = Command(words, folder, **settings)
        kind = {"content_type": content_type, "encoding": encoding}
        task = deliver(engine, command, text, attributes=attributes, **kind)
        capture.start()
        return engine.perform(task)

    return perform


def deliver(engine, command, body=b"", *, attributes=None, content_type="", encoding="", **options):
    """A delivery whose one handler is *command*; its task, stored as ready."""
    event = Event(ObjectId(), "github.push", engine.clock.now(), hook="github", delivery="d-1")
    event.headers, event.body = {"x-github-event": "push", "content-type": content_type}, body
    event.headers["content-encoding"] = encoding
    event.attributes = attributes or {}
    name = f"handler:h{len(engine.registry.tasks)}"
    engine.declare(command, name, topic="github.push", **options)
    task = prepare(engine.clock, name, ["github.push"], {}, Options(), {})
    task.event_id, task.topic = event.id, event.topic
    event.task_ids = [task.id]
    engine.store.post([Posting([task], event)])
    return task


def python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code)


UNPATCHED_HEAD = """\
import sys
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace
from bson import ObjectId
from bus.apps.command import Command
from bus.apps.context import restored
from bus.model import Event
running = SimpleNamespace(id=ObjectId(), attempt=1, token="t", idempotency_key="k")
event = Event(ObjectId(), "t", datetime.now(timezone.utc))
"""
SHOW = "import sys, json; print(json.dumps(sys.argv[1:]))"


# what it is told


def test_each_placeholder_is_one_argument_and_no_shell_ever_sees_it(run):
    task = run(
        *python(SHOW), "{body:name}", "n={body:n}", "{body:deep.list.1.y}", "{topic}/{header:X-GitHub-Event}"
    )

    assert "complete" == task.state, task.result
    assert [BODY["name"], "n=7", "ÿ", "github.push/push"] == json.loads(task.output)


def test_the_event_is_json_on_standard_input_and_in_a_file(run):
    code = (
        "import json, os, sys; told = json.load(sys.stdin); "
        "assert told == json.load(open(os.environ['MONQBUS_EVENT_FILE'])); print(json.dumps(told))"
    )
    task = run(*python(code))
    told = json.loads(task.output)

    assert BODY == told["body"]
    assert ("github.push", "github", "d-1") == (told["topic"], told["hook"], told["delivery"])
    assert {"id": str(task.id), "attempt": 1, "token": task.token} == told["task"]


def test_a_cloudevent_has_its_attributes(run):
    """As placeholders, and in the event that the command reads."""
    code = "import json, sys; print(sys.argv[1], json.load(sys.stdin)['attributes'])"

    task = run(*python(code), "{attribute:subject}-{attribute:none|x}", attributes={"subject": "s"})

    assert "s-x {'subject': 's'}" == task.output.strip()


@pytest.mark.parametrize("is_packed", [False, True])
def test_of_a_long_body_a_command_gets_the_file_and_what_it_names(run, is_packed):
    """As JSON it would hold the hub; the value is null there."""
    noise = random.Random(1).randbytes(MOST_TOLD_BYTES // 2).hex()
    body = json.dumps({"text": noise, "a": ["y", "z"]}).encode()
    code = (
        "import json, os, sys; told = json.load(sys.stdin); "
        "print(sys.argv[1], told['body'], os.path.getsize(os.environ['MONQBUS_BODY_FILE']))"
    )
    sent = gzip.compress(body) if is_packed else body
    encoding = "gzip" if is_packed else ""

    task = run(*python(code), "{body:a.1}", body=sent, content_type="application/json", encoding=encoding)

    assert f"z None {len(sent)}" == task.output.strip()


OTHER_KINDS = {
    "application/x-www-form-urlencoded": b"a=%26&a=2",
    "text/xml": b"<r><a>&amp;</a><a>2</a></r>",
    "multipart/form-data; boundary=x": (
        b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n&\r\n'
        b'--x\r\nContent-Disposition: form-data; name="a"; filename="f"\r\n\r\n\xff\r\n--x--'
    ),
}


@pytest.mark.parametrize("content_type", OTHER_KINDS)
def test_a_body_of_another_kind_has_its_value_too(run, content_type):
    """A form's fields, an element and a part are placeholders as members of JSON are."""
    place = "{body:r.a.0}" if "xml" in content_type else "{body:a.0}"

    assert (
        "&"
        == run("/bin/echo", place, body=OTHER_KINDS[content_type], content_type=content_type).output.strip()
    )


@pytest.mark.parametrize("body", [b"\xff\x00raw", b"not json", b"", b'{"a": NaN}'])
def test_the_exact_body_is_in_a_file_whatever_it_is(run, body):
    """A command may verify a signature of its own, or read XML."""
    code = "import os; print(open(os.environ['MONQBUS_BODY_FILE'], 'rb').read().hex())"

    assert body.hex() == run(*python(code), body=body).output.strip()


def test_the_environment_is_small_and_says_what_this_run_is(run, monkeypatch):
    """A secret of the daemon's environment stays there unless it is named."""
    monkeypatch.setenv("HOOK_SECRET", "s3cret")
    monkeypatch.setenv("DEPLOY_KEY", "for the command")
    code = "import json, os; print(json.dumps(dict(os.environ)))"
    task = run(*python(code), environment=("DEPLOY_KEY", "NOT_SET"))
    seen = json.loads(task.output)

    assert "s3cret" not in task.output
    assert "NOT_SET" not in seen
    assert ("for the command", os.environ["PATH"]) == (seen["DEPLOY_KEY"], seen["PATH"])
    expected = {
        "MONQBUS_TOPIC": "github.push",
        "MONQBUS_HOOK": "github",
        "MONQBUS_DELIVERY": "d-1",
        "MONQBUS_TASK": str(task.id),
        "MONQBUS_ATTEMPT": "1",
        "MONQBUS_TOKEN": task.token,
        "MONQBUS_IDEMPOTENCY_KEY": str(task.id),
        "MONQBUS_EVENT": str(task.event_id),
    }
    assert expected == {name: seen[name] for name in expected}


def test_a_published_event_was_received_when_it_was_published(engine, tmp_path, capture):
    """Also on a later attempt, which is due at another moment."""
    code = "import json, sys; print(json.load(sys.stdin)['received']); sys.exit(75)"
    engine.declare(Command(python(code), tmp_path), "handler:p", topic="t")
    receipt = engine.office.publish("t", [], {})
    task = engine.store.get(receipt.task_ids[0])
    capture.start()
    told = [engine.perform(task).output]
    engine.clock.advance(3600)
    told.append(engine.perform(task).output)

    assert [f"{receipt.event_id.generation_time:%Y-%m-%dT%H:%M:%S}.000Z\n"] * 2 == told


def test_a_published_event_has_its_arguments(engine, tmp_path, capture):
    capture.start()
    engine.declare(
        Command((*python(SHOW), "{args:0.id}", "{kwargs:to}", "{args:1}"), tmp_path), "handler:p", topic="t"
    )
    engine.office.publish("t", [{"id": 5}, "second"], {"to": "ops"})
    engine.claimer.tick()
    assert 0 == engine.pool.drain(PATIENCE)
    engine.recorder.tick()
    (task,) = engine.store.find(Filter(), 10)

    assert ["5", "ops", "second"] == json.loads(task.output)


def test_a_default_stands_where_the_event_has_no_value(run):
    """It is the operator's text, an empty argument too; a value that is there comes before it."""
    task = run(*python(SHOW), "{body:missing|none}", "{header:X-None|}", "{body:empty|full}", "{body:n|8}")

    assert ["none", "", "", "7"] == json.loads(task.output)


def test_its_files_are_its_owners_alone_and_gone_afterwards(run):
    code = (
        "import os; f = os.environ['MONQBUS_EVENT_FILE']; d = os.path.dirname(f); "
        "print(oct(os.stat(d).st_mode & 0o777), d)"
    )
    mode, folder = run(*python(code)).output.split()

    assert "0o700" == mode
    assert not Path(folder).exists()


def test_it_runs_in_its_folder(run, tmp_path):
    assert str(tmp_path) == run("/bin/pwd").output.strip()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may run commands as somebody else")
def test_it_runs_as_its_user_and_can_read_its_files(run):
    nobody = pwd.getpwnam("nobody")
    script = "cat > /dev/null && cat $MONQBUS_BODY_FILE > /dev/null && id -u && id -G && echo $HOME"
    task = run("/bin/sh", "-c", script, user="nobody", folder=Path("/"))
    uid, groups, home = task.output.splitlines()

    assert "complete" == task.state
    assert (str(nobody.pw_uid), nobody.pw_dir) == (uid, home)
    assert "0" not in groups.split()


OURSELVES = (
    UNPATCHED_HEAD
    + """
import os, pwd
nobody = pwd.getpwnam("nobody")
os.setgroups([]); os.setgid(nobody.pw_gid); os.setuid(nobody.pw_uid)
with restored({}, task=running):
    Command(("/bin/sh", "-c", "id -un; echo $USER"), Path("/"), user="nobody")("t", event)
"""
)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become nobody")
def test_a_daemon_without_privileges_runs_commands_as_its_own_user():
    """Named in the configuration or not: there is nothing to change."""
    ended = subprocess.run([sys.executable, "-c", OURSELVES], capture_output=True, check=False)

    assert (0, b"", b"nobody\nnobody\n") == (ended.returncode, ended.stderr, ended.stdout)


def test_an_argument_that_no_program_can_take_fails_the_task_at_once(run):
    """It is as long at the next attempt."""
    task = run("/bin/echo", "{body:x}", body={"x": "a" * 140_000})

    assert ("error", 1) == (task.state, task.attempt)
    assert "makes them longer; let the command read $MONQBUS_EVENT_FILE" in task.result


# what a sender must not be able to do


@pytest.mark.parametrize(
    "word", ["{body:missing}", "{body:deep}", "{header:X-None}", "{body:nul}", "a{args:0}"]
)
def test_an_event_without_a_usable_value_fails_the_task_at_once(run, word):
    """It can never succeed; and half an argument may be worse than none: rm -r /srv/{body:site}."""
    task = run("/bin/echo", word)
    placeholder = word.removeprefix("a")

    assert ("error", None, 1) == (task.state, task.output, task.attempt)
    assert (
        f"BadArguments: argument {word!r}: expected a text without NUL or a number for {placeholder}, "
        f"the event has none; give it a default, {placeholder[:-1]}|none}}, or let the command read the event"
    ) == task.result
    assert [task.result] == [entry["error"] for entry in task.history]


def test_what_an_event_prevents_is_told_as_an_error(run, facts):
    """With its reason: it was one of many INFO lines, and `list` had no word about it."""
    run("/bin/echo", "{body:missing}")
    (fields,) = facts.of("task.gave_up")

    assert "the event has none" in fields["outcome"].error


def test_a_sender_cannot_smuggle_an_option_in(run):
    task = run("/bin/echo", "{body:option}")

    assert ("error", 1) == (task.state, task.attempt)
    assert "write -- before it" in task.result


def test_behind_two_dashes_or_a_prefix_it_is_no_option(run):
    assert "-- --help x--help" == run("/bin/echo", "--", "{body:option}", "x{body:option}").output.strip()


# how it ends


@pytest.mark.parametrize(
    ("code", "state", "error"),
    [
        ("raise SystemExit(0)", "complete", None),
        ("raise SystemExit(3)", "ready", "CommandFailed: exit code 3"),
        ("import os; os.kill(os.getpid(), 9)", "ready", "CommandFailed: killed by SIGKILL"),
        ("raise SystemExit(75)", "ready", "Retry: the command asked to be run again later (exit code 75)"),
    ],
)
def test_the_exit_code_decides(run, code, state, error):
    task = run(*python(code))

    assert state == task.state
    assert ([error] if error else []) == [entry["error"] for entry in task.history]


def script(folder: Path, text: bytes, mode: int = 0o700) -> str:
    (folder / "deploy").write_bytes(text)
    (folder / "deploy").chmod(mode)
    return "./deploy"


def absent(_: Path) -> str:
    return "/nonexistent/deploy"


def a_link_to_nothing(folder: Path) -> str:
    (folder / "deploy").symlink_to("/nonexistent/deploy")
    return "./deploy"


def with_dos_line_ends(folder: Path) -> str:
    return script(folder, b"#!/bin/sh\r\necho hi\r\n")


def without_interpreter(folder: Path) -> str:
    return script(folder, b"echo hi\n")


def of_an_absent_interpreter(folder: Path) -> str:
    return script(folder, b"#!/usr/bin/nosuch\n")


def not_executable(folder: Path) -> str:
    return script(folder, b"#!/bin/sh\n", 0o600)


UNSTARTABLE = [
    (absent, "expected a program, got /nonexistent/deploy, which is not there; put it back, mount its disk"),
    (a_link_to_nothing, "/deploy, a link to nothing; put it back, mount its disk, or correct the path"),
    (str, "which is a folder; correct the path"),
    (not_executable, "/deploy, which is not executable; run: chmod +x /"),
    (
        with_dos_line_ends,
        "with \\r at the end of its first line, which then belongs to the interpreter's name",
    ),
    (without_interpreter, "a text that names no interpreter; let its first line be #!/bin/sh"),
    (of_an_absent_interpreter, "/deploy names in its first line, got /usr/bin/nosuch, which is not there; "),
    (
        lambda _: "no-such-program",
        "expected a program of $PATH, got 'no-such-program', which is in none of /",
    ),
]


@pytest.mark.parametrize(("make", "words"), UNSTARTABLE)
def test_a_command_that_cannot_be_started_lets_its_task_wait(run, tmp_path, facts, make, words):
    """Each cause has its sentence with the remedy; no attempt is used up, and mended it runs."""
    program = make(tmp_path)
    task = run(program)
    (snoozed,) = facts.of("task.snoozed")

    assert words in str(snoozed["outcome"].error)
    assert words in fault(program, tmp_path, "", os.environ["PATH"])
    assert ("ready", 0, []) == (task.state, task.attempt, task.history)


@pytest.mark.parametrize(
    ("there", "words"),
    [
        (("gone", ""), "working_dir: expected a folder, got {folder}/gone, which is not there; create it"),
        (("", "nosuch"), "user: expected a user of this machine, got 'nosuch'; create it with: useradd"),
    ],
)
def test_its_folder_and_its_user_are_told_apart_from_its_program(engine, tmp_path, facts, there, words):
    """`No such file or directory` could be any of the three."""
    folder, user = there
    engine.perform(deliver(engine, Command(("/bin/echo",), tmp_path / folder, user=user)))
    (snoozed,) = facts.of("task.snoozed")

    assert words.format(folder=tmp_path) in str(snoozed["outcome"].error)


def test_nothing_is_said_of_what_can_be_started(tmp_path):
    """A binary, a script, one by `env`, and a program of $PATH."""
    programs = ["/bin/sh", script(tmp_path, b"#!/usr/bin/env sh\n"), "sh"]

    assert ["", "", ""] == [fault(one, tmp_path, "", os.environ["PATH"]) for one in programs]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may run commands as anybody")
def test_only_root_may_choose_the_user(tmp_path):
    """Said in a sentence, not as `Operation not permitted`."""
    assert "only root may run commands as somebody else" in fault("sh", tmp_path, "root", os.environ["PATH"])


def test_what_it_prints_is_kept_in_order_both_streams(run):
    code = "import sys; print('out', flush=True); print('err', file=sys.stderr, flush=True); sys.exit(1)"

    assert "out\nerr\n" == run(*python(code)).output


def test_endless_output_is_cut_and_does_not_fill_the_memory(run):
    code = "import sys; sys.stdout.write('x' * 10_000_000)"
    task = run(*python(code))

    assert "complete" == task.state
    assert len(task.output) < 70_000


def test_output_that_is_not_utf8_is_kept_readable(run):
    assert "a\ufffdb" == run("/usr/bin/printf", r"a\377b").output


def test_a_child_left_behind_does_not_hold_up_the_task(run):
    """A daemon started by the command keeps its standard output open for ever."""
    task = run("/bin/sh", "-c", "sleep 30 & echo started")

    assert ("complete", "started\n") == (task.state, task.output)
    subprocess.run(["pkill", "-f", "^sleep 30$"], check=False)


def test_a_command_that_prints_without_pause_keeps_nobody_from_the_hub(engine, tmp_path, facts, capture):
    """Others run meanwhile, its timeout comes in time, and the log gets a part that has an end."""
    capture.start()
    task = deliver(engine, Command(("/usr/bin/yes",), tmp_path), timeout=0.5)
    engine.claimer.tick()
    beats, longest, last = 0, 0.0, time.monotonic()
    while engine.lanes.running:
        gevent.sleep(0.005)
        beats, now = beats + 1, time.monotonic()
        longest, last = max(longest, now - last), now
    engine.recorder.tick()

    assert beats > 20
    assert longest < 0.4
    assert "TimedOut" in engine.now(task).history[0]["error"]
    assert TOLD_LINES + 1 == len(facts.of("task.printed"))


def descriptors() -> set[str]:
    """Which pipes and files this process has open; a native thread makes its event loop when it likes."""
    held = set()
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the one that looks has closed its own by then
            if not str(link.readlink()).startswith("anon_inode:"):
                held.add(link.name)
    return held


def readers() -> list[threading.Thread]:
    """Those that still listen to some command."""
    return [thread for thread in threading.enumerate() if "_print_all" in str(vars(thread).get("_args"))]


def until(condition: Callable[[], bool]) -> None:
    """Let the hub turn until *condition* is true."""
    with gevent.Timeout(PATIENCE, AssertionError("not so in time")):
        while not condition():
            gevent.sleep(0.01)


@pytest.mark.parametrize(
    ("script", "error"),
    [
        ("setsid sleep 5 & echo x", None),
        ("setsid sleep 5 & sleep 62.5", "TimedOut: ran longer than its timeout of 1 s"),
        ("", None),
    ],
)
def test_no_descriptor_and_no_reader_stays_behind(engine, tmp_path, capture, script, error):
    """Although a child in a session of its own still holds the output."""
    words = ("/bin/sh", "-c", script) if script else ("/nonexistent/deploy",)
    capture.start()
    task = deliver(engine, Command(words, tmp_path), timeout=1.0 if error else 60.0)
    before = descriptors()
    ended = engine.perform(task)
    until(lambda: descriptors() == before)  # gevent closes pipes when the hub has turned

    assert [] == readers()
    assert ([error] if error else []) == [entry["error"] for entry in ended.history]


def test_a_child_left_behind_is_heard_no_more(run, tmp_path, facts):
    """Its pipe breaks at its next word."""
    os.mkfifo(tmp_path / "over")
    over = os.open(tmp_path / "over", os.O_RDONLY | os.O_NONBLOCK)
    lines = "(trap '' PIPE; while echo late 2>/dev/null; do sleep 0.2; done; echo over > over) &"
    task = run("/bin/sh", "-c", lines)
    socket.wait_read(over, PATIENCE)
    os.close(over)

    assert set(task.output.split()) == {"late"} == {fields["line"] for fields in facts.of("task.printed")}
    assert len(task.output.split()) == len(facts.of("task.printed")) < 5


UNPATCHED = (
    UNPATCHED_HEAD
    + """
with restored({}, task=running):
    Command(("/bin/sh", "-c", "sleep 5 & echo one; printf 'two \\\\303\\\\274'"), Path("/"))("t", event)
assert "gevent" not in sys.modules
"""
)


def test_a_command_runs_in_a_process_without_gevent():
    """Its listener is a thread there, which ends with it as well."""
    ended = subprocess.run(
        [sys.executable, "-c", UNPATCHED], capture_output=True, check=False, timeout=PATIENCE
    )

    assert (0, b"", "one\ntwo ü") == (ended.returncode, ended.stderr, ended.stdout.decode())


@pytest.mark.parametrize("how", ["timeout", "cancel"])
def test_a_command_that_is_cut_short_goes_with_all_its_children(engine, tmp_path, facts, capture, how):
    """Also those that ignore TERM."""
    capture.start()
    lines = "trap '' TERM; (trap '' TERM; sleep 61.5) & echo $$ > pid; echo running; sleep 61.5"
    timeout = 1.0 if how == "timeout" else None
    task = deliver(engine, Command(("/bin/sh", "-c", lines), tmp_path), timeout=timeout)
    (claimed,) = engine.store.claim(engine.instance, engine.registry.tasks, 1, engine.clock.now()).tasks
    started = Run(claimed, engine.clock.monotonic())
    greenlet = gevent.spawn(engine.executor.run, started)
    facts.wait_for("task.printed")
    if how == "cancel":
        started.interrupt(Withdrawn())
    greenlet.join(PATIENCE)
    engine.recorder.tick()

    assert greenlet.successful()
    left = subprocess.run(
        ["pgrep", "-r", "R,S,D,T", "-g", (tmp_path / "pid").read_text().strip()],
        capture_output=True,
        check=False,
    )
    assert b"" == left.stdout
    now = engine.now(task)
    assert "ready" == now.state
    assert how == "cancel" or "TimedOut" in now.history[0]["error"]


def test_the_hub_goes_on_while_a_command_runs(engine, tmp_path):
    """It turns as often as it likes before the command is let go."""
    os.mkfifo(tmp_path / "go")
    gate = os.open(tmp_path / "go", os.O_RDWR)
    task = deliver(engine, Command(("/usr/bin/timeout", "5", "/bin/sh", "-c", "read line < go"), tmp_path))
    engine.claimer.tick()
    (running,) = engine.lanes.running
    for _ in range(50):
        gevent.sleep(0)
    goes_on = not running.is_over
    os.write(gate, b"go\n")
    running.left.wait(PATIENCE)
    os.close(gate)
    engine.recorder.tick()

    assert goes_on
    assert "complete" == engine.now(task).state
