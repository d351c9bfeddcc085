"""The contract of a store: every verb, and what it promises.

Thirty-four verbs: of the queue nine, of the leases four, of the archive fourteen, of the records two, and
five of the store's own life. An adapter is dumb and silent: it decides nothing, logs nothing and counts
nothing.
Every verb may raise StoreUnavailable; the outcome of a write is then unknown, and asking again is
safe because ids are chosen before the call. A verb blocks its caller (in the daemon: its greenlet,
never the hub) for at most `CALL_SECONDS`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol
from zlib import crc32

from bson import ObjectId

from ..delivery_record import Delivery, DeliveryFilter, Keep
from ..limits import Limit
from ..model import (
    Claim,
    Claimed,
    Event,
    EventFilter,
    FairShare,
    Filter,
    Instance,
    MonQTask,
    Posting,
    Receipt,
    Record,
    Report,
    State,
)

CALL_SECONDS = 5.0
PAGE_BYTES = 8 * 1024 * 1024
"""About how many bytes a page of tasks or events holds at most; one item may be larger alone."""

CountedBy = Literal["state", "name"]
EVERY_EVENT = EventFilter()


class Heard(NamedTuple):
    """What `listen` has heard, and for which names of tasks it rang: their `hint_of`, None for any."""

    word: Literal["rang", "quiet", "lost"]
    hints: frozenset[int] | None = None

    def is_about(self, name: str) -> bool:
        """Whether there may be something new under *name*."""
        return self.hints is None or hint_of(name) in self.hints


def hint_of(name: str) -> int:
    """The number that stands for *name* in a ring; of other names with the same one some wake for nothing."""
    return crc32(name.encode("utf-8", "surrogatepass")) & 0x7FFF_FFFF


class Notice(NamedTuple):
    """Something a store has noticed about itself: the *fact* to tell, with its *fields*."""

    fact: str
    fields: Mapping[str, Any]


class Backlog(NamedTuple):
    """The ready tasks of one name: how many, and the earliest `time_queue` of them.

    None when that is unreadable, or all of them wait behind others of their serial keys.
    """

    depth: int
    oldest: datetime | None


class Line(NamedTuple):
    """Who *holds* a serial key, ready or busy, None for nobody; and the ids of those *behind* it."""

    holds: ObjectId | None
    behind: list[ObjectId]


class Queue(Protocol):
    """Work on its way: stored, claimed, ended. Every daemon's hot path."""

    shared: bool
    """Several daemons may use this store at once, so leases and the feed matter."""

    def post(self, postings: Sequence[Posting]) -> list[Receipt]:
        """Store each posting whole or not at all; durable when it returns.

        Raises StoreFull while there is no room for new work; every other verb goes on then. Raises the
        first error of a posting that is refused; the others of the call are stored.
        A posting whose event key is stored already changes nothing and returns the first ids as a
        duplicate. One whose event, or task without one, is stored already under its own id changes
        nothing, whatever has become of it, and is told as repeated. Except that an event which was stored
        without tasks gets those of the posting, only once, whoever else brings some at this moment: they
        are stored as ready, and the receipt says *replayed*. A task whose `key` is held by an unfinished
        task is not stored: its receipt names the holder. Tasks may come in `busy` with their `worker` set
        (direct start).
        """

    def post_within(
        self, session: Any, postings: Sequence[Posting], committed: Callable[[], None]
    ) -> list[Receipt]:
        """As `post`, in the caller's transaction, which runs in *session*: stored if and only if it commits.

        Their events are new, and their tasks wait. *committed* is called behind the commit in whatever thread
        has made it, not when it fails, and never when the process dies in between. Raises StoreError for a
        session of anything but this store's deployment, one without a transaction, and a store that has
        none; StoreUnavailable when the transaction has ended, with what the caller's driver needs to begin
        again.
        """

    def claim(
        self,
        instance: Instance,
        names: Collection[str],
        limit: int,
        now: datetime,
        fair: FairShare | None = None,
        *,
        bound: Limit | None = None,
    ) -> Claimed:
        """Take up to *limit* ready tasks with `time_queue <= now` and a name in *names*.

        Highest priority first, then oldest `time_queue`. Each task goes to exactly one caller: it
        becomes busy, `worker` the id of this instance, generation + 1, attempt + 1, `time_start` now. An
        event with a hook comes along in `task.event`; `task.is_bereft` says that it should and is gone.
        `next_due` is filled only when fewer than *limit* came. When more are due than that, *fair* divides
        the places, and none stays empty for its sake.

        With *bound*, the limit of the one name in *names*, no more than it allows are begun, whoever else
        claims under it at this moment: what runs is counted by the busy tasks themselves, so that a place is
        free exactly when its claim is. `next_due` is then also when its rate lets the next one begin.
        """

    def report(self, reports: Sequence[Report]) -> list[bool]:
        """Set fields of busy tasks, each only while its claim still holds; True where it did.

        Finish, retry, release and progress are all this verb; a late report changes nothing. Asked
        again after StoreUnavailable, an end that was written before is True again.

        The *postings* of a report are stored as by `post`, to wait, in the same durable step as its fields:
        all or nothing. A late report stores none; when one posting is refused, neither the others nor the
        fields are stored, and its error is raised after the other reports of the call were written. They are
        taken while `post` raises StoreFull: they end work that was accepted. MongoDB without a replica set
        has no such step: postings are stored first, and a crash before the fields leaves them behind.
        """

    def get(self, task_id: ObjectId) -> MonQTask | None:
        """One task as it is now."""

    def depth(self, most: int) -> int:
        """How many tasks are ready, due or not, counted up to *most* (at least 1) from an index."""

    def waiting(self) -> dict[str, Backlog]:
        """What is ready, due or not, under each task name; read from an index."""

    def ring(self, names: Collection[str] = ()) -> None:
        """Tell the other daemons that there is work, of these *names* alone if there are any.

        A hint: may be lost, doubled, late, and heard as one for every name.
        """

    def listen(self, seconds: float) -> Heard:
        """Block up to *seconds* for another daemon's ring.

        "lost" means rings may have been missed: make a full claim pass, pause, listen again.
        """


