"""Writes fenced reports: equal ones together, each compared with its claim.

The server says how many documents an operation matched, not which. As long as all of them did,
which is nearly always, that is the answer; otherwise the documents are read back and compared.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pymongo import UpdateMany, UpdateOne
from pymongo.collection import Collection
from pymongo.errors import BulkWriteError

from ...codec import encode
from ...model import BUSY, Report
from ..documents import OURS
from ..salvage import Unreadable
from .connection import TOO_LARGE, Connection, Document, not_accepted, refusals
from .lenient import read
from .schema import TASKS

LARGE_BYTES: Final = 65_536
MARKER: Final = {"not_storable": "result", "why": "larger than 16 MiB together with the rest of its task"}


class Reports:
    """Answers for each report whether the document now says what was reported.

    So a report may be repeated after StoreUnavailable: it is True again if it was written before. One that
    the server refuses is answered with its error, and the others are written.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def write(self, reports: Sequence[Report]) -> list[bool | Exception]:
        """See contract.report."""
        done: list[bool | Exception] = [False] * len(reports)
        for wave in _waves(reports):
            with self._connection.call() as database:
                for i, held in zip(wave, _write(database[TASKS], [reports[i] for i in wave]), strict=True):
                    done[i] = held
        return done


def change(fields: Mapping[str, Any]) -> Document:
    """The update that sets *fields*; what is None is null in Allura's fields and absent in ours."""
    gone = {name: "" for name, value in fields.items() if value is None and name in OURS}
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
    claim, fields = group[0]
    fence = {"state": BUSY, "worker": claim.worker, "generation": claim.generation}
    if len(group) == 1:
        return UpdateOne({"_id": claim.id, **fence}, change(fields))
    return UpdateMany({"_id": {"$in": [report.claim.id for report in group]}, **fence}, change(fields))


def _smaller(report: Report) -> Report:
    """*report* without the result, so that a task that ended is recorded as ended."""
    return Report(report.claim, {**report.fields, "result": MARKER})


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
