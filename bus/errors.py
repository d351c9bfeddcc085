"""Every error monqbus raises, as one tree; each branch says whose move it is.

::

    MonqbusError
    ├── ConfigError            the operator's: INI file, secrets, apps          exit 78
    │   └── UnusableForNow     the machine's: permission, mount, port in use    exit 75
    ├── UsageError             the operator's: a command called wrongly         exit 64
    │   └── BadFilter          a filter that means nothing                      exit 64, HTTP 400
    ├── NotFound               the asked-for task, event or hook is not there   exit 1
    ├── NotBound               the author's: .post() before any store is bound
    ├── BadDeclaration         the author's: @task or @event_handler misused
    ├── BadCall                the caller's: arguments the task's function does not take    HTTP 422
    ├── NotStorable            the caller's: a value the store cannot keep
    ├── StoreError             the store's
    │   ├── StoreUnavailable   it does not answer; the outcome may be unknown   exit 69, HTTP 503
    │   │   └── StoreFull      it takes nothing new for now; nothing was stored
    │   ├── NotAccepted        a rule in it forbids this item; it takes others     exit 1, HTTP 503
    │   ├── StoreUnusable      its file is damaged or of a newer version        exit 69
    │   └── StoreHeld          another daemon holds the embedded store          exit 73
    ├── TaskFailed             the task's: raised by join()
    │   └── TaskSkipped        it was cancelled
    ├── JoinTimeout            the task has not ended yet
    ├── CommandFailed          the command's: it ended with another exit code than 0
    │   └── BadArguments       the sender's: an event that makes no arguments for a command
    └── Refused                the sender's: an HTTP answer other than 2xx

    Verdict                    raised BY a handler, read by the executor: not an error of ours
    ├── Retry                  run me again later, this attempt counts
    ├── Snooze                 run me again later, this attempt does not count
    └── Cancel                 do not run me again

    Interrupt                  BaseException thrown INTO a running task, at most one per run
    ├── TimedOut               its time is up
    ├── Drained                the daemon stops; the task goes back to ready
    ├── Withdrawn              an operator cancelled it
    └── Superseded             it is another daemon's now: ours was taken for dead
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

LONGEST_DELAY_SECONDS: Final = 10 * 365 * 86_400  # beyond the year 9999 no moment can be stored


def _as_it_was(kind: type[BaseException], args: tuple[Any, ...], state: Mapping[str, Any]) -> BaseException:
    """An error as it was, made without its constructor: that takes other arguments than `args` holds."""
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    return error


def _reduced(self: BaseException) -> tuple[Any, ...]:
    """How an error goes from one process to another, and how it is copied.

    One that cannot be read again on the other side lets `multiprocessing` wait for it for ever; an
    author's own subclasses count as well.
    """
    return _as_it_was, (type(self), self.args, dict(self.__dict__))


class MonqbusError(Exception):
    """Root of all errors that monqbus raises on purpose."""

    __reduce__ = _reduced


class ConfigError(MonqbusError):
    """The configuration cannot be used; *problems* holds one finished sentence per mistake."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class UnusableForNow(ConfigError):
    """What the configuration names cannot be used as the machine is now; a later start may succeed.

    A disk that is not mounted yet, a file that somebody else made, a port that another process still has.
    """


class UsageError(MonqbusError):
    """A command was called with words that do not fit together."""


class BadFilter(UsageError):
    """A filter that no store can be asked: ``PART: sentence``."""

    @property
    def part(self) -> str:
        """The attribute of Filter that is wrong."""
        return str(self).partition(": ")[0]

    @property
    def sentence(self) -> str:
        """What is wrong with it."""
        return str(self).partition(": ")[2]


class NotFound(MonqbusError):
    """What was asked for is not in the store."""


class NotBound(MonqbusError):
    """`.post()` was called where no store is known: before `connect()`, or beside the run that may post."""

    def __init__(self, why: str = "") -> None:
        super().__init__(
            why
            or "post: this process is not connected to a store; call "
            "monqbus.connect('monqbus.ini') once at start, or run inside the daemon"
        )


class BadDeclaration(MonqbusError):
    """A decorator was given something that cannot become a task."""


class BadCall(MonqbusError, TypeError):
    """A task was posted with arguments that its function does not take; nothing was stored."""


class NoSerialKey(MonqbusError):
    """A delivery has no value at the *path* of `serial_by`, which its hook refuses; nothing was stored."""

    def __init__(self, path: str) -> None:
        super().__init__(
            f"delivery: expected a value at {path}, by which its tasks are kept in order, got none"
        )


class NotStorable(MonqbusError, ValueError):
    """A value cannot be stored as it is; the message names its path and the remedy."""


class StoreError(MonqbusError):
    """Root of what a store can answer instead of doing its work."""


