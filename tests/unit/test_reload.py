"""A reload refuses apps that never finish importing, without importing them itself, and always answers."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bus import telemetry
from bus.daemon import reload
from bus.daemon.reload import Reloader

CONFIG = "[monqbus]\napps = endless\npath = ."


@pytest.fixture
def told(request: pytest.FixtureRequest) -> list[tuple[str, str]]:
    """The facts of this test, each with its error."""
    facts: list[tuple[str, str]] = []

    def listener(fact: str, fields: Mapping[str, Any]) -> None:
        facts.append((fact, str(fields.get("error"))))

    request.addfinalizer(telemetry.listen(listener))
    return facts


def test_apps_that_never_finish_are_given_up_and_their_process_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: list[tuple[str, str]]
):
    """An endless loop at the top of a module runs in a process that is thrown away, for a while."""
    monkeypatch.setattr(reload, "REHEARSAL_SECONDS", 6.0)
    (tmp_path / "monqbus.ini").write_text(CONFIG)
    pid = "import os\nopen('pid', 'w').write(str(os.getpid()))\n"
    (tmp_path / "endless.py").write_text(f"{pid}while True: pass\n")
    monkeypatch.chdir(tmp_path)
    taken: list[object] = []
    reloader = Reloader(tmp_path / "monqbus.ini", os.environ, taken.append)

    reloader.tick()
    assert not told, "nobody has asked"
    reloader.ask()
    reloader.tick()

    *_, (fact, error) = told
    assert ("config.refused", []) == (fact, taken)
    assert "apps endless: expected to be imported within 6 s, still not" in error
    assert not Path("/proc", (tmp_path / "pid").read_text()).exists()


@pytest.mark.parametrize(
    "fault", [KeyError("http"), RecursionError(), AssertionError(), SystemExit(3)], ids=repr
)
@pytest.mark.parametrize("step", ["load", "from_config.load", "take_over"])
def test_whatever_goes_wrong_a_reload_is_answered(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    told: list[tuple[str, str]],
    step: str,
    fault: BaseException,
):
    """The service manager was told RELOADING, and waits for READY, which both answers bring."""

    def fail(*_: Any, **__: Any) -> None:
        raise fault

    (tmp_path / "monqbus.ini").write_text("[monqbus]\n")
    if step != "take_over":
        monkeypatch.setattr(f"bus.daemon.reload.{step}", fail)
    reloader = Reloader(tmp_path / "monqbus.ini", os.environ, fail if step == "take_over" else lambda _: None)
    reloader.ask()

    reloader.tick()

    assert ["config.reloading", "config.refused"] == [fact for fact, _ in told]
    assert str(fault) == told[-1][1]
