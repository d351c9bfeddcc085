"""The folder of a command's event: filled before it is given away, and left by no way but the front door."""

from __future__ import annotations

import json
import os
import pwd
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bus.apps.command import Command
from bus.apps.command_files import CommandFiles, sweep

from .test_command import PATIENCE, UNPATCHED_HEAD, capture, deliver, until

__all__ = ["capture"]

NOBODY = pwd.getpwnam("nobody")
SECRET = "root's own secret"
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root may run commands as somebody else")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder like /tmp where the payloads of this test are made."""
    with tempfile.TemporaryDirectory(prefix="place-") as folder:
        os.chmod(folder, 0o1777)  # noqa: PTH101, S103 - as /tmp is
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)


@pytest.fixture
def run(engine, capture) -> Callable[..., str]:
    """Runs a command as nobody; what it printed."""

    def perform(*words: str, body: bytes = b"{}", user: str = "nobody") -> str:
        task = deliver(engine, Command(words, Path("/"), user=user), body)
        capture.start()
        return engine.perform(task).output or ""

    return perform


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file that only root may read."""
    path = tmp_path / "secret"
    path.write_text(SECRET)
    path.chmod(0o600)
    return path


def as_nobody(script: str) -> None:
    """Do what the command's user may do."""
    subprocess.run(
        ["/bin/sh", "-c", script],
        user=NOBODY.pw_uid,
        group=NOBODY.pw_gid,
        extra_groups=[],
        check=True,
        cwd="/",
    )


@root_only
def test_what_is_read_was_opened_before_the_folder_was_given_away(run, place, secret, monkeypatch):
    """Its user watches the folder, and has a link in the file's place at the first moment it may."""

    def swapping(give: Callable[..., None]) -> Callable[..., None]:
        def given(what, *owner, **options) -> None:
            give(what, *owner, **options)
            for folder in place.iterdir():
                if folder.stat().st_uid == NOBODY.pw_uid:
                    as_nobody(f"ln -sfn {secret} {folder}/event.json; ln -sfn {secret} {folder}/body")

        return given

    for name in ("chown", "fchown", "lchown"):
        monkeypatch.setattr(os, name, swapping(getattr(os, name)))
    printed = run("/bin/cat")

    assert SECRET not in printed
    assert "github.push" == json.loads(printed)["topic"]
    assert NOBODY.pw_uid != secret.stat().st_uid


@root_only
def test_the_whole_folder_is_its_users(run):
    """Who can read, write and remove what is in it."""
    script = 'd=$(dirname "$MONQBUS_EVENT_FILE"); stat -c "%u %a %n" "$d" "$d"/*; touch "$d/mine"'
    lines = [line.split() for line in run("/bin/sh", "-c", script).splitlines()]

    assert [["65534", "700"], ["65534", "600"], ["65534", "600"]] == [line[:2] for line in lines]


@root_only
def test_a_removal_leaves_the_folder_by_no_link(run, place, tmp_path):
    """Whatever its user has put into it, and in its place."""
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "kept").write_text("kept")
    script = (
        f'd=$(dirname "$MONQBUS_EVENT_FILE"); ln -s {victim} "$d/link"; mkdir -p "$d/deep/er"; '
        f'ln -s {victim} "$d/deep/er/link"; ln -s {victim}/kept "$d/file"; '
        f'mv "$d" "$d.moved"; ln -s {victim} "$d"; echo "$d"'
    )
    where = Path(run("/bin/sh", "-c", script).strip())

    assert ["kept"] == [path.name for path in victim.iterdir()]
    assert where.is_symlink()  # it is not ours
    assert [] == list(Path(f"{where}.moved").iterdir())


@root_only
def test_a_folder_that_cannot_be_walked_is_no_trouble(run, place):
    """Deeper than the stack and than the files that may be open."""
    code = (
        "import os\n"
        "os.chdir(os.path.dirname(os.environ['MONQBUS_EVENT_FILE']))\n"
        "for _ in range(1100):\n"
        "    os.mkdir('d'); os.chdir('d')\n"
        "print('deep')"
    )

    assert "deep\n" == run(sys.executable, "-c", code, user="")
    assert [] == list(place.iterdir())


def test_a_place_where_others_can_exchange_it_is_refused(run, place):
    """Root's look at a name there would be theirs to answer."""
    place.chmod(0o777)

    assert "" == run("/bin/cat", user="")
    assert [] == list(place.iterdir())


def test_the_error_tells_what_to_do_about_such_a_place(place):
    place.chmod(0o777)

    with pytest.raises(Exception, match=re.escape(f"got {place}: its mode 0777 lets others write; name a")):
        CommandFiles(b"", b"")


LEFT = (
    UNPATCHED_HEAD
    + """
import tempfile
tempfile.tempdir = sys.argv[1]
with restored({}, task=running):
    Command(("/bin/sh", "-c", "echo $MONQBUS_EVENT_FILE; sleep 60"), Path("/"))("t", event)
"""
)


def test_what_a_killed_daemon_has_left_behind_is_swept_at_the_next_start(place):
    """Not what belongs to a run that goes on, nor what was never ours."""
    (place / "monqbus-backup").mkdir()
    (place / "monqbus-command-").mkdir()
    (place / f"monqbus-command-{'0' * 16}").symlink_to(place / "monqbus-backup")
    stranger = subprocess.Popen([sys.executable, "-uc", LEFT, str(place)], stdout=subprocess.PIPE)
    assert stranger.stdout is not None
    left = Path(stranger.stdout.readline().decode().strip()).parent
    in_use = sweep()
    is_kept = left.is_dir()
    stranger.send_signal(signal.SIGKILL)
    stranger.wait(PATIENCE)
    with CommandFiles(b"", b"") as payload:
        until(lambda: sweep() == 1)  # the command dies with it, soon afterwards

        assert (0, True) == (in_use, is_kept)
        assert not left.exists()
        assert payload.path.is_dir()
    assert {"monqbus-backup", "monqbus-command-", f"monqbus-command-{'0' * 16}"} == {
        path.name for path in place.iterdir()
    }


@root_only
def test_root_sweeps_what_its_daemon_has_given_away(place):
    folder = place / f"monqbus-command-{'a' * 16}"
    folder.mkdir(0o700)
    os.chown(folder, NOBODY.pw_uid, NOBODY.pw_gid)

    assert (1, False) == (sweep(), folder.exists())


def test_a_folder_that_is_swept_before_it_is_locked_is_made_again(place, monkeypatch):
    """Another daemon that starts at this moment takes it for left behind."""
    make, swept = os.mkdir, []

    def mkdir(*words, **options) -> None:
        make(*words, **options)
        if not swept:
            swept.append(sweep())

    monkeypatch.setattr(os, "mkdir", mkdir)
    with CommandFiles(b"event", b"body") as payload:
        files = {path.name: path.read_bytes() for path in payload.path.iterdir()}

    assert ([1], {"event.json": b"event", "body": b"body"}) == (swept, files)
