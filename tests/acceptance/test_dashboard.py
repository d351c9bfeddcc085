"""The pages come out of the daemon as it is installed, and out of the executable, with all of their files."""

from __future__ import annotations

import http.client
import re
from contextlib import ExitStack, closing
from pathlib import Path

from .conftest import SECRET
from .daemons import PATIENCE, Daemon
from .test_metrics import APP, CONFIG, admin_address


def connection(daemon: Daemon) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(*admin_address(daemon), timeout=PATIENCE)


def test_an_admin_sees_the_pages_and_hears_what_happens(tmp_path: Path) -> None:
    """In by the first start's link; a hint follows a delivery; the stop ends the hints."""
    (tmp_path / "apps").mkdir(mode=0o700)
    (tmp_path / "apps" / "metered.py").write_text(APP)
    config = tmp_path / "monqbus.ini"
    config.write_text(CONFIG.format(store="sqlite"))
    daemon = Daemon(config, HOOK_SECRET=SECRET)
    with ExitStack() as opened:
        opened.callback(daemon.kill)
        daemon.start()
        path = re.search(r"http://[\d.:]+(/link/[\w-]+)", daemon.wait_for("access.link"))
        assert path is not None
        host, port = admin_address(daemon)
        asking = opened.enter_context(closing(connection(daemon)))
        form = {"Origin": f"http://{host}:{port}", "Content-Type": "application/x-www-form-urlencoded"}
        asking.request("POST", path[1], "", form)
        entered = asking.getresponse()
        entered.read()
        cookie = {"Cookie": str(entered.headers["Set-Cookie"]).partition(";")[0]}
        pages = {}
        for place in ("/", "/tasks", "/handlers", "/config", "/assets/desk.css", "/assets/desk.js"):
            asking.request("GET", place, headers=cookie)
            answer = asking.getresponse()
            pages[place] = (answer.status, answer.read().decode())
        hearing = opened.enter_context(closing(connection(daemon)))
        hearing.request("GET", "/live", headers=cookie)
        hints = opened.enter_context(closing(hearing.getresponse()))
        first = hints.readline()
        daemon.monqbus("pause", "metered.good", "--reason", "to see it")
        hint = next(line for line in hints if line.startswith(b"event:"))
        code = daemon.stop()
        hints.read()

    assert {200} == {status for status, _ in pages.values()}
    assert "metered.good" in pages["/handlers"][1]
    assert SECRET not in pages["/config"][1]
    assert (b"retry: 3000\n", b"event: changed\n") == (first, hint)
    assert 0 == code
