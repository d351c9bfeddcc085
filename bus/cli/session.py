"""What a command works on: its configuration, and the store or daemon behind it.

With the embedded store a running daemon is asked through its control socket; when none runs, the
command takes the file for itself. With MongoDB every command goes to it directly.
"""

from __future__ import annotations

import argparse
import os
import pwd
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from bson import ObjectId

from ..access.audit import Audit
from ..access.roles import Role
from ..access.visitor import Visitor
from ..admin import PAGE, Admin, Step
from ..api.client import ApiClient
from ..apps import from_config, registry
from ..apps.hook_handlers import own_names_of
from ..clock import Clock
from ..config import CONTROL_SOCKET, Config, load
from ..connecting import InboxPoster, client, is_embedded
from ..errors import ConfigError, StoreHeld, StoreUnavailable
from ..model import READY, Filter, MonQTask, Receipt
from ..operations import told
from ..pauses import Pause, What
from ..posting import PostOffice
from ..presentation import why_waiting
from ..steady_clock import SteadyClock
from ..store import Store, as_owner_of, has_file, open_memory_store, open_store, require_room
from ..store.clock_mark import read_mark, this_boot
from ..store.inbox.reader import waiting_bytes
from . import terminal

HELD_SECONDS: Final = 3.0
LOOK_SECONDS: Final = 0.05


def me() -> str:
    """Whoever runs this command, as its machine knows them."""
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        user = f"uid {os.getuid()}"
    return f"{user}@{socket.gethostname()}"


def myself() -> Visitor:
    """The same, as who has all rights: whoever may open the store."""
    return Visitor(me(), Role.ADMIN)


def config_path(options: argparse.Namespace) -> Path:
    """The INI file the user means. Raises ConfigError when $MONQBUS_CONFIG names none."""
    if options.config is None and (named := os.environ.get("MONQBUS_CONFIG")):
        if not Path(named).exists():
            raise ConfigError(
                f"$MONQBUS_CONFIG: no file {named} in {Path.cwd()}; unset it or make it absolute"
            )
        return Path(named)
    return Path(options.config or "monqbus.ini")


def read_config(options: argparse.Namespace) -> Config:
    """The loaded config. Raises ConfigError."""
    return load(config_path(options), os.environ)


class OwnAdmin(Admin):
    """The Admin of a store that this command has opened itself."""

    def __init__(self, store: Store, clock: Clock, config: Config) -> None:
        super().__init__(
            store,
            clock,
            keep_failed=timedelta(seconds=config.monqbus.keep_failed),
            known=lambda: from_config.load(config).tasks,
            schedules=lambda: from_config.load(config).schedules,
            tasks_of_hook=lambda name: own_names_of(name, config.hooks, from_config.load(config)),
        )
        self._config = config
        self._audit = Audit(store, clock)

    def retry(self, filter: Filter, cursor: ObjectId | None = None, limit: int = PAGE) -> Step:
        """As Admin.retry; noted in the audit, like the others."""
        return self._noted("retry", filter, super().retry(filter, cursor, limit))

    def cancel(self, filter: Filter, cursor: ObjectId | None = None, limit: int = PAGE) -> Step:
        """As Admin.cancel."""
        return self._noted("cancel", filter, super().cancel(filter, cursor, limit))

    def purge(self, filter: Filter, cursor: ObjectId | None = None, limit: int = PAGE) -> Step:
        """As Admin.purge."""
        return self._noted("purge", filter, super().purge(filter, cursor, limit))

    def pause(
        self, what: What, name: str, reason: str, *, until: datetime | None = None, by: str = ""
    ) -> Pause:
        """As Admin.pause."""
        pause = super().pause(what, name, reason, until=until, by=by)
        self._audit.note(myself(), "pause", {"what": what, "name": name, "reason": reason, "until": until})
        return pause

    def resume(self, what: What, name: str) -> Pause:
        """As Admin.resume."""
        pause = super().resume(what, name)
        self._audit.note(myself(), "resume", {"what": what, "name": name})
        return pause

    def _noted(self, verb: str, filter: Filter, step: Step) -> Step:
        if step.done:
            self._audit.note(myself(), verb, told(filter), step.done, joins=True)
        return step

    def why_waiting(self, task: MonQTask) -> str | None:
        """As ApiClient.why_waiting, by the apps of the config: imports them."""
        pause = self.paused(task.task_name) if task.state == READY else None
        paused = pause.sentence if pause else ""
        if task.state == READY and is_embedded(self._config):
            also = f"; paused: {paused}" if paused else ""
            return f"no daemon runs on this store; start one with `monqbus run`{also}"
        now = self._clock.now()
        try:
            known = from_config.load(self._config).tasks
        except ConfigError:
            return why_waiting(task, now, lambda _: True, paused)
        return why_waiting(task, now, known.__contains__, paused)

    def task_names(self) -> list[str]:
        """The names of the tasks that the apps of the config declare: imports them. Raises ConfigError."""
        return sorted(from_config.load(self._config).tasks)

    def handlers(self) -> dict[str, list[str]]:
        """The names of each topic's handlers, by the apps of the config: imports them. Raises ConfigError."""
        return from_config.load(self._config).handlers

    def topics(self) -> list[str]:
        """The topics that have a handler by the apps of the config: imports them."""
        try:
            return from_config.load(self._config).topics
        except ConfigError:
            return []


