"""The settings of sections that stand once in a file, and the whole of a configuration.

Those of sections with a name stand in `section_settings`, what a setting is in `setting`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from ..networks import Network
from .secrets import STORE, Secret
from .section_settings import Handler, Hook, ScheduleSection
from .setting import setting
from .value_types import (
    AUTH,
    FILE_OR_NONE,
    FOLDER,
    FOLDERS,
    LISTEN,
    LISTEN_OR_NONE,
    MODULES,
    NETWORKS,
    PATTERN,
    PROCESSES,
    YES_OR_NO,
    Listen,
    choice,
    duration,
    size,
    whole_number,
)

CONTROL_SOCKET: Final = "control.sock"
"""In data_dir: where commands find the daemon."""
LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["text", "json"]


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

    listen: tuple[Listen, ...] = setting(
        "127.0.0.1:8080",
        LISTEN,
        "The addresses to listen on; port 0 takes a free one. The file of a Unix socket gets mode 0660.",
    )
    max_body: int = setting("1MiB", size("25MiB"), "The largest request body; more is answered with 413.")
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


@dataclass(frozen=True)
class AdminListener:
    """[admin]: what operators reach, and strangers do not."""

    listen: tuple[Listen, ...] = setting(
        "",
        LISTEN_OR_NONE,
        "The addresses of the administrators' listener: API, sign-in and GET /metrics. One that other "
        "machines reach needs trusted_proxies: no password crosses a network in plain text. Nothing: there "
        "is no such listener, and nothing is counted for it.",
    )
    auth: str = setting(
        "users",
        AUTH,
        "How browsers sign in: users of `monqbus user add` by their password, or nobody here, because a "
        "proxy of trusted_proxies says in this header who asks. API tokens are taken in both cases.",
    )
    trusted_proxies: tuple[Network, ...] = setting(
        "",
        NETWORKS,
        "The reverse proxies in front of this listener, which speak https to browsers and send "
        "X-Forwarded-Proto. They say who asks (auth = header:NAME), and for which client (X-Forwarded-For).",
    )
    session_idle: float = setting(
        "1h", duration("1m", "30d"), "After so long without a request a session is over."
    )
    session_lifetime: float = setting(
        "12h", duration("1m", "90d"), "So long after its sign-in a session is over at the latest."
    )


@dataclass(frozen=True)
class Config:
    """All of the configuration, checked. *path* is None when there was no file; *warnings* are sentences."""

    path: Path | None = None
    monqbus: Monqbus = Monqbus()
    worker: Worker = Worker()
    http: Http = Http()
    admin: AdminListener = AdminListener()
    hooks: Mapping[str, Hook] = field(default_factory=dict)
    handlers: Mapping[str, Handler] = field(default_factory=dict)
    schedules: Mapping[str, ScheduleSection] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def faults(self) -> dict[str, str]:
        """Why a hook is closed, by its name: a secret of it is not there."""
        return {hook.name: hook.fault for hook in self.hooks.values() if hook.fault}


RENAMED: Final[Mapping[tuple[str, str], str]] = {
    ("http", "max_bodies"): "max_body_memory",
    ("http", "max_waiting"): "max_inflight",
    ("http", "max_pending"): "max_ready_tasks",
}
"""What a key was called before; the old name is a mistake that says the new one. UPGRADING.md lists it."""
