"""How a start goes well, how it fails, and what a newcomer sees."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from tests.program import BINARY, PROGRAM

from .conftest import CONFIG, New, Ran
from .daemons import Daemon


def test_a_newcomer_is_three_commands_from_a_task_that_runs(tmp_path: Path):
    """`init`, `run`, and the line that `run` prints to paste: the greeting appears in the log."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    words = [*PROGRAM, "init", str(tmp_path)]
    subprocess.run(words, check=True, capture_output=True)
    config = tmp_path / "monqbus.ini"
    config.write_text(config.read_text().replace(";listen = 127.0.0.1:8080", "listen = 127.0.0.1:0"))
    daemon = Daemon(config)
    try:
        daemon.start()
        match = re.search(r"try it: +(curl .*)", daemon.printed_line("try it"))
        assert match is not None
        subprocess.run(match[1].split(), check=True, capture_output=True, timeout=10)

        assert "Hello, World!" in daemon.wait_for("task.printed", "name=hello.greet")
        assert "'World' has 5 letters" in daemon.wait_for("task.printed", "name=hello.count_letters")
    finally:
        daemon.kill()


def test_a_port_that_is_taken_is_exit_75_with_the_remedy(new_daemon: New):
    """A later start may find it free. The line names the setting, the address, and how to find who has it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        daemon = new_daemon(text=CONFIG.replace("127.0.0.1:0", f"127.0.0.1:{port}"))
        daemon.launch()
        code = daemon.wait()

    (line,) = [line for line in daemon.lines if line.startswith("monqbus:")]
    assert 75 == code
    assert f"[http] listen: cannot listen on 127.0.0.1:{port}: the port is in use; stop who has it" in line


def test_an_unreachable_mongodb_is_exit_69_with_the_remedy(new_daemon: New):
    """The line says which servers did not answer, and nothing of the password."""
    daemon = new_daemon("mongodb://me:hush@127.0.0.1:1/x?timeoutMS=300")
    daemon.launch()
    code = daemon.wait()

    warning, line = [line for line in daemon.lines if line.startswith("monqbus:")]
    assert 69 == code
    assert "run: chmod 600" in warning  # the address has a password
    assert "mongodb://127.0.0.1:1/x: no answer" in line
    assert "see whether its servers run" in line
    assert "hush" not in "\n".join(daemon.lines)


def test_a_second_daemon_on_the_same_data_is_refused_and_the_first_goes_on(new_daemon: New):
    """Exit 73, the message names who holds the store."""
    first = new_daemon().start()
    second = new_daemon(name="second")
    second.launch()
    code = second.wait()

    assert 73 == code
    assert f"held by pid {first.pid}" in "\n".join(second.lines)
    assert (200, {"status": "ready"}) == first.request("GET", "/readyz")


def test_a_name_that_no_app_declares_waits_until_one_does(new_daemon: New, tmp_path: Path):
    """Parked, told, and run after the reload that brings the name."""
    text = CONFIG.replace("path = {apps}", "path = {apps}, ./apps")
    app = tmp_path / "apps" / "later.py"
    app.parent.mkdir()
    daemon = new_daemon(text=text).start()
    task_id = daemon.monqbus("post", "later.arrive", "--args", "[5]").stdout.strip()
    shown = daemon.monqbus("show", task_id).stdout
    app.write_text("from monqbus import task\n\n@task\ndef arrive(number):\n    return number\n")
    daemon.config.write_text(daemon.config.read_text().replace("apps = accepted", "apps = accepted, later"))
    daemon.signal(signal.SIGHUP)
    daemon.wait_for("task.finished", task_id)

    assert "parked: no app declares later.arrive" in shown


def test_only_what_it_is_told_to_claim_runs(new_daemon: New, ran):
    """`--only` and `--except` leave the rest to other daemons."""
    daemon = new_daemon()
    daemon.launch("--only", "accepted.*", "--except", "accepted.linger")
    daemon.wait_for("daemon.started")
    left = daemon.monqbus("post", "accepted.linger", "--args", "[0]").stdout.strip()
    done = daemon.monqbus("post", "accepted.add", "--args", "[1, 2]", "--wait", "10")

    assert "3" == done.stdout.split()[-1]
    assert '"state": "ready"' in daemon.monqbus("show", left, "--json").stdout
    assert [] == ran()


def test_what_it_is_told_to_claim_and_nobody_declares_is_said(new_daemon: New):
    """A slip of the pen made a daemon that claims nothing and says nothing."""
    daemon = new_daemon()
    daemon.launch("--only", "acepted.add")

    assert "did you mean accepted.add?" in daemon.wait_for("names.unmatched")


def test_a_handler_that_does_not_take_its_deliveries_is_told_at_the_start_and_at_a_reload(
    new_daemon: New, tmp_path: Path
):
    """`check` refuses it; the daemon, whose other handlers have work to do, starts and says so."""
    (tmp_path / "unfit.py").write_text(
        "from monqbus import event_handler\n\n@event_handler('github.push')\ndef push(event): ...\n"
    )
    daemon = new_daemon(text=CONFIG.replace("apps = accepted", "apps = unfit").replace("{apps}", "."))
    daemon.start()
    told = daemon.wait_for("handler.mismatched")
    daemon.signal(signal.SIGHUP)

    assert (
        "unfit.py:3: unfit.push(event): a delivery of [hook:github] for 'github.push' calls it with" in told
    )
    assert "declare it with these two" in told
    assert "WARNING" in told
    daemon.wait_for("handler.mismatched", times=2)


def test_a_port_in_use_costs_no_task_its_run(new_daemon: New, ran: Ran):
    """The address is taken before any task begins: a waiting one still waits, without a crash."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        daemon = new_daemon(text=CONFIG.replace("127.0.0.1:0", address))
        daemon.monqbus("post", "accepted.linger", "--args", "[60]")
        daemon.launch()
        code = daemon.wait()
    listed = json.loads(daemon.monqbus("list", "--json").stdout)

    assert 75 == code
    assert ("ready", 0) == (listed["state"], listed["attempt"])
    assert [] == ran()


