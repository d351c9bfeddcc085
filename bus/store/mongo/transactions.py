"""Stores postings as a part of the caller's own transaction, by the caller's own client.

A session goes on only through the client that has started it, so ours writes nothing here. Nobody tells of
a commit but the session, so its methods are watched for as long as that transaction lasts.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

from pymongo import MongoClient, ReadPreference
from pymongo.client_session import ClientSession
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import BulkWriteError, PyMongoError

from ...errors import StoreError, StoreUnavailable
from ...model import Posting, Receipt
from ...safe_text import shown
from ..salvage import READING
from .connection import KEY_INDEX, Connection, Document, is_outage, not_accepted, refusals, stands_in
from .intake import event_document, holders_of
from .schema import EVENTS, TASKS
from .serial import keys_of, place, stored

TRANSIENT: Final = "TransientTransactionError"
_CALLS: Final = "_monqbus_after_commit"
_WATCHED: Final[tuple[str, ...]] = ("commit_transaction", "abort_transaction", "start_transaction")


class TransactionEnded(PyMongoError, StoreUnavailable):
    """The server has ended the transaction and nothing of it is stored: it may be begun again.

    An error of the driver as well, with the label for which its `with_transaction` begins again.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message, [TRANSIENT])


class Transactions:
    """What `contract.Queue.post_within` promises, on one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._same: weakref.ref[MongoClient[Any]] | None = None

    def store(
        self, session: Any, postings: Sequence[Posting], committed: Callable[[], None]
    ) -> list[Receipt]:
        """See contract.post_within. Raises TransactionEnded where the whole may be begun again."""
        _require_running(session)
        client = session.client
        with self._connection.call() as ours:
            try:
                theirs = client.get_database(
                    ours.name, codec_options=READING, read_preference=ReadPreference.PRIMARY
                )
                self._require_same(ours, theirs)
                receipts = _store(theirs, postings, session)
            except PyMongoError as error:
                if error.has_error_label(TRANSIENT) or is_outage(error):
                    raise self._ended(self._connection.sentence(error)) from error
                raise
        _after_commit(session, self._placing(postings, committed))
        return receipts

    def _placing(self, postings: Sequence[Posting], committed: Callable[[], None]) -> Callable[[], None]:
        """*committed*, after those of *postings* with a serial key have got their places in the line."""
        tasks = [task for posting in postings for task in posting.tasks]
        if not (keys := keys_of(tasks)):
            return committed

        def placed() -> None:
            with suppress(StoreError), self._connection.call() as database:  # else a daemon does it
                place(database[TASKS], keys, [task.id for task in tasks])
            committed()

        return placed

    def _require_same(self, ours: Database[Document], theirs: Database[Document]) -> None:
        """Raise StoreError unless both are one database of servers that have transactions; asks once."""
        if self._same is not None and self._same() is theirs.client:
            return
        hello = theirs.command("hello")
        if "setName" not in hello and hello.get("msg") != "isdbgrid":
            raise StoreError(
                f"session: expected one of a replica set, got one of a single server ({_nodes(theirs)}), "
                "which has no transactions; make it a replica set, even of one member"
            )
        if _identity(theirs) != _identity(ours):
            raise StoreError(
                f"session: expected one of a client of {self._connection.name}, where the tasks are, got one "
                f"of {_nodes(theirs)}; a transaction is of one deployment: make the client from the address "
                "that [monqbus] store names, or let store name the application's deployment"
            )
        self._same = weakref.ref(theirs.client)

    def _ended(self, why: str) -> TransactionEnded:
        return TransactionEnded(
            f"{self._connection.name}: the transaction has ended, nothing of it is stored ({why}); "
            "begin it again, as session.with_transaction does"
        )


def _require_running(session: Any) -> None:
    if not isinstance(session, ClientSession):
        raise StoreError(
            f"session: expected a session of pymongo.MongoClient, got {shown(session, 80)}; "
            "take it from client.start_session()"
        )
    if not session.in_transaction:
        raise StoreError(
            "session: expected a transaction that runs in it, got none; post inside of "
            "`with session.start_transaction():`, or without session"
        )


def _identity(database: Database[Document]) -> Any:
    """What no other deployment has: the UUID of the tasks' collection. None where there is none."""
    found = next(database.list_collections(filter={"name": TASKS}), {})
    return found.get("info", {}).get("uuid")


def _nodes(database: Database[Document]) -> str:
    return ", ".join(f"{host}:{port}" for host, port in sorted(database.client.nodes)) or "another deployment"


def _store(
    database: Database[Document], postings: Sequence[Posting], session: ClientSession
) -> list[Receipt]:
    """Insert *postings*, whose events are new; looks at keys first: a refused insert ends the transaction."""
    keys = [task.key for posting in postings for task in posting.tasks if task.key is not None]
    holders = holders_of(database[TASKS], keys, session) if keys else {}
    receipts, tasks, events = [], [], []
    for posting in postings:
        ids = []
        for task in posting.tasks:
            holder = None if task.key is None else holders.setdefault(task.key, task.id)
            ids.append(task.id if holder is None else holder)
            if ids[-1] == task.id:
                tasks.append(stored(task))
        event_id = None
        if posting.event is not None:
            event_id = posting.event.id
            events.append({**event_document(posting), "task_ids": ids, "fanned_out": True})
        receipts.append(Receipt(ids, event_id, duplicate=ids != [task.id for task in posting.tasks]))
    _insert(database[EVENTS], events, session)
    _insert(database[TASKS], tasks, session)
    return receipts


def _insert(collection: Collection[Document], documents: list[Document], session: ClientSession) -> None:
    if not documents:
        return
    try:
        collection.insert_many(documents, session=session)
    except BulkWriteError as error:
        (refusal, *_) = refusals(error)
        if stands_in(KEY_INDEX, refusal):
            raise TransactionEnded(
                "key: another task has taken it since this transaction has begun; begin it again, as "
                "session.with_transaction does: then that task is found"
            ) from None
        raise not_accepted(refusal) from None


def _after_commit(session: ClientSession, call: Callable[[], None]) -> None:
    """Let *call* be made when the transaction that runs in *session* is committed, never when it is not.

    A commit whose outcome is unknown is tried again by the caller: until then nothing is called.
    """
    own: dict[str, Any] = vars(session)
    if _CALLS in own:
        own[_CALLS].append(call)
        return
    calls = [call]
    before = {name: own[name] for name in _WATCHED if name in own}  # somebody else may watch it, too
    commit, abort, start = (getattr(session, name) for name in _WATCHED)

    def let_go() -> None:
        for name in (_CALLS, *_WATCHED):
            own.pop(name, None)
        own.update(before)

    def commit_transaction() -> None:
        commit()
        let_go()
        for one in calls:
            one()

    def abort_transaction() -> None:
        let_go()
        abort()

    def start_transaction(*args: Any, **kwargs: Any) -> Any:
        begun = start(*args, **kwargs)
        let_go()
        return begun

    own.update(
        {
            _CALLS: calls,
            "commit_transaction": commit_transaction,
            "abort_transaction": abort_transaction,
            "start_transaction": start_transaction,
        }
    )
