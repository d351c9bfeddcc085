"""The clients of the MongoDB store, their options, and the translation of their errors.

Every call has a deadline: without one, a frozen server keeps a caller for good (measured).
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, unquote_plus

import pymongo
from bson.errors import BSONError
from pymongo import MongoClient, ReadPreference, WriteConcern
from pymongo.collection import Collection as MongoCollection
from pymongo.database import Database
from pymongo.errors import (
    BulkWriteError,
    ConfigurationError,
    ConnectionFailure,
    InvalidOperation,
    InvalidURI,
    OperationFailure,
    PyMongoError,
    WriteConcernError,
    WriteError,
)

from ...errors import MonqbusError, NotAccepted, NotStorable, StoreError, StoreUnavailable
from ...files import regular_file
from ..contract import CALL_SECONDS
from ..salvage import READING

Document = dict[str, Any]

DATABASE: Final = "monqbus"
SOCKET_SECONDS: Final = 10
DEFAULTS: Final[Mapping[str, Any]] = {
    "serverSelectionTimeoutMS": 3000,
    "connectTimeoutMS": 2000,
    "heartbeatFrequencyMS": 1000,
    "timeoutMS": int(CALL_SECONDS * 1000),
    "socketTimeoutMS": SOCKET_SECONDS * 1000,
    "retryWrites": True,
    "appname": "monqbus",
}

DUPLICATE_KEY: Final = 11000
INVALID: Final = 121
ID_INDEX: Final = "_id_"
KEY_INDEX: Final = "monqbus_key"
GUARD_INDEX: Final = "monqbus_guard"
_OWN_PATTERNS: Final = {ID_INDEX: {"_id": 1}, KEY_INDEX: {"key": 1}, GUARD_INDEX: {"guard": 1}}
TOO_LARGE: Final = (10334, 17419, 17420)
# Codes of servers that are stopping, not primary, too slow or full; names in MongoDB's error_codes.yml
OUTAGE_CODES: Final = frozenset(
    {6, 7, 24, 46, 50, 64, 89, 91, 100, 112, 134, 189, 202, 262, 9001}
    | {10058, 10107, 11600, 11601, 11602, 13435, 13436, 14031}
)
REMEDIES: Final[Mapping[int, str]] = {
    13: "give its user the role readWrite on this database",
    18: "see the user, the password and authSource in the address",
    2: "if it is about a hint: a daemon makes a missing index anew within seconds",
    85: "drop the index of that name, monqbus makes its own",
    86: "drop the index of that name, monqbus makes its own",
    DUPLICATE_KEY: "remove the documents that stand twice",
    100: "remove w=… from the address: the set has fewer members that keep data",
}
FILE_OPTIONS: Final = frozenset({"tlscafile", "tlscertificatekeyfile", "tlscrlfile"})
SHORTEST_MASKED: Final = 8
TOO_SHORT: Final = (
    "the reason is not shown, because a password of less than 8 characters stands in it as a piece of its "
    "words; take a longer one"
)
SECRET_OPTIONS: Final = frozenset({"authmechanismproperties", "tlscertificatekeyfilepassword"})


class _Database(Database[Document]):
    """Makes each collection once: the driver's would be made, and checked, at every call (5 % of its CPU)."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._made: dict[str, MongoCollection[Document]] = {}

    def __getitem__(self, name: str) -> MongoCollection[Document]:
        made = self._made.get(name)
        if made is None:
            made = self._made[name] = super().__getitem__(name)
        return made


