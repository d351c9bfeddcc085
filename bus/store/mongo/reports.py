"""Writes fenced reports: equal ones together, each compared with its claim.

The server says how many documents an operation matched, not which. As long as all of them did,
which is nearly always, that is the answer; otherwise the documents are read back and compared.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from pymongo import UpdateMany, UpdateOne
from pymongo.client_session import ClientSession
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import BulkWriteError, DuplicateKeyError, WriteError

from ...codec import encode
from ...errors import StoreError, StoreUnavailable
from ...model import BUSY, ENDED, READY, Posting, Receipt, Report
from ..documents import OURS, unclaimed, waiting
from ..salvage import Unreadable
from .connection import TOO_LARGE, Connection, Document, not_accepted, refusal_of, refusals
from .intake import ROUNDS, Intake, event_document
from .lenient import is_, read
from .schema import EVENTS, TASKS, UNENDED
from .serial import ended, keys_of, pass_on, place, stored

LARGE_BYTES: Final = 65_536
MARKER: Final = {"not_storable": "result", "why": "larger than 16 MiB together with the rest of its task"}


class Reports:
    """Answers for each report whether the document now says what was reported.

    So a report may be repeated after StoreUnavailable: it is True again if it was written before. One that
    the server refuses is answered with its error, and the others are written.
    """

    def __init__(self, connection: Connection, intake: Intake) -> None:
        self._connection = connection
        self._intake = intake

    def write(self, reports: Sequence[Report]) -> list[bool | Exception]:
        """See contract.report."""
        done: list[bool | Exception] = [False] * len(reports)
        for wave in _waves(reports):
            if any(reports[i].postings for i in wave):
                for i in wave:
                    if reports[i].postings:
                        done[i] = write_whole(self._connection, self._intake, reports[i])
                wave = [i for i in wave if not reports[i].postings]  # noqa: PLW2901 - what is left of it
                if not wave:
                    continue
            with self._connection.call() as database:
                for i, held in zip(wave, _write(database[TASKS], [reports[i] for i in wave]), strict=True):
                    done[i] = held
        self._let_go_on([report for report, held in zip(reports, done, strict=True) if held is True])
        return done

    def _let_go_on(self, written: Sequence[Report]) -> None:
        """Let those go on that *written* reports have made room for. What fails here a daemon does later."""
        over = [report for report in written if report.serial and report.fields.get("state") in ENDED]
        posted = [task for report in written for posting in report.postings for task in posting.tasks]
        keys = keys_of(posted) if posted else set()
        if over or keys:
            with suppress(StoreError), self._connection.call() as database:
                if keys:
                    place(database[TASKS], keys, [task.id for task in posted])
                if over:
                    freed = {report.serial for report in over if report.serial}
                    ended(database[TASKS], freed, [report.claim.id for report in over])


def change(fields: Mapping[str, Any]) -> Document:
    """The update that sets *fields*; what is None is null in Allura's fields and absent in ours."""
    gone = {name: "" for name, value in fields.items() if value is None and name in OURS}
    if fields.get("state") == READY:
        gone["seat"] = ""  # else whoever claims it without a limit would take that seat
    update: Document = {"$set": {name: value for name, value in fields.items() if name not in gone}}
    if gone:
        update["$unset"] = gone
    return update


def _waves(reports: Sequence[Report]) -> list[list[int]]:
    """The places of *reports*, so that two on the same task (progress, end) keep their order."""
    waves: list[list[int]] = []
    seen: Counter[Any] = Counter()
    for i, report in enumerate(reports):
        turn = seen[report.claim.id]
        seen[report.claim.id] += 1
        if turn == len(waves):
            waves.append([])
        waves[turn].append(i)
    return waves


def _write(tasks: Collection[Document], reports: Sequence[Report]) -> list[bool | Exception]:
    groups = _alike(reports)
    operations = [_operation([reports[i] for i in group]) for group in groups]
    try:
        matched = tasks.bulk_write(operations, ordered=False).matched_count
    except BulkWriteError as error:
        refused = [(groups[refusal["index"]], refusal["code"]) for refusal in refusals(error)]
        return _write_apart(tasks, list(reports), {i: code for group, code in refused for i in group})
    if matched == len(reports):
        return [True] * len(reports)
    return list(_read_back(tasks, reports))


