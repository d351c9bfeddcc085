"""Recipes of the documents, typed as they stand against a real daemon."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import markdown
from tests.program import BINARY, PROGRAM, ROOT

from .conftest import CONFIG, SECRET, New
from .daemons import Daemon, until

BILLING = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
STRIPE = "[hook:stripe]\nverify = stripe\nsecret = env:STRIPE_SECRET\ntopic = stripe.{{event}}\n"
HOOK = STRIPE + "[hook:billing]\nverify = standard\nsecret = env:BILLING_SECRET\ntopic = billing.{{event}}\n"
NO_PYTHON = pytest.mark.skipif(BINARY is not None, reason="the executable is no Python")
WAITS = """\
import asyncio
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import gevent
from monqbus import task


@task(max_attempts=1)
def in_a_loop(gate):
    asyncio.run(until(gate))


async def until(gate):
    print("the loop runs")
    while not Path(gate).exists():
        await asyncio.sleep(0.01)


@task(max_attempts=1)
def redirecting(gate):
    printed = StringIO()
    with redirect_stdout(printed):
        Path(gate + ".redirected").touch()
        while not Path(gate).exists():
            gevent.sleep(0.01)
    return printed.getvalue()


@task
def say(gate):
    print("said by another one")
    Path(gate).touch()
"""


def blocks(page: str, language: str, words: str = "") -> list[str]:
    """The blocks of *page* in *language* that have these *words*."""
    found = markdown.blocks(markdown.DOCS / page, language)
    return [block.text for block in found if words in block.text]


@pytest.fixture
def new_place(new_daemon: New, tmp_path: Path) -> Callable[..., Daemon]:
    """Makes a daemon whose apps are *modules*, by name and text."""

    def new(more: str = "", **modules: str) -> Daemon:
        for name, text in modules.items():
            (tmp_path / f"{name}.py").write_text(text)
        apps = CONFIG.replace("apps = accepted", f"apps = {', '.join(modules)}").replace("{apps}", ".")
        daemon = new_daemon(text=(apps if modules else CONFIG) + more)
        daemon.environ["BILLING_SECRET"] = BILLING
        return daemon

    return new


@pytest.mark.parametrize(
    ("words", "topic"),
    [
        ("X-Hub-Signature-256", "github.pull_request"),
        ("Stripe-Signature", "stripe.invoice.paid"),
        ("webhook-signature", "billing.invoice.paid"),
    ],
)
def test_a_delivery_signed_by_hand_is_taken(new_place: Callable[..., Daemon], words: str, topic: str):
    """By curl and openssl, as the page has them; with another secret it is not."""
    (recipe,) = blocks("webhooks.md", "sh", words)
    daemon = new_place(HOOK)
    daemon.environ["STRIPE_SECRET"] = BILLING
    daemon.start()
    host, port = daemon.address
    environ = {**daemon.environ, "GITHUB_WEBHOOK_SECRET": SECRET}
    forged = f"whsec_{BILLING[:5:-1]}"
    wrong = {
        **environ,
        "GITHUB_WEBHOOK_SECRET": SECRET[::-1],
        "STRIPE_SECRET": forged,
        "BILLING_SECRET": forged,
    }

    def answer_to(secrets: dict[str, str]) -> dict[str, object]:
        script = recipe.replace("127.0.0.1:8080", f"{host}:{port}")
        typed = subprocess.run(["sh", "-c", script], env=secrets, capture_output=True, text=True, check=True)
        answer: dict[str, object] = json.loads(typed.stdout)
        return answer

    taken = answer_to(environ)
    shown = json.loads(daemon.monqbus("events", "show", str(taken["event"]), "--json").stdout)

    assert ["event", "tasks"] == list(taken)
    assert topic == shown["topic"]
    assert "not_verified" == answer_to(wrong)["code"]


def test_the_line_for_cron_posts_one_task_of_a_night(new_place: Callable[..., Daemon], tmp_path: Path):
    """In cron's poor environment; again while the last one has not ended it posts nothing."""
    (table,) = blocks("applications.md", "crontab")
    (line,) = [line for line in table.splitlines() if "monqbus post" in line]
    fields = re.fullmatch(r"((?:[\d*/,-]+ ){5})monqbus (.*)", line)
    assert fields is not None
    daemon = new_place(reports="from monqbus import task\n\n@task\ndef nightly(): ...\n")
    command = fields[2].replace("/usr/local/bin/monqbus", shlex.join(PROGRAM))
    command = command.replace("/srv/monqbus/monqbus.ini", str(daemon.config))
    cron = {"PATH": "/usr/bin:/bin", "SHELL": "/bin/sh", "HOME": str(tmp_path), "HOOK_SECRET": SECRET}
    nights = [
        subprocess.run(["/bin/sh", "-c", command], env=cron, capture_output=True, text=True, check=True)
        for _ in range(2)
    ]
    daemon.start()
    daemon.wait_for("task.finished", "name=reports.nightly")
    listed = daemon.monqbus("list", "--name", "reports.nightly", "--json").stdout.splitlines()

    assert "%" not in fields[2]
    assert [("", "")] * 2 == [(night.stdout, night.stderr) for night in nights]
    assert ["complete"] == [json.loads(row)["state"] for row in listed]


