"""The table of all settings: typed groups, each setting with its default, kind and description.

A field made by `setting` is one row. The file's reader, the sample, the reference and the checks all
walk the same rows, so adding a setting is adding one field.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, TypeVar, cast

from .. import senders
from ..model import OnDuplicate
from .commands import COMMAND
from .delivery_ids import DELIVERY_ID
from .secrets import SECRET, STORE, Secret
from .topics import TOPIC, TOPIC_FALLBACK, TOPICS
from .value_types import (
    ADDRESS,
    FOLDER,
    FOLDER_OR_NONE,
    FOLDERS,
    HEADER,
    MODULES,
    NETWORKS,
    PATTERN,
    PROCESSES,
    USER,
    VARIABLES,
    YES_OR_NO,
    Address,
    Network,
    ValueType,
    choice,
    duration,
    size,
    whole_number,
)

T = TypeVar("T")
CONTROL_SOCKET: Final = "control.sock"
"""In data_dir: where commands find the daemon."""
LONGEST_SOCKET_PATH: Final = 107
"""Bytes: unix(7), sun_path has 108 with the NUL behind it."""
LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["text", "json"]


class Setting(NamedTuple):
    """One row: the *key* of the file, its *default* as written there (None: required), its kind."""

    key: str
    attribute: str
    default: str | None
    kind: ValueType[Any]
    does: str


def setting(default: str | None, kind: ValueType[T], does: str, *, key: str = "") -> T:
    """A field of a group that is read from the file; *does* is its help, one or two sentences."""
    metadata = {"default": default, "kind": kind, "does": does, "key": key}
    if default is None:
        return cast("T", field(metadata=metadata))
    return field(default=kind.read(default), metadata=metadata)


def rows(group: type[Any]) -> Iterator[Setting]:
    """The settings of *group* in the order of the file."""
    for one in fields(group):
        if one.metadata:
            data = one.metadata
            yield Setting(data["key"] or one.name, one.name, data["default"], data["kind"], data["does"])


@dataclass(frozen=True)
class Monqbus:
    """[monqbus]: what runs, where its data is, how long it is kept. Seconds and absolute paths."""

    data_dir: Path = setting(
        "./data",
        FOLDER,
        "Holds the embedded store and the control socket; made with mode 0700. Nobody else may write to it.",
    )
    store: Secret = setting(
        "sqlite",
        STORE,
        "Where tasks are kept: in a file under data_dir that belongs to one daemon, or in MongoDB, which "
        "several daemons share. env:NAME, file:PATH and credential:NAME keep a password out of this file.",
    )
    apps: tuple[str, ...] = setting("", MODULES, "The modules to import; they declare tasks and handlers.")
    path: tuple[Path, ...] = setting(
        "",
        FOLDERS,
        "Where to import apps from, and virtual environments of the same Python version with what they need.",
    )
    log_level: LogLevel = setting("info", choice("debug", "info", "warning", "error"), "The least to log.")
    log_format: LogFormat = setting("text", choice("text", "json"), "How a line of the log is written.")
    capture_logging: bool = setting(
        "yes",
        YES_OR_NO,
        "Whether records of Python's logging go into the log and to the tasks that write them. no leaves the "
        "root logger, its level and its handlers, to the apps.",
    )
    min_free: int = setting(
        "64MiB",
        size("1024GiB", 0),
        "With less room than this on the disk of data_dir, new work is refused while what is under way "
        "goes on. For the embedded store only; 0: no such limit.",
    )
    keep_complete: float = setting("7d", duration("1s"), "How long a complete task is kept.")
    keep_failed: float = setting("30d", duration("1s"), "How long a task in error or skipped is kept.")
    keep_events: float = setting(
        "30d",
        duration("1s"),
        "How long an event is kept, and with it the delivery id by which a redelivery is recognised. "
        "Senders by the Standard Webhooks schedule try for 76h.",
    )

    delivery_log: int = setting(
        "10000",
        whole_number(0, 1_000_000),
        "How many refused deliveries the log keeps, and as many repeated ones; the oldest go. Accepted ones "
        "are in it for as long as their events are kept. 0: no log of these.",
    )
    delivery_log_size: int = setting(
        "64MiB", size("64GiB"), "How much room each of these two may take in the store."
    )
    keep_deliveries: float = setting(
        "7d", duration("1s"), "How long a refused or repeated delivery is kept in the log."
    )


@dataclass(frozen=True)
class Worker:
    """[worker]: how tasks run. Durations in seconds."""

    greenlets: int = setting("100", whole_number(1, 10_000), "How many tasks run at the same time.")
    cpu_workers: int = setting(
        "auto",
        PROCESSES,
        "How many processes run the tasks that are declared with cpu=True; auto: one for each core, and "
        "no more than the cgroup's CPU quota allows. They are forked when they are needed and stay.",
    )
    max_tasks_per_worker: int = setting(
        "0", whole_number(0, 1_000_000), "After how many tasks such a process is replaced; 0: never."
    )
    max_memory_per_worker: int = setting(
        "0",
        size("1024GiB", 0),
        "With more memory than this after a task, such a process is replaced, what the apps take when they "
        "are imported included; 0: no limit.",
    )
    lease: float = setting(
        "60s",
        duration("10s", "1d"),
        "How long a daemon that fell silent keeps its tasks before another one takes them back.",
    )
    drain: float = setting(
        "25s",
        duration(most="1d"),
        "How long running tasks may go on after TERM; the rest goes back to ready.",
    )
    max_attempts: int = setting(
        "8", whole_number(1, 100), "How often a task is tried that does not say so itself."
    )
    timeout: float = setting(
        "0s", duration(), "How long one attempt may take of a task that does not say so itself; 0s: no limit."
    )


@dataclass(frozen=True)
class Http:
    """[http]: what the outside world reaches. Bytes and seconds."""

    listen: Address = setting("127.0.0.1:8080", ADDRESS, "The address to listen on; port 0 takes a free one.")
    max_body: int = setting("1MiB", size("8MiB"), "The largest request body; more is answered with 413.")
    max_body_memory: int = setting(
        "64MiB",
        size("64GiB"),
        "The most that the bodies of all requests take together, until they are answered. While it is "
        "taken, slow senders and then new ones get 503. At least max_body. One address has a quarter.",
    )
    max_inflight: int = setting(
        "256",
        whole_number(1, 65_535),
        "How many deliveries may wait for the store at the same time; further ones get 503.",
    )
    max_ready_tasks: int = setting(
        "1000000",
        whole_number(0, 999_999_999),
        "With so many ready tasks in the store, deliveries get 503 until fewer wait. What handlers post is "
        "never refused. 0: no limit.",
    )
    spool: int = setting(
        "0",
        size("1024GiB", least=0),
        "With store = mongodb only: how much of data_dir deliveries may take while MongoDB is away. They "
        "are answered 202 and handed over in order when it is back. 0: then they get 503.",
    )
    connections: int = setting(
        "512",
        whole_number(1, 65_535),
        "How many connections are open at the same time. For further ones those give way that have shown "
        "least for longest; if there are none, they have to wait.",
    )
    connections_per_ip: int = setting(
        "64",
        whole_number(0, 65_535),
        "How many of them may come from one address (IPv6: one /64); further ones get 429. 0: no limit. "
        "This machine and trusted_proxies are not counted.",
    )
    trusted_proxies: tuple[Network, ...] = setting(
        "",
        NETWORKS,
        "The reverse proxies in front of this listener: everybody's connections come from there.",
    )
    log_refused_bodies: bool = setting(
        "no",
        YES_OR_NO,
        "Whether the delivery log keeps bodies of refused deliveries, up to 64 KiB. Anybody may send them.",
    )
    redact: str = setting(
        "",
        PATTERN,
        "A regular expression of further header names, in lower case, whose values the delivery log does not "
        "show. Those that may hold a secret by their name are never shown.",
    )
    header_timeout: float = setting(
        "10s", duration("1ms", "1h"), "How long a request's header may take to arrive."
    )
    body_timeout: float = setting(
        "30s", duration("1ms", "1h"), "How long a request's body may take to arrive."
    )
    idle_timeout: float = setting(
        "75s",
        duration("1ms", "1h"),
        "How long a connection may stay open between two requests, as each answer says to its client "
        "(Keep-Alive: timeout=75). Longer than what proxies in front keep theirs.",
    )


@dataclass(frozen=True)
class Hook:
    """[hook:NAME]: who may send to POST /hooks/NAME, and what becomes of it.

    *where* is the section's place, such as ``monqbus.ini:40``, for messages about this hook.
    """

    name: str
    verify: str = setting(
        None,
        choice(*senders.names()),
        "Who sends, and so how it is recognised: a service by its signature, token for any that sends a "
        "secret in a header, standard for any that signs as Standard Webhooks, or none.",
    )
    secrets: tuple[Secret, ...] = setting(
        "",
        SECRET,
        "What the sender knows too; required unless verify is none. While it is being changed, the old and "
        "the new one, one a line, the further lines indented. "
        f"For verify = {senders.those(lambda one: one.key == 'whsec')}: whsec_ and base64.",
        key="secret",
    )
    weak_secret: bool = setting(
        "no",
        YES_OR_NO,
        "Whether secrets of less than 16 bytes are taken, which can be guessed; not for keys in base64.",
    )
    header: str = setting(
        "Authorization",
        HEADER,
        f"For verify = {senders.those(lambda one: 'header' in one.settings)} only: the header that carries "
        "the token. Authorization carries it after the word Bearer, any other header alone.",
    )
    topic: str = setting(
        "{name}",
        TOPIC,
        "The topic of the events, with placeholders: {name} of this hook, {event} as the sender names it "
        f"(the hook's name with verify = {senders.those(lambda one: not one.event)}), "
        "{header:X}, {query:x} and {body:dotted.path} from the request. "
        "Behind | stands what it is without a value: {body:action|none}.",
    )
    topic_fallback: str = setting(
        "{name}",
        TOPIC_FALLBACK,
        "The topic of a delivery that has no value for a placeholder of topic without a default.",
    )
    delivery_id: str = setting(
        "",
        DELIVERY_ID,
        "Where the id of a delivery stands, such as {header:X} or {body:id}: by it a repetition is "
        "recognised. Nothing: where the sender's row says.",
    )
    on_duplicate: OnDuplicate = setting(
        "retry_failed",
        choice("retry_failed", "ignore", "accept"),
        "What becomes of a delivery that has come before: it is answered with the first ids, and tasks of it "
        "that ended in error wait again (retry_failed) or stay as they are (ignore); or it is a new one "
        "(accept).",
    )
    replay_guard: bool = setting(
        "yes",
        YES_OR_NO,
        "Whether the same body under another id is the same delivery, where the sender signs the body and "
        "not the id. no is for a sender whose bodies repeat.",
    )
    tolerance: float = setting(
        "5m",
        duration("1s", "1d"),
        f"For verify = {senders.those(lambda one: bool(one.timestamp))} only: how far the time in a "
        "signature may be from now, both ways.",
    )
    where: str = ""


@dataclass(frozen=True)
class Handler:
    """[handler:NAME]: a command that is run for each event of its topics. Seconds.

    *where* is the section's place, such as ``monqbus.ini:40``, for messages about this handler.
    """

    name: str
    topics: tuple[str, ...] = setting(
        None, TOPICS, "The topics whose events it is run for, separated by commas.", key="topic"
    )
    command: tuple[str, ...] = setting(
        None,
        COMMAND,
        "The program and its arguments, split like a shell would but never run by one. Placeholders are "
        "filled from the event, each within its one argument: {topic}, {id}, {hook}, {delivery}, {header:X}, "
        "{query:x}, "
        "{body:dotted.path}, {args:0}, {kwargs:name}; behind | stands a default. An argument that a sender "
        "made look like an option fails the task, unless -- stands before it.",
    )
    timeout: float = setting(
        "1h", duration("1s", "30d"), "How long one run may take; then it and all its descendants are killed."
    )
    max_attempts: int = setting(
        "0",
        whole_number(0, 100),
        "How often it is tried until it exits with 0; 0 means max_attempts of [worker].",
    )
    max_concurrent: int = setting(
        "0", whole_number(0, 1000), "How many of its runs may go on at the same time; 0: as slots are free."
    )
    priority: int = setting("10", whole_number(0, 1000), "Its tasks' priority; higher ones go first.")
    working_dir: Path | None = setting(
        "", FOLDER_OR_NONE, "Where it runs; nothing means the folder of this file."
    )
    user: str = setting(
        "", USER, "The user it runs as, with that user's groups. Only a daemon that is root may choose."
    )
    environment: tuple[str, ...] = setting(
        "",
        VARIABLES,
        "Names of the daemon's environment variables to hand on. Without being named it gets PATH, HOME, "
        "USER, LOGNAME, SHELL, LANG, TZ and TMPDIR only, so that secrets stay here.",
    )
    where: str = ""


@dataclass(frozen=True)
class Config:
    """All of the configuration, checked. *path* is None when there was no file; *warnings* are sentences."""

    path: Path | None = None
    monqbus: Monqbus = Monqbus()
    worker: Worker = Worker()
    http: Http = Http()
    hooks: Mapping[str, Hook] = field(default_factory=dict)
    handlers: Mapping[str, Handler] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


RENAMED: Final[Mapping[tuple[str, str], str]] = {
    ("http", "max_bodies"): "max_body_memory",
    ("http", "max_waiting"): "max_inflight",
    ("http", "max_pending"): "max_ready_tasks",
}
"""What a key was called before; the old name is a mistake that says the new one. UPGRADING.md lists it."""
