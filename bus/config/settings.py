"""The table of all settings: typed groups, each setting with its default, kind and description.

A field made by `setting` is one row. The file's reader, the sample, the reference and the checks all
walk the same rows, so adding a setting is adding one field.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, TypeVar, cast

from .. import senders
from ..networks import Network
from ..rules import Rule
from ..schedules import MISSED, OVERLAP, Missed, Overlap
from .commands import COMMAND
from .conditions import HANDLER_RULE, HOOK_RULE
from .mapping import ARGS, KWARGS, TASK
from .moments import ARRAY, CRON, EVERY, MOMENT, OBJECT, ZONE
from .proofs import (
    HEADER_OR_NONE,
    METHODS,
    PARAMETER_OR_NONE,
    PLACE_OR_NONE,
    SIGNED_CONTENT,
    TEXT,
    URL_OR_NONE,
    USER_NAME_OR_NONE,
    WORD_OR_NONE,
    duration_or_none,
)
from .secrets import SECRET, STORE, Secret
from .topics import FIXED_TOPIC, TOPIC, TOPIC_FALLBACK, TOPICS
from .value_types import (
    FILE_OR_NONE,
    FOLDER,
    FOLDER_OR_NONE,
    FOLDERS,
    LISTEN,
    MODULES,
    NETWORKS,
    OPTIONAL_PRIORITY,
    PROCESSES,
    TASK_NAME,
    USER,
    VARIABLES,
    YES_OR_NO,
    Listen,
    ValueType,
    choice,
    duration,
    size,
    whole_number,
)

T = TypeVar("T")
CONTROL_SOCKET: Final = "control.sock"
"""In data_dir: where commands find the daemon."""
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
    value = kind.read(default)
    if isinstance(value, dict):  # dataclasses take no mutable default
        return field(default_factory=lambda: kind.read(default), metadata=metadata)
    return field(default=value, metadata=metadata)


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

    listen: tuple[Listen, ...] = setting(
        "127.0.0.1:8080",
        LISTEN,
        "The addresses to listen on; port 0 takes a free one. The file of a Unix socket gets mode 0660.",
    )
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
    tls_cert: Path | None = setting(
        "",
        FILE_OR_NONE,
        "The certificate chain in PEM, the server's own first; with it every TCP address of listen "
        "speaks TLS alone. Read again at a reload, and a minute after it has changed.",
    )
    tls_key: Path | None = setting(
        "", FILE_OR_NONE, "The private key of tls_cert in PEM, without a passphrase."
    )
    access_log: bool = setting(
        "no",
        YES_OR_NO,
        "Whether each answered request is logged (http.answered): method, path, status, bytes, milliseconds "
        "and client, without the query.",
    )
    header_timeout: float = setting(
        "10s", duration("1ms", "1h"), "How long a request's header may take to arrive, and a TLS handshake."
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


_HMAC: Final = "For verify = hmac only"


def _takes(key: str) -> Callable[[senders.Sender], bool]:
    return lambda sender: key in sender.takes


def _has_key(*forms: str) -> Callable[[senders.Sender], bool]:
    return lambda sender: any(way.key in forms for way in sender.ways)


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
        f"For verify = {senders.those(_has_key('whsec'))}: whsec_ and base64, or the public key they show; "
        f"for {senders.those(_has_key('ed25519', 'p256'))} the public key.",
        key="secret",
    )
    weak_secret: bool = setting(
        "no",
        YES_OR_NO,
        "Whether secrets of less than 16 bytes are taken, which can be guessed; not for keys in base64.",
    )
    header: str = setting(
        "",
        HEADER_OR_NONE,
        f"For verify = {senders.those(_takes('header'))} only: the header that carries the proof. "
        "Authorization, "
        "which token takes without it, carries it after the word Bearer, any other header alone.",
    )
    scheme: str = setting(
        "",
        WORD_OR_NONE,
        f"For verify = {senders.those(_takes('scheme'))} only: the word before the token in the header "
        "Authorization, where it is not Bearer.",
    )
    query: str = setting(
        "",
        PARAMETER_OR_NONE,
        f"For verify = {senders.those(_takes('query'))} only: the parameter of the URL that carries the "
        "token, "
        "for senders that can set no header. It then stands in the logs of whatever is in between.",
    )
    user: str = setting(
        "",
        USER_NAME_OR_NONE,
        f"For verify = {senders.those(_takes('user'))} only: the name that goes with the password, which is "
        "the "
        "secret.",
    )
    prefix: str = setting("", TEXT, f"{_HMAC}: what stands before the signature, such as sha256=.")
    separator: str = setting(
        "",
        TEXT,
        f"{_HMAC}: what stands between several signatures of one header, such as a comma; space is one.",
    )
    algorithm: str = setting(
        "sha256", choice("sha256", "sha1", "sha384", "sha512"), f"{_HMAC}: the hash function."
    )
    encoding: str = setting("hex", choice("hex", "base64"), f"{_HMAC}: how the signature is written.")
    key: str = setting(
        "raw",
        choice("raw", "hex", "base64", "whsec"),
        f"{_HMAC}: what the secret is: the key itself, or the key written in hex, in base64, or in base64 "
        "behind "
        "whsec_.",
    )
    signed: str = setting(
        "{body}",
        SIGNED_CONTENT,
        f"{_HMAC}: what is signed, with {senders.SIGNED_BY_HOOK.known}. {{payload}} is the field of this "
        "name in a form, "
        "else the body; {form} its sorted fields.",
    )
    timestamp: str = setting(
        "",
        PLACE_OR_NONE,
        f"For verify = {senders.those(_takes('timestamp'))} only: where the signed time stands, header:NAME, "
        "query:NAME, or item:t= in a signature such as t=1700000000,v1=0a…, by the item's beginning.",
    )
    time_format: str = setting(
        "s",
        choice("s", "ms", "rfc3339", "http"),
        f"{_HMAC}: how that time is written: Unix seconds or milliseconds, 2026-01-01T00:00:00Z, or as in "
        "the "
        "header Date.",
    )
    public_url: str = setting(
        "",
        URL_OR_NONE,
        f"For verify = {senders.those(_takes('public_url'))} only: the URL of this hook as its sender has "
        "it, "
        "without what follows ?. It is signed, and a proxy in between has another one.",
    )
    verify_token: tuple[Secret, ...] = setting(
        "",
        SECRET,
        f"For verify = {senders.those(_takes('verify_token'))} only: the word of your own that the sender "
        "repeats "
        "when it asks for the first time whether the hook is yours.",
    )
    methods: tuple[str, ...] = setting(
        "POST",
        METHODS,
        "The methods that deliveries come by; a handshake of the sender has its own. What GET brings is in "
        "the "
        "query; HEAD is answered and stores nothing.",
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
    tolerance: float = setting(
        "",
        duration_or_none("1s", "1d"),
        f"For verify = {senders.those(_takes('tolerance'))} only: how far the time in a signature may be "
        "from now, "
        "both ways; without it five minutes, ten for twitch, half an hour for elevenlabs.",
    )
    when: Rule | None = setting(
        "",
        HOOK_RULE,
        'A rule, such as body.ref == "refs/heads/main". A delivery for which it does not hold is '
        "answered 202 and stored as filtered, without tasks. Nothing: every delivery has its tasks.",
    )
    allow_ips: tuple[Network, ...] = setting(
        "",
        NETWORKS,
        "The addresses that may send; others get 403 before their body is read. Behind trusted_proxies of "
        "[http] the address is that in X-Forwarded-For. Nothing: any address.",
    )
    where: str = ""

    @cached_property
    def sender(self) -> senders.Sender:
        """The row of the sender with the settings of this hook in it."""
        own = {row.attribute: getattr(self, row.attribute) for row in rows(Hook)}
        return senders.adapted(self.verify, **own)

    @cached_property
    def has_extras(self) -> bool:
        """Whether it takes anything but deliveries by POST: other methods, handshakes."""
        return self.methods != ("POST",) or bool(self.sender.handshakes)

    @cached_property
    def secret_texts(self) -> tuple[str, ...]:
        """The secrets themselves; never put them into a message, a fact or a stored document."""
        return tuple(secret.reveal() for secret in self.secrets)


@dataclass(frozen=True)
class Handler:
    """[handler:NAME]: a command that is run, or a task that is called, for each event of its topics. Seconds.

    *where* is the section's place, such as ``monqbus.ini:40``, for messages about this handler.
    """

    name: str
    topics: tuple[str, ...] = setting(
        None, TOPICS, "The topics whose events it is run for, separated by commas.", key="topic"
    )
    command: tuple[str, ...] = setting(
        "",
        COMMAND,
        "The program and its arguments, split like a shell would but never run by one. Placeholders are "
        "filled from the event, each within its one argument: {topic}, {id}, {hook}, {delivery}, {header:X}, "
        "{query:x}, "
        "{body:dotted.path}, {args:0}, {kwargs:name}; behind | stands a default. An argument that a sender "
        "made look like an option fails the task, unless -- stands before it.",
    )
    task: str = setting(
        "",
        TASK,
        "In place of a command: the task of an app that is called, with args and kwargs.",
    )
    args: tuple[Any, ...] = setting(
        "[]",
        ARGS,
        "What the task is called with, in JSON. Texts have the placeholders of command; one that is a "
        "placeholder alone is the value itself, of any type.",
    )
    kwargs: tuple[tuple[str, Any], ...] = setting("{}", KWARGS, "The same, by names.")
    when: Rule | None = setting(
        "",
        HANDLER_RULE,
        'A rule, such as body.action in ("opened", "closed"). Of an event for which it does not hold '
        "this handler gets no task; others may.",
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
class ScheduleSection:
    """[schedule:NAME]: a task or an event at set times. Seconds.

    *where* is the section's place, such as ``monqbus.ini:40``, for messages about this schedule.
    """

    name: str
    cron: str = setting("", CRON, "When it comes, as a cron expression in the time of timezone.")
    every: int = setting("", EVERY, "How much time lies between two ticks, whatever the clocks show.")
    at: datetime | None = setting(
        "", MOMENT, "The one time at which it comes; without an offset in timezone."
    )
    start: datetime | None = setting(
        "", MOMENT, "For every only: from where the ticks are counted; without it from 1970-01-01T00:00:00Z."
    )
    timezone: str = setting("UTC", ZONE, "For cron and at only: the zone in whose time they are written.")
    task: str = setting("", TASK_NAME, "The task to post at each tick.")
    topic: str = setting("", FIXED_TOPIC, "The topic of the event to publish at each tick, in place of task.")
    args: tuple[Any, ...] = setting("[]", ARRAY, "The positional arguments of the task, or of the event.")
    kwargs: Mapping[str, Any] = setting("{}", OBJECT, "The keyword arguments of the task, or of the event.")
    priority: int | None = setting(
        "", OPTIONAL_PRIORITY, "The priority of its tasks; nothing means that of their declaration."
    )
    jitter: float = setting(
        "0s",
        duration(most="1d"),
        "Up to how much later each tick runs: an even spread, the same for every daemon.",
    )
    missed: Missed = setting(
        "once",
        choice(*MISSED),
        "What becomes of ticks for which no daemon was there in time: none of them runs, the last one, all.",
    )
    missed_within: float = setting("1h", duration(), "Missed ticks that are older are left out.")
    overlap: Overlap = setting(
        "allow",
        choice(*OVERLAP),
        "What becomes of a tick while a task of an earlier one is not finished: it runs too, or is left out.",
    )
    lateness: float = setting(
        "1m", duration("1s", "1d"), "How late a tick may be found until it counts as missed, and is told of."
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
    schedules: Mapping[str, ScheduleSection] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


RENAMED: Final[Mapping[tuple[str, str], str]] = {
    ("http", "max_bodies"): "max_body_memory",
    ("http", "max_waiting"): "max_inflight",
    ("http", "max_pending"): "max_ready_tasks",
}
"""What a key was called before; the old name is a mistake that says the new one. UPGRADING.md lists it."""
