"""Virtual environments in `path`: whose packages are used, and whose are refused."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bus.config.environment import OURS

from .inifile import problems, read

CONFIG = "[monqbus]\npath = ./venv\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each claim in a folder of its own."""
    monkeypatch.chdir(tmp_path)


def _environment(version: str, line: str) -> Path:
    packages = Path("venv", "lib", f"python{version}", "site-packages")
    packages.mkdir(parents=True)
    Path("venv", "pyvenv.cfg").write_text(f"home = /usr/bin\n{line}\n")
    return packages.absolute()


def test_the_folder_of_an_environment_stands_for_its_packages():
    """As `python -m venv` lays it out."""
    packages = _environment(OURS, f"version = {OURS}.1")

    assert (packages,) == read(CONFIG).monqbus.path


def test_other_folders_stay_as_they_are():
    """No pyvenv.cfg, no environment."""
    Path("venv").mkdir()

    assert (Path("venv").absolute(),) == read(CONFIG).monqbus.path


@pytest.mark.parametrize("line", ["version = 3.5.2", "version_info = 3.5.2.final.0", "version_info=3.5.2"])
@pytest.mark.parametrize("path", ["./venv", "./venv/lib/python3.5/site-packages"])
def test_an_environment_of_another_python_is_refused(line: str, path: str):
    """As venv, virtualenv and uv write their version; both versions are named, and the remedy."""
    _environment("3.5", line)

    (problem,) = problems(CONFIG.replace("./venv", path))

    assert problem.startswith(f"monqbus.ini:2: [monqbus] path: expected packages for Python {OURS}, got ")
    assert problem.endswith(f" for Python 3.5; make that environment anew with python{OURS} -m venv")


def test_packages_without_an_environment_are_known_by_their_folder():
    """lib/python3.5/site-packages says enough; a site-packages that says nothing is taken."""
    old = Path("lib/python3.5/site-packages")
    plain = Path("plain/site-packages")
    for packages in (old, plain):
        packages.mkdir(parents=True)

    assert "for Python 3.5" in problems(CONFIG.replace("./venv", str(old)))[0]
    assert (plain.absolute(),) == read(CONFIG.replace("./venv", str(plain))).monqbus.path
    assert f"{sys.version_info.major}.{sys.version_info.minor}" == OURS
