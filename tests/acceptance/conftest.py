"""Daemons for each kind of store, ended whatever happens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.mongod import Deployment

from .daemons import Daemon, until

CONFIG = """\
[monqbus]
data_dir = ./data
store = {store}
apps = accepted
path = {apps}
[worker]
drain = 2s
lease = 10s
[http]
listen = 127.0.0.1:0
[hook:github]
verify = github
secret = env:HOOK_SECRET
topic = github.{{event}}
[hook:open]
verify = none
topic = open.{{header:X-Kind}}
"""
SECRET = "It's a Secret to Everybody"

New = Callable[..., Daemon]


@pytest.fixture(params=["sqlite", "standalone"])
def address(request: pytest.FixtureRequest) -> str:
    """The address of an empty store of each kind."""
    if request.param == "sqlite":
        return "sqlite"
    deployment: Deployment = request.getfixturevalue("standalone")
    return deployment.address(f"accepted_{uuid4().hex[:8]}")


@pytest.fixture
def new_daemon(tmp_path: Path) -> Iterator[New]:
    """Makes daemons in one folder; *store* is a store address, *text* replaces the config."""
    made: list[Daemon] = []

    def new(store: str = "sqlite", *, text: str = CONFIG, name: str = "monqbus") -> Daemon:
        config = tmp_path / f"{name}.ini"
        config.write_text(text.format(store=store, apps=Path(__file__).parent / "apps"))
        daemon = Daemon(config, HOOK_SECRET=SECRET, RAN=str(tmp_path / "ran.txt"), PLACE=str(tmp_path))
        made.append(daemon)
        return daemon

    yield new
    for daemon in made:
        if daemon.process is not None and daemon.process.poll() is None:
            daemon.kill()


Ran = Callable[..., list[str]]


@pytest.fixture
def ran(tmp_path: Path) -> Ran:
    """The lines that handlers have written; `ran(n)` waits until there are that many."""
    path = tmp_path / "ran.txt"

    def lines(at_least: int = 0) -> list[str]:
        return until(lambda: path.read_text().splitlines() if path.exists() else [], at_least)

    return lines
