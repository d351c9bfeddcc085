"""Commands of root on a service's folder: they leave nothing that shuts the service out."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from bus.store import open_store
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
READERS = [
    ["check"],
    ["count"],
    ["list"],
    ["doctor"],
    ["show", "6b04ec3f28e9893927a81901"],
    ["events", "show", "6b04ec3f28e9893927a81901"],
    ["backup", "{outer}/copy.db"],
]
"""Every command that only looks."""


AS_SERVICE = """
import os, sys
from pathlib import Path
from bus.store.sqlite import store
from bus.store import open_store
os.setgroups([]); os.setgid(65534); os.setuid(65534)
open_store("sqlite", Path(sys.argv[1])).close()
"""


AS_KILLED_SERVICE = """
import os, sys
from pathlib import Path
from bus.store.sqlite import store
from bus.store import open_store
os.setgroups([]); os.setgid(65534); os.setuid(65534)
held = open_store("sqlite", Path(sys.argv[1]))
os._exit(0)
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


def test_root_is_not_told_to_take_the_folder_from_the_service(place: Path) -> None:
    """It looks with the owner's rights; `chown` would be what shuts the service out."""
    said = monqbus("doctor", "--config", str(place / "monqbus.ini"))
    (line,) = [line for line in said.stdout.splitlines() if " data_dir " in line]

    assert line.startswith("ok ")
    assert f"of user {NOBODY.pw_uid}" in line
    assert "chown" not in line


def found_in(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Each file: whose, when it was changed, what is in it."""
    return {
        path.name: (path.stat().st_uid, path.stat().st_mtime_ns, path.read_bytes())
        for path in folder.iterdir()
    }


@pytest.mark.parametrize("before", [AS_SERVICE, AS_KILLED_SERVICE], ids=["stopped", "killed"])
@pytest.mark.parametrize("words", READERS, ids=lambda words: words[0])
def test_a_look_changes_nothing_of_a_store(place: Path, words: list[str], before: str) -> None:
    """Neither its file nor the log that a killed daemon has left, nor is a file made beside them."""
    data = place / "data"
    assert 0 == python("-c", before, str(data)).returncode
    (data / "reserve").unlink()
    left = found_in(data)
    given = [word.format(outer=place.parent) for word in words]
    said = monqbus(*given, "--config", str(place / "monqbus.ini"))

    assert ("monqbus.db-wal" in left) == (before == AS_KILLED_SERVICE)
    assert said.returncode == (1 if "show" in words else 0), said.stderr
    assert left == found_in(data)


def test_a_look_leaves_an_older_schema_to_the_daemon(place: Path) -> None:
    """A newer program's `list` would upgrade the file under an older daemon that is stopped."""
    shutil.copy(ROOT / "tests" / "contract" / "files" / "version1.db", place / "data" / "monqbus.db")
    os.chown(place / "data" / "monqbus.db", NOBODY.pw_uid, NOBODY.pw_gid)
    left = found_in(place / "data")
    said = [monqbus(*words, "--config", str(place / "monqbus.ini")) for words in READERS[:3]]

    assert [0, 0, 0] == [one.returncode for one in said]
    assert left == found_in(place / "data")


def test_two_looks_at_a_time_do_not_wait_for_each_other(place: Path) -> None:
    """One that is piped into a pager may last."""
    assert 0 == python("-c", AS_SERVICE, str(place / "data")).returncode
    with closing(open_store("sqlite", place / "data", looks=True)):
        said = monqbus("count", "--config", str(place / "monqbus.ini"))
        opened = python("-c", AS_SERVICE, str(place / "data"))

    assert 0 == said.returncode, said.stderr
    assert "StoreHeld" in opened.stderr
    assert "held by another process; stop it" in opened.stderr


def test_what_root_has_left_in_the_folder_is_exit_75(place: Path) -> None:
    """Whoever gives it over need not start the service as well: the unit tries again."""
    (place / "data" / "monqbus.lock").touch(0o600)
    words = ["setpriv", f"--reuid={NOBODY.pw_uid}", f"--regid={NOBODY.pw_gid}", "--clear-groups"]
    (place / "monqbus.ini").chmod(0o644)
    said = subprocess.run(
        [*words, *PROGRAM, "run", "--config", str(place / "monqbus.ini")],
        cwd=place, capture_output=True, text=True, check=False, timeout=20,
    )  # fmt: skip

    assert 75 == said.returncode, said.stderr
    assert "monqbus.lock: Permission denied; give it to the user of the daemon" in said.stderr


def test_what_init_writes_belongs_to_the_owner_of_the_folder(place: Path) -> None:
    """A config of mode 0600 that is root's would be exit 78 at every start of the service."""
    home = place.parent / "home"
    home.mkdir()
    os.chown(home, NOBODY.pw_uid, NOBODY.pw_gid)
    said = [monqbus("init", str(folder)) for folder in (home, home / "deeper")]

    assert [0, 0] == [one.returncode for one in said], said
    assert {NOBODY.pw_uid} == {path.stat().st_uid for path in home.rglob("*")}


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