@contextmanager
def open_admin(
    options: argparse.Namespace, *, looks: bool = False, makes: bool = False
) -> Iterator[OwnAdmin | ApiClient]:
    """The Admin of the configured store; one that *looks* changes nothing and makes no file.

    One that *makes* may be the first to write into a store that is not there yet.
    """
    config = read_config(options)
    place = _open(config, makes=makes, looks=looks)
    if is_embedded(config) and not isinstance(place, ApiClient):
        _tell_of_inbox(config)
    with closing(place):
        yield place if isinstance(place, ApiClient) else OwnAdmin(place, _queue_clock(config), config)


@contextmanager
def open_place(options: argparse.Namespace) -> Iterator[tuple[Store | ApiClient, Clock]]:
    """The store, or the daemon that has it, and the queue's time. It is made where it is not there yet."""
    config = read_config(options)
    place = _open(config)
    with closing(place):
        yield place, _queue_clock(config)


def _tell_of_inbox(config: Config) -> None:
    """Say that there is more than the store shows: only a daemon takes it over."""
    if waiting := waiting_bytes(config.monqbus.data_dir):
        terminal.note(
            f"the inbox holds {waiting} bytes of postings that no daemon has taken over yet; "
            "start one with `monqbus run`"
        )


class Local:
    """Posts to a store that this command has opened itself, with the options the apps declare.

    *is_attended*: a daemon may be at work on the store, so that waiting for an end has a point.
    """

    def __init__(self, office: PostOffice, audit: Audit, *, is_attended: bool) -> None:
        self.post_named = office.post_named
        self.publish_named = office.publish_named
        self.join = office.join
        self.is_attended = is_attended
        self._office = office
        self._audit = audit

    def replay(self, event_id: ObjectId) -> Receipt:
        """As PostOffice.replay; noted in the audit."""
        receipt = self._office.replay(event_id)
        self._audit.note(myself(), "replay", {"event": event_id}, len(receipt.task_ids))
        return receipt

    def fire_now(self, name: str) -> Receipt:
        """As PostOffice.fire_now; noted in the audit."""
        receipt = self._office.fire_now(name)
        self._audit.note(myself(), "run schedule", {"name": name}, len(receipt.task_ids))
        return receipt


@contextmanager
def open_poster(options: argparse.Namespace) -> Iterator[Local | ApiClient]:
    """Something to post to. Without a daemon to ask, the apps are imported for their declarations."""
    config = read_config(options)
    if not (is_embedded(config) and daemon_answers(config)):
        from_config.load(config)
    place = _open(config)
    with closing(place):
        if isinstance(place, ApiClient):
            yield place
            return
        keep = timedelta(seconds=config.monqbus.keep_events)
        clock = _queue_clock(config)
        office = PostOffice(place, registry.registry, clock, keep_events=keep, hooks=lambda: config.hooks)
        yield Local(office, Audit(place, clock), is_attended=place.shared)


@contextmanager
def open_bulk(config: Config) -> Iterator[PostOffice | InboxPoster]:
    """What takes many posts a write: MongoDB, or the inbox, whether a daemon runs or not.

    The apps are imported for what they declare. A long run must not keep a daemon from the embedded file.
    """
    from_config.load(config)
    if is_embedded(config):
        with closing(InboxPoster.of(config)) as inbox:
            yield inbox
        return
    place = open_store(config.monqbus.store.reveal(), config.monqbus.data_dir)
    keep = timedelta(seconds=config.monqbus.keep_events)
    with closing(place):
        yield PostOffice(place, registry.registry, _queue_clock(config), keep_events=keep)


def _queue_clock(config: Config) -> Clock:
    """The queue's time as the daemon of data_dir has left it: what is posted now is not due tomorrow."""
    return SteadyClock(Clock(), read_mark(config.monqbus.data_dir), this_boot())


def _open(config: Config, *, makes: bool = True, looks: bool = False) -> Store | ApiClient:
    """The daemon that holds the embedded store, or else the store, opened by this command.

    Unless it *makes* one, a store that is not there is an empty one, and stays not there: what root would
    make, the daemon's user could not open. Waits a moment for a file that another command has, or a daemon
    that is starting or stopping. Raises ConfigError, StoreHeld, StoreUnavailable.
    """
    clock = Clock()
    deadline = clock.monotonic() + HELD_SECONDS
    while True:
        if is_embedded(config) and daemon_answers(config):
            return client(config, by=me())
        settings = config.monqbus
        try:
            if not makes and is_embedded(config) and not has_file(settings.data_dir):
                require_room(settings.data_dir)
                return open_memory_store()
            return open_store(
                settings.store.reveal(), settings.data_dir, min_free=settings.min_free, looks=looks
            )
        except StoreHeld:
            if clock.monotonic() >= deadline:
                raise
        clock.sleep(LOOK_SECONDS)


def daemon_answers(config: Config) -> bool:
    """True when a daemon listens on the control socket. Raises StoreUnavailable when it must not be asked."""
    path = config.monqbus.data_dir / CONTROL_SOCKET
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe, as_owner_of(path.parent):
        probe.settimeout(5)
        try:
            probe.connect(str(path))
        except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
            return False  # the last: the file of a daemon that was killed
        except OSError as error:
            raise StoreUnavailable(
                f"{path}: {error.strerror or error}; run the command as the daemon's user"
            ) from error
    return True
