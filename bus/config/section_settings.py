"""The settings of sections that have a name: hooks, handlers and schedules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from .. import senders
from ..model import OnDuplicate
from ..networks import Network
from ..rules import Rule
from ..schedules import MISSED, OVERLAP, Missed, Overlap
from .answers import ACCEPTED, ANSWER_HEADER, ANSWER_TEXT, STATUS
from .breakers import OPEN_AFTER
from .commands import COMMAND
from .conditions import HANDLER_RULE, HOOK_RULE
from .delivery_ids import DELIVERY_ID
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
from .secrets import SECRET, Secret
from .setting import rows, setting
from .topics import FIXED_TOPIC, TOPIC, TOPIC_FALLBACK, TOPICS
from .value_types import (
    FOLDER_OR_NONE,
    MEDIA_TYPE,
    NETWORKS,
    OPTIONAL_PRIORITY,
    TASK_NAME,
    USER,
    VARIABLES,
    YES_OR_NO,
    choice,
    duration,
    whole_number,
)

_HMAC: Final = "For verify = hmac only"


def _takes(key: str) -> Callable[[senders.Sender], bool]:
    return lambda sender: key in sender.takes


def _has_key(*forms: str) -> Callable[[senders.Sender], bool]:
    return lambda sender: any(way.key in forms for way in sender.ways)


@dataclass(frozen=True)
class Hook:
    """[hook:NAME]: who may send to POST /hooks/NAME, and what becomes of it.

    *where* is the section's place, such as ``monqbus.ini:40``, for messages about this hook. One with
    a *fault* is closed until its secret is there; the sentence has its own place.
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
        "(a CloudEvent's type; "
        f"the hook's name with verify = {senders.those(lambda one: not one.event)}), "
        "{header:X}, {query:x} and {body:dotted.path} from the request, {attribute:x} of a CloudEvent. "
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
    format: str = setting(
        "plain",
        choice("plain", "cloudevents"),
        "What deliveries are: plain, each one event; or cloudevents, CloudEvents 1.0 in headers, as JSON or "
        "as a batch, and nothing else is taken.",
    )
    content_type: str = setting(
        "",
        MEDIA_TYPE,
        "The type of the bodies, whatever their sender says; Amazon SNS sends JSON as text/plain. Nothing: "
        "the sender's word counts.",
    )
    accept_gzip: bool = setting(
        "no",
        YES_OR_NO,
        "Whether bodies may come compressed, with Content-Encoding: gzip. What is verified and kept are the "
        "compressed bytes; inflated they have at most 25 MiB and a hundred times their size.",
    )
    status: int = setting(
        "202",
        STATUS,
        "The status of the answer to a delivery that is stored. One that came before is answered 200.",
    )
    body: str = setting(
        "",
        ANSWER_TEXT,
        "What that answer holds in place of the ids, as text/plain. {id} is the event's, {topic} its topic, "
        "{body:dotted.path} a value of the delivery, at most 1024 characters of it; behind | stands what it "
        "is without a value.",
    )
    answer_headers: tuple[tuple[str, str], ...] = setting(
        "",
        ANSWER_HEADER,
        "A further header of that answer, such as header.X-Served-By = monqbus; each once. "
        "header.Content-Type is the type of body.",
        key="header.NAME",
    )
    wait: float = setting(
        "0s",
        duration("0s", "5m"),
        "How long the answer waits for the ends of the event's tasks. In time it is 200 with the result, or "
        "500 when one has failed; later it is as without waiting. 0s: it does not wait.",
    )
    output: bool = setting(
        "no",
        YES_OR_NO,
        "With wait: whether the answer is what the event's only task has printed, as text/plain, in place of "
        "its result. Commands have no result; what they print may hold secrets.",
    )
    stream: float = setting(
        "0s",
        duration("0s", "1h"),
        "How long a sender whose Accept asks for text/event-stream is shown what the event's tasks print, "
        "line by line while they run, in place of the ids. It may hold secrets. 0s: nobody is.",
    )
    where: str = ""
    fault: str = ""

    @cached_property
    def sender(self) -> senders.Sender:
        """The row of the sender with the settings of this hook in it."""
        own = {row.attribute: getattr(self, row.attribute) for row in rows(Hook)}
        return senders.adapted(self.verify, **own)

    @cached_property
    def has_extras(self) -> bool:
        """Whether it takes anything but deliveries by POST: other methods, handshakes."""
        return self.methods != ("POST",) or self.format == "cloudevents" or bool(self.sender.handshakes)

    @cached_property
    def has_own_answer(self) -> bool:
        """Whether the answer to an accepted delivery is another one than the ids."""
        return self.status != ACCEPTED or bool(self.body or self.answer_headers or self.wait)

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
        "{query:x}, {attribute:x}, "
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
    open_after: str = setting(
        "",
        OPEN_AFTER,
        "So many failed attempts in so much time, over all daemons, pause its tasks by themselves: a circuit "
        "breaker. Nothing: it never does.",
    )
    probe: float = setting(
        "30s", duration("1s", "1d"), "While that pauses its tasks, one is tried so often until one succeeds."
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
        "What becomes of a tick while a task of the one before is unfinished: it runs, is left out, waits.",
    )
    lateness: float = setting(
        "1m", duration("1s", "1d"), "How late a tick may be found until it counts as missed, and is told of."
    )
    where: str = ""
