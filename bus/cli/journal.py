"""The journal of a long post: how far a file was posted, so that an interrupted run is gone on with.

A text file of JSON lines that is only appended to. The first line says what is posted and into which store,
and the seed of all ids; each other line says how many lines are stored for certain, and the SHA-256 of
these. What was stored behind them is stored again under the same ids, which the store knows.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256
from json import dumps, loads
from pathlib import Path
from typing import Any, Final

from bson import ObjectId
from bson.errors import InvalidId

from ..clock import Clock
from ..errors import UnusableForNow, UsageError
from ..safe_text import shown

SUFFIX: Final = ".journal"
FORMAT: Final = "post 1"
_BEGINS: Final = dumps({"monqbus": FORMAT})[:-1].encode()
_OPEN: Final = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def id_of(seed: ObjectId, number: int, text: bytes) -> ObjectId:
    """The id of line *number* of a run: the same whenever it is posted, another one for another *text*."""
    place = (number % 2**32).to_bytes(4, "big")
    return ObjectId(seed.binary[:4] + place + sha256(seed.binary + text).digest()[:4])


class Journal:
    """The journal at *path* of posting *what* into *store*; locked until it is closed.

    *lines* are stored for certain and have the SHA-256 *digest*; *is_complete*: the file had no more of them.
    Raises UsageError for the journal of something else or one in use, UnusableForNow where none can be kept.
    """

    def __init__(self, path: Path, what: str, store: str, clock: Clock) -> None:
        self.path = path
        self.seed = clock.new_id()
        self.lines = 0
        self.digest = ""
        self.is_complete = False
        self._clock = clock
        self._asked = {"what": what, "store": store}
        try:
            self._descriptor = os.open(path, _OPEN, 0o600)
        except OSError as error:
            raise self._unusable(error) from error
        try:
            self._take()
            self._read()
        except BaseException:
            self.close()
            raise

    def begin_anew(self) -> None:
        """Forget what another file of this name has posted whole: durable when this returns."""
        self.seed, self.lines, self.digest, self.is_complete = self._clock.new_id(), 0, "", False
        self._begin()

    def stored(self, lines: int, digest: str, *, is_complete: bool = False) -> None:
        """Remember that *lines* are stored; durable when this returns. Raises UnusableForNow."""
        if (lines, is_complete) != (self.lines, self.is_complete):
            self._append({"lines": lines, "sha256": digest, "complete": is_complete})
        self.lines, self.digest, self.is_complete = lines, digest, is_complete

    def close(self) -> None:
        """Let another run have it."""
        os.close(self._descriptor)

    def _take(self) -> None:
        if not stat.S_ISREG(os.fstat(self._descriptor).st_mode):
            raise UsageError(f"{self.path}: expected the journal of a post, got no file; name another one")
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(
                f"{self.path}: expected one run at a time, got another that posts by this journal; "
                "wait for its end"
            ) from error

    def _read(self) -> None:
        """Find out how far it is; a line that was begun and not ended is taken back."""
        with open(self._descriptor, "rb", closefd=False) as file:
            written = file.read()
        whole = written[: written.rfind(b"\n") + 1]
        if not whole and (_BEGINS.startswith(written) or written.startswith(_BEGINS)):
            self._begin()
            return
        try:
            head, *records = [loads(line) for line in whole.splitlines()]
            self.seed = ObjectId(head["seed"])
            self._expect(head)
            if records:
                self.lines, self.digest = int(records[-1]["lines"]), str(records[-1]["sha256"])
                self.is_complete = bool(records[-1]["complete"])
        except (ValueError, KeyError, TypeError, InvalidId) as error:
            raise UsageError(
                f"{self.path}: expected the journal of a post, got another file; "
                "name another one: --journal FILE"
            ) from error
        if len(whole) < len(written):
            os.ftruncate(self._descriptor, len(whole))

    def _expect(self, head: Mapping[str, Any]) -> None:
        for name, value in self._asked.items():
            if head[name] != value:
                raise UsageError(
                    f"{self.path}: expected the journal of {value}, got that of {shown(head[name], 200)}; "
                    "name another one: --journal FILE"
                )

    def _begin(self) -> None:
        os.ftruncate(self._descriptor, 0)
        self._append({"monqbus": FORMAT, **self._asked, "seed": str(self.seed)})
        try:
            folder = os.open(self.path.absolute().parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise self._unusable(error) from error

    def _append(self, record: Mapping[str, Any]) -> None:
        data = dumps(record).encode() + b"\n"
        size = os.fstat(self._descriptor).st_size
        try:
            if os.write(self._descriptor, data) < len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fdatasync(self._descriptor)
        except OSError as error:
            with suppress(OSError):
                os.ftruncate(self._descriptor, size)
            raise self._unusable(error) from error

    def _unusable(self, error: OSError) -> UnusableForNow:
        return UnusableForNow(
            f"{self.path}: expected to keep a journal there, got: {error.strerror}; "
            "make room, or name another place for it: --journal FILE"
        )