def test_too_few_open_files_are_said_at_the_start(new_daemon: New):
    """With what to do: later, a connection that is not accepted is all that can be seen."""
    daemon = new_daemon()
    daemon.program = ["sh", "-c", 'ulimit -n 700; exec "$@"', "sh", *daemon.program]
    daemon.start()

    assert "LimitNOFILE=768" in daemon.wait_for("files.limited", "most=700")


@pytest.mark.parametrize("words", ["check", "list", "show"])
def test_an_output_that_is_not_utf8_makes_no_command_fail(new_daemon: New, words: str):
    """What its encoding cannot say is escaped: the arrow of `check`, a sender's umlaut."""
    daemon = new_daemon()
    posted = daemon.monqbus("post", "accepted.unknown", "--kwargs", '{"näme": "→"}').stdout.strip()
    daemon.environ["PYTHONIOENCODING"] = "ascii"
    said = daemon.monqbus(words, *([posted] if words == "show" else []))

    assert 0 == said.returncode, said.stderr
    # the executable takes no notice of PYTHON* variables, and always says UTF-8
    assert ("\\u2192" in said.stdout) == (words != "list" and BINARY is None)


@pytest.mark.parametrize("most", [32, 127])
def test_so_few_open_files_that_no_daemon_runs_are_exit_78_with_the_remedy(new_daemon: New, most: int):
    """It was a traceback of fcntl; now a sentence with the limit, the least, and what to set."""
    limited = ["sh", "-c", f'ulimit -n {most}; exec "$@"', "sh", *PROGRAM]
    daemon = new_daemon()
    words = [*limited, "run", "--config", str(daemon.config)]
    ended = subprocess.run(words, capture_output=True, text=True, timeout=20, check=False, env=daemon.environ)

    assert 78 == ended.returncode
    assert (
        f"monqbus: open files: expected at least 128, got {most}; [http] connections wants 768: "
        "ulimit -n 768, or LimitNOFILE=768 in the unit\n"
    ) == ended.stderr
