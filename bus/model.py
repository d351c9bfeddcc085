"""The nouns: MonQTask, Event, states and the moves between them. Pure values, no I/O.

::

              post               claim                  ok
    (delay) ────▶ ready ─────────────────▶ busy ───────────────▶ complete
                   ▲ ▲                     │ │ │
     retry at T ───┘ └─ release, rescue ───┘ │ └─ gives up ─▶ error ──┐ operator retry
                   ▲                         └─ cancel ─▶ skipped ────┤
                   └──────────────────────────────────────────────────┘
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, Final, Literal, NamedTuple

from bson import ObjectId

from . import payload, strict_json
from .clock import Clock
from .errors import BadFilter
from .filter_checks import is_whole, require_all, require_moment, require_regex, require_text
from .process.identity import ProcessIdentity
from .process.off_loop import join_off_loop
from .safe_text import shown

State = Literal["ready", "busy", "complete", "error", "skipped"]

READY: Final = "ready"
BUSY: Final = "busy"
COMPLETE: Final = "complete"
ERROR: Final = "error"
SKIPPED: Final = "skipped"

STATES: Final[tuple[State, ...]] = (READY, BUSY, COMPLETE, ERROR, SKIPPED)
ENDED: Final[frozenset[State]] = frozenset({COMPLETE, ERROR, SKIPPED})

LEGAL_MOVES: Final[Mapping[State, frozenset[State]]] = {
    READY: frozenset({BUSY, SKIPPED}),
    BUSY: frozenset({READY, COMPLETE, ERROR, SKIPPED}),
    COMPLETE: frozenset(),
    ERROR: frozenset({READY}),
    SKIPPED: frozenset({READY}),
}
UNFINISHED: Final[tuple[State, ...]] = (READY, BUSY)
FAILED: Final[tuple[State, ...]] = (ERROR,)
RUNNABLE: Final[tuple[State, ...]] = tuple(state for state in STATES if LEGAL_MOVES[state])
"""The states from which a task may still run, by itself or after an operator's retry: it needs its event."""

DEFAULT_PRIORITY: Final = 10

TASK_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,127}")
TOPIC: Final = re.compile(r"[A-Za-z0-9_.:-]{1,128}")


HANDLED: Final = "handled"
UNHANDLED: Final = "unhandled"
FILTERED: Final = "filtered"
ACCEPTED: Final = "accepted"
EVENT_OUTCOMES: Final = (HANDLED, UNHANDLED, FILTERED, ACCEPTED)
MOMENTS: Final = ("older", "newer", "ended_older", "ended_newer")
"""The parts of a filter that are moments."""
WILDCARD: Final = "*"
"""Stands for any text, also none, in the name of a filter."""

Waiter = Callable[["MonQTask", "float | None"], Any]


class Claim(NamedTuple):
    """Who holds a task: the fence that every later write of the holder carries."""

    id: ObjectId
    worker: str
    generation: int