class Leases(Protocol):
    """Which daemon holds what, and for how long yet."""

    def renew(self, instance: Instance, lease_seconds: float) -> int:
        """Extend the lease of this daemon, by the store's clock. 0 seconds ends it at once.

        Returns how often it had run out before it was renewed; always 0 where there are no leases.
        """

    def held(self, instance: Instance) -> list[Claim]:
        """Every claim that *instance* holds in the store's eyes, in no order."""

    def instances(self) -> list[Instance]:
        """The daemons whose lease has not ended."""

    def orphans(self, instance: Instance, limit: int) -> list[MonQTask]:
        """Busy tasks whose daemon's lease is over, oldest first; never those of *instance* itself.

        Fewer than *limit* when they are large.
        """


class ClaimStore(Queue, Leases, Protocol):
    """Tasks on their way and the leases under which they are held: for what sets claims right."""


class Archive(Protocol):
    """What is stored, for operators: seen, changed, forgotten, brought elsewhere."""

    def find(
        self, filter: Filter, limit: int, cursor: ObjectId | None = None, *, brief: bool = False
    ) -> list[MonQTask]:
        """Tasks that match, newest id first; *cursor* continues behind the last one of a page.

        A page ends at *limit*, or before it at PAGE_BYTES: only an empty one was the last. A *brief* task
        comes without `args`, `kwargs`, `context`, `max_attempts`, `timeout` and `output`, which
        are not even read, so its `fault` says nothing about them.
        """

    def line(self, serial: str, limit: int, *, newest: bool = False) -> Line:
        """The unfinished tasks with this serial key: the one that may run, and up to *limit* behind it.

        Those in the order in which they will run; the last ones first when *newest*.
        """

    def ids(self, filter: Filter, limit: int, cursor: ObjectId | None = None) -> list[ObjectId]:
        """The ids of what `find` finds; nothing else of the tasks is read. Only *limit* ends a page."""

    def count(self, filter: Filter, by: CountedBy = "state") -> dict[str, int]:
        """How many tasks match, by state or by task name; what has none is left out."""

    def move(self, ids: Sequence[ObjectId], states: Collection[State], fields: Mapping[str, Any]) -> int:
        """Set *fields* on those of *ids* that are in one of *states*; how many that were.

        A task that cannot become ready because another unfinished one holds its key stays as it is, and
        so does one that is refused. Raises NotAccepted when that is why none was moved.
        """

    def delete(self, ids: Sequence[ObjectId], states: Collection[State]) -> int:
        """Forget those of *ids* that are in one of *states*; how many that were."""

    def prune(self, now: datetime, limit: int) -> int:
        """Forget up to *limit* ended tasks and up to *limit* events past their `expire_at`.

        An event stays while a task of it is stored that has not ended, or that an operator may retry.
        A call looks at a bounded number of events; the next one goes on behind them.
        """

    def event(self, event_id: ObjectId) -> Event | None:
        """One event as it was received."""

    def events(
        self, limit: int, cursor: ObjectId | None = None, filter: EventFilter = EVERY_EVENT
    ) -> list[Event]:
        """Events that match, newest id first; *cursor* continues behind the last one of a page.

        It ends as in find.
        """

    def log_deliveries(self, records: Sequence[Delivery], keep: Keep | None = None) -> int:
        """Store *records* of the delivery log, all of one call at once; then let go what *keep* says.

        Returns how many went. Refused deliveries have a ring of their own, so that they push out no other
        record. Raises StoreFull while there is no room for new work. One that is there already under its id
        stays as it is.
        """

    def deliveries(
        self, filter: DeliveryFilter, limit: int, cursor: ObjectId | None = None
    ) -> list[Delivery]:
        """Records that match, newest id first; *cursor* continues behind the last one of a page.

        Accepted deliveries have none: they are events.
        """

    def delivery(self, record_id: ObjectId) -> Delivery | None:
        """One record."""

    def adopt(self, tasks: Sequence[MonQTask], events: Sequence[Event]) -> None:
        """Store what another store has, as it is there; what is here under its id stays as it is.

        Raises StoreError when another unfinished task, or another event, holds the same key.
        """

    def backup(self, path: Path) -> None:
        """Write everything to the new file *path* while the work goes on; blocks until it is there.

        Raises StoreError: a shared store has tools of its own for that.
        """


