"""The client of the API: post, join and all operator actions through the daemon's control socket.

The embedded store belongs to one daemon; every other process posts and looks through this. The
socket speaks the API over HTTP, with BSON bodies so that values keep their types.
"""

from __future__ import annotations

import dataclasses
import http.client
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from bson import ObjectId

from ..access.accounts import LINK_SECONDS, TOKEN_SECONDS, Token, User
from ..access.audit import Entry
from ..admin import PAGE, PauseState, ScheduleState, Step
from ..apps.calls import Posted, Published
from ..apps.context import capture
from ..clock import Clock
from ..codec import decode, encode, storable
from ..delivery_record import Delivery, DeliveryFilter
from ..errors import API_CODES, MonqbusError, StoreUnavailable
from ..joining import await_end
from ..model import Event, EventFilter, Filter, MonQTask, Receipt
from ..pauses import Pause, What
from ..store.contract import CountedBy
from ..store.documents import event_from_document, task_from_document

ANSWER_SECONDS: Final = 30.0
_OPTIONS: Final = ("priority", "max_attempts", "timeout", "key", "result_type")
BACKUP_SECONDS: Final = 86_400.0
BSON_TYPE: Final = "application/bson"
BY_HEADER: Final = "X-Monqbus-By"
"""Who asks, as a command says it: for the audit, no proof of anything."""
_HEADERS: Final = {"Accept": BSON_TYPE, "Content-Type": BSON_TYPE}
_ERRORS: Final = {code: kind for kind, _, code in API_CODES}


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=ANSWER_SECONDS)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket file in place of a host."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class ApiClient:
    """Posts through the daemon, and has the methods of Admin, for any number of threads or greenlets at once.

    A request has a connection to itself; afterwards it is kept for the next one. *by* is who asks, for the
    audit.
    """

    is_attended = True

    def __init__(self, path: Path, clock: Clock, by: str = "") -> None:
        self._path = path
        self._headers = {**_HEADERS, **({BY_HEADER: by.encode("ascii", "replace").decode()} if by else {})}
        self._clock = clock
        self._kept: list[_UnixConnection] = []  # taken and given back by single steps of the interpreter

    # posting

    def submit(self, task: MonQTask) -> MonQTask:
        """Store a prepared *task* in the daemon under its id; durable when it returns.

        The task that holds its key is returned in its place.
        """
        delay = (task.time_queue - self._clock.now()).total_seconds()
        asked = {
            "id": task.id,
            "name": task.task_name,
            "args": task.args,
            "kwargs": task.kwargs,
            "context": task.context,
            "options": {name: getattr(task, name) for name in _OPTIONS} | {"delay": max(0.0, delay)},
            "is_checked": True,
        }
        stored = task_from_document(self._ask("POST", "/tasks", asked)["task"])
        stored.waiter = self.join
        return stored

    def post_named(
        self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], changes: Mapping[str, Any]
    ) -> Posted:
        """As post, with the options that the daemon's own declaration has, but *changes*.

        Raises BadCall for arguments that the daemon's own function does not take.
        """
        kept = storable(list(args), dict(kwargs), capture())
        asked = {
            "id": self._clock.new_id(),  # chosen here, so that asking twice stores once
            "name": name,
            **kept._asdict(),
            "options": dict(changes),
        }
        answer = self._ask("POST", "/tasks", asked)
        task = task_from_document(answer["task"])
        task.waiter = self.join
        return Posted(task, answer["known"], answer.get("near", ""))

    def publish_named(self, topic: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Published:
        """Publish to the daemon's handlers; with the topic that was meant where this one has none."""
        kept = storable(list(args), dict(kwargs), capture())
        asked = {"id": self._clock.new_id(), "topic": topic, **kept._asdict()}
        answer = self._ask("POST", "/events", asked)
        receipt = Receipt(answer["tasks"], answer["event"])
        return Published(receipt, answer.get("near", ""), answer.get("filtered", False))

    def join(self, task: MonQTask, timeout: float | None) -> Any:
        """Block until *task* has ended; see MonQTask.join."""
        return await_end(self.show, task, timeout, self._clock)

    # Admin

    def find(self, filter: Filter, limit: int, cursor: ObjectId | None = None) -> list[MonQTask]:
        """As Admin.find."""
        asked = {"filter": _filter(filter), "limit": limit, "cursor": cursor}
        return [_task(document) for document in self._ask("POST", "/tasks/find", asked)["tasks"]]

    def count(self, filter: Filter, by: CountedBy = "state") -> dict[str, int]:
        """As Admin.count."""
        asked = {"filter": _filter(filter), "by": by}
        counts: dict[str, int] = self._ask("POST", "/tasks/count", asked)["counts"]
        return counts

    def show(self, task_id: ObjectId) -> MonQTask:
        """As Admin.show."""
        return _task(self._ask("GET", f"/tasks/{task_id}")["task"])

    def why_waiting(self, task: MonQTask) -> str | None:
        """What a ready task waits for, as the daemon sees it; None for one that does not wait."""
        reason: str | None = self._ask("GET", f"/tasks/{task.id}")["waiting"]
        return reason

    def events(self, filter: EventFilter, limit: int, cursor: ObjectId | None = None) -> list[Event]:
        """As Admin.events."""
        asked = {"filter": _filter(filter), "limit": limit, "cursor": cursor}
        return [event_from_document(one) for one in self._ask("POST", "/events/find", asked)["events"]]

    def event(self, event_id: ObjectId) -> Event:
        """As Admin.event."""
        return event_from_document(self._ask("GET", f"/events/{event_id}")["event"])

    def deliveries(
        self, filter: DeliveryFilter, limit: int, cursor: ObjectId | None = None
    ) -> list[Delivery]:
        """As Admin.deliveries."""
        asked = {"filter": _filter(filter), "limit": limit, "cursor": cursor}
        return [_delivery(one) for one in self._ask("POST", "/deliveries/find", asked)["deliveries"]]

    def delivery(self, delivery_id: ObjectId) -> Delivery:
        """As Admin.delivery."""
        return _delivery(self._ask("GET", f"/deliveries/{delivery_id}")["delivery"])

    def topics(self) -> list[str]:
        """The topics that have a handler in the daemon."""
        topics: list[str] = self._ask("GET", "/topics")["topics"]
        return topics

    def task_names(self) -> list[str]:
        """The names of the tasks that the daemon's apps declare."""
        names: list[str] = self._ask("GET", "/topics")["task_names"]
        return names

    def handlers(self) -> dict[str, list[str]]:
        """The names of the handlers of each topic, by the daemon's apps."""
        handlers: dict[str, list[str]] = self._ask("GET", "/topics")["handlers"]
        return handlers

    def replay(self, event_id: ObjectId) -> Receipt:
        """As PostOffice.replay."""
        asked = {"id": self._clock.new_id()}  # chosen here, so that asking twice replays once
        answer = self._ask("POST", f"/events/{event_id}/replay", asked)
        return Receipt(answer["tasks"], answer["event"])

    def schedules(self) -> list[ScheduleState]:
        """As Admin.schedules."""
        return [ScheduleState(**one) for one in self._ask("GET", "/schedules")["schedules"]]

    def fire_now(self, name: str) -> Receipt:
        """As PostOffice.fire_now."""
        asked = {"id": self._clock.new_id()}  # chosen here, so that asking twice fires once
        answer = self._ask("POST", f"/schedules/{quote(name, safe='')}/run", asked)
        return Receipt(answer["tasks"], answer["event"])

    def pauses(self) -> list[PauseState]:
        """As Admin.pauses."""
        found = self._ask("GET", "/pauses")["pauses"]
        return [PauseState(_pause(row), row["ready"]) for row in found]

    def count_paused(self, filter: Filter) -> int:
        """As Admin.count_paused."""
        asked = {"filter": _filter(filter), "by": "paused"}
        count: int = self._ask("POST", "/tasks/count", asked)["counts"]["paused"]
        return count

    def pause(
        self, what: What, name: str, reason: str, *, until: datetime | None = None, by: str = ""
    ) -> Pause:
        """As Admin.pause; the daemon begins none of them any more when it returns."""
        asked = {"what": what, "name": name, "reason": reason, "until": until, "by": by}
        return _pause(self._ask("POST", "/pauses", asked)["pause"])

    def resume(self, what: What, name: str) -> Pause:
        """As Admin.resume."""
        return _pause(self._ask("POST", "/pauses/resume", {"what": what, "name": name})["pause"])

    def retry(self, filter: Filter, cursor: ObjectId | None = None, limit: int = PAGE) -> Step:
        """As Admin.retry."""
        return self._step("retry", filter, cursor, limit)

    def cancel(self, filter: Filter, cursor: ObjectId | None = None, limit: int = PAGE) -> Step:
        """As Admin.cancel."""
        return self._step("cancel", filter, cursor, limit)

    def purge(self, filter: Filter, cursor: ObjectId | None = None, limit: int = PAGE) -> Step:
        """As Admin.purge."""
        return self._step("purge", filter, cursor, limit)

    def backup(self, path: Path) -> None:
        """As Admin.backup; the daemon writes the file, as its user."""
        self._ask("POST", "/backup", {"path": str(path)}, seconds=BACKUP_SECONDS)

    # access, as Accounts and Audit have it

    def users(self) -> list[User]:
        """Every user, by name."""
        return [User(**one) for one in self._ask("GET", "/users")["users"]]

    def add_user(self, name: str, role: str, password: str | None) -> User:
        """Make a user."""
        asked = {"name": name, "role": role, "password": password}
        return User(**self._ask("POST", "/users", asked)["user"])

    def remove_user(self, name: str) -> User:
        """Forget a user."""
        return self._user(name, "remove")

    def set_password(self, name: str, password: str) -> User:
        """Give a user another password."""
        return self._user(name, "password", {"password": password})

    def set_role(self, name: str, role: str) -> User:
        """Give a user another role."""
        return self._user(name, "role", {"role": role})

    def tokens(self) -> list[Token]:
        """Every API token."""
        return [Token(**one) for one in self._ask("GET", "/tokens")["tokens"]]

    def add_token(self, name: str, role: str, seconds: float = TOKEN_SECONDS) -> tuple[Token, str]:
        """Make a token."""
        answer = self._ask("POST", "/tokens", {"name": name, "role": role, "seconds": seconds})
        return Token(**answer["token"]), answer["word"]

    def revoke_token(self, token: str) -> Token:
        """Forget a token, by its id or name."""
        return Token(**self._ask("POST", f"/tokens/{quote(token, safe='')}/revoke")["token"])

    def add_link(self, user: str | None = None, seconds: float = LINK_SECONDS) -> str:
        """Make a link; its last segment."""
        path: str = self._ask("POST", "/links", {"user": user, "seconds": seconds})["path"]
        return path.rpartition("/")[2]

    def audit(self, limit: int, before: str = "") -> list[tuple[str, Entry]]:
        """As Audit.entries; at most a page."""
        words = f"limit={limit}" + (f"&before={before}" if before else "")
        return [
            (one["id"], Entry(**{name: one[name] for name in Entry._fields}))
            for one in self._ask("GET", f"/audit?{words}")["entries"]
        ]

    def _user(self, name: str, action: str, asked: Mapping[str, Any] | None = None) -> User:
        return User(**self._ask("POST", f"/users/{quote(name, safe='')}/{action}", asked)["user"])

    def facts(self) -> tuple[datetime, dict[str, int]]:
        """Since when the daemon runs, and how often each fact has happened in it."""
        answer = self._ask("GET", "/facts")
        return answer["since"], answer["facts"]

    def status(self) -> dict[str, Any]:
        """Why the daemon is not `ready`, None when it is, and its `services`, each with its state."""
        return self._ask("GET", "/status")

    def workers(self) -> dict[str, Any]:
        """The `title` of the daemon, the slots of its `lanes`, what is `running`, what is `waiting`."""
        return self._ask("GET", "/workers")

    def _step(self, action: str, filter: Filter, cursor: ObjectId | None, limit: int) -> Step:
        asked = {"filter": _filter(filter), "cursor": cursor, "limit": limit, "all": filter.is_empty}
        answer = self._ask("POST", f"/tasks/{action}", asked)
        return Step(answer["done"], answer["cursor"])

    # requests

    def close(self) -> None:
        """Close what is kept; the next request opens a new connection."""
        while self._kept:
            with suppress(IndexError):  # another thread has just taken the last one
                self._kept.pop().close()

    def _ask(
        self,
        method: str,
        path: str,
        document: Mapping[str, Any] | None = None,
        *,
        seconds: float = ANSWER_SECONDS,
    ) -> dict[str, Any]:
        """One request; asked again once if the kept connection had been closed meanwhile.

        What is posted carries its id, under which the store knows it again: the first try may have arrived.
        """
        body = encode(document) if document is not None else None
        connection, is_fresh = self._take()
        try:
            connection.request(method, f"/api/v1{path}", body, self._headers)
            connection.sock.settimeout(seconds)
            answer = connection.getresponse()
            data = answer.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            self.close()  # the others are no younger
            if not is_fresh and not isinstance(error, TimeoutError):
                return self._ask(method, path, document, seconds=seconds)
            raise StoreUnavailable(
                f"{self._path}: no daemon answers ({error or type(error).__name__}); "
                "start it with `monqbus run`, or look at its log"
            ) from error
        except BaseException:  # a caller's own timeout: the answer that may still come is nobody else's
            connection.close()
            raise
        self._kept.append(connection)
        return _understood(answer.status, data)

    def _take(self) -> tuple[_UnixConnection, bool]:
        """A connection that nobody else has, and whether it is a new one."""
        try:
            return self._kept.pop(), False
        except IndexError:
            return _UnixConnection(self._path), True


def _task(document: dict[str, Any]) -> MonQTask:
    fault = document.pop("fault", "")
    task = task_from_document(document)
    task.fault = fault
    return task


def _pause(row: Mapping[str, Any]) -> Pause:
    parts = {name: row[name] for name in ("what", "name", "reason", "since", "until", "by")}
    tasks = tuple(row.get("tasks", ()))
    return Pause(**parts, tasks=tasks, probe=row.get("probe"), probe_at=row.get("probe_at"))


def _understood(status: int, data: bytes) -> dict[str, Any]:
    answer = decode(data)
    if status < 400:
        return answer
    raise _ERRORS.get(answer.get("code", ""), MonqbusError)(str(answer.get("detail", f"HTTP {status}")))


def _delivery(fields: dict[str, Any]) -> Delivery:
    return Delivery(**fields | {"headers": dict(fields["headers"])})


def _filter(filter: Filter | EventFilter | DeliveryFilter) -> dict[str, Any]:
    return {name: value for name, value in dataclasses.asdict(filter).items() if value}