@dataclass(slots=True)
class MonQTask:
    """One unit of work. The first thirteen fields are Allura's, with Allura's meaning.

    All other fields may be missing from a stored document. Moments are aware UTC datetimes,
    `timeout` is seconds. `time_queue` means "not before", it is not the time of creation.
    """

    id: ObjectId
    task_name: str
    args: list[Any]
    kwargs: dict[str, Any]
    time_queue: datetime
    context: dict[str, Any] = field(default_factory=dict)
    state: State = READY
    priority: int = DEFAULT_PRIORITY
    result_type: str = "forget"
    result: Any = None
    time_start: datetime | None = None
    time_stop: datetime | None = None
    process: str | None = None
    # ours
    attempt: int = 0
    max_attempts: int | None = None
    crashes: int = 0
    worker: str | None = None
    generation: int = 0
    key: str | None = None
    event_id: ObjectId | None = None
    topic: str | None = None
    timeout: float | None = None
    history: list[dict[str, Any]] = field(default_factory=list)
    progress: dict[str, Any] | None = None
    output: str | None = None
    expire_at: datetime | None = None
    scheduled_for: datetime | None = None
    """The moment of the schedule's tick that it comes from; it may run later."""
    # in memory only
    is_bereft: bool = field(default=False, repr=False, compare=False)
    """It was claimed for a delivery that is no longer stored."""
    event: Event | None = field(default=None, repr=False, compare=False)
    waiter: Waiter | None = field(default=None, repr=False, compare=False)
    fault: str = field(default="", repr=False, compare=False)
    """What of its stored form nobody can read: it does not run."""

    @property
    def claim(self) -> Claim:
        """The fence of the present holder."""
        return Claim(self.id, self.worker or "", self.generation)

    @property
    def idempotency_key(self) -> str:
        """The same for every run of this task: for receivers that recognise a repeated request."""
        return str(self.id)

    @property
    def token(self) -> str:
        """Fencing token of this run for the handler's own outside effects; grows with each claim."""
        return f"{self.id}:{self.generation}"

    def join(self, timeout: float | None = None) -> Any:
        """Block until the task has ended and return its result.

        Raises TaskFailed with the remote traceback, TaskSkipped when it was cancelled, JoinTimeout
        after *timeout* seconds. Works on a task returned by ``.post()``.
        """
        if self.waiter is None:
            raise RuntimeError(
                f"task {self.id}: expected one that .post() has stored, got one that is not: only that can "
                "be joined; a hold() block stores at its end, and nothing when it raises"
            )
        return self.waiter(self, timeout)

    async def join_async(self, timeout: float | None = None) -> Any:
        """As `join`, for asyncio: the loop turns meanwhile, and no thread waits between two looks.

        Raises MonqbusError in a process whose threads are greenlets, such as the daemon.
        """
        return await join_off_loop(lambda: self.join(0), timeout)


UNREAD: Final = object()
"""In place of what was parsed of a body that nobody has parsed yet."""
OnDuplicate = Literal["ignore", "retry_failed", "accept"]
LONG_BYTES: Final = 256 * 1024
"""While the body of more than these is read, other greenlets go on between its pieces."""
_TURN: Final = partial(Clock().sleep, 1e-9)  # not 0: gevent would go on in the same turn
DELIVERY: Final = "delivery"
PUBLISHED: Final = "published"


def kind_and_key(hook: str | None, delivery: str | None) -> tuple[str, str | None]:
    """The kind and the key of an event that says neither, as none did before schema version 3."""
    key = None if delivery is None else f"{hook or ''}:{delivery}"
    return (PUBLISHED if hook is None else DELIVERY), key


def key_prefix(kind: str) -> str:
    """What stands before the key of an event of *kind*, other than a delivery, where it is stored."""
    return f":{kind}:"