class Connection:
    """One client of one MongoDB address. Usable by greenlets and by threads alike.

    No error of it ever carries the password or a stored payload.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._secrets = _secrets(address)
        self._client: MongoClient[Document] | None = None
        self._database: Database[Document] | None = None
        self._seconds = CALL_SECONDS
        self.name = _without_credentials(address)

    def open(self) -> None:
        """Make the client; connects in the background. Raises StoreError for a bad address."""
        given = {key.lower() for key, _ in _options(self._address)}
        defaults = {name: value for name, value in DEFAULTS.items() if name.lower() not in given}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", UserWarning)  # an option that is wrong is not left out
                _require_files(self._address)
                self._client = MongoClient(self._address, connect=False, **defaults)
            self._database = _Database(
                self._client,
                self._client.get_default_database(DATABASE).name,
                codec_options=READING,
                read_preference=ReadPreference.PRIMARY,
                write_concern=self._write_concern(self._client),
            )
        except (PyMongoError, ValueError, OSError, UserWarning) as error:
            raise self._bad_address(error) from None
        # never longer than the contract says: others reckon with it
        self._seconds = min(self._client.options.timeout or CALL_SECONDS, CALL_SECONDS)

    def close(self) -> None:
        """Close all sockets; every call after it raises StoreUnavailable."""
        if self._client is not None:
            self._client.close()
        self._client = self._database = None

    @property
    def hosts(self) -> Collection[str]:
        """The machines whose addresses the driver looks up; none while this is closed."""
        if self._client is None:
            return ()
        return {host for host, _ in self._client.topology_description.server_descriptions()}

    @property
    def database(self) -> Database[Document]:
        """The database while open, for a call with a deadline of its own. Raises StoreUnavailable."""
        if self._database is None:
            raise self._closed()
        return self._database

    @property
    def silence_seconds(self) -> float:
        """How long a call without a deadline may stay silent before its socket is given up."""
        seconds: float | None = self.database.client.options.pool_options.socket_timeout
        return SOCKET_SECONDS if seconds is None else seconds

    @contextmanager
    def call(self, seconds: float | None = None) -> Iterator[Database[Document]]:
        """The database, with *seconds* (default CALL_SECONDS) for all that is done inside.

        Raises StoreUnavailable, StoreError and NotStorable in place of the driver's errors.
        """
        database = self.database
        try:
            with pymongo.timeout(self._seconds if seconds is None else seconds):
                yield database
        except MonqbusError:  # which may be one of the driver's as well
            raise
        except PyMongoError as error:
            raise self.translated(error) from error
        except BSONError as error:
            raise NotStorable(
                f"document: expected what BSON can hold in 16 MiB, got {_short(str(error))}; "
                "store the data elsewhere and pass its address"
            ) from error

    def translated(self, error: PyMongoError) -> MonqbusError:
        """What *error* is called outside of the adapter."""
        if isinstance(error, InvalidOperation) and self._client is None:
            return self._closed()
        text = self.sentence(error)
        codes = _codes(error)
        if _is_outage(error, codes):
            return StoreUnavailable(
                f"{self.name}: no answer, the outcome is unknown ({text}); "
                "see whether its servers run, have a primary and can be reached from here"
            )
        if not codes.isdisjoint(TOO_LARGE):
            return _too_large()
        remedy = next((REMEDIES[code] for code in codes if code in REMEDIES), "see the log of the server")
        return StoreError(f"{self.name}: {text}; {remedy}")

    def sentence(self, error: PyMongoError) -> str:
        """The words of *error*, without documents and secrets."""
        return self._scrubbed(_sentence(error))

    def _closed(self) -> StoreUnavailable:
        return StoreUnavailable(f"{self.name}: the store is closed")

    def _bad_address(self, error: Exception) -> StoreError:
        """A parser quotes pieces of what it could not read, so its words are kept only without "@"."""
        about_an_option = isinstance(error, (ConfigurationError, OSError, UserWarning))
        quotable = "@" not in self._address or (about_an_option and not isinstance(error, InvalidURI))
        why = f" ({self._scrubbed(_short(str(error)))})" if quotable else ""
        return StoreError(
            f"{self.name}: cannot be used as a MongoDB address{why}; expected "
            "mongodb://user:password@host:port/database with user and password percent-escaped"
        )

    @staticmethod
    def _write_concern(client: MongoClient[Document]) -> WriteConcern:
        concern = {"w": "majority", "j": True, **client.write_concern.document}
        if concern["w"] == 0:
            raise ConfigurationError("w=0 would lose tasks without anybody noticing; remove it")
        return WriteConcern(**concern)

    def _scrubbed(self, text: str) -> str:
        if any(len(secret) < SHORTEST_MASKED and secret in text for secret in self._secrets):
            return TOO_SHORT  # with each "a" masked, the rest of the text would say which letter it was
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


def refusals(error: BulkWriteError) -> list[Document]:
    """What the server refused item by item, each with its `index`; all others are written.

    Raises *error* where that is not sure.
    """
    if _is_outage(error, _codes(error)):
        raise error
    refused: list[Document] = (error.details or {})["writeErrors"]
    return refused


def is_outage(error: PyMongoError) -> bool:
    """Whether *error* leaves it open what was written."""
    return _is_outage(error, _codes(error))


def refusal_of(error: WriteError) -> NotAccepted | NotStorable:
    """As `not_accepted`, for the *error* of one write."""
    return not_accepted({**(error.details or {}), "code": error.code})


def stands_in(index: str, refusal: Mapping[str, Any]) -> bool:
    """Whether *refusal* says that the item stands in *index*, one of ours, already.

    The code alone says so of every unique index there is, another program's among them.
    """
    if refusal["code"] != DUPLICATE_KEY or _index_of(refusal) != index:
        return False
    pattern = _OWN_PATTERNS[index]
    return dict(refusal.get("keyPattern", pattern)) == pattern


def not_accepted(refusal: Mapping[str, Any]) -> NotAccepted | NotStorable:
    """The error of the one item that was refused; nothing of its content is in it."""
    code = refusal["code"]
    if code in TOO_LARGE:
        return _too_large()
    if code == DUPLICATE_KEY:
        return NotAccepted(
            f"MongoDB: refused by the unique index {_index_of(refusal)!r}; "
            "drop it if it is not monqbus's, or make it one that is not unique"
        )
    if code == INVALID:
        return NotAccepted(
            "MongoDB: refused by the validator of the collection; change it with collMod, or what it forbids"
        )
    return NotAccepted(f"MongoDB: refused ({_short(str(refusal.get('errmsg')))}, code {code})")


def _index_of(refusal: Mapping[str, Any]) -> str:
    head = str(refusal.get("errmsg")).partition(" dup key:")[0]
    return head.partition(" index: ")[2].partition(" collation: ")[0]


def _too_large() -> NotStorable:
    return NotStorable(
        "document: expected at most 16 MiB, got more; store the data elsewhere and pass its address"
    )


def _problems(error: OperationFailure) -> list[Mapping[str, Any]]:
    """What the server said: of a bulk write once for each refusal."""
    details: Mapping[str, Any] = error.details or {}
    several = [*details.get("writeErrors", []), *details.get("writeConcernErrors", [])]
    return several or [{"code": error.code, **details}]


def _codes(error: PyMongoError) -> set[int]:
    if not isinstance(error, OperationFailure):
        return set()
    return {problem["code"] for problem in _problems(error)}


def _is_outage(error: PyMongoError, codes: set[int]) -> bool:
    """Also a write that too few members confirmed: it may be there tomorrow or not."""
    if isinstance(error, BulkWriteError):
        return bool((error.details or {})["writeConcernErrors"]) or not codes.isdisjoint(OUTAGE_CODES)
    if isinstance(error, OperationFailure):
        return isinstance(error, WriteConcernError) or not codes.isdisjoint(OUTAGE_CODES)
    return isinstance(error, (ConnectionFailure, InvalidOperation)) or error.timeout


def _sentence(error: PyMongoError) -> str:
    """The server's words without the documents that the driver appends to them."""
    if not isinstance(error, OperationFailure):
        return _short(str(error).partition(", Timeout:")[0])
    problem = _problems(error)[0]
    text = str(problem.get("errmsg") or error).partition(" dup key:")[0].partition(", full error:")[0]
    return f"{_short(text)}, code {problem['code']}"


