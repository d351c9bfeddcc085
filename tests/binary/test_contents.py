"""What is inside the executable, and what an app may add to it."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.conftest import New
from tests.program import ROOT

from .conftest import Ask

LARGEST = 25 * 1024 * 1024
# no screen, no installer: docs/deploy.md says so
LEFT_OUT = {"_tkinter", "tkinter", "turtle", "turtledemo", "idlelib", "ensurepip"}
# importing these says something, opens something, or ends in an error on purpose
UNWISE = {"antigravity", "this", "__main__"}
SUBMODULES = [
    "email.mime.text", "xml.etree.ElementTree", "concurrent.futures.process", "logging.handlers",
    "unittest.mock", "importlib.metadata", "multiprocessing.shared_memory", "encodings.idna",
    "encodings.cp1252", "json.tool", "urllib.robotparser", "pymongo.asynchronous.mongo_client", "gridfs",
    "cryptography.hazmat.primitives.asymmetric.ed25519",
    "flask.testing", "werkzeug.middleware.proxy_fix", "jinja2.sandbox", "re2",
]  # fmt: skip


def _has(name: str) -> bool:
    """Whether the Python that runs this test, the building one, has the module."""
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def _write(folder: Path, *path: Path | str, apps: str = "everything") -> Path:
    config = folder / "monqbus.ini"
    folders = ", ".join(str(one) for one in (Path(__file__).parent / "apps", *path))
    config.write_text(f"[monqbus]\napps = {apps}\npath = {folders}\n")
    return config


def test_it_is_one_stripped_file_of_reasonable_size(binary: Path):
    """Twenty-five mebibytes at most."""
    assert binary.stat().st_size <= LARGEST


def test_an_app_may_import_the_whole_standard_library(ask: Ask, tmp_path: Path):
    """Every module that the building Python has, and submodules that no list names."""
    modules = {name for name in sys.stdlib_module_names if _has(name)} - LEFT_OUT - UNWISE
    environ = {**os.environ, "MODULES": " ".join([*sorted(modules), *SUBMODULES])}

    done = ask("check", "--config", str(_write(tmp_path)), environ=environ)

    assert len(modules) > 250
    assert "task     everything.found" in done.stdout, done.stderr
    assert 0 == done.returncode


def test_what_the_package_brings_along_is_inside(binary: Path):
    """Every file of bus that is not code: pages, styles, markers."""
    files = [
        path for path in (ROOT / "bus").rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")
    ]
    listed = subprocess.run(
        [ROOT / "build/venv/bin/pyi-archive_viewer", "--list", binary],
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    for path in files:
        assert f"'{path.relative_to(ROOT)}'" in listed


def test_the_lock_is_what_was_built_with():
    """`binary.lock` names every package of the building environment with its version, and none more."""
    freeze = [ROOT / "build/venv/bin/python", "-m", "pip", "freeze", "--exclude-editable"]
    built = subprocess.run(freeze, capture_output=True, text=True, check=True).stdout.split("\n")
    locked = (ROOT / "binary.lock").read_text().splitlines()

    assert [line for line in locked if not line.startswith("#")] == [line for line in built if "==" in line]


def test_doctor_tells_how_old_a_system_may_be(ask: Ask, new_daemon: New, unpack_dir: Path):
    """What it says is what the linker's own tool finds in the unpacked files."""
    if (objdump := shutil.which("objdump")) is None:
        pytest.skip("objdump is not installed")
    new_daemon().start()
    (folder,) = unpack_dir.glob("_MEI*")
    libraries = [path for path in folder.rglob("*.so*") if path.is_file()]
    symbols = subprocess.run([objdump, "-T", *libraries], capture_output=True, text=True, check=True).stdout
    floor = max(tuple(map(int, version.split("."))) for version in re.findall(r"GLIBC_(\d+\.\d+)\b", symbols))
    done = ask("doctor", "--config", str(_write(unpack_dir, apps="")))

    assert f"the executable needs {'.'.join(map(str, floor))} or newer" in done.stdout
    assert re.search(r"^ok +monqbus +\S+, one executable, PyInstaller \d", done.stdout, re.MULTILINE)
    assert 0 == done.returncode, done.stdout


# virtual environments


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with a compiled package, made by the Python that built the executable."""
    folder = tmp_path_factory.mktemp("packages") / "venv"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    done = subprocess.run(
        [folder / "bin/pip", "install", "--quiet", "numpy"], capture_output=True, check=False
    )
    if done.returncode:
        reason = "numpy cannot be installed here"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return folder


@pytest.mark.parametrize("named", ["the environment", "its packages"])
def test_packages_of_a_virtual_environment_are_used(ask: Ask, environment: Path, tmp_path: Path, named: str):
    """Compiled ones too; `path` names the folder of the environment or its site-packages."""
    (packages,) = environment.glob("lib/python*/site-packages")
    config = _write(tmp_path, environment if named == "the environment" else packages)

    done = ask("check", "--config", str(config), environ={**os.environ, "MODULES": "numpy numpy.linalg"})

    assert "" == done.stderr
    assert 0 == done.returncode


def test_what_is_inside_wins_over_what_an_environment_has(ask: Ask, tmp_path: Path):
    """The libraries that the daemon runs on are not exchanged by a path."""
    folder = tmp_path / "site-packages"
    folder.mkdir()
    (folder / "flask.py").write_text("raise RuntimeError('another flask')\n")
    config = _write(tmp_path, folder)

    done = ask("check", "--config", str(config), environ={**os.environ, "MODULES": "flask"})

    assert 0 == done.returncode, done.stderr


def test_an_environment_of_another_python_is_refused(ask: Ask, environment: Path, tmp_path: Path):
    """Exit 78; the line names both versions and the remedy."""
    other = tmp_path / "other"
    (other / "lib/python3.5/site-packages").mkdir(parents=True)
    cfg = (environment / "pyvenv.cfg").read_text()
    (other / "pyvenv.cfg").write_text(re.sub(r"(?m)^version = .*$", "version = 3.5.2", cfg))

    done = ask("check", "--config", str(_write(tmp_path, other)))
    ours = f"{sys.version_info.major}.{sys.version_info.minor}"

    assert 78 == done.returncode
    assert f"monqbus.ini:3: [monqbus] path: expected packages for Python {ours}, got " in done.stderr
    assert "for Python 3.5; make that environment anew" in done.stderr
