"""`auto` is what the container may use, not what its machine has."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from bus.config.value_types import PROCESSES
from bus.process import cpu_quota


def tree(root: Path, files: Mapping[str, str]) -> Path:
    """A fake /proc and /sys below *root*."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n")
    return root


SYS = "sys/fs/cgroup"
TREES: Mapping[str, tuple[float, Mapping[str, str]]] = {
    "v2": (1.5, {"proc/self/cgroup": "0::/a.slice", f"{SYS}/a.slice/cpu.max": "150000 100000"}),
    "v2, no limit": (math.inf, {"proc/self/cgroup": "0::/a", f"{SYS}/a/cpu.max": "max 100000"}),
    "v2, in a container": (2.0, {"proc/self/cgroup": "0::/", f"{SYS}/cpu.max": "200000 100000"}),
    "v2, group of the host": (2.0, {"proc/self/cgroup": "0::/../x", f"{SYS}/cpu.max": "200000 100000"}),
    "v2, a parent is lower": (
        1.0,
        {
            "proc/self/cgroup": "0::/a/b",
            f"{SYS}/a/cpu.max": "50000 50000",
            f"{SYS}/a/b/cpu.max": "400000 100000",
        },
    ),
    "v1": (
        3.0,
        {
            "proc/self/cgroup": "5:memory:/m\n4:cpu,cpuacct:/docker/x\n1:name=systemd:/y",
            f"{SYS}/cpu,cpuacct/docker/x/cpu.cfs_quota_us": "300000",
            f"{SYS}/cpu,cpuacct/docker/x/cpu.cfs_period_us": "100000",
        },
    ),
    "v1 under cpu, in a container": (
        0.5,
        {
            "proc/self/cgroup": "4:cpu,cpuacct:/docker/x\n0::/",
            f"{SYS}/cpu/cpu.cfs_quota_us": "50000",
            f"{SYS}/cpu/cpu.cfs_period_us": "100000",
        },
    ),
    "v1, no limit": (
        math.inf,
        {
            "proc/self/cgroup": "4:cpu:/",
            f"{SYS}/cpu/cpu.cfs_quota_us": "-1",
            f"{SYS}/cpu/cpu.cfs_period_us": "100000",
        },
    ),
    "cpuset is another controller": (math.inf, {"proc/self/cgroup": "4:cpuset:/"}),
    "rubbish": (math.inf, {"proc/self/cgroup": "0::/a\n:\n", f"{SYS}/a/cpu.max": "many few"}),
    "a period of zero": (math.inf, {"proc/self/cgroup": "0::/", f"{SYS}/cpu.max": "100000 0"}),
    "no cgroups": (math.inf, {}),
}


@pytest.mark.parametrize("case", TREES)
def test_the_quota_is_read_from_the_cgroup(case: str, tmp_path: Path) -> None:
    """Both versions of cgroups; what cannot be read limits nothing."""
    expected, files = TREES[case]

    assert expected == cpu_quota.quota(tree(tmp_path, files))


@pytest.mark.parametrize(
    ("limit", "expected"), [("1000 100000", 1), ("150000 100000", 2), ("max 100000", 64)]
)
def test_auto_is_the_quota_rounded_up(
    limit: str, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never less than one worker, never more than there are cores."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    root = tree(tmp_path, {"proc/self/cgroup": "0::/", f"{SYS}/cpu.max": limit})

    assert expected == cpu_quota.cpus(root)


def test_auto_workers_are_the_cpus_of_the_quota(monkeypatch: pytest.MonkeyPatch) -> None:
    """`cpu_workers = auto` asks for the quota."""
    monkeypatch.setattr(cpu_quota, "cpus", lambda: 3)

    assert 3 == PROCESSES.read("auto")