class Records(Protocol):
    """Small documents about the queue itself: how far a schedule has come, for example."""

    def records(self, kind: str) -> list[Record]:
        """Every record of *kind*, by name. One that nobody can read comes without fields."""

    def keep_records(self, records: Sequence[Record]) -> list[bool]:
        """Store each record as the next version if that in the store is still its own; True where it was.

        One without fields is forgotten. Durable when it returns. Asked again after StoreUnavailable it may
        say False for what it has written before: read what is there now.
        """


class Store(Queue, Leases, Archive, Records, Protocol):
    """Tasks, events, records and the daemons that hold them.

    What lies in it may hold anything: other programs write there, and disks fail. An item that cannot be
    read is shown with its `fault` and never run; a ready task of that kind ends in `error` when its turn
    comes, told by `tend`. No verb fails for it. An item that a rule of the store refuses is NotAccepted,
    and the other items of the call are written.
    """

    def hosts(self) -> Collection[str]:
        """The machines that it has to reach, by the names it looks up; cheap, asked at each look-up."""

    def open(self) -> None:
        """Create schema and indexes if they are missing; idempotent. Raises StoreHeld."""

    def close(self) -> None:
        """Close files and connections; every verb after it raises StoreUnavailable."""

    def ping(self) -> None:
        """Return when the store takes new work, raise StoreUnavailable when it does not."""

    def tend(self) -> Sequence[Notice]:
        """Look after its own affairs, once a second; what has changed since the last call."""
