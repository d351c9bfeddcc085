"""Servers that connect first and fork their workers then: each of them posts for itself."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import gevent
import pytest

from .conftest import New
from .daemons import PATIENCE, ROOT, until

POSTS = 30

WEB = """\
import json, os, sys
sys.path[:0] = [{root!r}, {apps!r}]
import monqbus
from accepted import add

monqbus.connect({config!r})
first = add.post(1, 1)
master = os.getpid()

def application(environ, start_response):
    said = []
    for number in range({posts}):
        mine = [os.getpid(), int(environ["QUERY_STRING"]) * 1000 + number]
        task = add.post(mine, ["sum"])
        said.append([mine, task.args[0], str(task.id), task.task_name])
    sums = [task.join(20), first.join(20)]
    body = json.dumps([os.getpid(), os.getppid(), master, said, sums]).encode()
    start_response("200 OK", [("Content-Length", str(len(body))), ("Connection", "close")])
    return [body]
"""
RAW_FORK = """\
import ctypes, json, os, sys
sys.path[:0] = [{root!r}, {apps!r}]
import monqbus
from accepted import add

monqbus.connect({config!r})
add.post(1, 1)
libc = ctypes.PyDLL(None)
pipes, tasks = [], []
for number in range(4):
    heard, mouth = os.pipe()
    if libc.fork() == 0:
        said = [[number, add.post(number, place).args] for place in range({posts})]
        os.write(mouth, json.dumps(said).encode())
        os._exit(0)
    os.close(mouth)
    pipes.append(heard)
print(json.dumps([json.loads(open(pipe, "rb").read()) for pipe in pipes]))
"""
GUNICORN = ["gunicorn", "--preload", "--bind", "127.0.0.1:0", "web", "--workers"]
SERVERS = {
    "sync": [*GUNICORN, "4"],
    "threads": [*GUNICORN, "2", "--threads", "4"],
    "gevent": [*GUNICORN, "2", "--worker-class", "gevent"],
    "uwsgi": [
        "uwsgi",
        "--master",
        "--processes",
        "4",
        "--http-socket",
        "127.0.0.1:0",
        "--need-app",
        "-w",
        "web",
    ],
}
LISTENS = re.compile(r"127\.0\.0\.1:(\d+)")
STARTED = {"gunicorn": "Listening at", "uwsgi": "spawned uWSGI worker"}

Serve = Callable[..., Callable[[str], list[object]]]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Starts a server on an app of this folder; returns what asks it, and gets JSON."""
    servers: list[subprocess.Popen[bytes]] = []

    def start(words: list[str], environ: dict[str, str]) -> Callable[[str], list[object]]:
        program = shutil.which(words[0], path=sysconfig.get_path("scripts"))
        if program is None:
            pytest.skip(f"{words[0]} is not installed for this platform")
        log = tmp_path / "web.log"
        with log.open("wb") as out:
            home = {**environ, "HOME": str(tmp_path)}  # gunicorn keeps a socket there
            command = [program, *words[1:]]
            servers.append(subprocess.Popen(command, cwd=tmp_path, env=home, stdout=out, stderr=out))
        said = STARTED[words[0]]
        until(lambda: [line for line in log.read_text().splitlines() if said in line], 1)
        port = int(LISTENS.findall(log.read_text())[-1])

        def ask(query: str) -> list[object]:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
            try:
                connection.request("GET", f"/?{query}")
                answer = connection.getresponse()
                body = answer.read()
                assert answer.status == 200, log.read_text()
                return json.loads(body)
            finally:
                connection.close()

        return ask

    yield start
    for server in servers:
        server.send_signal(signal.SIGINT)
        try:
            server.wait(PATIENCE)
        finally:
            server.kill()


@pytest.mark.parametrize("server", SERVERS)
def test_workers_that_a_server_forks_after_connect_post_for_themselves(
    server, address, new_daemon: New, serve: Serve, tmp_path: Path
):
    """What a post returns is what was posted, in every process and thread; each of them is stored once."""
    if server == "gevent" and address != "sqlite":
        pytest.skip("gevent cannot patch a process in which PyMongo has connected already")
    daemon = new_daemon(address).start()
    (tmp_path / "web.py").write_text(program(WEB, daemon.config))
    ask = serve(SERVERS[server], daemon.environ)
    answers: list[list[object]] = []
    with gevent.Timeout(PATIENCE * 2), ThreadPoolExecutor(8) as pool:
        while len({pid for pid, *_ in answers}) < 2:  # the kernel deals connections out as it likes
            answers += pool.map(ask, map(str, range(16)))

    assert all(parent == master != pid for pid, parent, master, *_ in answers)
    for *_, said, sums in answers:
        assert [[mine, mine, "accepted.add"] for mine, *_ in said] == [
            [mine, args, name] for mine, args, _, name in said
        ]
        assert [[*said[-1][0], "sum"], 2] == sums
    ids = {task for *_, said, _ in answers for _, _, task, _ in said}
    assert len(answers) * POSTS == len(ids)
    counted = daemon.monqbus("count", "--json").stdout
    assert len(answers) * POSTS + 1 == json.loads(counted)["total"]


def test_a_process_that_was_forked_without_python_posts_for_itself(address, new_daemon: New):
    """A library in C may fork: nothing of Python hears of it, but the number of the process is another."""
    daemon = new_daemon(address).start()
    done = subprocess.run(
        [sys.executable, "-c", program(RAW_FORK, daemon.config)],
        capture_output=True, text=True, timeout=60, env=daemon.environ, check=False,
    )  # fmt: skip

    assert "" == done.stderr
    expected = [[[number, [number, place]] for place in range(POSTS)] for number in range(4)]
    assert expected == json.loads(done.stdout)


def program(text: str, config: Path) -> str:
    apps = ROOT / "tests" / "acceptance" / "apps"
    return text.format(root=str(ROOT), apps=str(apps), config=str(config), posts=POSTS)
