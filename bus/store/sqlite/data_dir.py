"""The data folder: refused when others may write to it; root acts in it with its owner's rights.

Store, lock, reserve and control socket are found by their names in it. Who may write to it decides what
these names lead to, so that is the daemon's user alone.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ...errors import ConfigError, UnusableForNow
from ...files.held_folder import HeldFolder, interference


def make_data_dir(folder: Path) -> None:
    """Make *folder* if it is missing, mode 0700.

    Raises ConfigError where it cannot be used safely, UnusableForNow where the system refuses it.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UnusableForNow(unusable(folder, str(error.strerror))) from error
    require_own(folder)


def require_own(folder: Path) -> None:
    """Raise ConfigError where others than its user can write to *folder*, UnusableForNow where it is gone."""
    try:
        with HeldFolder.at(folder) as held:
            complaint = interference(held.found)
    except OSError as error:
        raise UnusableForNow(unusable(folder, str(error.strerror))) from error
    if complaint:
        raise ConfigError(
            f"[monqbus] data_dir: expected a folder that nobody else can write to, got {folder}: "
            f"{complaint}; run as its owner, or give it over: chown it, chmod 700 {folder}"
        )


def require_data_dir(folder: Path) -> None:
    """Raise ConfigError where `make_data_dir` would; makes nothing."""
    with as_owner_of(folder):
        there = _nearest(folder)
        if there == folder:
            make_data_dir(folder)
        if not os.access(there, os.W_OK | os.X_OK, effective_ids=True):
            raise UnusableForNow(unusable(folder, "Permission denied"))


def unusable(folder: Path, reason: str) -> str:
    """What is said about a *folder* that cannot be written."""
    return f"[monqbus] data_dir: cannot write to {folder}: {reason}; choose a folder of this user"


@contextmanager
def as_owner_of(folder: Path) -> Iterator[None]:
    """Act with the rights of the owner of *folder*, while it is missing of the one it would be made in.

    For root in a process of one thread, nothing happens for anybody else: what root makes there would shut
    the owner out, and links of the owner's would lead root anywhere. Raises ConfigError where it may not.
    """
    if os.geteuid() != 0 or (owner := _nearest(folder).stat()).st_uid == 0:
        yield
        return
    before, group = os.getgroups(), os.getegid()
    try:
        os.setgroups(_groups_of(owner.st_uid, owner.st_gid))
        os.setegid(owner.st_gid)
        os.seteuid(owner.st_uid)
    except OSError as error:
        raise ConfigError(
            f"[monqbus] data_dir: expected a folder of this user, got {folder} of user {owner.st_uid}: "
            f"{error.strerror}; run as that one"
        ) from error
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)
        os.setgroups(before)


def _groups_of(user: int, group: int) -> list[int]:
    try:
        return os.getgrouplist(pwd.getpwuid(user).pw_name, group)
    except KeyError:  # it has no name here, as in a container
        return [group]


def _nearest(folder: Path) -> Path:
    """*folder*, or the first one above it that is there, as far as this user can see."""
    return next(place for place in (folder, *folder.absolute().parents) if os.path.exists(place))  # noqa: PTH110 - never raises