class StoreUnavailable(StoreError):
    """The store did not answer in time or cannot write; the outcome of the call is unknown."""


class StoreFull(StoreUnavailable):
    """The store takes nothing new for now, for want of room. What was handed in is certainly not stored."""


def no_transactions() -> StoreError:
    """What a post with a session is told where the store is the embedded one."""
    return StoreError(
        "session: expected the MongoDB store, got the embedded one, into which no transaction of an "
        "application reaches; post without session inside of `with monqbus.hold():`, stored at its end, "
        "or set [monqbus] store to the application's MongoDB"
    )


class NotAccepted(StoreError):
    """A rule set up in the store itself forbids this one item: a validator, another program's unique index.

    Others are stored. The message names the rule as far as the server does.
    """


class StoreUnusable(StoreError):
    """The store cannot be worked with as it is: damaged, or of a newer version."""


class StoreHeld(StoreError):
    """The embedded store belongs to one daemon, and another one has it."""


class TaskFailed(MonqbusError):
    """The awaited task ended in `error`; `traceback` is its remote traceback as text."""

    def __init__(self, message: str, traceback: str = "") -> None:
        super().__init__(message if not traceback else f"{message}\n{traceback.rstrip()}")
        self.traceback = traceback


class TaskSkipped(TaskFailed):
    """The awaited task was cancelled before it could complete."""


class JoinTimeout(MonqbusError, TimeoutError):
    """The awaited task has not ended within the time given to join().

    *sentence* says how it stands, *timeout* seconds later, *last* what is behind that.
    """

    def __init__(self, sentence: str, timeout: float | None = None, last: str = "") -> None:
        super().__init__(sentence if timeout is None else f"{sentence} after {timeout:g} s{last}")
        self.sentence = sentence
        self.timeout = timeout
        self.last = last

    def within(self, timeout: float) -> JoinTimeout:
        """The same after another time."""
        return self if self.timeout is None else JoinTimeout(self.sentence, timeout, self.last)


class CommandFailed(MonqbusError):
    """The program that a handler runs has failed; what it printed is kept with the task."""


class BadArguments(CommandFailed):
    """An event cannot be told to a command: its task ends in error at once, because no attempt can help."""


class Refused(MonqbusError):
    """A request is answered with an RFC 9457 problem document instead of being accepted.

    *status* is the HTTP status, *code* a stable word for programs, *detail* one sentence for
    people; *hint* is what the log says behind it and a stranger is not told. None of them ever carries a
    secret or an expected signature. `body` is the refused body, where it had been read.
    """

    def __init__(
        self, status: int, code: str, detail: str, headers: Mapping[str, str] | None = None, *, hint: str = ""
    ) -> None:
        super().__init__(detail)
        self.hint = hint
        self.status = status
        self.code = code
        self.detail = detail
        self.headers = dict(headers or {})
        self.body = b""


class Verdict(Exception):
    """Raised by a handler to say what becomes of its task. *delay* is in seconds, up to ten years."""

    __reduce__ = _reduced

    def __init__(self, reason: str = "", *, delay: float | None = None) -> None:
        super().__init__(reason)
        if delay is not None and not 0 <= delay <= LONGEST_DELAY_SECONDS:
            raise ValueError(
                f"{type(self).__name__} delay: expected 0 to {LONGEST_DELAY_SECONDS} s, got {delay}"
            )
        self.reason = reason
        self.delay = delay


class Retry(Verdict):
    """Run this task again after *delay* seconds (default: its back-off); the attempt counts."""


class Snooze(Verdict):
    """Run this task again after *delay* seconds (default 60); the attempt does not count."""


class Cancel(Verdict):
    """End this task as `skipped`; it will not run again."""


class Interrupt(BaseException):
    """Thrown into a running task by the engine.

    A BaseException, so that a handler's ``except Exception`` does not swallow it. Never thrown
    twice into one run: a greenlet interrupted twice inside PyMongo leaks its pool slot for good.
    """

    __reduce__ = _reduced


class TimedOut(Interrupt):
    """The task ran longer than its `timeout`."""


class Drained(Interrupt):
    """The daemon stops and the drain time is over."""


class Withdrawn(Interrupt):
    """An operator cancelled the running task."""


class Superseded(Interrupt):
    """The running task's claim is gone: this daemon was taken for dead, and another one has it."""


API_CODES: Final[tuple[tuple[type[MonqbusError], int, str], ...]] = (
    (BadFilter, 400, "bad_filter"),
    (NotFound, 404, "not_found"),
    (NotStorable, 422, "not_storable"),
    (BadCall, 422, "bad_call"),
    (BadDeclaration, 422, "bad_declaration"),
    (StoreUnavailable, 503, "store_unavailable"),
    (StoreError, 409, "store_refused"),
)
"""The status and the word of each error in answers of the API and the pages; the first that fits counts."""
