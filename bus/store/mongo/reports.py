"""Writes reports to MongoDB: alike ones together, each fenced by its claim.

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
from ...model import BUSY, Claim, Report
from ..documents import OURS
from .connection import TOO_LARGE, Connection, Document, refusals
from .schema import TASKS

LARGE_BYTES: Final = 65_536
MARKER: Final = {"not_storable": "result", "why": "larger than 16 MiB together with the rest of its task"}


class Reports:
    """Answers for each report whether the document now says what was reported.

    So a report may be repeated after StoreUnavailable: it is True again if it was written before.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def write(self, reports: Sequence[Report]) -> list[bool]:
        """See contract.report."""
        done = [False] * len(reports)
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


def _write(tasks: Collection[Document], reports: Sequence[Report]) -> list[bool]:
    groups = _alike(reports)
    try:
        matched = tasks.bulk_write([_operation(group) for group in groups], ordered=False).matched_count
    except BulkWriteError as error:
        large = _too_large(error, groups)
        return _write(tasks, [_smaller(report) if report.claim in large else report for report in reports])
    if matched == len(reports):
        return [True] * len(reports)
    return _read_back(tasks, reports)


def _alike(reports: Sequence[Report]) -> list[list[Report]]:
    """Groups with one fence and one change; a large one stays alone, as it may be refused."""
    groups: dict[tuple[Any, ...], list[Report]] = defaultdict(list)
    for report in reports:
        data = encode(change(report.fields))
        alone = report.claim.id if len(data) > LARGE_BYTES else None
        groups[report.claim.worker, report.claim.generation, data, alone].append(report)
    return list(groups.values())


def _too_large(error: BulkWriteError, groups: list[list[Report]]) -> set[Claim]:
    """The claims whose result made their document too large. Raises *error* if it is about anything else."""
    refused: set[Claim] = set()
    for refusal in refusals(error, *TOO_LARGE):
        group = groups[refusal["index"]]
        if group[0].fields.get("result") in (None, MARKER):
            raise error
        refused.update(report.claim for report in group)
    return refused


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
    found = {document["_id"]: document for document in tasks.find(query, list(names))}
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
    return encode(actual) == encode(expected)
