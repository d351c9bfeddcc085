"""Commands of root on a service's folder: they leave nothing that shuts the service out."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.program import PROGRAM, ROOT

NOBODY = pwd.getpwnam("nobody")
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be root")
LOOKS = [
    ["check"],
    ["count"],
    ["list"],
    ["doctor"],
    ["show", "6b04ec3f28e9893927a81901"],
    ["retry", "--name", "x"],
]


AS_SERVICE = """
import os, sys
from pathlib import Path
from bus.store.sqlite import store
from bus.store import open_store
os.setgroups([]); os.setgid(65534); os.setuid(65534)
open_store("sqlite", Path(sys.argv[1])).close()
"""


AS_STRANGER = """
import os, sys
from pathlib import Path
from bus.errors import MonqbusError
from bus.store import has_file, open_store, require_room
from bus.store.sqlite import store
os.setgroups([]); os.setgid(1); os.setuid(1)
folder = Path(sys.argv[1])
assert has_file(folder)
for act in (require_room, lambda folder: open_store("sqlite", folder)):
    try:
        act(folder)
    except MonqbusError as error:
        print(error)
"""


def python(*words: str) -> subprocess.CompletedProcess[str]:
    """Run Python on our code."""
    return subprocess.run(
        [sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=False, timeout=20
    )


def monqbus(*words: str) -> subprocess.CompletedProcess[str]:
    """Run a command as root."""
    return python(*PROGRAM[1:], *words)


@pytest.fixture
def place() -> Iterator[Path]:
    """What `init` writes, its data folder given to the service's user; what is run stays root's."""
    with tempfile.TemporaryDirectory() as outer:
        os.chmod(outer, 0o755)  # noqa: PTH101, S103 - as a home is
        path = Path(outer) / "place"
        assert 0 == monqbus("init", str(path)).returncode
        os.chown(path / "data", NOBODY.pw_uid, NOBODY.pw_gid)
        yield path


@pytest.mark.parametrize("words", LOOKS, ids=lambda words: words[0])
def test_a_look_before_the_first_start_makes_nothing(place: Path, words: list[str]) -> None:
    """And says what it would say of an empty store."""
    said = monqbus(*words, "--config", str(place / "monqbus.ini"))

    assert said.returncode == (1 if words[0] == "show" else 0), said.stderr
    assert [] == list((place / "data").iterdir())


def test_a_place_without_its_data_folder_stays_so(place: Path) -> None:
    (place / "data").rmdir()

    for words in LOOKS[:4]:
        assert 0 == monqbus(*words, "--config", str(place / "monqbus.ini")).returncode
    assert not (place / "data").exists()


@pytest.mark.parametrize("words", [["post", "hello.say"], ["event", "hello.said"]], ids=["post", "event"])
def test_what_root_posts_first_the_service_can_open(place: Path, words: list[str]) -> None:
    """Its files are the service's; so is what a later look leaves."""
    config = str(place / "monqbus.ini")
    posted = monqbus(*words, "--config", config)
    looked = monqbus("check", "--config", config)
    opened = python("-c", AS_SERVICE, str(place / "data"))

    assert (0, 0, 0) == (posted.returncode, looked.returncode, opened.returncode), opened.stderr
    assert {NOBODY.pw_uid} == {path.stat().st_uid for path in (place / "data").iterdir()}


def test_somebody_who_may_not_see_the_folder_is_told_so(place: Path) -> None:
    """In one sentence each time, whatever is asked."""
    (place / "data" / "deeper").mkdir(0o700)
    said = python("-c", AS_STRANGER, str(place / "data" / "deeper"))

    assert 0 == said.returncode, said.stderr
    expected = f"[monqbus] data_dir: cannot write to {place}/data/deeper: Permission denied; "
    assert [expected + "choose a folder of this user"] * 2 == said.stdout.splitlines()


@pytest.mark.parametrize("store", ["sqlite", "mongodb://127.0.0.1:1/none"])
def test_root_starts_no_daemon_on_the_services_folder(place: Path, tmp_path: Path, store: str) -> None:
    """It would own what the service needs; exit 78 keeps a supervisor from trying again."""
    config = tmp_path / "monqbus.ini"
    settings = f"store = {store}\ndata_dir = {place / 'data'}"
    config.write_text(f"[monqbus]\n{settings}\n[http]\nlisten = 127.0.0.1:0\n")
    said = monqbus("run", "--config", str(config))

    assert 78 == said.returncode
    assert f"it belongs to user {NOBODY.pw_uid}; run as its owner" in said.stderr
    assert [] == list((place / "data").iterdir())


@pytest.mark.parametrize("words", ["run", "check", "list"])
def test_root_does_nothing_with_the_services_config(place: Path, words: str) -> None:
    """Whoever can write it would be root. Nor is anything else done with it."""
    os.chown(place / "monqbus.ini", NOBODY.pw_uid, NOBODY.pw_gid)
    said = monqbus(words, "--config", str(place / "monqbus.ini"))

    assert 78 == said.returncode
    assert "run this as nobody, or give it over with chown" in said.stderr


def test_init_writes_through_no_link(tmp_path: Path) -> None:
    """Of whoever owns DIR: neither into a file elsewhere, nor into a folder elsewhere."""
    (tmp_path / "elsewhere").mkdir()
    for name in ("monqbus.ini", "monqbus.service", "monqbus.socket", "apps", "data"):
        place = tmp_path / name.replace(".", "_")
        place.mkdir()
        (place / name).symlink_to(tmp_path / "elsewhere" / ("" if "." not in name else "made"))
        said = monqbus("init", str(place))

        assert 64 == said.returncode, said.stderr
        assert name in said.stderr
        assert [] == list((tmp_path / "elsewhere").iterdir())
        shutil.rmtree(place)
