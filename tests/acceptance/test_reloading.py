"""HUP: what is bad is refused in one line while everything goes on, what is good takes over."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import gevent
import pytest

from .conftest import CONFIG, New, Ran
from .daemons import Daemon, until
from .test_draining import details

APP = """\
import os
from pathlib import Path

import gevent
from monqbus import event_handler, task

seen = []

def _write(*words):
    with Path(os.environ["RAN"]).open("a") as file:
        file.write(" ".join(words) + "\\n")

@event_handler("open.tick")
def tick(topic, event):
    seen.append("old")

@task
def linger(last_word):
    _write("began")
    while not Path(last_word).exists():
        gevent.sleep(0.01)
    _write("ended", WORD, str(len(seen) > 0))

@task
def leaving():
    _write("left", WORD)

WORD = "old"
"""
TEXT = CONFIG.replace("apps = accepted", "apps = changing").replace("path = {apps}", "path = ./apps")
TEXT = TEXT.replace("env:HOOK_SECRET", "file:secret")
TICK = {"X-Kind": "tick"}


class Place:
    """The files of a running daemon, which a test breaks and mends."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.config = daemon.config
        self.app = daemon.config.parent / "apps" / "changing.py"
        self.secret = daemon.config.parent / "secret"
        self.written = self.config.read_text()

    def mend(self) -> None:
        """As it was when the daemon started."""
        if self.config.is_symlink():
            self.config.unlink()
        self.config.write_text(self.written)
        self.app.write_text(APP)
        self.secret.unlink(missing_ok=True)  # it may be a pipe
        self.secret.write_text("whatever it may be")
        self.secret.chmod(0o600)

    def configure(self, old: str, new: str) -> None:
        """Replace a part of the config."""
        text = self.config.read_text()
        assert old in text
        self.config.write_text(text.replace(old, new))

    def program(self, *lines: str) -> None:
        """Append to the app."""
        self.app.write_text("\n".join((APP, *lines, "")))

    def hup(self) -> None:
        """Ask for a reload."""
        self.daemon.signal(signal.SIGHUP)


@pytest.fixture
def place(new_daemon: New, tmp_path: Path) -> Place:
    """A running daemon."""
    (tmp_path / "apps").mkdir()
    (tmp_path / "secret").write_text("whatever it may be")
    (tmp_path / "secret").chmod(0o600)
    (tmp_path / "apps" / "changing.py").write_text(APP)
    return Place(new_daemon(text=TEXT).start())


@contextmanager
def deliveries(daemon: Daemon) -> Iterator[list[int]]:
    """Deliver all the time; the statuses so far."""
    statuses: list[int] = []

    def deliver() -> None:
        while True:
            statuses.append(daemon.request("POST", "/hooks/open", b"x", TICK)[0])
            gevent.sleep(0.01)

    sending = gevent.spawn(deliver)
    try:
        yield statuses
    finally:
        sending.kill()


BROKEN: dict[str, Callable[[Place], object]] = {
    "expected KEY = VALUE": lambda at: at.configure("[worker]", "nonsense\n[worker]"),
    "did you mean [worker]": lambda at: at.configure("[worker]", "[worke]"),
    "greenlet": lambda at: at.configure("[worker]", "[worker]\ngreenlet = 5"),
    "greenlets: expected": lambda at: at.configure("[worker]", "[worker]\ngreenlets = many"),
    "max_body: expected": lambda at: at.configure("[http]", "[http]\nmax_body = 1 elephant"),
    "control characters": lambda at: at.secret.write_bytes(b"whatever it\0may be"),
    "at the start of a line": lambda at: at.configure("[http]", "  [http]"),
    "verify": lambda at: at.configure("verify = none\n", ""),
    "when: expected an operator at column 8": lambda at: at.configure(
        "verify = none\n", "verify = none\nwhen = body.a = 1\n"
    ),
    "@event_handler when": lambda at: at.program(
        "@event_handler('x', when='nope')", "def other(topic, event): pass"
    ),
    "once": lambda at: at.configure("[worker]", "[hook:open]\nverify = none\n[worker]"),
    "a key once": lambda at: at.configure("lease = 10s", "lease = 10s\nlease = 10s"),
    "expected UTF-8": lambda at: at.config.write_bytes(b"\xff\xfe[monqbus]"),
    "expected a configuration file, got nothing": lambda at: at.config.unlink(),
    "a configuration file, got a folder": lambda at: (at.config.unlink(), at.config.symlink_to("apps")),
    "no module named 'changing'": lambda at: at.app.unlink(),
    "SyntaxError": lambda at: at.program("def broken(:"),
    "ZeroDivisionError": lambda at: at.program("1 / 0"),
    "SystemExit": lambda at: at.program("import sys", "sys.exit()"),
    "exit code 0": lambda at: at.program("os._exit(0)"),
    "signal SIGSEGV": lambda at: at.program("import signal", "os.kill(os.getpid(), signal.SIGSEGV)"),
    "declared at": lambda at: at.program("@task", "def tick(): pass"),
    "task option timeout": lambda at: at.program("@task(timeout='soon')", "def other(): pass"),
}


