"""Batch claims in MongoDB: read what is due, then take all of it that nobody has taken since.

Two calls, and more only where others were faster or a document is not sound. One by one with findAndModify
gets slower with every claimer (measured: 1,204/s with 4 greenlets, 200/s with 64); a batch of 100 takes 8,000
to 10,000 a second whatever the backlog.
"""

from __future__ import annotations

import math
import threading
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import Any, Final, NamedTuple

from bson import Int64, ObjectId
from pymongo import ASCENDING, DESCENDING
from pymongo.collection import Collection as MongoCollection
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError, WriteError

from ...clock import Clock
from ...errors import StoreUnavailable
from ...limits import Limit
from ...model import BUSY, DELIVERY, READY, Claimed, Event, FairShare, Instance, MonQTask
from ..contract import CALL_SECONDS
from ..documents import EPOCH, NOT_YET, event_from_document, may_need_delivery, task_from_document
from ..fair_share import divided
from ..fields import UNSOUND
from ..salvage import opened
from . import bodies, limits
from .connection import Connection, Document, is_outage, refusal_of
from .foreign_documents import ODD_ID, SOUND, Tell, set_aside, unsound
from .lenient import PLAIN, id_of, one_of, read
from .schema import CLAIM, DUE, EVENTS, TASKS

NAMES_PER_QUERY: Final = 150  # the server merges up to 200 index scans, beyond that it sorts
ROUNDS: Final = 5
PASSED_SECONDS: Final = 60.0
NOTHING_SECONDS: Final = 0.5
"""How long a claim does not ask again for names that had nothing due beside one with more than its share.

Asked at each claim, the drain of a single kind took a third longer.
"""
MOST_PASSED: Final = 500
ORDER: Final = [("priority", DESCENDING), ("time_queue", ASCENDING), ("_id", ASCENDING)]


class Doubt(NamedTuple):
    """Tasks that *worker* may have claimed at *since* without having learned of it."""

    worker: str = ""
    ids: Sequence[Any] = ()
    since: datetime | None = None


class Wanted(NamedTuple):
    """What a claim asks for."""

    names: list[str]
    limit: int
    now: datetime
    fair: FairShare | None = None


