"""Runs commands in this process as if each test had one of its own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bus.apps import registry
from bus.apps.registry import Registry
from bus.cli import entry

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
