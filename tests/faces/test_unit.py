"""The systemd units that `init` writes: systemd itself says what it thinks of them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bus.cli import entry
from bus.cli.systemd_unit import socket_unit, unit
from bus.config.settings import Http
from bus.config.value_types import Listen

PROGRAM = Path(sys.executable)
MOST_EXPOSED = 25  # tenths: systemd calls up to 4.0 OK, a service that says nothing has 9.6


def _written(folder: Path, directory: Path) -> Path:
    file = folder / "monqbus.service"
    file.write_text(unit(PROGRAM, directory, directory / "data"))
    (folder / "monqbus.socket").write_text(socket_unit(directory, Http().listen))
    return file


def _settings(file: Path) -> dict[str, str]:
    lines = [line for line in file.read_text().splitlines() if line and line[0].isalpha()]
    return dict(line.split("=", 1) for line in lines)


def _analyze(*words: str) -> subprocess.CompletedProcess[str]:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    return subprocess.run(["systemd-analyze", *words], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", ["shop", "my shop", "100% shop", 'the "shop"', "$5 shop", "it's"])
def test_systemd_understands_every_line(tmp_path: Path, name: str):
    """Also where the folder's name has signs that mean something in a unit file."""
    directory = tmp_path / name
    directory.mkdir()

    file = _written(tmp_path, directory)
    done = _analyze("verify", str(file), str(file.with_suffix(".socket")))

    assert ("", 0) == (done.stderr, done.returncode)


def test_systemd_calls_it_hardly_exposed(tmp_path: Path):
    """As strict as an unknown app allows."""
    file = _written(tmp_path, tmp_path)
    done = _analyze("security", "--offline=true", f"--threshold={MOST_EXPOSED}", str(file))
    if "unrecognized option" in done.stderr:
        pytest.skip("this systemd-analyze judges no files, only loaded units")

    assert 0 == done.returncode, done.stdout


def test_it_names_the_place_and_the_program(tmp_path: Path):
    """Run from its folder, with its config, writing to its data."""
    settings = _settings(_written(tmp_path, Path("/srv/shop")))

    assert f"{PROGRAM} run --config /srv/shop/monqbus.ini" == settings["ExecStart"]
    assert "/srv/shop" == settings["WorkingDirectory"]
    assert "/srv/shop/data" == settings["ReadWritePaths"]


def test_a_dollar_is_doubled_where_systemd_reads_variables_and_nowhere_else(tmp_path: Path):
    """Only in arguments of a command line; elsewhere two would be another path."""
    directory = Path("/srv/$shop")
    settings = _settings(_written(tmp_path, directory))

    assert f"{PROGRAM} run --config /srv/$$shop/monqbus.ini" == settings["ExecStart"]
    assert ("/srv/$shop", "/srv/$shop") == (settings["WorkingDirectory"], settings["RequiresMountsFor"])
    assert "/srv/$shop/data" == settings["ReadWritePaths"]
    assert "chown -R monqbus: '/srv/$shop'" in _written(tmp_path, directory).read_text()


@pytest.mark.parametrize(
    ("listen", "written"),
    [
        (("127.0.0.1", 8080), "127.0.0.1:8080"),
        (("::1", 8080), "[::1]:8080"),
        (Path("/run/http.sock"), "/run/http.sock"),
    ],
)
def test_the_socket_is_where_the_configuration_listens(listen: Listen, written: str):
    """And the service asks for it."""
    text = socket_unit(Path("/srv/shop"), [listen])

    assert f"\nListenStream={written}\n" in text
    assert "\nSockets=monqbus.socket\n" in unit(PROGRAM, Path("/srv/shop"), Path("/srv/shop/data"))


@pytest.mark.parametrize(("directory", "protected"), [("/srv/shop", "yes"), ("/home/ada/shop", "read-only")])
def test_a_place_in_a_home_folder_can_be_read(directory: str, protected: str):
    """ProtectHome=yes would hide the config from the daemon."""
    text = unit(Path("/usr/local/bin/monqbus"), Path(directory), Path(directory, "data"))

    assert f"\nProtectHome={protected}\n" in text


def test_what_may_pass_is_tried_again(tmp_path: Path):
    """Only what somebody has to change first is not: usage and configuration."""
    settings = _settings(_written(tmp_path, Path("/srv/shop")))

    assert f"{entry.EX_USAGE} {entry.EX_CONFIG}" == settings["RestartPreventExitStatus"]
    assert "always" == settings["Restart"]


def test_every_part_of_the_fence_is_explained(tmp_path: Path):
    """A paragraph of settings begins with a comment."""
    service = _written(tmp_path, tmp_path).read_text().partition("\n[Service]\n")[2].partition("[Install]")[0]

    for paragraph in re.split(r"\n\n", service.strip())[1:]:
        assert paragraph.startswith("# "), paragraph


def test_logrotate_takes_the_note_about_it(tmp_path: Path):
    """The lines between the braces, as they would be copied; it would rotate that file."""
    logrotate = shutil.which("logrotate", path="/usr/sbin:/usr/bin:/sbin:/bin")
    if logrotate is None:
        pytest.skip("logrotate is not installed")
    text = _written(tmp_path, tmp_path).read_text()
    noted = re.search(r"^#   /var/log/monqbus/\*\.log \{\n(?:#.*\n)*?#   \}\n", text, re.MULTILINE)
    assert noted is not None
    log = tmp_path / "monqbus.log"
    log.write_text("a line\n")
    rules = tmp_path / "rules"
    rules.write_text(re.sub("(?m)^#   ", "", noted[0]).replace("/var/log/monqbus/*.log", str(log)))
    rules.chmod(0o644)
    tmp_path.chmod(0o755)

    done = subprocess.run([logrotate, "--debug", rules], capture_output=True, text=True, check=False)

    assert 0 == done.returncode, done.stderr
    assert "error" not in done.stderr
    assert "Handling 1 logs" in done.stderr
