"""The temporary folder with an event's files for a command: written, given to its user, removed.

It is complete before its user may enter it, and what we need of it later is open by then. A lock on
it lasts as long as the run: what a killed daemon has left behind is known by its missing lock.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from ..errors import CommandFailed
from ..files.held_folder import HeldFolder, interference

EVENT: Final = "event.json"
BODY: Final = "body"
PREFIX: Final = "monqbus-command-"
TRIES: Final = 10

_NAME: Final = re.compile(rf"{PREFIX}[0-9a-f]{{16}}")


class CommandFiles:
    """A new folder at `path` with *event* and *body* in it, and `stdin`, the event open for reading.

    It belongs to *owner*, a user and a group, where that is not ourselves. *pause* is called now and then
    while it is removed. Raises OSError; CommandFailed where others could put their own in its place.
    """

    def __init__(
        self,
        event: bytes,
        body: bytes,
        owner: tuple[int, int] | None = None,
        pause: Callable[[], None] = lambda: None,
    ) -> None:
        self._pause = pause
        where = tempfile.gettempdir()
        self._parent = HeldFolder.at(where)
        try:
            if complaint := interference(self._parent.found, sticky=True):
                raise CommandFailed(
                    f"$TMPDIR: expected a folder where nobody else can exchange files, got {where}: "
                    f"{complaint}; name a folder of this user, or run: chmod +t {where}"
                )
            name, self._folder = _made(self._parent)
        except BaseException:
            self._parent.close()
            raise
        self.path = Path(where) / name
        self.stdin = -1
        try:
            self._fill(event, body, owner)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> CommandFiles:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the folder with all that is in it. What cannot be removed now, the next start removes."""
        if self.stdin >= 0:
            os.close(self.stdin)
        try:
            with suppress(OSError):
                self._parent.remove(self.path.name, self._folder, self._pause)
        finally:  # an interrupt may come at a pause
            self._folder.close()
            self._parent.close()

    def _fill(self, event: bytes, body: bytes, owner: tuple[int, int] | None) -> None:
        for name, data in ((EVENT, event), (BODY, body)):
            with os.fdopen(self._folder.create(name), "wb") as file:
                file.write(data)
                if owner is not None:
                    os.fchown(file.fileno(), *owner)
        self.stdin = self._folder.open(EVENT, os.O_RDONLY)
        if owner is not None:  # last of all: from here on the names in it are its owner's
            os.fchown(self._folder.descriptor, *owner)


def sweep() -> int:
    """Remove the folders of runs whose daemon was killed; how many. Blocks for the disk.

    Those of this user; root's daemons have given theirs to others, and root removes all that have no lock.
    """
    try:
        parent = HeldFolder.at(tempfile.gettempdir())
    except OSError:
        return 0
    with parent:
        names = [name for name in parent.names() if _NAME.fullmatch(name)]
        return sum(_is_swept(parent, name) for name in names)


def _is_swept(parent: HeldFolder, name: str) -> bool:
    try:
        with parent.inside(name) as folder:
            if os.geteuid() not in (0, folder.found.st_uid):
                return False
            folder.lock(shared=False)
            parent.remove(name, folder)
    except OSError:
        return False  # in use, or its daemon removes it at this moment
    return True


def _made(parent: HeldFolder) -> tuple[str, HeldFolder]:
    """A new folder that we have locked: another daemon that starts now could sweep it away before."""
    for _ in range(TRIES):
        name = f"{PREFIX}{os.urandom(8).hex()}"
        try:
            folder = parent.make(name)
        except (FileExistsError, FileNotFoundError):
            continue
        try:
            folder.lock(shared=True)
            if parent.holds(name, folder):
                return name, folder
        except BlockingIOError:
            pass
        except BaseException:
            folder.close()
            raise
        folder.close()
    raise CommandFailed(f"$TMPDIR: expected a new folder in {tempfile.gettempdir()}, {TRIES} were taken away")
