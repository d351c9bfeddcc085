"""Runs commands in this process as if each test had one of its own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from bus.apps import registry
from bus.apps.registry import Registry
from bus.cli import entry
from tests.acceptance.daemons import Daemon
from tests.mongod import Deployment

from .console import Command, Said, write_place


@pytest.fixture
def strange_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The commands of a test declare and import as if in a process of its own."""
    monkeypatch.delenv("MONQBUS_CONFIG", raising=False)
    monkeypatch.setattr(registry, "_registry", Registry())
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield
    sys.modules.pop("cliapp", None)


@pytest.fixture
def run(strange_process: None, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs a command in this process."""

    def command(*words: str | Path) -> Said:
        capsys.readouterr()
        try:
            code = entry.main([str(word) for word in words])
        except SystemExit as stop:
            code = int(stop.code or 0)
        return Said(code, *capsys.readouterr())

    return command


@pytest.fixture
def alone(run: Command, tmp_path: Path) -> Command:
    """Runs a command on an embedded store that no daemon has."""
    config = write_place(tmp_path)
    return lambda *words: run(*words, "--config", config)


@pytest.fixture(scope="module", params=["sqlite", "standalone"])
def store_address(request: pytest.FixtureRequest) -> str:
    """Each kind of store in turn, as a config names it; new for each file."""
    if request.param == "sqlite":
        return "sqlite"
    deployment: Deployment = request.getfixturevalue("standalone")
    return deployment.address(f"cli_{uuid4().hex[:8]}")


@pytest.fixture(scope="module")
def daemon(store_address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A running daemon on each kind of store, for all tests of a file."""
    running = Daemon(write_place(tmp_path_factory.mktemp("place"), store_address))
    try:
        yield running.start()
    finally:
        running.kill()


@pytest.fixture
def beside(daemon: Daemon, run: Command) -> Command:
    """Runs a command beside the daemon, whose store is empty."""

    def command(*words: str | Path) -> Said:
        return run(*words, "--config", daemon.config)

    command("cancel", "--all")
    command("purge", "--all")
    return command