def _write_apart(
    tasks: Collection[Document], reports: list[Report], refused: Mapping[int, int]
) -> list[bool | Exception]:
    """As `_write`, when the groups of those at the places *refused* were, with these codes: one by one."""
    for i, code in refused.items():
        if code in TOO_LARGE and reports[i].fields.get("result") not in (None, MARKER):
            reports[i] = _smaller(reports[i])
    places = list(refused)
    errors: dict[int, Exception] = {}
    try:
        tasks.bulk_write([_operation([reports[i]]) for i in places], ordered=False)
    except BulkWriteError as error:
        errors = {places[refusal["index"]]: not_accepted(refusal) for refusal in refusals(error)}
    return [errors.get(i, held) for i, held in enumerate(_read_back(tasks, reports))]


def _alike(reports: Sequence[Report]) -> list[list[int]]:
    """The places of *reports* in groups with one fence and one change; a large one, maybe refused, alone."""
    groups: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    for i, report in enumerate(reports):
        data = encode(change(report.fields))
        alone = report.claim.id if len(data) > LARGE_BYTES else None
        groups[report.claim.worker, report.claim.generation, data, alone].append(i)
    return list(groups.values())


def _operation(group: list[Report]) -> UpdateOne | UpdateMany:
    claim, fields = group[0].claim, group[0].fields
    fence = {"state": BUSY, "worker": claim.worker, "generation": claim.generation}
    if len(group) == 1:
        return UpdateOne({"_id": claim.id, **fence}, change(fields))
    return UpdateMany({"_id": {"$in": [report.claim.id for report in group]}, **fence}, change(fields))


def _smaller(report: Report) -> Report:
    """*report* without the result, so that a task that ended is recorded as ended."""
    return report._replace(fields={**report.fields, "result": MARKER})


def _read_back(tasks: Collection[Document], reports: Sequence[Report]) -> list[bool]:
    names = {"state", "worker", "generation"}.union(*(report.fields for report in reports))
    query = {"_id": {"$in": [report.claim.id for report in reports]}}
    found = {
        document["_id"]: document for document in read(tasks, lambda sound: sound.find(query, list(names)))
    }
    return [_stands(found.get(report.claim.id, {}), report) for report in reports]


def _stands(document: Document, report: Report) -> bool:
    """True when *document* is what *report* made of it, under the claim that it names."""
    expected = {
        "state": BUSY,
        "worker": report.claim.worker,
        **report.fields,
        "generation": report.claim.generation,
    }
    actual = {name: document.get(name) for name in expected}
    if any(isinstance(value, Unreadable) for value in actual.values()):
        return False
    return encode(actual) == encode(expected)


def write_whole(connection: Connection, intake: Intake, report: Report) -> bool | Exception:
    """Write a report with its postings: one transaction where the server has them, else in order."""
    postings = [waiting(posting) for posting in report.postings]
    finished: set[Any] = set()
    try:
        for _ in range(len(postings) + 1):
            try:
                with connection.call() as database:
                    hello = database.command("hello")
                    if "setName" in hello or hello.get("msg") == "isdbgrid":
                        return _in_transaction(database, report, postings, finished)
                return _in_order(connection, intake, report, postings)
            except _OnlyBegun as found:
                (answer,) = intake.store(
                    [found.posting]
                )  # outside: its writes stand whatever becomes of ours
                if isinstance(answer, Exception):
                    raise answer from None
                finished.add(found.event_id)
        return StoreUnavailable("event: others keep beginning what this end posts; report it again")
    except StoreUnavailable:
        raise
    except Exception as error:  # noqa: BLE001 - it belongs to the one that cannot be stored
        return error


class _OnlyBegun(Exception):
    """The event of *posting* stands there without its tasks: an ordinary post has died between them."""

    def __init__(self, event_id: Any, posting: Posting) -> None:
        super().__init__()
        self.event_id = event_id
        self.posting = posting


