"""connect(): binds a process that is not the daemon, such as a web application, a script or a command."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from bson import ObjectId

from .api.client import ApiClient
from .apps import from_config, registry
from .apps.calls import Batch, announcement, prepare
from .apps.context import capture
from .apps.options import Options
from .apps.poster import bind
from .clock import Clock
from .config import CONTROL_SOCKET, Config, load
from .errors import BadDeclaration, StoreUnavailable, no_transactions
from .joining import await_end
from .model import MonQTask, Receipt
from .posting import PostOffice
from .process import identity
from .steady_clock import LazySteadyClock
from .store import open_store
from .store.inbox.postings import to_payload
from .store.inbox.writer import InboxWriter


def connect(path: Path) -> None:
    """Bind the registry to the store of the config at *path*; see monqbus.connect."""
    config = load(path, os.environ)
    if is_embedded(config):
        bind(ForkSafe(lambda: InboxPoster.of(config)))
        return
    from_config.load(config)  # so that events find their handlers
    _let_apps_handle()
    bind(ForkSafe(lambda: _office(config)))


class ForkSafe:
    """Implements poster.Poster by one that *make* makes, and by another one in every process.

    A server that forks its workers calls `connect()` before: a connection that parent and children
    shared would give the answers of one to the other. A child drops the parent's connection without closing
    it: closing ends it on the server, for the parent too. *make* is called here, and at the first use after
    each fork; it and every verb may raise StoreUnavailable.
    """

    def __init__(self, make: Callable[[], PostOffice | InboxPoster]) -> None:
        self._make = make
        self._turns: dict[tuple[int, int], threading.Lock] = {}
        self._made = (identity.here(), make())

    def post(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], options: Options) -> MonQTask:
        """Store one task; durable when it returns. Raises BadDeclaration for one of the started program."""
        _expect_elsewhere(name)
        task = self._own().post(name, args, kwargs, options)
        task.waiter = self.join  # it may be joined in another process than the one that has posted it
        return task

    def publish(self, topic: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Receipt:
        """Store one event with a task for each handler. Raises BadDeclaration as `post` does."""
        own = self._own()
        _expect_handlers_elsewhere(own, topic)
        return own.publish(topic, args, kwargs)

    @property
    def clock(self) -> Clock:
        """The queue's time."""
        return self._own().clock

    def store(self, batch: Batch) -> None:
        """Store all of *batch* in one write; durable when this returns. Raises as `post` does."""
        for task in batch.tasks:
            _expect_elsewhere(task.task_name)
        own = self._own()
        for event, _ in batch.events:
            _expect_handlers_elsewhere(own, event.topic)
        own.store(batch)
        if batch.session is None:  # else it can be joined when that has been committed
            for task in batch.tasks:
                task.waiter = self.join  # as in `post`

    def join(self, task: MonQTask, timeout: float | None) -> Any:
        """Block until *task* has ended; see MonQTask.join."""
        return self._own().join(task, timeout)

    def _own(self) -> PostOffice | InboxPoster:
        here = identity.here()
        owner, made = self._made
        if owner == here:
            return made
        # a lock of this process: one of the parent's may have been copied while it was held
        with self._turns.setdefault(here, threading.Lock()):
            owner, made = self._made
            if owner != here:
                made = self._make()
                self._made = (here, made)
        return made


def _let_apps_handle() -> None:
    """Where the program that was started is an app, too, let the app's handlers be the only ones."""
    declared = list(registry.registry().tasks.values())
    places = {task.where for task in declared if task.__module__ not in registry.PROGRAM}
    for task in declared:
        if task.__module__ in registry.PROGRAM and task.where in places:
            registry.registry().unsubscribe(task)


def _expect_elsewhere(name: str) -> None:
    """Raise BadDeclaration when no daemon can declare a task of *name*: its module is the started program."""
    module, _, function = name.partition(".")
    if module in registry.PROGRAM:
        raise BadDeclaration(
            f"task {name}: expected one of an app, got one of the program that was started, which no daemon "
            f"imports as {module}; import {function} from a module of [monqbus] apps, or give it the name "
            f"that it has there: @task(name='my.{function}')"
        )


def _expect_handlers_elsewhere(own: PostOffice | InboxPoster, topic: str) -> None:
    """As `_expect_elsewhere`, for every handler of *topic* that this process would give a task."""
    if isinstance(own, PostOffice):  # else the daemon finds the handlers
        for handler in registry.registry().handlers_of(topic):
            _expect_elsewhere(handler.name)


class InboxPoster:
    """Implements poster.Poster beside an embedded store, whether its daemon runs or not.

    What is posted is durable in the inbox; the daemon takes it over at once or when it comes. Only a post
    with a key asks the daemon first, who knows which task holds it.
    """

    def __init__(self, inbox: InboxWriter, daemon: ApiClient, clock: Clock) -> None:
        self._inbox = inbox
        self._daemon = daemon
        self.clock = clock

    @classmethod
    def of(cls, config: Config) -> InboxPoster:
        """The one for *config*. Opens nothing before the first post."""
        settings = config.monqbus
        inbox = InboxWriter(settings.data_dir, min_free=settings.min_free)
        return cls(inbox, client(config), LazySteadyClock(Clock(), None, ""))

    def post(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], options: Options) -> MonQTask:
        """Store one task; durable when it returns. Blocks for the disk; raises as InboxWriter.append."""
        task = prepare(self.clock, name, args, kwargs, options, capture())
        if task.key is not None:
            # without an answer the task may be stored all the same: under its id it is stored once
            with suppress(StoreUnavailable):
                return self._daemon.submit(task)
        self.store(Batch([task]))
        return task

    def publish(self, topic: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Receipt:
        """Store one event; only the daemon knows its handlers, and makes their tasks."""
        made = announcement(self.clock, topic, args, kwargs, capture())
        self.store(Batch(events=[made]))
        return Receipt([], made.event.id)

    def store(self, batch: Batch) -> None:
        """Store all of *batch* or none of it in one write; durable when this returns."""
        if batch.session is not None:
            raise no_transactions()
        self._inbox.append(to_payload(batch, self.clock.now()))
        for task in batch.tasks:
            task.waiter = self.join

    def close(self) -> None:
        """Let the daemon have all of it; the next post begins a new file."""
        self._inbox.close()

    def join(self, task: MonQTask, timeout: float | None) -> Any:
        """Block until *task* has ended, through restarts of the daemon; see MonQTask.join."""

        def look(task_id: ObjectId) -> MonQTask:
            try:
                return self._daemon.show(task_id)
            except StoreUnavailable:
                return task  # nobody runs it now

        return await_end(look, task, timeout, self.clock)


def is_embedded(config: Config) -> bool:
    """True when the store is the file of one daemon."""
    return config.monqbus.store.reveal() == "sqlite"


def client(config: Config, by: str = "") -> ApiClient:
    """The daemon on this machine, asked through its control socket, *by* whom. Connects on first use."""
    return ApiClient(config.monqbus.data_dir / CONTROL_SOCKET, Clock(), by)


def _office(config: Config) -> PostOffice:
    """A post office on MongoDB, open."""
    return PostOffice(
        open_store(config.monqbus.store.reveal(), config.monqbus.data_dir),
        registry.registry,
        LazySteadyClock(Clock(), None, ""),
        keep_events=timedelta(seconds=config.monqbus.keep_events),
        hooks=lambda: config.hooks,
    )