def _short(text: str) -> str:
    return text if len(text) <= 300 else f"{text[:300]}…"


def _options(address: str) -> list[tuple[str, str]]:
    return parse_qsl(address.partition("?")[2].replace(";", "&"), keep_blank_values=True)


def _require_files(address: str) -> None:
    """Raise OSError when *address* names something for a file that would be waited for, such as a pipe."""
    for key, value in _options(address):
        if key.lower() in FILE_OPTIONS and (path := Path(value)).exists():
            regular_file.require(path.stat())


def _secrets(address: str) -> list[str]:
    """What must not be seen of *address*, as written and as meant, longest first."""
    credentials = address.partition("://")[2].rpartition("@")[0]
    written = [credentials.partition(":")[2]]
    for key, value in _options(address):
        if key.lower() in SECRET_OPTIONS:
            written += [value, *(piece for piece in re.split("[:,]", value) if len(piece) > 3)]
    return sorted({*written, *map(unquote_plus, written)} - {""}, key=len, reverse=True)


def _without_credentials(address: str) -> str:
    scheme, _, rest = address.partition("://")
    credentials, _, servers = rest.rpartition("@")
    if "?" in credentials:  # no telling where the password ends
        return f"{scheme}://…"
    return f"{scheme}://{servers.partition('?')[0]}"