def _in_transaction(
    database: Database[Document], report: Report, postings: Sequence[Posting], finished: set[Any]
) -> bool | Exception:
    def work(session: ClientSession) -> bool:
        if not database[TASKS].update_one(*_fenced(report), session=session).matched_count:
            return False
        for posting in postings:
            _post(database, posting, session, finished)
        return True

    with database.client.start_session() as session:
        for turn in range(ROUNDS):
            try:
                held = session.with_transaction(work, write_concern=database.write_concern)
                return held or _read_back(database[TASKS], [report])[0]
            except DuplicateKeyError as error:  # somebody has taken a key since it was looked at
                if turn == ROUNDS - 1:
                    return not_accepted({**(error.details or {}), "code": error.code})
            except WriteError as error:
                return refusal_of(error)
    return False


def _fenced(report: Report) -> tuple[Document, Document]:
    claim = report.claim
    fence = {"_id": claim.id, "state": BUSY, "worker": claim.worker, "generation": claim.generation}
    return fence, change(report.fields)


def _post(database: Database[Document], posting: Posting, session: ClientSession, finished: set[Any]) -> None:
    """As Intake, by looking first: a refused insert would end the transaction.

    Raises _OnlyBegun for an event that Intake has to finish, unless it has *finished* it just now: its mark
    is written without an answer.
    """
    tasks, event = database[TASKS], posting.event
    target = None if event is None else event.id
    if event is not None:
        same = [{"_id": event.id}, *([{"key": event.unique_key}] if event.unique_key is not None else [])]
        shown = {"task_ids": 1, "fanned_out": 1}
        first = database[EVENTS].find_one({"$or": same}, shown, session=session)
        if first is not None and (first.get("task_ids") or not posting.tasks):
            if posting.tasks and not first.get("fanned_out") and first["_id"] not in finished:
                raise _OnlyBegun(first["_id"], posting)
            return
        target = event.id if first is None else first["_id"]
    ids = []
    for task in posting.tasks:
        holder = None
        if task.key is not None:
            query = {"key": task.key, "state": UNENDED}
            holder = tasks.find_one(query, {"_id": 1}, session=session)
        ids.append(holder["_id"] if holder else task.id)
        if holder is None and tasks.find_one({"_id": task.id}, {"_id": 1}, session=session) is None:
            tasks.insert_one(stored(unclaimed(task, target)), session=session)
    if event is None:
        return
    written = {**event_document(posting), "task_ids": ids, "fanned_out": True}
    if target == event.id:
        database[EVENTS].insert_one(written, session=session)
    else:
        given = {name: written[name] for name in ("topic", "task_ids", "handlers", "fanned_out", "expire_at")}
        database[EVENTS].update_one({"_id": is_("$eq", target)}, {"$set": given}, session=session)


def _in_order(
    connection: Connection, intake: Intake, report: Report, postings: Sequence[Posting]
) -> bool | Exception:
    """On a server without transactions: postings, then the end; they are taken back when that is late."""
    fence, update = _fenced(report)
    with connection.call() as database:
        if database[TASKS].find_one(fence, {"_id": 1}) is None:
            return _read_back(database[TASKS], [report])[0]
    answers = intake.store(postings)
    error = next((answer for answer in answers if isinstance(answer, Exception)), None)
    with connection.call() as database:
        if error is None:
            try:
                if database[TASKS].update_one(fence, update).matched_count:
                    return True
                if _read_back(database[TASKS], [report])[0]:
                    return True
            except WriteError as refused:
                error = refusal_of(refused)
        _take_back(database, postings, answers)
    if isinstance(error, StoreUnavailable):
        raise error
    return error or False


def _take_back(
    database: Database[Document], postings: Sequence[Posting], answers: Sequence[Receipt | Exception]
) -> None:
    """Forget what *postings* have stored and nobody has begun; what was there before them stays."""
    new = [
        posting
        for posting, answer in zip(postings, answers, strict=True)
        if isinstance(answer, Exception) or not (answer.repeated or answer.replayed)
    ]
    ids = [task.id for posting in new for task in posting.tasks]
    database[TASKS].delete_many({"_id": {"$in": ids}, "state": READY})
    if keys := keys_of(task for posting in new for task in posting.tasks):
        pass_on(database[TASKS], keys)
    events = [posting.event.id for posting in new if posting.event is not None]
    database[EVENTS].delete_many({"_id": {"$in": events}})
