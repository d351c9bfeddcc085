"""What `doctor` looks at besides the store: the program, limits of the machine, the data folder."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import zoneinfo
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from .. import __version__
from ..apps.command_program import faults_of
from ..clock import Clock
from ..config import Config
from ..connecting import is_embedded
from ..diagnosis import Diagnosis
from ..http import open_files, too_few_files
from ..process import certificates, executable
from ..steady_clock import TRUSTED_SECONDS, SteadyClock
from ..store.checks import disk, library, loss_of
from ..store.clock_mark import read_mark, this_boot

LIBRARIES: Final = ("gevent", "greenlet", "pymongo", "Flask", "Werkzeug")
PLENTY_BYTES: Final = 1024**3


def program() -> Iterator[Diagnosis]:
    """Versions: of monqbus, of Python, of the libraries."""
    from importlib.metadata import PackageNotFoundError, version  # 40 modules, for `doctor` alone

    built = executable.built_with()
    how = f"one executable, PyInstaller {built['pyinstaller']}" if built else "installed"
    yield Diagnosis("monqbus", f"{__version__}, {how}: {sys.executable}")
    yield Diagnosis("python", platform.python_version())
    yield _glibc(built.get("glibc", ""))
    for name in LIBRARIES:
        try:
            yield Diagnosis(name.lower(), version(name))
        except PackageNotFoundError:
            yield Diagnosis(name.lower(), "not installed", "problem", "install monqbus again")
    yield library()
    yield _certificates()
    yield _time_zones()


def _glibc(needed: str) -> Diagnosis:
    here = platform.libc_ver()[1] or "unknown"
    # that it runs shows that it is new enough; the floor is for those who want to carry it elsewhere
    return Diagnosis("glibc", here, note=f"the executable needs {needed} or newer" if needed else "")


def _certificates() -> Diagnosis:
    if found := certificates.in_use(os.environ):
        return Diagnosis("certificates", found)
    remedy = "install the package ca-certificates, or name a file of them in $SSL_CERT_FILE"
    return Diagnosis("certificates", "of no authority: no server is trusted over TLS", "warning", remedy)


def _time_zones() -> Diagnosis:
    """Where `zoneinfo` finds zones."""
    for folder in zoneinfo.TZPATH:
        if Path(folder, "Etc/UTC").exists():
            return Diagnosis("time zones", folder)
    try:
        zoneinfo.ZoneInfo("Etc/UTC")
    except zoneinfo.ZoneInfoNotFoundError:
        remedy = "install the package tzdata, of this machine or with pip"
        return Diagnosis("time zones", "none: zoneinfo.ZoneInfo finds nothing", "warning", remedy)
    return Diagnosis("time zones", "those of the package tzdata")


def limits(config: Config) -> Iterator[Diagnosis]:
    """How many files may be open."""
    most, remedy = open_files(), too_few_files(config.http.connections)
    value = "unlimited" if most is None else str(most)
    yield Diagnosis("open files", value, "warning", remedy) if remedy else Diagnosis("open files", value)


def commands(config: Config) -> Iterator[Diagnosis]:
    """Whether the programs of `[handler:NAME]` sections can be started, seen from this user."""
    faults = faults_of(config.handlers.values())
    for name, fault in faults.items():
        sentence, _, remedy = fault.rpartition("; ")
        yield Diagnosis("command", f"[handler:{name}] {sentence}", "problem", f"{remedy}; its tasks wait")
    if config.handlers and not faults:
        yield Diagnosis("command", f"all {len(config.handlers)} can be started")


def data(config: Config) -> Iterator[Diagnosis]:
    """The folder of data_dir: whose, how open, on what, with how much room."""
    folder = config.monqbus.data_dir
    yield _folder(folder)
    there = next(place for place in (folder, *folder.parents) if place.exists())
    yield disk(there)
    free = shutil.disk_usage(there).free
    value = f"{free / 2**30:.1f} GiB free"
    if free < config.monqbus.min_free:
        yield Diagnosis("room", value, "problem", "free some: below [monqbus] min_free nothing new is taken")
    elif free < PLENTY_BYTES:
        yield Diagnosis("room", value, "warning", "free some: deliveries are kept for [monqbus] keep_events")
    else:
        yield Diagnosis("room", value)
    yield from _queue_time(folder)


def losses(config: Config) -> list[str]:
    """A warning where the file system of data_dir forgets what is kept there and was acknowledged."""
    folder = config.monqbus.data_dir
    reason = loss_of(folder) if is_embedded(config) or config.http.spool else ""
    if not reason:
        return []
    expected = f"[monqbus] data_dir: expected a folder on a disk, got {folder}"
    return [f"{expected}: {reason}, with all that was acknowledged; choose another, or mount a volume there"]


def _queue_time(folder: Path) -> Iterator[Diagnosis]:
    """How far the queue's time is from the wall clock, by the mark of a daemon."""
    mark = read_mark(folder)
    if mark is None:
        return
    ahead = SteadyClock(Clock(), mark, this_boot()).ahead
    value = f"the queue's is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} this machine's"
    if abs(ahead) <= TRUSTED_SECONDS:
        yield Diagnosis("time", "the queue's goes with this machine's")
    elif ahead > 0:
        note = "the clock was set back: what waits keeps its turn; the two come together by themselves"
        yield Diagnosis("time", value, "warning", note)
    else:
        note = "the clock was set ahead: see that it is right, it is followed when that has lasted 10 minutes"
        yield Diagnosis("time", value, "warning", note)


def _folder(folder: Path) -> Diagnosis:
    try:
        found = folder.stat()
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            return Diagnosis("data_dir", f"{folder}, not there yet", note="it is made at the first start")
        remedy = "run this as the daemon's user"
        return Diagnosis("data_dir", f"{folder}: {error.strerror}", "problem", remedy)
    value = f"{folder}, mode {found.st_mode & 0o7777:04o}"
    if os.geteuid() == 0 != found.st_uid:  # it looks with that one's rights: nothing needs to be given over
        return Diagnosis("data_dir", f"{value}, of user {found.st_uid}")
    if found.st_uid != os.geteuid():
        note = f"it belongs to user {found.st_uid}: run this as that one, or give it over with chown"
        return Diagnosis("data_dir", value, "warning", note)
    if found.st_mode & 0o077:  # with a bit to write the configuration is refused before
        return Diagnosis("data_dir", value, "warning", f"run: chmod 700 {folder}")
    return Diagnosis("data_dir", value)
