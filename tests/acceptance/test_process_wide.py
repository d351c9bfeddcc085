"""Process-wide settings that an app changes when it is imported: the daemon does not depend on them."""

from __future__ import annotations

import signal
from pathlib import Path
from uuid import uuid4

import pytest

from .conftest import CONFIG, New, Ran
from .daemons import Daemon

APP = """\
import os
from pathlib import Path
from monqbus import event_handler, task

{change}

@event_handler("open.hello")
def hello(topic, event):
    print("hello")
    with Path(os.environ["RAN"]).open("a") as file:
        file.write("hello\\n")

@task(cpu=True)
def square(number):
    return number * number

@task(max_attempts=1)
def again():
    change_again()

def change_again():
    {again}
"""
CHANGES = {
    "default timeout": ("import socket; socket.setdefaulttimeout(0.001)",) * 2,
    "no waiting": ("import socket; socket.setdefaulttimeout(0)",) * 2,
    "recursion": ("import sys; sys.setrecursionlimit(80)", "import sys; sys.setrecursionlimit(80)"),
    "warnings": ("import warnings; warnings.simplefilter('error')",) * 2,
    "logging": ("import logging; logging.disable(logging.CRITICAL)",) * 2,
    "locale": ("import locale; locale.setlocale(locale.LC_ALL, 'C')",) * 2,
    "json": (
        "import json; json.JSONEncoder.default = lambda self, value: 1 / 0",
        "import json; json.dumps = lambda value: b'?'; json.loads = None",
    ),
    "garbage": ("import gc; gc.disable(); gc.set_threshold(0)",) * 2,
    "switching": ("import sys; sys.setswitchinterval(0.5)",) * 2,
    "hooks": (
        "import sys, threading; sys.excepthook = threading.excepthook = print",
        "import sys, threading; sys.excepthook = threading.excepthook = sys.unraisablehook = print",
    ),
    "folder": ("os.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone')", "os.chdir('/')"),
    "umask": ("os.umask(0o777)",) * 2,
    "environment": (
        "os.environ.pop('HOOK_SECRET', 0)",
        "[os.environ.pop(name) for name in set(os.environ) - {'RAN'}]",
    ),
    "signals": (
        "import signal; [signal.signal(n, signal.SIG_IGN) for n in (1, 2, 10, 15, 17)]",
        "import signal; [signal.signal(n, signal.SIG_IGN) for n in (1, 2, 10, 15, 17)]",
    ),
    "mask": ("import signal; signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 32))",) * 2,
    "chance": ("import random; random.seed(0)",) * 2,
    "limits": (
        "import resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0))",
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))",
    ),
}
RESTORED = {
    "recursion": "recursion limit",
    "switching": "switch interval",
    "signals": "SIGTERM",
    "mask": "SIGHUP",
}
COMMAND = """
[handler:say]
topic = open.hello
command = sh -c "echo command; exit 0"
"""
TEXT = CONFIG.replace("apps = accepted", "apps = shop").replace("path = {apps}", "path = ./apps") + COMMAND
TEXT = TEXT.replace("[worker]", "[worker]\ncpu_workers = 1")


def serves(daemon: Daemon, ran: Ran, times: int) -> None:
    """A delivery, a command, a cpu task, and commands of an operator: all of it works."""
    assert 202 == daemon.request("POST", "/hooks/open", b"x", {"X-Kind": "hello"})[0]
    assert ["hello"] * times == ran(times)
    daemon.wait_for("task.printed", "handler:say", "command", times=times)
    daemon.wait_for("task.finished", "handler:say", times=times)
    assert "49" == daemon.monqbus("post", "shop.square", "--args", "[7]", "--wait", "20").stdout.split()[-1]


ON_MONGODB = ("default timeout", "no waiting", "warnings")
CASES = [*((what, "sqlite") for what in CHANGES), *((what, "standalone") for what in ON_MONGODB)]


@pytest.mark.parametrize(("what", "store"), CASES)
def test_what_an_app_makes_of_its_process_does_not_stop_the_daemon(
    *, what, store, request: pytest.FixtureRequest, new_daemon: New, tmp_path: Path, ran: Ran
):
    """Changed at the import, by a handler, at a reload: it serves, runs commands, reloads, drains, ends."""
    first, then = CHANGES[what]
    path = tmp_path / "apps" / "shop.py"
    path.parent.mkdir()
    path.write_text(APP.format(change=first, again=then))
    if store != "sqlite":
        store = request.getfixturevalue(store).address(f"process_{uuid4().hex[:8]}")
    daemon = new_daemon(store, text=TEXT).start()

    serves(daemon, ran, 1)
    daemon.monqbus("post", "shop.again")
    daemon.wait_for("task.finished", "shop.again")
    if what in RESTORED:
        daemon.wait_for("process.restored", RESTORED[what])
    serves(daemon, ran, 2)
    path.write_text(APP.format(change=first, again=then) + "\n# another edition\n")
    daemon.signal(signal.SIGHUP)
    daemon.wait_for("config.reloaded")
    serves(daemon, ran, 3)
    assert 0 == daemon.stop()
    assert [line for line in daemon.lines if "daemon.stopped" in line]
    for file in (tmp_path / "data").iterdir():
        assert file.stat().st_mode & 0o777 == 0o600, file