@dataclass(slots=True)
class Event:
    """Something that happened; `kind` says what: a webhook's delivery, a published event, or another source.

    A delivery has `headers` (lower-case names), `query`, the parameters of its URL, both without what may be
    secret, and `body`, the exact bytes that were verified. What came several times is joined by commas.
    Every other event has `args` and `kwargs`. `delivery` is the sender's own id of the delivery. `key` is
    what a repetition is recognised by, among events of one kind; that of a delivery is its hook and the
    sender's id. Kind and key follow from `hook` and `delivery` where they are not given. A CloudEvent has its
    `attributes`, all as text, and the bytes of its data as `body`. `guard` is unique
    among all events, too: by it a recorded delivery is recognised under another id. `peer` is the address
    that it came from, `on_duplicate` what becomes of the tasks of the first one when this is a repetition.
    """

    id: ObjectId
    topic: str
    received: datetime
    hook: str | None = None
    delivery: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    args: list[Any] = field(default_factory=list)
    kwargs: dict[str, Any] = field(default_factory=dict)
    task_ids: list[ObjectId] = field(default_factory=list)
    expire_at: datetime | None = None
    kind: str = ""
    key: str | None = None
    query: dict[str, str] = field(default_factory=dict)
    attributes: dict[str, str] = field(default_factory=dict)
    is_filtered: bool = False
    """The rule of its hook, or those of all its handlers, do not hold for it: it has no tasks."""
    request: dict[str, str] = field(default_factory=dict)
    """Of a delivery whose hook's rule reads them: `method` and `ip`."""
    guard: str | None = None
    peer: str = ""
    # in memory only
    on_duplicate: OnDuplicate = field(default="retry_failed", repr=False, compare=False)
    parsed: Any = field(default=UNREAD, repr=False, compare=False)
    """What was parsed of its body, as far as rules read it; it is dropped when they have been asked."""
    fault: str = field(default="", repr=False, compare=False)
    """What of its stored form nobody can read: no handler gets it."""
    is_test: bool = field(default=False, repr=False, compare=False)
    """Its sender tries the hook with it, such as GitHub with a ping: it needs no handler."""

    def __post_init__(self) -> None:
        kind, key = kind_and_key(self.hook, self.delivery)
        self.kind = self.kind or kind
        if self.key is None:
            self.key = key

    @property
    def json(self) -> Any:
        """The body as JSON, or that in the field ``payload`` of a form; the charset of its type counts.

        While a body of more than LONG_BYTES is read, other greenlets go on. Raises strict_json.BadJson, a
        ValueError that says what is wrong with it, when there is none.
        """
        try:
            content = self.content
        except payload.BadPayload as error:
            raise strict_json.BadJson(str(error)) from error
        pause = _pause_for(content)
        return strict_json.parse(strict_json.text_in(content, self._content_type, pause), pause)

    @property
    def data(self) -> Any:
        """The body's value by its type: JSON; a dict for a form, multipart and XML; text; else its bytes.

        While a body of more than LONG_BYTES is read, other greenlets go on. Raises payload.BadPayload, a
        ValueError that says what is wrong with it, when it is not what its type says.
        """
        return self.data_at(None)

    def data_at(self, paths: Collection[str] | None) -> Any:
        """As `data`; of JSON only what stands at the dotted *paths* is sure to be kept, None keeps all."""
        content = self.content
        return payload.decode(content, self._content_type, _pause_for(content), paths)

    def tree_at(self, paths: Collection[str], pause: Callable[[], object] | None = None) -> Any:
        """As `data_at`, but text and bytes are looked into as JSON: what rules and placeholders see of it.

        *pause* is called between the pieces of a long body, in place of letting others go on.
        """
        content = self._inflated(pause or _TURN)
        return payload.tree(content, self._content_type, pause or _pause_for(content), paths)

    @property
    def content(self) -> bytes:
        """The body without the gzip that its sender may have put around it. Raises payload.BadPayload."""
        return self._inflated(_pause_for(self.body))

    def _inflated(self, pause: Callable[[], object]) -> bytes:
        if self.headers.get("content-encoding", "").lower() not in payload.ENCODINGS:
            return self.body
        return payload.inflated(self.body, pause)

    @property
    def _content_type(self) -> str:
        return self.headers.get("content-type", "")

    @property
    def is_delivery(self) -> bool:
        """Its handlers get the event itself, with headers and body, which are not in their arguments."""
        return self.kind == DELIVERY

    @property
    def unique_key(self) -> str | None:
        """Unique among all stored events: `key` within its kind. None where nothing is recognised.

        No hook has an empty name, so that of a delivery, which has no prefix, never begins with a colon.
        """
        return self.key if self.key is None or self.is_delivery else f"{key_prefix(self.kind)}{self.key}"


def _pause_for(body: bytes) -> Callable[[], object]:
    """What to do between the pieces of *body*: under gevent the others' turn, elsewhere next to nothing."""
    return _TURN if len(body) > LONG_BYTES else payload.nothing


class Posting(NamedTuple):
    """What is stored in one durable step: tasks, and the event they come from."""

    tasks: list[MonQTask]
    event: Event | None = None


class Receipt(NamedTuple):
    """What a posting became. On a *duplicate* the ids are those of the first time.

    *repeated*: it came under its own ids before, in an earlier call: what it posts may have run already.
    *replayed*: its event was stored before, without tasks, and has got these; they wait. *retried* is how
    many tasks of the first time had failed and wait again.
    """

    task_ids: list[ObjectId]
    event_id: ObjectId | None = None
    duplicate: bool = False
    repeated: bool = False
    replayed: bool = False
    retried: int = 0


class Report(NamedTuple):
    """Fields to set on a task, and *postings* to store with them, valid only while *claim* still holds it."""

    claim: Claim
    fields: dict[str, Any]
    postings: Sequence[Posting] = ()


def ready_again(attempt: int, **more: Any) -> dict[str, Any]:
    """The fields of a task that nobody holds any more, with so many attempts counted, and *more*."""
    return {"state": READY, "worker": None, "attempt": attempt, **more}


