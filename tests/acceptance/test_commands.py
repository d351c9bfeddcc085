"""A command as the handler of a webhook, in a running daemon: no Python of the user's anywhere."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

from .conftest import New, Ran
from .daemons import until

CONFIG = """\
[monqbus]
data_dir = ./data
store = {store}
[worker]
greenlets = 4
drain = 1s
[http]
listen = 127.0.0.1:0
[hook:site]
verify = none
topic = site.pushed
"""
HANDLER = """\
[handler:{name}]
topic = site.pushed
command = /bin/sh -c '{script}' sh {{{{body:name}}}}
{more}
"""


def handler(name: str, script: str, more: str = "") -> str:
    return HANDLER.format(name=name, script=script, more=more)


def test_a_delivery_runs_a_command_and_its_output_is_shown(new_daemon: New, address: str):
    """On both stores: the line it prints is in the log and with the task."""
    daemon = new_daemon(address, text=CONFIG + handler("greet", 'echo "Hello $1"')).start()
    status, answer = daemon.request("POST", "/hooks/site", b'{"name": "a $(reboot) b"}')
    daemon.wait_for("task.finished", "name=handler:greet")

    assert 202 == status
    daemon.wait_for("task.printed", r"| Hello a $(reboot) b")
    (task_id,) = answer["tasks"]  # type: ignore[misc]
    shown = json.loads(daemon.monqbus("show", str(task_id), "--json").stdout)
    assert ("complete", "Hello a $(reboot) b\n") == (shown["state"], shown["output"])
    assert "handler  site.pushed → handler:greet" in daemon.monqbus("check").stdout


def test_a_reload_brings_a_new_command_and_takes_the_old_one_away(new_daemon: New):
    """Its waiting tasks park; those of the new one run."""
    daemon = new_daemon(text=CONFIG + handler("old", "echo old")).start()
    text = (CONFIG + handler("new", "echo new")).format(store="sqlite")
    daemon.config.write_text(text)
    daemon.signal(signal.SIGHUP)
    daemon.wait_for("config.reloaded")
    daemon.request("POST", "/hooks/site", b'{"name": "x"}')

    daemon.wait_for("task.finished", "name=handler:new")
    assert not [line for line in daemon.lines if "name=handler:old" in line]


def test_a_missing_script_keeps_neither_the_daemon_nor_a_look_from_working(new_daemon: New, tmp_path: Path):
    """Its tasks wait without using an attempt, the others run, and it is told; put back, they run."""
    section = "[handler:late]\ntopic = site.pushed\ncommand = ./late.sh\nmax_attempts = 1\n"
    daemon = new_daemon(text=CONFIG + handler("all", "exit 0") + section).start()
    script = daemon.config.parent / "late.sh"
    told = daemon.wait_for("handler.suspended", "handler=late")
    daemon.request("POST", "/hooks/site", b'{"name": "x"}')
    daemon.wait_for("task.finished", "name=handler:all")
    snoozed = daemon.wait_for("task.snoozed", "name=handler:late")
    ready = daemon.request("GET", "/readyz")
    codes = {words: daemon.monqbus(words).returncode for words in ("list", "count", "doctor", "check")}
    listed = json.loads(daemon.monqbus("list", "--name", "handler:late", "--json").stdout)

    sentence = f"command: expected a program, got {script}, which is not there; put it back, mount its disk"
    assert sentence in told
    assert sentence in snoozed
    assert 200 == ready[0]
    assert f"the tasks of handler:late wait: {sentence}" in str(ready[1])
    assert {"list": 0, "count": 0, "doctor": 1, "check": 78} == codes
    assert ("ready", 0) == (listed["state"], listed["attempt"])

    script.write_text("#!/bin/sh\necho here\n")
    script.chmod(0o755)
    daemon.signal(signal.SIGHUP)
    daemon.wait_for("handler.resumed", "handler=late")
    daemon.stop()


def test_looking_asks_for_no_program_folder_or_user(new_daemon: New):
    """Without a daemon, too: a deployment that replaces a script must not blind the operator."""
    section = "[handler:gone]\ntopic = a\ncommand = /gone\nworking_dir = /nowhere\nuser = nosuch\n"
    daemon = new_daemon(text=CONFIG + section)
    codes = [
        daemon.monqbus(*words.split()).returncode for words in ("list", "count", "cancel --all", "post x.y")
    ]
    checked = daemon.monqbus("check")

    assert [0, 0, 0, 0] == codes
    assert 78 == checked.returncode
    assert "[handler:gone] user: expected a user of this machine, got 'nosuch'; create it" in checked.stderr


def test_max_concurrent_holds_back_one_handler_and_no_other(new_daemon: New, tmp_path: Path):
    """Ten deliveries: the limited command runs one by one, the other one as slots are free."""
    mark = f"mkdir {tmp_path}/lock || exit 1; sleep 0.05; rmdir {tmp_path}/lock"
    config = CONFIG + handler("one", mark, "max_concurrent = 1\nmax_attempts = 1") + handler("all", "exit 0")
    daemon = new_daemon(text=config).start()
    for n in range(10):
        daemon.request("POST", "/hooks/site", b'{"name": "x"}', {"X-N": str(n)})

    daemon.wait_for("task.finished", "name=handler:one", times=10)
    daemon.wait_for("task.finished", "name=handler:all", times=10)
    assert not [line for line in daemon.lines if "task.gave_up" in line]


def test_a_stopping_daemon_ends_its_commands_and_gives_their_tasks_back(new_daemon: New, tmp_path: Path):
    script = f"echo $$ > {tmp_path}/pid; sleep 71.5"
    daemon = new_daemon(text=CONFIG + handler("slow", script)).start()
    daemon.request("POST", "/hooks/site", b'{"name": "x"}')
    until(lambda: [(tmp_path / "pid").read_text()] if (tmp_path / "pid").exists() else [], 1)

    assert 0 == daemon.stop()
    group = (tmp_path / "pid").read_text().strip()
    left = subprocess.run(["pgrep", "-r", "R,S,D,T", "-g", group], capture_output=True, check=False)
    assert b"" == left.stdout
    assert '"attempt": 0' in daemon.monqbus("list", "--json").stdout


def test_a_killed_daemon_takes_its_command_along_and_the_next_one_runs_it_again(
    new_daemon: New, tmp_path: Path, ran: Ran
):
    """The kernel kills it: two runs of one task would be two holders."""
    script = f"echo run >> {tmp_path}/ran.txt; test -e {tmp_path}/again || exec sleep 72.5"
    daemon = new_daemon(text=CONFIG + handler("slow", script)).start()
    daemon.request("POST", "/hooks/site", b'{"name": "x"}')
    ran(1)
    daemon.kill()
    (tmp_path / "again").touch()

    until(lambda: [] if _runs("sleep 72.5") else ["gone"], 1)
    daemon.start()
    assert ["run", "run"] == ran(2)
    daemon.wait_for("task.finished", "name=handler:slow")


def _runs(words: str) -> bool:
    return (
        subprocess.run(
            ["pgrep", "-f", "-r", "R,S,D,T", f"^{words}$"], capture_output=True, check=False
        ).returncode
        == 0
    )
