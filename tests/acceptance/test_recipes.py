"""The recipes of docs/applications.md, as they stand there, with the frameworks as they are published."""

from __future__ import annotations

import http.client
import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import markdown
from tests.program import PROGRAM, ROOT

from .daemons import PATIENCE, Daemon, until

PAGE = markdown.DOCS / "applications.md"
LISTENS = re.compile(r"http://127\.0\.0\.1:(\d+)")

Run = Callable[..., str]


def recipes(title: str) -> dict[str, str]:
    """The files of the section *title*, by their names; one that comes again has a number behind it."""
    section = PAGE.read_text().partition(f"\n### {title}\n")[2].partition("\n### ")[0].partition("\n## ")[0]
    found: dict[str, str] = {}
    for block in re.findall(r"^```python\n(.*?)^```$", section, re.MULTILINE | re.DOTALL):
        name = block.splitlines()[0].removeprefix("# ")
        found[f"{name} {len(found)}" if name in found else name] = block
    return found


def framework(*names: str) -> None:
    """Skip the asking test, or fail it under CI, where one is not installed."""
    for name in names:
        if importlib.util.find_spec(name) is None:
            reason = f"{name} is not installed: make .venv/.ready-for-tests"
            if os.environ.get("CI"):
                pytest.fail(reason)
            pytest.skip(reason)


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """What `monqbus init` writes; its daemon does not run yet."""
    subprocess.run([*PROGRAM, "init", "."], cwd=tmp_path, check=True, capture_output=True)
    config = tmp_path / "monqbus.ini"
    config.write_text(config.read_text().replace(";listen = 127.0.0.1:8080", "listen = 127.0.0.1:0"))
    daemon = Daemon(config, PYTHONPATH=f"apps:{ROOT}")
    yield daemon
    if daemon.process is not None and daemon.process.poll() is None:
        daemon.kill()


@pytest.fixture
def run(daemon: Daemon) -> Run:
    """Runs Python with these words in the folder; what it prints. It must end well."""

    def run(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, *words], capture_output=True, text=True, timeout=2 * PATIENCE,
            cwd=daemon.config.parent, env=daemon.environ, check=False,
        )  # fmt: skip
        assert 0 == done.returncode, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.fixture
def serve(daemon: Daemon) -> Iterator[Callable[..., Callable[[str], tuple[int, Any]]]]:
    """Starts a server with these words; returns what posts to a path of it: status and JSON."""
    started: list[subprocess.Popen[bytes]] = []

    def serve(*words: str) -> Callable[[str], tuple[int, Any]]:
        log = daemon.config.parent / "web.log"
        with log.open("wb") as out:
            started.append(
                subprocess.Popen(
                    [sys.executable, *words],
                    cwd=daemon.config.parent,
                    env=daemon.environ,
                    stdout=out,
                    stderr=out,
                )
            )
        port = int(until(lambda: LISTENS.findall(log.read_text()), 1)[0])

        def ask(path: str) -> tuple[int, Any]:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
            try:
                connection.request("POST", path)
                answer = connection.getresponse()
                body = answer.read()
                is_json = answer.headers.get_content_type() == "application/json"
                return answer.status, json.loads(body) if is_json else body
            finally:
                connection.close()

        return ask

    yield serve
    for process in started:
        process.terminate()
        process.wait(PATIENCE)