def test_the_handlers_of_the_page_about_asyncio_run(new_place: Callable[..., Daemon]):
    """In a worker and in a native thread, many of the latter at once."""
    (many,), (one,) = blocks("asyncio.md", "python", "fetch_all"), blocks("asyncio.md", "python", "fetch_one")
    daemon = new_place(many=many, one=one).start()
    posted = [daemon.monqbus("post", "many.fetch_all", "--args", "[[1, 2, 3]]", "--wait", "20")]
    for number in range(5):
        daemon.monqbus("post", "one.fetch_one", "--args", f"[{number}]")
    daemon.wait_for("task.finished", "name=one.fetch_one", times=5)
    rows = daemon.monqbus("list", "--name", "one.fetch_one", "--json").stdout.splitlines()

    assert ["[2, 4, 6]"] == [answer.stdout.splitlines()[-1] for answer in posted]
    assert [0, 2, 4, 6, 8] == sorted(json.loads(row)["result"] for row in rows)


def test_two_loops_in_greenlets_are_what_the_page_warns_of(new_place: Callable[..., Daemon], tmp_path: Path):
    """The second one fails while the first one runs, with the error that the page quotes."""
    daemon = new_place(waits=WAITS).start()
    gate = tmp_path / "gate"
    for _ in range(2):
        daemon.monqbus("post", "waits.in_a_loop", "--args", json.dumps([str(gate)]))
        daemon.wait_for("task.printed", "the loop runs")
    failed = daemon.wait_for("task.gave_up", "waits.in_a_loop")
    gate.touch()
    daemon.wait_for("task.finished", "waits.in_a_loop")

    (quoted,) = re.findall(
        r"^    (RuntimeError: .*)$", (markdown.DOCS / "asyncio.md").read_text(), re.MULTILINE
    )
    assert quoted in failed


def test_redirected_output_belongs_to_the_process(new_place: Callable[..., Daemon], tmp_path: Path):
    """As the page about handlers says: what another one prints meanwhile goes there."""
    daemon = new_place(waits=WAITS).start()
    gate = tmp_path / "gate"
    args = json.dumps([str(gate)])
    waiting = daemon.monqbus("post", "waits.redirecting", "--args", args).stdout.strip()
    begun = Path(f"{gate}.redirected")
    until(lambda: ["it is"] if begun.exists() else [], 1)
    daemon.monqbus("post", "waits.say", "--args", args)
    daemon.wait_for("task.finished", waiting)
    shown = json.loads(daemon.monqbus("show", waiting, "--json").stdout)

    assert "said by another one\n" == shown["result"]


@NO_PYTHON
def test_an_asyncio_application_posts_from_a_thread(new_place: Callable[..., Daemon], tmp_path: Path):
    """The page's own program, beside a daemon that does not run."""
    (program,) = blocks("asyncio.md", "python", "to_thread")
    hello = "from monqbus import task\n\n@task\ndef count_letters(name): return len(name)\n"
    daemon = new_place(hello=hello)
    (tmp_path / "application.py").write_text(program)
    environ = {**os.environ, "PYTHONPATH": f"{ROOT}:{tmp_path}", "HOOK_SECRET": SECRET}
    printed = subprocess.run(
        [PROGRAM[0], "application.py"], cwd=tmp_path, env=environ, capture_output=True, text=True, check=True
    ).stdout.strip()
    daemon.start()

    assert "ms=" in daemon.wait_for("task.finished", f"task={printed}")