class Claims:
    """Takes tasks for a daemon. One claim at a time; others of this store wait for their turn.

    *tell* hears of tasks that cannot be begun. Those that the server lets nobody change are passed over
    for PASSED_SECONDS, MOST_PASSED of them; when there are more the claim fails, as the queue is unusable.
    """

    def __init__(self, connection: Connection, tell: Tell) -> None:
        self._connection = connection
        self._tell = tell
        self._clock = Clock()
        self._passed: dict[Any, float] = {}
        self._turn = threading.Lock()
        self._doubted = Doubt()
        self._nothing_until: dict[tuple[str, ...], float] = {}
        self._nothing_aged_until = 0.0

    def claim(
        self,
        instance: Instance,
        names: Collection[str],
        limit: int,
        now: datetime,
        fair: FairShare | None,
        *,
        bound: Limit | None,
    ) -> Claimed:
        """See contract.claim. What another error or interrupt leaves behind, the next claim gives back."""
        with self._my_turn() as database:
            self._give_back(database)
            wanted = Wanted(sorted(names), limit, now, fair)
            if bound is None:
                claimed = self._claim(database, instance, wanted)
            else:
                claimed = self._claim_within(database, instance, wanted, bound)
            self._doubted = Doubt()
        return claimed

    def give_back(self) -> None:
        """Return to ready what a claim took whose caller never learned of it."""
        with self._my_turn() as database:
            self._give_back(database)

    @contextmanager
    def _my_turn(self) -> Iterator[Database[Document]]:
        """The database, for one caller at a time. Raises StoreUnavailable after CALL_SECONDS."""
        if not self._turn.acquire(timeout=CALL_SECONDS):
            raise StoreUnavailable(
                f"store: a claim has waited {CALL_SECONDS:g} s for another one; "
                "see whether its servers are reached and quick"
            )
        try:
            with self._connection.call() as database:
                yield database
        finally:
            self._turn.release()
            self._clock.sleep(0)  # gevent's lock is not fair: who asks again at once would have it for ever

    def _give_back(self, database: Database[Document]) -> None:
        worker, ids, since = self._doubted
        if not ids:
            return
        # the moment of the claim: a packet that comes late must not undo the next claim by the same daemon
        fence = {"_id": {"$in": ids}, "state": BUSY, "worker": worker, "time_start": since}
        change = {
            "$set": {"state": READY, "process": None, "time_start": None},
            "$unset": {"worker": "", "seat": ""},
            "$inc": {"attempt": -1},
        }
        database[TASKS].update_many(fence, change)
        self._doubted = Doubt()

    def _claim(self, database: Database[Document], instance: Instance, wanted: Wanted) -> Claimed:
        names, limit, now, _ = wanted
        taken: list[MonQTask] = []
        self._look_again_at_passed()
        for _ in range(ROUNDS):
            missing = limit - len(taken)
            if missing <= 0:
                return Claimed(taken)
            due = self._due(database[TASKS], wanted._replace(limit=missing))
            if due:
                taken += self._take(database, instance, due, now)
            if len(due) < missing:
                return Claimed(taken, _next_due(database[TASKS], names, now))
        # other daemons take what is found here: there is more, look again at once
        return Claimed(taken, now if len(taken) < limit else None)

    def _claim_within(
        self, database: Database[Document], instance: Instance, wanted: Wanted, bound: Limit
    ) -> Claimed:
        """As `_claim`, no more than *bound* allows of its one name."""
        (names, limit, now, _), tasks = wanted, database[TASKS]
        self._look_again_at_passed()
        seats = limits.free_seats(tasks, names[0], bound)
        limit = limit if seats is None else min(limit, len(seats))
        due = self._first(tasks, names, limit, now) if limit > 0 else []
        given, opens = limits.reserve(database, names[0], bound, now, len(due))
        taken = self._take(database, instance, due[:given], now, seats) if given else []
        if len(taken) < given:
            limits.give_back(database, names[0], bound, given - len(taken))
        if len(taken) >= limit:
            return Claimed(taken)
        moments = [opens, _next_due(tasks, names, now)]
        return Claimed(taken, min((moment for moment in moments if moment is not None), default=None))

    def _due(self, tasks: MongoCollection[Document], wanted: Wanted) -> list[Document]:
        """Up to *limit* ready tasks in the order of claiming."""
        names, limit, now, fair = wanted
        found = self._first(tasks, names, limit, now)
        if fair is None or len(found) < limit:
            return found
        aged = self._aged_now(tasks, names, min(fair.aged, limit), fair.aged_before) if fair.aged else []
        found = self._in_turn(tasks, wanted, fair, aged, found)
        return found[:limit]

    def _in_turn(
        self,
        tasks: MongoCollection[Document],
        wanted: Wanted,
        fair: FairShare,
        aged: list[Document],
        page: list[Document],
    ) -> list[Document]:
        """*aged*, then *page*; while a name in it has more than its share, what the other names have, too."""
        names, limit, now, _ = wanted
        while True:
            known = {document["_id"] for document in aged}
            within, beyond = divided(
                aged + [document for document in page if document["_id"] not in known], _name, fair
            )
            others = [name for name in names if name not in {_name(document) for document in beyond}]
            if len(within) >= limit or not beyond or not others or others == names:
                return within + beyond
            if self._clock.monotonic() < self._nothing_until.get(asked := tuple(others), 0.0):
                return within + beyond
            more = self._first(tasks, others, limit, now)
            known = {document["_id"] for document in page}
            fresh = [document for document in more if document["_id"] not in known]
            if not fresh:
                self._nothing_until = {asked: self._clock.monotonic() + NOTHING_SECONDS}
                return within + beyond
            page, names = sorted(page + fresh, key=_rank), others

    def _aged_now(
        self, tasks: MongoCollection[Document], names: list[str], limit: int, before: datetime
    ) -> list[Document]:
        """As `_aged`; for a while nothing after there was nothing."""
        if self._clock.monotonic() < self._nothing_aged_until:
            return []
        found = self._aged(tasks, names, limit, before)
        if not found:
            self._nothing_aged_until = self._clock.monotonic() + NOTHING_SECONDS
        return found

    def _aged(
        self, tasks: MongoCollection[Document], names: list[str], limit: int, before: datetime
    ) -> list[Document]:
        """Up to *limit* of those that have been due longest, and since *before*."""
        found: list[Document] = []
        for chunk in _chunks(names):
            page = read(tasks, partial(_oldest, self._query(chunk, before), limit))
            found += [document for document in page if type(document["_id"]) in PLAIN]
        return sorted(found, key=_age)[:limit]

    def _query(self, names: list[str], until: datetime) -> Document:
        query: Document = {"state": READY, "task_name": {"$in": names}, "time_queue": {"$lte": until}}
        if self._passed:
            query["_id"] = {"$nin": list(self._passed)}
        return query

    def _first(
        self, tasks: MongoCollection[Document], names: list[str], limit: int, now: datetime
    ) -> list[Document]:
        """Up to *limit* ready tasks in the order of claiming."""
        found: list[Document] = []
        for chunk in _chunks(names):
            query = self._query(chunk, now)
            page = read(tasks, partial(_page, query, limit))
            if not {type(document["_id"]) for document in page} <= PLAIN:
                page = self._without_odd_ids(tasks, page, query, now)
            found += page
        if len(names) > NAMES_PER_QUERY:
            found.sort(key=_rank)
        return found[:limit]

    def _without_odd_ids(
        self, tasks: MongoCollection[Document], page: list[Document], query: Document, now: datetime
    ) -> list[Document]:
        """The *page* of *query* anew, after those were set aside that nobody can name."""
        limit = len(page)
        odd = [task_id for document in page if opened(task_id := id_of(document)) is not None]
        set_aside(tasks, {"$or": [one_of(odd), {"$and": [query, ODD_ID]}]}, now, self._tell)
        page = read(tasks, partial(_page, query, limit))
        return [document for document in page if opened(id_of(document)) is None]

    def _take(
        self,
        database: Database[Document],
        instance: Instance,
        due: list[Document],
        now: datetime,
        seats: Sequence[str] | None = None,
    ) -> list[MonQTask]:
        """Those of *due* that were still ready, in their order; each in one of *seats* where given."""
        tasks, ids = database[TASKS], [document["_id"] for document in due]
        self._doubted = Doubt(instance.id, [*self._doubted.ids, *ids], now)
        mine = {
            "state": BUSY,
            "worker": instance.id,
            "process": instance.process,
            "time_start": now,
            "time_stop": None,
        }
        taken = self._take_known(tasks, due, mine) if seats is None else None
        if taken is None:
            taken = self._take_each(tasks, ids, mine, seats)
        _attach_deliveries(database[EVENTS], taken)
        return self._without_faults(tasks, taken, now)

    def _without_faults(
        self, tasks: MongoCollection[Document], taken: list[MonQTask], now: datetime
    ) -> list[MonQTask]:
        """Those of *taken* that can be read, as can the event of each; the others are set aside."""
        broken = [task for task in taken if task.fault or (task.event is not None and task.event.fault)]
        for task in broken:
            which = {"_id": task.id, "worker": task.worker}
            self._pass_over(set_aside(tasks, which, now, self._tell, state=BUSY, reason=_fault(task)))
        return [task for task in taken if not _fault(task)] if broken else taken

    @staticmethod
    def _take_known(
        tasks: MongoCollection[Document], due: list[Document], mine: Document
    ) -> list[MonQTask] | None:
        """All of *due*, changed as they were read, or none; None where only some of them may be ours.

        Each is fenced by its generation, which every claim raises: a document that still has it has been
        nobody's since it was read. What is not sound is left to `_take_each`. Others that were faster have
        taken all of it as a rule: then there is nothing to read back, and the next look shows what is left.
        """
        taken = [task_from_document(_as_claimed(document, mine)) for document in due]
        if any(task.fault for task in taken):
            return None
        ids_of = defaultdict[Any, list[Any]](list)
        for document in due:
            ids_of[document.get("generation")].append(document["_id"])
        fence: Document = {"_id": {"$in": [document["_id"] for document in due]}, "state": READY}
        if len(ids_of) == 1:  # nearly always
            fence["generation"] = due[0].get("generation")
        else:
            fence["$or"] = [{"_id": {"$in": ids}, "generation": number} for number, ids in ids_of.items()]
        try:
            matched = tasks.update_many(fence, _claiming(mine)).matched_count
        except WriteError as error:
            if is_outage(error):
                raise
            return None
        if matched == len(due):
            return taken
        return None if matched else []

    def _take_each(
        self,
        tasks: MongoCollection[Document],
        ids: list[Any],
        mine: Document,
        seats: Sequence[str] | None = None,
    ) -> list[MonQTask]:
        """Those of *ids* that are ready and sound or ours already, read back; unsound ones are set aside."""
        if seats is not None:
            begun = self._begin_seated(tasks, ids, mine, seats)
        else:
            begun = self._begin(tasks, ids, _claiming(mine))
        if begun < len(ids):
            now = mine["time_start"]
            self._pass_over(set_aside(tasks, unsound(ids), now, self._tell, reason=UNSOUND))
        fence = {"_id": {"$in": ids}, "state": BUSY, "worker": mine["worker"]}
        found = {document["_id"]: document for document in read(tasks, lambda sound: sound.find(fence))}
        return [task_from_document(found[task_id]) for task_id in ids if task_id in found]

    def _begin(self, tasks: MongoCollection[Document], ids: list[Any], change: Document) -> int:
        """Make those of *ids* busy that are ready and sound; how many. One by one when one is refused."""
        query = {"state": READY, **SOUND}
        try:
            return tasks.update_many({"_id": {"$in": ids}, **query}, change).matched_count
        except WriteError as error:
            if is_outage(error):
                raise
        return sum(self._begin_one(tasks, task_id, change) for task_id in ids)

    def _begin_one(self, tasks: MongoCollection[Document], task_id: Any, change: Document) -> int:
        query = {"$and": [{"_id": task_id}, {"state": READY, **SOUND}]}
        try:
            return tasks.update_one(query, change).matched_count
        except DuplicateKeyError:
            if "seat" in change["$set"]:
                return 0  # another daemon has taken it
            raise
        except WriteError as error:
            if is_outage(error) or len(self._passed) >= MOST_PASSED:
                raise
            self._tell(task_id, str(refusal_of(error)))
            self._pass_over([task_id])
        return 0

    def _begin_seated(
        self, tasks: MongoCollection[Document], ids: list[Any], mine: Document, seats: Sequence[str]
    ) -> int:
        """As `_begin`; a seat that another daemon has taken meanwhile leaves its task where it is."""
        return sum(
            self._begin_one(tasks, task_id, _claiming({**mine, "seat": seat}))
            for task_id, seat in zip(ids, seats, strict=False)
        )

    def _pass_over(self, ids: list[Any]) -> None:
        again_at = self._clock.monotonic() + PASSED_SECONDS
        self._passed.update((task_id, again_at) for task_id in ids if opened(task_id) is None)

    def _look_again_at_passed(self) -> None:
        if self._passed:
            now = self._clock.monotonic()
            self._passed = {task_id: again_at for task_id, again_at in self._passed.items() if again_at > now}


