"""The tutorial: its own blocks, typed one after another, give what the page shows."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import markdown
from tests.program import PROGRAM

from .daemons import Daemon

PAGE = markdown.DOCS / "tutorial.md"
CHAPTER = "A place of your own"
_VARIES = re.compile(r"[0-9a-f]{24}|\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ")


def _chapter(language: str) -> list[str]:
    """The blocks of the chapter in *language*."""
    text = PAGE.read_text().partition(f"\n## {CHAPTER}\n")[2].partition("\n## ")[0]
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def _typed() -> list[tuple[str, str]]:
    """Each line that the reader types, and what the page shows below it."""
    parts = re.split(r"^\$ ", "".join(_chapter("console")), flags=re.MULTILINE)[1:]
    return [(line, shown) for line, _, shown in (part.partition("\n") for part in parts)]


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Daemon]:
    """What a reader has after the first half of the chapter, with the daemon on a free port."""
    subprocess.run([*PROGRAM, "init", "shop"], cwd=tmp_path, check=True, capture_output=True)
    place = tmp_path / "shop"
    (place / "apps" / "orders.py").write_text(_chapter("python")[0])
    config = place / "monqbus.ini"
    before, after = "apps = hello\n", re.findall(r"^apps = .*\n", _chapter("ini")[0], re.MULTILINE)[0]
    text = config.read_text()
    assert 1 == text.count(before)
    config.write_text(text.replace(before, after).replace(";listen = 127.0.0.1:8080", "listen = 127.0.0.1:0"))
    daemon = Daemon(config)
    try:
        yield daemon.start()
    finally:
        daemon.kill()


def test_the_tutorial_gives_what_it_shows(shop: Daemon):
    """A failure, its repair by HUP, its retry: every answer, but for ids and times, is that of the page."""
    ids: dict[str, str] = {}
    orders = shop.config.parent / "apps" / "orders.py"
    shown_all, given_all, told = [], [], ""
    for line, shown in _typed():
        if line.startswith("kill -HUP"):
            orders.write_text(orders.read_text().replace('== "Atlantis"', '== ""'))
            shop.signal(signal.SIGHUP)
            shop.wait_for("config.reloaded")
        elif line != "monqbus run":
            if "--state error" in line:
                shop.wait_for("task.gave_up")
            words = [ids.get(word, word) for word in shlex.split(line)[1:]]
            given = shop.monqbus(*words).stdout
            if words[0] == "show":
                told = given
                continue
            ids |= zip(_VARIES.findall(shown), _VARIES.findall(given), strict=True)
            shown_all.append(_VARIES.sub("…", shown))
            given_all.append(_VARIES.sub("…", given))
    shop.wait_for("task.finished", "orders.ship", times=2)

    assert len(shown_all) >= 5
    assert shown_all == given_all
    assert "Traceback" in told
    assert "no road to Atlantis" in told
