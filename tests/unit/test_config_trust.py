"""Who else can write what is run: refused, or a warning for its owner."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from bus.config import load
from bus.config.trust import ROOT
from bus.errors import ConfigError

from .inifile import read, write

pytestmark = pytest.mark.usefixtures("folder")

CONFIG = "[monqbus]\napps = shop.mail, hello\npath = ./apps\n"
ME = os.geteuid()
STRANGER = 60_123
FILES = ("apps/hello.py", "apps/beside.py", "apps/shop/__init__.py", "apps/shop/mail.py", "apps/shop/more.py")
FOLDERS = ("apps", "apps/shop")


@pytest.fixture(autouse=True)
def place(folder: Path) -> Path:
    """A configuration with its apps, as their owner would have them."""
    folder.chmod(0o755)
    (folder / "apps/shop").mkdir(parents=True)
    for name in FILES:
        (folder / name).touch()
    for name in (*FOLDERS, *FILES):
        (folder / name).chmod(0o755 if name in FOLDERS else 0o644)
    write("monqbus.ini", CONFIG.encode())
    return folder


def run_as(monkeypatch: pytest.MonkeyPatch, uid: int) -> None:
    """As if the user *uid* ran this."""
    monkeypatch.setattr(os, "geteuid", lambda: uid)


def give_all_to(place: Path, uid: int) -> None:
    """Only root can; everybody else has what it makes."""
    if ME == ROOT:
        for path in (place, *place.rglob("*")):
            os.chown(path, uid, -1)


def sentences(environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(Path("monqbus.ini"), environ or {})
    return list(caught.value.problems)


def test_what_only_its_owner_can_write_is_used_without_a_word():
    """By its owner, whoever that is."""
    assert () == load(Path("monqbus.ini"), {}).warnings


@pytest.mark.parametrize("name", ["monqbus.ini", ".", *FOLDERS, *FILES])
@pytest.mark.parametrize("mode", [0o002, 0o020])
def test_what_others_can_write_is_refused_when_another_user_runs_it(
    place: Path, monkeypatch: pytest.MonkeyPatch, name: str, mode: int
):
    """They would do what that user can do; root is such a user even where it is the owner."""
    path = place / name
    path.chmod(path.stat().st_mode | mode)
    if mode == 0o020:
        monkeypatch.setattr("bus.config.trust._is_private", lambda _: False)
    if ME != ROOT:
        run_as(monkeypatch, STRANGER)
        monkeypatch.setattr("bus.config.trust.ROOT", ME)  # the owner is as good as root, but for the mode

    (sentence,) = sentences()

    kind = "a folder" if path.is_dir() else "a file"
    assert f"expected {kind} that only its owner can write, got {path}" in sentence.replace(
        "got monqbus.ini", f"got {path}"
    )
    assert "run: chmod go-w" in sentence


@pytest.mark.parametrize("name", ["monqbus.ini", "apps", "apps/shop", "apps/hello.py", "apps/shop/mail.py"])
def test_what_others_can_write_is_a_warning_for_its_owner(
    place: Path, monkeypatch: pytest.MonkeyPatch, name: str
):
    """It is its own work that it exposes: told by `check` and at the start."""
    if ME == ROOT:
        give_all_to(place, STRANGER)
        run_as(monkeypatch, STRANGER)
    (place / name).chmod(0o777)

    (warning,) = [one for one in load(Path("monqbus.ini"), {}).warnings if "go-w" in one]
    assert "that only its owner can write" in warning


def test_a_strangers_configuration_is_not_read(place: Path, monkeypatch: pytest.MonkeyPatch):
    """A command in somebody's folder would import that somebody's apps."""
    if ME == ROOT:
        give_all_to(place, STRANGER)
    run_as(monkeypatch, STRANGER + 1)
    owner = f"user {STRANGER}" if ME == ROOT else pwd.getpwuid(ME).pw_name

    (sentence,) = sentences()

    assert f"got monqbus.ini of {owner}; run this as {owner}, or give it over with chown" in sentence


@pytest.mark.skipif(ME != ROOT, reason="only root can give files away")
@pytest.mark.parametrize(
    "name", ["apps", "apps/shop", "apps/hello.py", "apps/beside.py", "apps/shop/more.py"]
)
def test_apps_of_a_stranger_are_refused(place: Path, name: str):
    """Also a module beside the app: it is what the app imports."""
    os.chown(place / name, STRANGER, -1)

    (sentence,) = sentences()

    assert f"got {place / name} of user {STRANGER}; run this as user {STRANGER}" in sentence


@pytest.mark.skipif(ME != ROOT, reason="only root can give files away")
def test_what_is_roots_is_good_for_everybody(monkeypatch: pytest.MonkeyPatch):
    """The service's user runs what root has installed."""
    run_as(monkeypatch, STRANGER)

    assert () == load(Path("monqbus.ini"), {}).warnings


