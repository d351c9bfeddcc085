"""Refuses configurations, apps and programs that other users could write.

Whoever can write one of them does what the user can do who runs it. What others can write is refused,
except that its owner, who is not root, is warned: it is his own work that he exposes. The rule is that of
sshd's StrictModes and of Git's safe.directory.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

from ..files.regular_file import require
from .findings import Findings

ROOT: Final = 0
MOST_MODULES: Final = 1000
"""Modules of one folder that are looked at."""
_INSTALLED: Final = frozenset({"site-packages", "dist-packages"})


def check_config(path: Path, status: os.stat_result, findings: Findings) -> None:
    """Judge the file *path*, open with *status*, and the folder of it and of what it links to.

    Raises ConfigError when others can write one of them.
    """
    judged = [(path, status)]
    for folder in dict.fromkeys((path.absolute().parent, path.resolve().parent)):
        found = _status(folder)
        if found is not None and not _keeps_names(found):
            judged.append((folder, found))
    for one, found in judged:
        if sentence := _exposure(one, found):
            if not _is_own(found):
                findings.fatal(0, sentence)
            findings.warning(0, sentence)


def check_apps(apps: Sequence[str], folders: Sequence[Path], line: int, findings: Findings) -> None:
    """Judge *folders* and the modules of *apps* in them. Looks at the disk."""
    for path in dict.fromkeys(place for folder in folders for place in _places(apps, folder)):
        if (status := _status(path)) is None:
            continue
        if path.suffix == ".py" and (problem := _no_file(status)):
            findings.problem(line, f"[monqbus] path: expected a module, got {path}: {problem}; remove it")
        elif sentence := _exposure(path, status):
            note = findings.warning if _is_own(status) else findings.problem
            note(line, f"[monqbus] path: {sentence}")


def check_program(program: Path, runs_as: int, subject: str, line: int, findings: Findings) -> None:
    """Warn when others than root, us and the user *runs_as* can write a *program*. Looks at the disk."""
    status = _status(program)
    if status is not None and (sentence := _exposure(program, status, runs_as)):
        findings.warning(line, f"{subject}: {sentence}")


def _places(apps: Sequence[str], folder: Path) -> Iterator[Path]:
    """*folder*, its modules, and the packages of *apps* in it with theirs."""
    yield folder
    if folder.name not in _INSTALLED:
        yield from islice(folder.glob("*.py"), MOST_MODULES)
    for app in apps:
        place = folder
        for part in app.split("."):
            yield place / f"{part}.py"
            place = place / part
            yield place
            yield from islice(place.glob("*.py"), MOST_MODULES)


def _exposure(path: Path, status: os.stat_result, runs_as: int | None = None) -> str:
    """The sentence about who else can write what has *status*; nothing when nobody can."""
    me = os.geteuid()
    kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a file"
    if status.st_uid not in (ROOT, me, runs_as):
        owner = _name_of(status.st_uid)
        mine = "of root" if me == ROOT else f"of root or {_name_of(me)}"
        remedy = f"run this as {owner}, or give it over with chown"
        return f"expected {kind} {mine}, got {path} of {owner}; {remedy}"
    if status.st_mode & stat.S_IWOTH or (status.st_mode & stat.S_IWGRP and not _is_private(status)):
        mode = stat.S_IMODE(status.st_mode)
        expected = f"expected {kind} that only its owner can write"
        return f"{expected}, got {path} with mode {mode:04o}; run: chmod go-w {path}"
    return ""


def _is_own(status: os.stat_result) -> bool:
    """Whether it is the work of the one who runs this, and not root's."""
    return status.st_uid == os.geteuid() != ROOT


def _is_private(status: os.stat_result) -> bool:
    """Whether the group is its owner's alone, as Debian and Fedora make one for each user."""
    try:
        owner = pwd.getpwuid(status.st_uid)
        return status.st_gid == owner.pw_gid and grp.getgrgid(status.st_gid).gr_name == owner.pw_name
    except KeyError:
        return False


def _keeps_names(status: os.stat_result) -> bool:
    """Whether others can add names to this folder and not replace one, as in /tmp."""
    return bool(status.st_mode & stat.S_ISVTX) and status.st_uid in (ROOT, os.geteuid())


def _no_file(status: os.stat_result) -> str:
    try:
        require(status)
    except OSError as error:
        return str(error.strerror)
    return ""


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except (OSError, ValueError):
        return None
