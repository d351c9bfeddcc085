"""Which file system a folder is on; SQLite's locks and WAL do not work over a network."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

MOUNTS: Final = Path("/proc/self/mountinfo")
NETWORK: Final = frozenset(
    {
        "9p", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "fuse.ceph", "fuse.cephfs", "fuse.davfs2",
        "fuse.gcsfuse", "fuse.glusterfs", "fuse.rclone", "fuse.s3fs", "fuse.sshfs", "gfs2", "glusterfs",
        "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "ocfs2", "orangefs", "pvfs2", "smb2", "smb3", "smbfs",
    }
)  # fmt: skip
MEMORY: Final = frozenset({"tmpfs", "ramfs", "devtmpfs"})
LAYERS: Final = frozenset({"overlay", "overlayfs", "aufs", "fuse.fuse-overlayfs"})
"""Of these a container's own files are made; it takes them along when it is removed."""
_OCTAL: Final = re.compile(r"\\([0-7]{3})")


def network_file_system(folder: Path) -> str | None:
    """The type of the network file system that holds *folder*, None for a local or an unknown one."""
    kind = kind_of(folder)
    return kind if kind in NETWORK else None


def kind_of(folder: Path) -> str:
    """The type of the file system that holds *folder*; "" for an unknown one."""
    try:
        return file_system(folder, MOUNTS.read_text(errors="surrogateescape"))
    except OSError:
        return ""  # not Linux


def loss(kind: str) -> str:
    """When a file system of this *kind* loses what is in it, a clause; "" for one that keeps it."""
    if kind in MEMORY:
        return f"{kind} is memory, and gone at a reboot"
    if kind in LAYERS:
        return f"{kind} is a container's own layer, and gone with the container"
    return ""


def file_system(folder: Path, mounts: str) -> str:
    """The type of the file system of *folder* by the lines of proc_pid_mountinfo(5); "" when none fits."""
    where = folder.resolve()
    found, longest = "", -1
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(" "), after.split(" ")[0]
        if len(fields) < 5:
            continue
        point = Path(_OCTAL.sub(lambda match: chr(int(match[1], 8)), fields[4]))
        # of two at the same place the later one covers the earlier
        if where.is_relative_to(point) and len(point.parts) >= longest:
            found, longest = kind, len(point.parts)
    return found