def _claiming(mine: Document) -> Document:
    """The update that makes a task ours."""
    return {"$set": mine, "$inc": {"generation": 1, "attempt": 1}}


def _as_claimed(document: Document, mine: Document) -> Document:
    """*document* as that update makes it."""
    claimed = {**document, **mine}
    for name in ("generation", "attempt"):
        count = document.get(name, 0)
        claimed[name] = count + 1 if type(count) in (int, Int64, float) else count  # then it is a fault
    return claimed


def _fault(task: MonQTask) -> str:
    return task.fault or (task.event.fault if task.event is not None else "")


def _page(query: Document, limit: int, tasks: MongoCollection[Any]) -> Iterable[Any]:
    found: Iterable[Any] = tasks.find(query).sort(ORDER).limit(limit).hint(CLAIM)
    return found


def _oldest(query: Document, limit: int, tasks: MongoCollection[Any]) -> Iterable[Any]:
    found: Iterable[Any] = tasks.find(query).sort("time_queue", ASCENDING).limit(limit).hint(DUE)
    return found


def _name(document: Document) -> str:
    return str(document["task_name"])


def _age(document: Document) -> tuple[datetime, str, Any]:
    _, *age = _rank(document)
    return tuple(age)


def _rank(document: Document) -> tuple[float, datetime, str, Any]:
    """The place in the order of claiming, whatever stands in the document."""
    priority, moment, task_id = document.get("priority"), document["time_queue"], document["_id"]
    # null is lowest, as in the index
    rank = -priority if isinstance(priority, (int, float)) and not math.isnan(priority) else math.inf
    return (
        rank,
        moment if isinstance(moment, datetime) else EPOCH,
        type(task_id).__name__,
        _comparable(task_id),
    )