def fresh_start(now: datetime, **more: Any) -> dict[str, Any]:
    """The fields of an ended task that begins anew: due at *now*, no attempt counted, and *more*."""
    forgotten = ("result", "output", "progress", "time_start", "time_stop", "expire_at")
    return ready_again(0, time_queue=now, **dict.fromkeys(forgotten), **more)


class FairShare(NamedTuple):
    """How a claim divides its places among those that wait, when it does not reach for all of them.

    A name that holds *most* slots, those it has by *held* included, comes behind all others. Up to *aged*
    places go first of all to those that have been due longest and since *aged_before*, whatever their
    priority.
    """

    most: int
    held: Mapping[str, int]
    aged: int
    aged_before: datetime


class Claimed(NamedTuple):
    """What a claim brought, and when the next not yet due task becomes due (None: none waits)."""

    tasks: list[MonQTask]
    next_due: datetime | None = None


@dataclass(frozen=True, slots=True)
class Instance:
    """One daemon in the store's eyes: a fresh `id` per start, `process` for people.

    `identity` tells other daemons of its machine whether it still lives; None = they wait for its lease.
    """

    id: str
    process: str
    identity: ProcessIdentity | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """What monqbus keeps under a *name* of a *kind*, such as how far a schedule has come: a few small values.

    No colon stands in a kind. Versions are counted from 1; 0 is that of one which is not stored yet.
    """

    kind: str
    name: str
    fields: Mapping[str, Any]
    version: int = 0


@dataclass(frozen=True, slots=True)
class Filter:
    """Which tasks an operator means. Every given part must match; moments compare `time_queue`.

    *ended_older* and *ended_newer* compare the moment of a task's end; one without matches neither.
    *name* is a whole name, in which each ``*`` stands for any text; *names* are whole and have no such
    sign; *error* is a pattern of `regex`. *parked* means those that wait
    under a name nobody knows; `admin`, which knows the names, turns it into *names* before a store is
    asked. Raises BadFilter: this is the one check for the API, the command line and `admin`.
    """

    ids: tuple[ObjectId, ...] = ()
    states: tuple[State, ...] = ()
    name: str = ""
    topic: str = ""
    error: str = ""
    older: datetime | None = None
    newer: datetime | None = None
    names: tuple[str, ...] = ()
    parked: bool = False
    ended_older: datetime | None = None
    ended_newer: datetime | None = None

    def __post_init__(self) -> None:
        """Refuse what no store may be asked."""
        require_all("ids", self.ids, "ids of tasks", lambda one: isinstance(one, ObjectId))
        require_all("states", self.states, ", ".join(STATES), STATES.__contains__)
        require_all("names", self.names, "names of tasks", is_whole)
        for part in ("name", "topic", "error"):
            require_text(part, getattr(self, part))
        for part in MOMENTS:
            require_moment(part, getattr(self, part))
        if not isinstance(self.parked, bool):
            raise BadFilter(f"parked: expected true or false, got {shown(self.parked)}")
        if self.error:
            require_regex("error", self.error)

    @property
    def is_empty(self) -> bool:
        """True when it means every task there is."""
        return self == Filter()


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events an operator means: each given part is the event's own, whole. Raises BadFilter.

    *older* and *newer* compare the moment at which it was received. *outcome* "filtered" means that rules
    have kept it from its handlers, "unhandled" that it has no tasks for another reason, "handled" that it
    has some, "accepted" one of these two.
    """

    topic: str = ""
    hook: str = ""
    kind: str = ""
    delivery: str = ""
    outcome: str = ""
    older: datetime | None = None
    newer: datetime | None = None

    def __post_init__(self) -> None:
        """Refuse what no store may be asked."""
        for part in ("topic", "hook", "kind", "delivery"):
            require_text(part, getattr(self, part))
        for part in ("older", "newer"):
            require_moment(part, getattr(self, part))
        if self.outcome not in ("", *EVENT_OUTCOMES):
            raise BadFilter(f"outcome: expected {', '.join(EVENT_OUTCOMES)}, got {shown(self.outcome)}")

    @property
    def is_empty(self) -> bool:
        """True when it means every event there is."""
        return self == EventFilter()