def test_twenty_broken_reloads_change_nothing_and_each_is_told_in_one_line(place: Place):
    """Configs and apps broken in every way, while deliveries flow: none of them fails."""
    with deliveries(place.daemon) as statuses:
        for word, breaks in BROKEN.items():
            breaks(place)
            place.hup()
            line = place.daemon.wait_for("config.", word)
            place.mend()
            assert "config.refused" in line
    told = [line for line in place.daemon.lines if "config.refused" in line or "config.reloaded" in line]

    assert len(BROKEN) == len(told), "\n".join(told)
    assert {202} == set(statuses)


def test_what_works_and_is_probably_not_meant_is_told(place: Place):
    """A secret that others can read; a setting that HUP cannot take over."""
    place.secret.chmod(0o644)
    place.configure("data_dir = ./data", "data_dir = ./elsewhere")
    place.configure("listen = 127.0.0.1:0", "listen = 127.0.0.2:0")
    place.configure("[worker]", "[worker]\ngreenlets = 7")
    place.hup()

    assert "needs_restart=monqbus.data_dir,http.listen" in place.daemon.wait_for("config.reloaded")
    assert "chmod 600" in place.daemon.wait_for("config.warned")
    place.mend()
    place.hup()
    assert "needs_restart" not in place.daemon.wait_for("config.reloaded", times=2)


def test_running_tasks_go_on_with_the_old_code_and_new_ones_get_the_new(place: Place, ran: Ran):
    """Nothing of the old module is seen by the new one; a handler that is gone parks its tasks at once."""
    daemon, last_word = place.daemon, place.app.with_name("last_word")
    daemon.request("POST", "/hooks/open", b"x", TICK)
    daemon.monqbus("post", "changing.linger", "--args", f'["{last_word}"]')
    ran(1)
    place.app.write_text(APP.replace("def leaving", "def arriving").replace('WORD = "old"', 'WORD = "newer"'))
    place.hup()
    daemon.wait_for("config.reloaded")
    parked = daemon.monqbus("post", "changing.leaving").stdout.strip()
    daemon.monqbus("post", "changing.linger", "--args", f'["{place.app}"]', "--wait", "10")
    last_word.touch()
    waits = details(daemon, parked)

    assert ["began", "began", "ended newer False", "ended old True"] == ran(4)
    assert ("ready", 0) == (waits["state"], waits["attempt"])
    assert "parked: no app declares changing.leaving" in waits["waiting"]
    place.mend()
    place.hup()
    daemon.wait_for("task.finished", parked)


ABSENT: dict[str, Callable[[Place], object]] = {
    "environment variable NOT_SET": lambda at: at.configure("file:secret", "env:NOT_SET"),
    "No such file": lambda at: at.secret.unlink(),
    "it is a pipe": lambda at: (at.secret.unlink(), os.mkfifo(at.secret)),
}


def test_a_missing_secret_closes_one_hook_until_it_is_there(place: Place):
    """Found at a reload or at the start: 503 and a fact, while the others take deliveries; HUP opens it."""
    daemon = place.daemon
    for word, breaks in ABSENT.items():
        place.mend()
        breaks(place)
        place.hup()
        assert "hook=github" in daemon.wait_for("hook.disabled", word)
        assert 503 == daemon.request("POST", "/hooks/github", b"{}")[0]
        assert 202 == daemon.request("POST", "/hooks/open", b"x", TICK)[0]
    place.mend()
    place.hup()
    daemon.wait_for("config.reloaded", times=len(ABSENT) + 1)
    assert 401 == daemon.request("POST", "/hooks/github", b"{}")[0]
    place.secret.unlink()
    daemon.stop()
    daemon.start()

    assert "hook=github" in daemon.wait_for("hook.disabled", "No such file")
    assert "hook:github is closed" in str(daemon.request("GET", "/readyz")[1]["detail"])
    checked, looked = daemon.monqbus("check"), daemon.monqbus("doctor")
    assert (78, 1) == (checked.returncode, looked.returncode)
    assert "[hook:github] secret: expected a secret in the file" in checked.stderr
    assert "verify = github, closed: a secret is missing" in checked.stdout
    assert "problem  hook" in looked.stdout
    signing = daemon.monqbus("hook", "sign", "github")
    assert (78, True) == (signing.returncode, "expected a secret in the file" in signing.stderr)


def test_hups_do_not_pile_up(place: Place):
    """Twenty reloads leave no descriptor behind; those that come during one are one more."""
    pid = place.daemon.process.pid if place.daemon.process else 0
    place.hup()
    place.daemon.wait_for("config.reloaded")
    before = len([*Path(f"/proc/{pid}/fd").iterdir()])
    for count in range(2, 8):
        for _ in range(4):
            place.hup()
        place.daemon.wait_for("config.reloaded", times=count)

    # the last reload may still be at work
    until(lambda: ["few"] if len([*Path(f"/proc/{pid}/fd").iterdir()]) <= before + 1 else [], 1)


