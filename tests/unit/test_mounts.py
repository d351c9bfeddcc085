"""Which file system a folder is on, by the kernel's own list."""

from __future__ import annotations

from pathlib import Path

import pytest

from bus.errors import ConfigError
from bus.store import open_store
from bus.store.sqlite import mounts

LIST = """\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
23 22 0:21 / /srv rw shared:7 - xfs /dev/vdb rw
24 23 0:22 / /srv/home rw shared:8 master:1 - nfs4 nas:/home rw,addr=10.0.0.1
25 22 0:23 / /mnt/with\\040space rw - fuse.sshfs me@host:/ rw
26 23 0:24 / /srv/home rw - tmpfs tmpfs rw
a line of another shape
"""


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/", "ext4"),
        ("/var/lib/monqbus", "ext4"),
        ("/srv/data", "xfs"),
        ("/srv/homely", "xfs"),
        ("/srv/home/data", "tmpfs"),  # the later mount covers the earlier
        ("/mnt/with space/data", "fuse.sshfs"),
    ],
)
def test_the_longest_mount_point_holds_a_folder(folder, kind):
    assert kind == mounts.file_system(Path(folder), LIST)


def test_a_link_is_followed(tmp_path):
    """The store would lie behind it."""
    (tmp_path / "link").symlink_to("/srv/data")

    assert "xfs" == mounts.file_system(tmp_path / "link" / "deeper", LIST)


def test_without_the_list_nothing_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(mounts, "MOUNTS", tmp_path / "none")

    assert mounts.network_file_system(tmp_path) is None


def test_this_machines_own_list_is_read():
    assert "proc" == mounts.file_system(Path("/proc/self"), mounts.MOUNTS.read_text())


def test_a_store_on_a_network_file_system_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    """SQLite would lose what it acknowledged there, or give two daemons the same lock."""
    listed = tmp_path / "mountinfo"
    listed.write_text(f"1 0 0:1 / / rw - ext4 /dev/vda rw\n2 1 0:2 / {tmp_path}/nas rw - nfs4 nas:/ rw\n")
    monkeypatch.setattr(mounts, "MOUNTS", listed)

    with pytest.raises(ConfigError, match=r"data_dir: expected a local disk, got .*/nas/data on nfs4"):
        open_store("sqlite", tmp_path / "nas" / "data")
    assert [] == list((tmp_path / "nas" / "data").iterdir())
    open_store("sqlite", tmp_path / "local").close()


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("tmpfs", "tmpfs is memory, and gone at a reboot"),
        ("devtmpfs", "devtmpfs is memory, and gone at a reboot"),
        ("overlay", "overlay is a container's own layer, and gone with the container"),
        ("ext4", ""),
        ("", ""),
    ],
)
def test_a_file_system_that_keeps_nothing_is_named(kind, words):
    """Durable means longer than a reboot, and longer than a container."""
    assert words == mounts.loss(kind)
