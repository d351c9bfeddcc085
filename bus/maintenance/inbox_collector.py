"""Takes over from the inbox what other processes have posted, while the daemon runs or before."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

import gevent.socket
from gevent.lock import RLock

from ..apps.calls import Batch
from ..clock import Clock
from ..engine.loop import Loop
from ..engine.outage import Outage
from ..errors import NotAccepted, StoreError
from ..posting import PostOffice
from ..store.inbox.format import Record
from ..store.inbox.postings import from_payload
from ..store.inbox.reader import InboxReader
from ..store.inbox.writer import BELL
from ..telemetry import emit

POLL_SECONDS: Final = 1.0
PASS_SECONDS: Final = 0.5
"""After so long a pass ends: however much is posted, the loop shows that it lives."""
COLLECT_SECONDS: Final = 5.0
BATCH: Final = 100
"""Posts a call of the store: the hub is held for about 3 ms by so many."""
LARGEST_RING: Final = 1


class Bell:
    """A datagram socket beside the control socket: posters ring it after each record. Only a hint.

    Where it cannot be bound, as under a path that is too long, `wait` only waits.
    """

    def __init__(self, data_dir: Path, clock: Clock) -> None:
        self._path = data_dir / BELL
        self._clock = clock
        self._socket: gevent.socket.socket | None = None

    def wait(self, seconds: float) -> None:
        """Block until somebody has rung since the last call, or *seconds* are over."""
        bell = self._bound()
        if bell is None:
            self._clock.sleep(seconds)
            return
        bell.settimeout(seconds)
        with suppress(OSError):
            bell.recv(LARGEST_RING)
        bell.settimeout(0)
        with suppress(OSError):  # until it would block: what is collected now answers all of them
            while True:
                bell.recv(LARGEST_RING)

    def close(self) -> None:
        """Close the socket; posters do not depend on it."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
            with suppress(OSError):
                self._path.unlink()

    def _bound(self) -> gevent.socket.socket | None:
        """The socket; bound anew when somebody has deleted its file."""
        if self._socket is not None and self._path.exists():
            return self._socket
        self.close()
        bell = gevent.socket.socket(gevent.socket.AF_UNIX, gevent.socket.SOCK_DGRAM)
        try:
            os.fchmod(bell.fileno(), 0o600)  # the file gets it from the socket, see listen_unix
            with suppress(FileNotFoundError):
                self._path.unlink()
            bell.bind(str(self._path))
        except OSError:
            bell.close()
            return None
        self._socket = bell
        return bell


class Collector:
    """Stores what the inbox in *data_dir* holds, each posting under the ids that were chosen there.

    What the store has is marked as taken in its file; a daemon that is killed in between takes it over
    again, and the store knows the ids.
    """

    def __init__(self, data_dir: Path, office: PostOffice, clock: Clock) -> None:
        self.loop = Loop("collector", self.tick, 2 * POLL_SECONDS, clock)
        self._reader = InboxReader(data_dir)
        self._bell = Bell(data_dir, clock)
        self._office = office
        self._clock = clock
        self._turn = RLock()
        self._outage = Outage("taking over from the inbox", clock)

    def tick(self) -> float:
        """Take over what is there, for a moment at most; when there is nothing, wait for the next posting."""
        try:
            with self._turn:
                has_found = self._pass()
        except (StoreError, OSError) as error:
            self.loop.health.fail(error, is_outage=None if isinstance(error, StoreError) else False)
            return self._outage.pause(error)
        self._outage.recovered()
        if not has_found:
            self._bell.wait(POLL_SECONDS)
        return 0

    def collect(self) -> None:
        """Take over all that is there now, or as much of it as COLLECT_SECONDS allow.

        What comes meanwhile does not count, or it would never end. Blocks on disk and store; raises
        StoreError, OSError.
        """
        with self._turn:
            deadline = self._clock.monotonic() + COLLECT_SECONDS
            goal = self._reader.sizes()
            while not self._reader.has_read(goal) and self._clock.monotonic() < deadline and self._pass():
                pass

    def close(self) -> None:
        """Close the files and the bell."""
        self._bell.close()
        self._reader.close()

    def _pass(self) -> bool:
        """Take over pieces of the files in turn until each has had one, or PASS_SECONDS are over."""
        has_found = False
        deadline = self._clock.monotonic() + PASS_SECONDS
        for name, records in self._reader.pieces():
            has_found = True
            for start in range(0, len(records), BATCH):
                batch = records[start : start + BATCH]
                self._take_over(name, batch)
                self._reader.taken(name, batch[-1].end)
            if self._clock.monotonic() >= deadline:
                break
        for complaint in self._reader.complaints():
            emit("inbox.damaged", error=complaint)
        return has_found

    def _take_over(self, name: str, records: list[Record]) -> None:
        """Store *records*; when one of them cannot be stored, the others are, and it is set aside."""
        try:
            now = self._clock.now()
            self._store([from_payload(record.payload, now) for record in records])
        except NotAccepted as error:
            self._apart(name, records, error)
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one must not hold up the others
            self._apart(name, records, error)

    def _store(self, batches: list[Batch]) -> None:
        """Store *batches*, in several calls where one has many posts: the hub turns in between."""
        if sum(map(len, batches)) <= BATCH:
            self._office.take_over(batches)
            return
        for batch in batches:
            for part in batch.parts(BATCH):
                self._office.take_over([part])

    def _apart(self, name: str, records: list[Record], error: Exception) -> None:
        if len(records) == 1:
            self._reader.refuse(name, records[0], error)
            return
        half = len(records) // 2
        self._take_over(name, records[:half])
        self._take_over(name, records[half:])