def test_a_reload_that_cannot_even_be_tried_is_refused(new_daemon: New, tmp_path: Path):
    """The folder that the daemon was started in is gone: it says so, and everything goes on."""
    folder = tmp_path / "started-here"
    folder.mkdir()
    daemon = new_daemon()
    daemon.program = ("sh", "-c", 'cd "$0" && exec "$@"', str(folder), *daemon.program)
    daemon.start()
    folder.rmdir()
    daemon.signal(signal.SIGHUP)

    assert f"{folder}: No such file or directory; restart the daemon" in daemon.wait_for("config.refused")
    assert 202 == daemon.request("POST", "/hooks/open", b"x", TICK)[0]


def test_a_redelivery_after_the_handler_came_runs_it(place: Place, ran: Ran):
    """No handler took the first one; the redelivery is answered 202 with the task it has got."""
    headers = {"X-Kind": "late", "Idempotency-Key": "once"}
    status, first = place.daemon.request("POST", "/hooks/open", b"x", headers)
    assert (202, []) == (status, first["tasks"])
    place.program(
        '@event_handler("open.late")', "def late(topic, event):", '    _write("late", event.body.decode())'
    )
    place.hup()
    place.daemon.wait_for("config.reloaded")

    status, again = place.daemon.request("POST", "/hooks/open", b"other", headers)
    assert (202, first["event"]) == (status, again["event"])
    assert ["late x"] == ran(1)
    status, third = place.daemon.request("POST", "/hooks/open", b"x", headers)
    assert (200, again["tasks"]) == (status, third["tasks"])


LOGGING = """\
import logging, logging.config
from monqbus import event_handler
log = logging.getLogger(__name__)
logging.config.dictConfig({"version": 1, "root": {"level": "INFO"}})
late = logging.getLogger(__name__ + ".late")

@event_handler("open.tick")
def tick(topic, event):
    late.info("word of the handler")
    logging.getLogger("outside").info("to the root")
"""


def test_an_app_that_sets_logging_up_loses_no_line_at_a_reload(place: Place):
    """Its dictConfig empties the root logger, and disables the loggers of its own first import."""
    place.app.write_text(LOGGING)
    for times in (1, 2, 3):
        place.hup()
        place.daemon.wait_for("config.reloaded", times=times)
        place.daemon.request("POST", "/hooks/open", b"x", TICK)
        place.daemon.wait_for("task.printed", "word of the handler", times=times)
        place.daemon.wait_for("task.printed", "to the root", times=times)


def test_nothing_that_is_printed_refuses_a_reload(new_daemon: New, tmp_path: Path):
    """Not in an encoding that cannot say it, nor a line that looks like our own."""
    app = tmp_path / "saying"
    app.mkdir()
    (app / "says.py").write_text("import sys\nprint('→ ok')\nprint('monqbus: no', file=sys.stderr)\n")
    text = CONFIG.replace("apps = accepted", "apps = says").replace("path = {apps}", f"path = {app}")
    daemon = new_daemon(text=text)
    daemon.environ["PYTHONIOENCODING"] = "ascii"
    daemon.start()
    daemon.signal(signal.SIGHUP)

    daemon.wait_for("config.reloaded")


def test_capture_logging_no_leaves_the_root_logger_to_the_apps(place: Place):
    """No handler of ours and no level, in the daemon and in a cpu worker, before and after a reload."""
    body = "root = logging.getLogger(); print('root', len(root.handlers), root.level)"
    heads = ("@event_handler('open.tick')\ndef tick(topic, event)", "@task(cpu=True)\ndef work()")
    app = "import logging\nfrom monqbus import event_handler, task\n"
    place.app.write_text(app + "".join(f"{head}:\n    {body}\n" for head in heads))
    place.daemon.stop()
    place.configure("[monqbus]", "[monqbus]\ncapture_logging = no")
    place.daemon.start()
    for times in (1, 2):
        place.daemon.request("POST", "/hooks/open", b"x", TICK)
        place.daemon.monqbus("post", "changing.work")
        place.daemon.wait_for("task.printed", "root 0 30", times=2 * times)
        place.hup()
        place.daemon.wait_for("config.reloaded", times=times)


def test_a_reload_does_not_ask_for_the_programs_of_commands(place: Place):
    """One missing script would refuse everything else that was changed."""
    place.configure("[worker]", "[handler:gone]\ntopic = a\ncommand = ./gone.sh\n[worker]")
    place.hup()

    place.daemon.wait_for("config.reloaded")
    place.daemon.wait_for("handler.suspended", "handler=gone")


def test_a_name_that_a_command_and_an_app_declare_is_told_by_the_reload(place: Place):
    """In the words of `check`, not as an end without reason."""
    place.configure("[worker]", "[handler:twice]\ntopic = a\ncommand = /bin/true\n[worker]")
    place.program("@task(name='handler:twice')", "def twice(): pass")
    place.hup()

    assert "declared at" in place.daemon.wait_for("config.refused", "handler:twice")