def _comparable(task_id: Any) -> Any:
    return task_id if isinstance(task_id, (ObjectId, str, int, float, datetime)) else bytes(task_id)


def _next_due(tasks: MongoCollection[Document], names: list[str], now: datetime) -> datetime | None:
    """When the first of the delayed tasks becomes due; one index key for each name."""
    moments: list[Any] = []
    for chunk in _chunks(names):
        query = {"state": READY, "task_name": {"$in": chunk}, "time_queue": {"$gt": now, "$lt": NOT_YET}}
        delayed = tasks.find(query, {"_id": 0, "time_queue": 1}).sort("time_queue", ASCENDING)
        moments += [document["time_queue"] for document in delayed.limit(1).hint(DUE)]
    return min((moment for moment in moments if isinstance(moment, datetime)), default=None)


def _chunks(names: Sequence[str]) -> Iterator[list[str]]:
    for start in range(0, len(names), NAMES_PER_QUERY):
        yield list(names[start : start + NAMES_PER_QUERY])


def _attach_deliveries(events: MongoCollection[Document], tasks: list[MonQTask]) -> None:
    """Give the tasks of a delivery their event; a published one is in their arguments already."""
    wanted = list({task.event_id for task in tasks if task.event_id is not None})
    if not wanted:
        return
    # documents from before the kind was stored say by their hook what they are
    is_delivery = [{"kind": DELIVERY}, {"kind": None, "hook": {"$ne": None}}]
    query = {"_id": {"$in": wanted}, "$or": is_delivery}
    found: dict[ObjectId | None, Event] = {
        document["_id"]: event_from_document(bodies.join(events.database, document))
        for document in read(events, lambda sound: sound.find(query))
    }
    for task in tasks:
        task.event = found.get(task.event_id)
    _mark_bereft(events, [task for task in tasks if task.event is None and may_need_delivery(task)])


def _mark_bereft(events: MongoCollection[Document], tasks: list[MonQTask]) -> None:
    """Of *tasks*, which may have been published without arguments, mark those whose event is gone."""
    if not tasks:
        return
    query = {"_id": {"$in": [task.event_id for task in tasks]}}
    there = {document["_id"] for document in read(events, lambda sound: sound.find(query, {"_id": 1}))}
    for task in tasks:
        task.is_bereft = task.event_id not in there
