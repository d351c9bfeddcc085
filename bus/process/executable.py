"""What differs when monqbus runs as one executable (PyInstaller): libraries, unpacked files, main pid.

A onefile binary of PyInstaller is two processes. The bootloader unpacks the libraries into a folder
of its own (``_MEI…`` in $TMPDIR or /tmp), starts itself again as Python, waits, passes signals on and
removes the folder. Unfrozen, everything here does nothing.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from ..files.held_folder import HeldFolder
from . import certificates

TAKEN: Final = "monqbus-taken"
"""A file in the folder, written once its lock is held: without it a folder may still be unpacked."""

UNPACK_SECONDS: Final = 60.0

_BOOTLOADER_VARIABLES: Final = ("_PYI_", "_MEIPASS")
TIME_ZONES: Final = "tzdata.zip"
"""In the folder: the package tzdata, which `zoneinfo` asks where the machine has no time zones."""

_PROGRAM: Final = "/proc/self/exe"


def is_frozen() -> bool:
    """True inside the executable."""
    return bool(getattr(sys, "frozen", False))


def settle() -> None:
    """Part from the bootloader; the first thing `main` does. Blocks for a few system calls.

    Never returns in a child that `multiprocessing` of an app has started with this executable.
    """
    if not is_frozen():
        return
    _die_with_bootloader()
    _give_environment_back()
    certificates.settle(os.environ)
    _offer_time_zones()
    _keep_archive()
    _hold_folder()
    _serve_multiprocessing()


def main_pid() -> int:
    """The process that was started and that a supervisor knows: the bootloader, or this one."""
    return os.getppid() if is_frozen() else os.getpid()


def built_with() -> dict[str, str]:
    """The versions of ``glibc``, the oldest it runs on, and ``pyinstaller``; nothing when not frozen."""
    if not is_frozen():
        return {}
    built: dict[str, str] = json.loads((_unpacked() / "built.json").read_text())
    return built


def sweep() -> int:
    """Remove folders that killed processes of this user have left behind; how many. Blocks for the disk."""
    if not is_frozen():
        return 0
    with HeldFolder.at(_unpacked().parent) as parent:
        names = [name for name in parent.names() if name.startswith("_MEI")]
        return sum(_is_removed(parent, name) for name in names)


def _unpacked() -> Path:
    return Path(sys._MEIPASS)  # type: ignore[attr-defined]  # set by the bootloader


def _die_with_bootloader() -> None:
    """Let the kernel kill this process when its bootloader is killed: no daemon stays behind unseen."""
    from .parent_death import tie  # here: a command that is not frozen starts faster without it

    bootloader = os.getppid()
    tie()
    with suppress(OSError):  # unreadable: then it cannot be told, and is most likely alive
        program = Path(f"/proc/{bootloader}/exe")
        if os.getppid() != bootloader or not program.samefile(_PROGRAM):
            os._exit(128 + signal.SIGKILL)  # it died before the call above


def _give_environment_back() -> None:
    """Children are programs of this machine: they must not load our libraries, nor use our folder."""
    before = os.environ.pop("LD_LIBRARY_PATH_ORIG", None)
    os.environ.pop("LD_LIBRARY_PATH", None)
    if before:
        os.environ["LD_LIBRARY_PATH"] = before
    for name in [name for name in os.environ if name.startswith(_BOOTLOADER_VARIABLES)]:
        del os.environ[name]


def _offer_time_zones() -> None:
    """Let the package tzdata be found, behind everything else. One file: each start unpacks all there are."""
    sys.path.append(str(_unpacked() / TIME_ZONES))


def _keep_archive() -> None:
    """Read modules from the running file, not from its path: an upgrade may put a new one there."""
    importers = sys.modules.get("pyimod02_importers")
    archive = getattr(importers, "pyz_archive", None)
    if archive is not None and Path(_PROGRAM).exists():
        archive._filename = _PROGRAM


def _serve_multiprocessing() -> None:
    """Be the interpreter of a process that an app has started by "spawn" or "forkserver"; else return."""
    # names a file in our folder, which that process, with a folder of its own, would try to run
    vars(sys.modules["__main__"]).pop("__file__", None)
    import multiprocessing.spawn  # imported by then: a hook of PyInstaller does so

    prepare = multiprocessing.spawn.prepare

    def prepare_here(data: Mapping[str, Any]) -> None:
        if "sys_path" in data:
            data = {**data, "sys_path": _path_here(data["sys_path"])}
        prepare(data)

    multiprocessing.spawn.prepare = prepare_here
    multiprocessing.freeze_support()


def _path_here(path: Sequence[str]) -> list[str]:
    """The module path of the process that started this one, with our folder in the place of its own.

    Each has unpacked itself; in the other's folder our importer finds nothing.
    """
    ours = _unpacked()
    here = [entry for entry in sys.path if Path(entry).is_relative_to(ours)]
    return here + [entry for entry in path if not any(part.startswith("_MEI") for part in Path(entry).parts)]


def _hold_folder() -> None:
    """Lock the folder for as long as this process or a fork of it lives.

    `sweep` of another process leaves it alone, and so does systemd-tmpfiles, which skips locked
    folders (tmpfiles.d(5)). The descriptor is never closed: the lock ends with the processes.
    """
    folder = HeldFolder.at(_unpacked())
    fcntl.flock(folder.descriptor, fcntl.LOCK_SH)
    with suppress(FileExistsError):
        os.close(folder.create(TAKEN))  # in this order: who sees it knows that the lock was there


def _is_abandoned(name: str, folder: HeldFolder) -> bool:
    """Whether *folder*, called *name*, was never taken, and whoever unpacked it is dead.

    Its name carries the bootloader's pid. One that is not seen here may live in a container that shares
    the folder: what takes a second to unpack is given a minute, counted back from our own folder.
    """
    unpacker = re.fullmatch(r"_MEI([0-9a-f]{8})\w+", name)
    if unpacker is None or _is_running(int(unpacker[1], 16)):
        return False
    return _unpacked().stat().st_mtime - folder.found.st_mtime > UNPACK_SECONDS


def _is_running(pid: int) -> bool:
    """Whether a process has that id; a zombie runs no more, and some containers never bury theirs."""
    try:
        Path(f"/proc/{pid}/exe").readlink()
    except FileNotFoundError:
        return False
    except OSError:
        pass  # somebody else's
    return True


def _is_removed(parent: HeldFolder, name: str) -> bool:
    try:
        with parent.inside(name) as folder:
            if folder.found.st_uid != os.getuid():
                return False
            if not folder.has(TAKEN) and not _is_abandoned(name, folder):
                return False
            folder.lock(shared=False)
            parent.remove(name, folder)
    except OSError:
        return False  # in use, or its bootloader removes it at this moment
    return True
