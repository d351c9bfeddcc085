"""A desk on a store in memory, behind the real gate, asked as a browser asks it; nothing runs the tasks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import unescape
from typing import Any

from bson import ObjectId

from bus.admin import Admin
from bus.apps.options import Options
from bus.apps.registry import Registry, Task
from bus.config import Config
from bus.dashboard import Desk, History, Live, Running, dashboard_routes
from bus.delivery_record import Delivery
from bus.metrics.counts import Counts
from bus.model import Event, MonQTask, State
from bus.operations import Operations
from bus.posting import PostOffice
from bus.store import open_memory_store
from tests.engine.gate import HOST, PASSWORD, Said
from tests.engine.gate import Desk as Listener

ROLES = ("viewer", "operator", "admin")
MARK = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>\u202e"
"""What text from outside may hold; none of it may reach a page as it is."""


def charge(order: int, card: str = "") -> None:
    """Charge an order."""


class Place:
    """Everything behind the pages; `ask` signs in as a role and follows no redirect."""

    def __init__(self) -> None:
        self.config = Config()
        self.store = open_memory_store()
        self.registry = Registry()
        for name in ("shop.charge", "shop.note"):
            self.registry.add(Task(charge, name, Options(max_attempts=3)))
        self.running: list[Running] = []
        routes = dashboard_routes(self._desk())
        self.listener = Listener(self.store, routes)
        self.routes = routes
        for role in ROLES:
            self.listener.accounts.add_user(f"a-{role}", role, PASSWORD)
        self._cookies: dict[str, str] = {}

    def _desk(self) -> Desk:
        clock = self.clock = Listener(self.store, []).clock
        self.admin = Admin(self.store, clock, known=lambda: self.registry.tasks)
        office = PostOffice(self.store, lambda: self.registry, clock)
        audit = Listener(self.store, []).audit
        names: Any = lambda: self.registry.tasks  # noqa: E731
        self.counts = Counts(names, dict, dict)
        self.live = Live(clock)
        self.desk = Desk(
            admin=self.admin,
            operations=Operations(self.admin, office, audit),
            audit=audit,
            registry=lambda: self.registry,
            config=lambda: self.config,
            clock=clock,
            history=History(self.counts, clock),
            live=self.live,
            running=lambda: self.running,
            slots=lambda: {"greenlets": (100, len(self.running))},
        )
        return self.desk

    def cookie(self, role: str) -> str:
        """The cookie of who is signed in with this *role*."""
        if role not in self._cookies:
            self._cookies[role] = self.listener.cookie(f"a-{role}")
        return self._cookies[role]

    def get(self, path: str, role: str = "operator") -> Said:
        """The page at *path*."""
        return self.listener.ask("GET", path, cookie=self.cookie(role), ACCEPT="text/html")

    def post(self, path: str, role: str = "operator", **fields: str | Sequence[str]) -> Said:
        """The answer to a form of a page: with its token, from its origin."""
        session = self.listener.sessions.find(self.cookie(role).partition("=")[2])
        assert session is not None
        pairs = [("csrf_token", session.csrf_token)]
        for name, value in fields.items():
            pairs += [(name, one) for one in ([value] if isinstance(value, str) else value)]
        form: Any = pairs
        return self.listener.ask(
            "POST", path, form=form, cookie=self.cookie(role), ORIGIN=f"http://{HOST}", ACCEPT="text/html"
        )

    def task(self, state: State = "ready", **fields: Any) -> MonQTask:
        """A stored task."""
        given = {
            "id": ObjectId(),
            "task_name": "shop.charge",
            "args": [1],
            "kwargs": {},
            "time_queue": self.clock.now(),
            "state": state,
            **fields,
        }
        if state in ("error", "complete", "skipped"):
            given.setdefault("time_stop", self.clock.now())
        task = MonQTask(**given)
        self.store.adopt([task], [])
        return task

    def failed(self, count: int, error: str = "TimeoutError: order {} is late") -> list[MonQTask]:
        """So many failed tasks, each with its number in its error."""
        return [self.task("error", result=f"Traceback\n{error.format(n)}") for n in range(count)]

    def event(self, **fields: Any) -> Event:
        """A stored event."""
        event = Event(**{"id": ObjectId(), "topic": "order.paid", "received": self.clock.now(), **fields})
        self.store.adopt([], [event])
        return event

    def delivery(self, **fields: Any) -> Delivery:
        """A delivery of the log that has no event."""
        given = {
            "id": ObjectId(),
            "received": self.clock.now(),
            "outcome": "refused",
            "status": 401,
            **fields,
        }
        self.store.log_deliveries([Delivery(**given)])
        return Delivery(**given)

    def stored(self, task: MonQTask) -> MonQTask:
        """*task* as it is now."""
        found = self.store.get(task.id)
        assert found is not None
        return found

    def close(self) -> None:
        """Forget it."""
        self.store.close()


def words(said: Said) -> str:
    """What a person reads of a page."""
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", said.text)).split())
