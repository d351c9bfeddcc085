"""How many CPUs this process may use: its affinity, and the quota of its cgroup (v2 and v1).

A container with `--cpus=2` on a machine of 64 cores sees 64 of them in its affinity. The quota is the
lowest of the own group and those above it, as far as they can be seen (kernel: admin-guide/cgroup-v2.rst,
`cpu.max`; scheduler/sched-bwc.rst, `cpu.cfs_quota_us`).
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path


def cpus(root: Path = Path("/")) -> int:
    """The CPUs of this process, rounded up, at least one. *root* is where /proc and /sys are found."""
    return max(1, math.ceil(min(len(os.sched_getaffinity(0)), quota(root))))


def quota(root: Path = Path("/")) -> float:
    """How many CPUs' time the cgroup may use; infinity without a limit, or where none can be read."""
    try:
        lines = (root / "proc/self/cgroup").read_text(errors="replace").splitlines()
    except OSError:
        return math.inf
    found = math.inf
    for line in lines:
        number, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if number == "0" and not controllers:
            limits = (_of_v2(folder) for folder in _folders(root / "sys/fs/cgroup", group))
        elif "cpu" in controllers.split(","):
            limits = (_of_v1(folder) for folder in _folders(_hierarchy(root, controllers), group))
        else:
            continue
        found = min(found, *limits)
    return found


def _hierarchy(root: Path, controllers: str) -> Path:
    """Where a hierarchy of v1 is mounted: under its controllers' names, or, by a link, under each."""
    mounts = root / "sys/fs/cgroup"
    return mounts / controllers if (mounts / controllers).is_dir() else mounts / "cpu"


def _folders(mount: Path, group: str) -> Iterator[Path]:
    """The folder of *group* and those above it; in a container the own group may be the mount itself."""
    names = [name for name in group.split("/") if name not in {"", ".", ".."}]
    for count in range(len(names), -1, -1):
        yield mount.joinpath(*names[:count])


def _of_v2(folder: Path) -> float:
    limit, _, period = _text(folder / "cpu.max").partition(" ")
    return _ratio(limit, period)


def _of_v1(folder: Path) -> float:
    return _ratio(_text(folder / "cpu.cfs_quota_us"), _text(folder / "cpu.cfs_period_us"))


def _text(file: Path) -> str:
    try:
        return file.read_text(errors="replace").strip()
    except OSError:
        return ""


def _ratio(limit: str, period: str) -> float:
    """CPUs; -1, max and whatever is not a positive number is no limit."""
    try:
        share = int(limit) / int(period)
    except (ValueError, ZeroDivisionError):
        return math.inf
    return share if share > 0 else math.inf
