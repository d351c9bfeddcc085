"""Records deliveries that stored nothing: the refused ones, repetitions, and answered handshakes.

Nothing here waits for the store: records gather and are written together, every two seconds, one write
however many came. Of each kind only the first ones of that time have a record, the last of which has the
number of the others, so that a flood costs neither disk nor memory. An accepted delivery is its event.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import parse_qsl

from ..clock import Clock
from ..delivery_record import ANSWERED, REFUSED, REPEATED, Delivery, Keep, Outcome
from ..errors import Refused, StoreError
from ..http import problem
from ..model import Event, Receipt
from ..safe_text import without_surrogates
from ..telemetry import ToldOnce, emit
from .redaction import redacted
from .request import MOST_FIELDS, headers_of

if TYPE_CHECKING:
    from ..config import Hook

PERIOD_SECONDS: Final = 2.0
TRIM_SECONDS: Final = 60.0
MOST_OF_KIND: Final = 10
"""So many of one kind have a record in a period."""
MOST_HELD: Final = 500
"""So many records wait at most, when the store is away."""
LONGEST_BODY: Final = 64 * 1024
MOST_BODY_BYTES: Final = 4 * 1024 * 1024
"""Of the bodies of all records that wait."""
LONGEST_TEXT: Final = 256
MOST_PARAMETERS: Final = 32

Write = Callable[[Sequence[Delivery], "Keep | None"], object]


class Extent(NamedTuple):
    """How much is logged: of each ring at most so many records and bytes, for so long; 0 records: nothing.

    With *bodies* those of refused deliveries, too; *is_secret* tells of further headers that are not shown.
    """

    most: int = 0
    size: int = 0
    age: timedelta = timedelta(days=7)
    bodies: bool = False
    is_secret: Callable[[str], bool] = lambda _: False


class _Kind(NamedTuple):
    """What records have in common. Its words are ours and few: no stranger can make new ones."""

    outcome: Outcome
    hook: str
    status: int
    code: str = ""


class DeliveryLog:
    """Gathers records, and gives them to *write* at each `tick`. Recording never blocks and never raises."""

    def __init__(self, write: Write, clock: Clock, extent: Extent) -> None:
        self._write = write
        self._clock = clock
        self._extent = extent
        self._records: list[Delivery] = []
        self._counts: Counter[_Kind] = Counter()
        self._last: dict[_Kind, Delivery] = {}
        self._body_bytes = self._untrimmed = 0
        self._trimmed_at = float("-inf")
        self._told = ToldOnce()

    def refused(
        self,
        environ: Mapping[str, Any],
        refusal: Refused,
        *,
        hook: Hook | None = None,
        reason: str = "",
        began: float | None = None,
    ) -> None:
        """Record that the request of *environ* was answered with *refusal*."""
        name = "" if hook is None else hook.name
        kind = _Kind(REFUSED, name, refusal.status, refusal.code)
        if not self._has_room(kind):
            return
        record = self._begun(environ, kind, began)
        record.reason = _text(reason or "; ".join(part for part in (refusal.detail, refusal.hint) if part))
        record.size = len(refusal.body) or _announced(environ)
        record.body = self._body(refusal.body)
        record.headers = self._shown(environ, hook)
        self._add(kind, record)

    def answered(
        self, environ: Mapping[str, Any], answer: problem.Answer, hook: Hook, began: float | None = None
    ) -> None:
        """Record that the request of *environ* was a handshake, or HEAD, and *answer* all there was to it."""
        kind = _Kind(ANSWERED, hook.name, int(answer.status[:3]))
        if not self._has_room(kind):
            return
        record = self._begun(environ, kind, began)
        record.size, record.headers = _announced(environ), self._shown(environ, hook)
        self._add(kind, record)

    def _shown(self, environ: Mapping[str, Any], hook: Hook | None) -> dict[str, str]:
        """The headers of a request that nobody has verified, perhaps, as far as they may be shown."""
        secrets = () if hook is None else (*hook.secret_texts, *(one.reveal() for one in hook.verify_token))
        proofs = () if hook is None else {way.header for way in hook.sender.ways}
        also = self._extent.is_secret
        return redacted(headers_of(environ), secrets, lambda one: one in proofs or also(one))

    def repeated(
        self, environ: Mapping[str, Any], event: Event, receipt: Receipt, began: float | None = None
    ) -> None:
        """Record that *event* was no news: *receipt* has the ids of the first time."""
        kind = _Kind(REPEATED, event.hook or "", 200)
        if not self._has_room(kind):
            return
        record = self._begun(environ, kind, began)
        record.delivery, record.event_id = event.delivery, receipt.event_id
        record.headers, record.size = redacted(event.headers, (), self._extent.is_secret), len(event.body)
        if receipt.retried:
            record.reason = f"{receipt.retried} failed tasks wait again"
        self._add(kind, record)

    def tick(self) -> float:
        """Write what has gathered, and let old records go now and then; how long to sleep."""
        if self._extent.most or self._trimmed_at < 0:
            self.flush()
        return PERIOD_SECONDS

    def flush(self) -> None:
        """Write what has gathered. Blocks as long as one call of the store does; never raises."""
        records, self._records = self._records, []
        self._counts.clear()
        self._last.clear()
        now = self._clock.monotonic()
        is_due = now - self._trimmed_at >= TRIM_SECONDS or self._untrimmed > max(100, self._extent.most // 10)
        if not records and not is_due:
            return
        keep = None
        if is_due:
            keep = Keep(self._clock.now() - self._extent.age, self._extent.most, self._extent.size)
        try:
            self._write(records, keep)
        except StoreError as error:  # the store's monitor tells of it; what has gathered may wait
            self._records = (records + self._records)[:MOST_HELD]
            if self._told.begins():
                emit("deliveries.unrecorded", count=len(records), error=error)
            return
        self._told.ends()
        self._body_bytes = sum(len(one.body) for one in self._records)
        self._untrimmed += len(records)
        if is_due:
            self._trimmed_at, self._untrimmed = now, 0

    def _has_room(self, kind: _Kind) -> bool:
        """Whether one more of *kind* gets a record; else the last one counts it."""
        if not self._extent.most:
            return False
        self._counts[kind] += 1
        if self._counts[kind] <= MOST_OF_KIND and len(self._records) < MOST_HELD:
            return True
        if (last := self._last.get(kind)) is not None:
            last.omitted += 1
        return False

    def _body(self, body: bytes) -> bytes:
        """As much of a refused *body* as is kept: all or nothing."""
        is_kept = self._extent.bodies and len(body) <= LONGEST_BODY
        if not is_kept or self._body_bytes + len(body) > MOST_BODY_BYTES:
            return b""
        self._body_bytes += len(body)
        return body

    def _add(self, kind: _Kind, record: Delivery) -> None:
        self._records.append(record)
        self._last[kind] = record

    def _begun(self, environ: Mapping[str, Any], kind: _Kind, began: float | None) -> Delivery:
        """The record of the request of *environ*, without what depends on its outcome."""
        query = parse_query(environ.get("QUERY_STRING", ""))
        return Delivery(
            id=self._clock.new_id(),
            received=self._clock.now(),
            outcome=kind.outcome,
            status=kind.status,
            hook=kind.hook,
            method=_text(environ.get("REQUEST_METHOD", "")),
            path=_text(environ.get("PATH_INFO", "")),
            peer=environ.get("REMOTE_ADDR", ""),
            code=kind.code,
            seconds=0.0 if began is None else round(self._clock.monotonic() - began, 6),
            request=environ.get(problem.REQUEST_ID, ""),
            parameters=query,
        )


def parse_query(query: str) -> list[str]:
    """The names of the parameters of *query*, never a value: one may be a secret under any name.

    A part without a sign of equality is a value, too.
    """
    if not query:
        return []
    try:
        pairs = parse_qsl(query, max_num_fields=MOST_FIELDS)
    except ValueError:  # too many
        return []
    return [_text(name) for name, _ in pairs[:MOST_PARAMETERS]]


def _text(value: str) -> str:
    return without_surrogates(value[:LONGEST_TEXT])


def _announced(environ: Mapping[str, Any]) -> int:
    """How many bytes the sender says the body has; 0 where it does not."""
    length = environ.get("CONTENT_LENGTH", "")
    return min(int(length), 2**53) if length.isascii() and length.isdecimal() and len(length) < 20 else 0