def write(daemon: Daemon, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = daemon.config.parent / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


def counted(daemon: Daemon, number: int) -> list[str]:
    """As `counted_letters`; the daemon comes only now."""
    daemon.start()
    return counted_letters(daemon, number)


def counted_letters(daemon: Daemon, number: int) -> list[str]:
    """The names whose letters were counted, once that are *number*."""
    printed = re.compile(r"task\.printed .*'(\w+)' has \d+ letters")
    until(lambda: [line for line in daemon.lines if "task.finished" in line], number)
    return sorted(found[1] for line in daemon.lines if (found := printed.search(line)))


def test_every_recipe_is_run_by_a_test_of_this_file() -> None:
    """A section that is added needs one."""
    section = PAGE.read_text().partition("\n## Recipes\n")[2].partition("\n## ")[0]

    assert ["Flask", "Django", "FastAPI and Starlette", "A script", "Jupyter"] == re.findall(
        r"^### (.+)$", section, re.MULTILINE
    )


def blocks_below(page: Path, title: str) -> list[str]:
    """The Python of one chapter of *page*."""
    chapter = page.read_text().partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    return re.findall(r"^```python\n(.*?)^```$", chapter, re.MULTILINE | re.DOTALL)


def test_what_the_readme_says_of_web_applications_is_so(daemon: Daemon, run: Run) -> None:
    """Its block and its command line, while no daemon runs."""
    (block,) = blocks_below(ROOT / "README.md", "Posting from a web application")
    run("-c", block)
    write(daemon, {"names.jsonl": '["Joan"]\n["Edith"]\n'})
    said = daemon.monqbus("post", "hello.count_letters", "--from", "names.jsonl")

    assert "posted 2\n" == said.stdout
    assert ["Ada", "Edith", "Grace", "Joan", "monqbus"] == counted(daemon, 5)


def test_the_program_for_asyncio_posts_and_joins(daemon: Daemon, run: Run) -> None:
    """As the page shows it."""
    (block,) = blocks_below(PAGE, "From asyncio")
    daemon.start()

    assert "7\n" == run("-c", block)
    assert ["monqbus"] == counted_letters(daemon, 1)


FLASK = """
import web
client = web.app.test_client()
@web.app.post("/fails/<name>")
@web.monqbus.hold()
def fails(name):
    web.count_letters.post(name)
    raise ValueError("no")
print([client.post(path).status_code for path in ("/names/Ada", "/pairs/Grace/Joan", "/fails/never")])
"""
HELD = """
import flask, held, web
client = web.app.test_client()
@web.app.post("/fails/<name>")
def fails(name):
    web.count_letters.post(name)
    raise ValueError("no")
@web.app.post("/refuses/<name>")
def refuses(name):
    web.count_letters.post(name)
    flask.abort(409)
print([client.post(path).status_code for path in ("/names/Mary", "/fails/never", "/refuses/Edith")])
"""


def test_flask_posts_what_a_view_has_posted_unless_it_raises(daemon: Daemon, run: Run) -> None:
    """One by one, in a block, and from the beginning of a request to its teardown."""
    framework("flask")
    write(daemon, recipes("Flask"))

    assert "[202, 202, 500]\n" == run("-c", FLASK)
    assert "[202, 500, 409]\n" == run("-c", HELD)
    assert ["Ada", "Edith", "Grace", "Joan", "Mary"] == counted(daemon, 5)


def test_flask_answers_over_http(daemon: Daemon, serve: Any) -> None:
    """In its own server."""
    framework("flask")
    write(daemon, recipes("Flask"))
    status, answer = serve("-m", "flask", "--app", "web", "run", "--port", "0")("/names/Ada")

    assert (202, 24) == (status, len(answer["task"]))
    assert ["Ada"] == counted(daemon, 1)


MODELS = """\
from django.db import models

class Order(models.Model):
    name = models.TextField()
"""
URLS = """\
from django.urls import path
from orders import views

urlpatterns = [path("orders/<name>", views.add)]
"""
DJANGO = """
import django, os
os.environ["DJANGO_SETTINGS_MODULE"] = "shop.settings"
django.setup()
from django.conf import settings
settings.ALLOWED_HOSTS, settings.MIDDLEWARE = ["testserver"], []
from django.db import transaction
from django.test import Client
from orders.models import Order
from orders.views import add
print(Client().post("/orders/Ada").json())
try:
    with transaction.atomic():
        Client().post("/orders/never")
        raise KeyError
except KeyError:
    print([order.name for order in Order.objects.all()])
"""


def test_django_posts_what_is_committed_and_its_tests_post_into_memory(daemon: Daemon, run: Run) -> None:
    """In a project and an app that its own commands have made."""
    framework("django")
    run("-m", "django", "startproject", "shop", ".")
    run("manage.py", "startapp", "orders")
    files = recipes("Django")
    settings = daemon.config.parent / "shop" / "settings.py"
    files["shop/settings.py"] = settings.read_text() + files["shop/settings.py"]
    write(daemon, {**files, "orders/models.py": MODELS, "shop/urls.py": URLS})
    run("manage.py", "makemigrations", "orders")
    run("manage.py", "test", "--settings", "shop.test_settings")
    run("manage.py", "migrate")

    assert "{'order': 1}\n['Ada']\n" == run("-c", DJANGO)
    assert ["Ada"] == counted(daemon, 1)


@pytest.mark.parametrize(("name", "package"), [("web.py", "fastapi"), ("web.py 1", "starlette")])
def test_fastapi_and_starlette_post_from_their_loop(
    daemon: Daemon, serve: Any, name: str, package: str
) -> None:
    """Connected by the lifespan of the application, in a real server."""
    framework(package, "uvicorn")
    files = recipes("FastAPI and Starlette")
    assert package in files[name]
    write(daemon, {"web.py": files[name]})
    ask = serve("-m", "uvicorn", "web:app", "--port", "0")
    answers = [ask(f"/names/{who}") for who in ("Ada", "Grace")]

    assert [(202, 24), (202, 24)] == [(status, len(answer["task"])) for status, answer in answers]
    assert ["Ada", "Grace"] == counted(daemon, 2)


def test_a_script_posts_all_of_its_words(daemon: Daemon, run: Run) -> None:
    """As a command of a shell or of cron."""
    write(daemon, recipes("A script"))
    run("add_names.py", "Ada", "Grace", "Joan")

    assert ["Ada", "Grace", "Joan"] == counted(daemon, 3)


KERNEL = """
import json, sys
from jupyter_client.manager import start_new_kernel
manager, client = start_new_kernel(kernel_name="python3")
said = []

def hear(message):
    content = message["content"]
    if message["msg_type"] == "execute_result":
        said.append(content["data"]["text/plain"])
    elif message["msg_type"] == "error":
        said.append(content["ename"] + ": " + content["evalue"])

try:
    for cell in json.loads(sys.argv[1]):
        client.execute_interactive(cell, timeout=30, output_hook=hear)
finally:
    client.stop_channels()
    manager.shutdown_kernel(now=True)
print(json.dumps(said))
"""


def test_cells_of_a_notebook_post_and_join(daemon: Daemon, run: Run) -> None:
    """In a kernel as a notebook starts one; a task of the notebook itself is refused with the remedy."""
    framework("ipykernel", "jupyter_client")
    daemon.environ["IPYTHONDIR"] = daemon.environ["HOME"] = str(daemon.config.parent / "home")
    cells = recipes("Jupyter")
    own = "@monqbus.task\ndef here(): pass\nhere.post()"
    daemon.start()
    said = json.loads(run("-c", KERNEL, json.dumps([cells["cell 1"], cells["cell 2"], own])))

    assert "7" == said[0]
    assert said[-1].startswith("BadDeclaration: task __main__.here: expected one of an app")
    until(lambda: [line for line in daemon.lines if "'monqbus' has 7 letters" in line], 1)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda text: None, "monqbus.ini: expected a configuration file, got nothing"),
        (lambda text: text.replace("apps = hello", "apsp = hello"), "did you mean apps?"),
        (lambda text: text.replace("[worker]", "[worker]\ngreenlets = many"), "greenlets: expected"),
    ],
    ids=["missing", "misspelled", "mistaken"],
)
def test_connect_says_at_once_what_is_wrong_with_the_configuration(
    daemon: Daemon, run: Run, spoil: Callable[[str], str | None], says: str
) -> None:
    """And not the first post of a request."""
    text = spoil(daemon.config.read_text())
    if text is None:
        daemon.config.unlink()
    else:
        daemon.config.write_text(text)
    said = run(
        "-c", "import monqbus\ntry:\n monqbus.connect('monqbus.ini')\nexcept Exception as error:\n"
        " print(type(error).__name__, error)",
    )  # fmt: skip

    assert said.startswith("ConfigError ")
    assert says in said


def test_a_post_before_connect_names_the_remedy(run: Run) -> None:
    """In each of its forms, also in a block and for asyncio."""
    said = run(
        "-c", "import asyncio, monqbus\nfrom hello import count_letters as task\n"
        "def held():\n with monqbus.hold():\n  task.post('a')\n"
        "for call in (lambda: task.post('a'), lambda: task.post_many([('a',)]), held,\n"
        "    lambda: monqbus.post_event('a.b'), lambda: asyncio.run(task.post_async('a'))):\n"
        " try:\n  call()\n"
        " except monqbus.NotBound as error:\n  print(error)",
    )  # fmt: skip

    assert 5 == said.count("call monqbus.connect('monqbus.ini') once at start")