def test_a_file_of_mine_in_a_folder_like_tmp_is_mine(place: Path):
    """Others can add names there, and replace none."""
    place.chmod(0o1777)

    assert () == load(Path("monqbus.ini"), {}).warnings


def test_a_link_to_a_configuration_is_judged_by_where_it_leads(place: Path, monkeypatch: pytest.MonkeyPatch):
    """Who can replace what it leads to can replace the configuration."""
    (place / "open").mkdir()
    (place / "monqbus.ini").rename(place / "open/real.ini")
    (place / "monqbus.ini").symlink_to("open/real.ini")
    (place / "open").chmod(0o777)
    if ME != ROOT:
        run_as(monkeypatch, STRANGER)
        monkeypatch.setattr("bus.config.trust.ROOT", ME)

    (sentence,) = sentences()

    assert f"got {place / 'open'} with mode 0777" in sentence


def test_a_folder_like_tmp_is_nothing_to_import_from(place: Path, monkeypatch: pytest.MonkeyPatch):
    """There others can add the module that is missing."""
    (place / "apps").chmod(0o1777)
    if ME != ROOT:
        run_as(monkeypatch, STRANGER)
        monkeypatch.setattr("bus.config.trust.ROOT", ME)

    (sentence,) = sentences()

    assert f"got {place / 'apps'} with mode 1777" in sentence


@pytest.mark.skipif(ME != ROOT, reason="only root can give files away")
def test_a_program_that_others_can_write_is_a_warning(place: Path):
    """A command's program runs as well, but often belongs to those who deploy it."""
    section = "[handler:a]\ntopic = x\ncommand = ./program {topic}\n"
    (place / "program").touch(0o755)
    os.chown(place / "program", STRANGER, -1)

    (warning,) = read(section).warnings

    assert warning.startswith("monqbus.ini:3: [handler:a] command: expected a file of root, got ")
    assert f"{place}/program of user {STRANGER}; run this as user {STRANGER}" in warning


def test_a_program_that_is_ours_is_no_warning(place: Path):
    """Nor is one of the system."""
    (place / "program").touch(0o755)

    assert () == read("[handler:a]\ntopic = x\ncommand = ./program\n").warnings
    assert () == read("[handler:a]\ntopic = x\ncommand = cat\n").warnings


# what is no file


def test_a_pipe_in_place_of_the_configuration_is_one_sentence():
    """Opening it would wait for a writer, for ever."""
    Path("monqbus.ini").unlink()
    os.mkfifo("monqbus.ini")

    assert [
        "monqbus.ini: expected a file, got a pipe; "
        "write it into a file, which a reload and other commands read again"
    ] == sentences()


@pytest.mark.parametrize("reference", ["file:key", "credential:key"])
@pytest.mark.parametrize("key", ["pipe", "device", "folder", "socket"])
def test_a_secret_is_kept_in_a_file_or_not_at_all(place: Path, reference: str, key: str):
    """A pipe nobody writes to, a device without end: the hub waits for none of them."""
    if key == "pipe":
        os.mkfifo("key")
    elif key == "device":
        Path("key").symlink_to("/dev/zero")
    elif key == "folder":
        Path("key").mkdir()
    else:
        os.mknod("key", 0o140600)
    write("monqbus.ini", f"[hook:x]\nverify = token\nsecret = {reference}\n".encode())

    config = load(Path("monqbus.ini"), {"CREDENTIALS_DIRECTORY": str(place)})

    (sentence,) = config.faults.values()
    assert () == config.hooks["x"].secrets
    assert f"expected a secret in the file {place / 'key'}, got none: " in sentence


def test_a_pipe_in_place_of_a_module_is_refused(place: Path):
    """Its import would wait for a writer."""
    os.mkfifo(place / "apps/pipe.py", 0o600)

    assert [
        f"monqbus.ini:3: [monqbus] path: expected a module, got {place}/apps/pipe.py: it is a pipe, "
        "not a file; remove it"
    ] == sentences()


def test_a_pipe_in_place_of_an_environments_own_file_is_passed_over(place: Path):
    """The folder of packages names the version of Python, too."""
    packages = place / "venv/lib/python3.99/site-packages"
    packages.mkdir(parents=True)
    os.mkfifo(place / "venv/pyvenv.cfg")
    with pytest.raises(ConfigError, match=r"expected packages for Python .* for Python 3\.99"):
        read(f"[monqbus]\npath = {packages}\n")
