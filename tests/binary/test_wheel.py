"""The wheel: `pip install` of it, in a place that knows nothing of the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from bus import __version__
from tests.program import ROOT

SOURCES = ("bus", "stubs", "monqbus.py", "setup.py", "README.md", "LICENSE", "pyproject.toml")

APP = """\
from monqbus import task

@task
def add(number: int) -> int:
    return number
"""


def _run(*words: str | Path, cwd: Path) -> str:
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(words, cwd=cwd, env=environ, capture_output=True, text=True, check=False)
    assert 0 == done.returncode, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy: building writes into the folder it builds."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        source = ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, folder / name)
    _run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", "out", ".", cwd=folder)
    (wheel,) = (folder / "out").iterdir()
    return wheel


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment of its own, with the wheel in it, in a folder without anything else."""
    folder = tmp_path_factory.mktemp("installed")
    _run(sys.executable, "-m", "venv", "venv", cwd=folder)
    _run(folder / "venv/bin/pip", "install", "--quiet", wheel, cwd=folder)
    return folder


def test_it_has_the_package_and_nothing_else(wheel: Path):
    """Every file of bus, the module, the licence; no tests, no examples."""
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    ours = {path.relative_to(ROOT) for path in (ROOT / "bus").rglob("*.*") if "__pycache__" not in path.parts}

    assert {str(path) for path in ours} | {"monqbus.py", "monqbus-stubs/__init__.pyi"} == names
    assert f"monqbus-{__version__}-py3-none-any.whl" == wheel.name
    assert any(name.endswith("LICENSE") for name in zipfile.ZipFile(wheel).namelist())


def test_its_command_and_its_module_work(installed: Path):
    """`monqbus version`, `import monqbus`, and a new place that checks."""
    command = installed / "venv/bin/monqbus"

    assert f"monqbus {__version__}" == _run(command, "version", cwd=installed)
    python = installed / "venv/bin/python"
    assert __version__ == _run(python, "-c", "import monqbus; print(monqbus.__version__)", cwd=installed)
    assert f"start it with: monqbus run --config {installed}/shop/monqbus.ini" in _run(
        command, "init", "shop", cwd=installed
    )
    assert _run(command, "check", "--config", "shop/monqbus.ini", cwd=installed).endswith("ok")
    assert f"ExecStart={command} run" in (installed / "shop" / "monqbus.service").read_text()


def test_type_checkers_see_its_types(installed: Path):
    """py.typed is there, and a program that uses a task wrongly is told so."""
    (installed / "good.py").write_text(
        "from monqbus import task\n\n@task\ndef add(a: int) -> int:\n    return a\n"
    )
    (installed / "bad.py").write_text((installed / "good.py").read_text() + "\nadd.post('text')\n")
    mypy = [sys.executable, "-m", "mypy", "--python-executable", installed / "venv/bin/python"]
    good = subprocess.run([*mypy, "good.py"], cwd=installed, capture_output=True, text=True, check=False)
    bad = subprocess.run([*mypy, "bad.py"], cwd=installed, capture_output=True, text=True, check=False)

    assert 0 == good.returncode, good.stdout
    assert 'Argument 1 to "post" of "Task" has incompatible type "str"' in bad.stdout
