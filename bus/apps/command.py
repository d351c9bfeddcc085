"""Command handlers: run a program for each event, never by a shell.

It gets the event as JSON on its standard input and in a file, the exact body of a delivery in
another one, placeholders as arguments, and a small environment. What it prints is kept with the task.
"""

from __future__ import annotations

import codecs
import errno
import os
import pwd
import select
import signal
import subprocess
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from json import dumps
from pathlib import Path
from typing import Any, Final

from ..clock import Clock
from ..config import Handler
from ..config.commands import PLACEHOLDERS
from ..errors import BadArguments, CommandFailed, Retry, Snooze
from ..model import Event
from ..placeholders import NoValue
from ..process.parent_death import adopt_orphans, die_with
from ..process.tree import ProcessTree
from . import command_program
from .command_files import BODY, EVENT, CommandFiles
from .context import c
from .event_told import body_at, event_of, event_told, found_in
from .mapped_call import MappedCall, target_of
from .registry import event_handler

TEMPORARY_FAILURE: Final = 75  # EX_TEMPFAIL of sysexits.h
KILL_SECONDS: Final = 2.0
KILLS: Final = 100
"""How often a command that forks without pause is searched for, at most."""
PAUSE_SECONDS: Final = 0.001
SUSPENDED_SECONDS: Final = 60.0
"""How long a task waits before it is looked whether its command can be started by then."""

_SHORT_OF: Final = frozenset({errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE})
LAST_WORDS_SECONDS: Final = 0.5
READ_BYTES: Final = 64 * 1024
INHERITED: Final = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "TZ", "TMPDIR")


@dataclass(frozen=True, slots=True)
class Command:
    """A callable that runs *words* for one event. *environment* are names of ours to hand on."""

    words: tuple[str, ...]
    folder: Path
    environment: tuple[str, ...] = ()
    user: str = ""
    where: str = ""

    def __call__(self, topic: str, *args: Any, **kwargs: Any) -> None:
        """Run it; blocks until it has ended. What it prints is printed.

        Raises BadArguments when the event does not fill a placeholder, Snooze while the command cannot be
        started, Retry for exit code 75, CommandFailed for any other than 0 or a signal. An interrupt ends
        its whole process group.
        """
        if self.user and (fault := command_program.fault_of_user(self.user)):
            raise Snooze(fault, delay=SUSPENDED_SECONDS)
        event = event_of(topic, args, kwargs)
        told = event_told(event)
        values = told
        if told["body"] is None and event.body:  # too long to be told whole
            values = {**told, "body": body_at(event, self._paths())}
        before = ("", *self.words)  # each word beside the one in front of it
        words = [self._fill(word, values, before[place]) for place, word in enumerate(self.words)]
        pause = partial(Clock().sleep, 0.0)  # a command may leave many files behind: the hub turns
        with CommandFiles(dumps(told).encode(), event.body, self._owner(), pause) as payload:
            environ = self._environ() | _variables(event, payload)
            code = self._run(words, environ, payload.stdin)
        _judge(code)

    def _paths(self) -> list[str]:
        """Where its placeholders look in the body."""
        placeholders = [one for word in self.words for one in PLACEHOLDERS.compile(word).placeholders]
        return [one.where for one in placeholders if one.kind == "body"]

    def _fill(self, word: str, told: Mapping[str, Any], word_before: str) -> str:
        """*word* with its placeholders filled; all of it stays one argument."""
        try:
            filled = PLACEHOLDERS.compile(word).fill(partial(found_in, told))
        except NoValue as error:
            raise BadArguments(
                f"argument {word!r}: expected a text without NUL or a number for {error}, the event has "
                f"none; give it a default, {str(error)[:-1]}|none}}, or let the command read the event"
            ) from None
        if filled.startswith("-") and not word.startswith("-") and word_before != "--":
            raise BadArguments(
                f"argument {word!r}: expected no option, the event makes it one; write -- before it if that "
                "is meant"
            )
        return filled

    def _owner(self) -> tuple[int, int] | None:
        """Whose the payload is to be, where not ours."""
        if not self._is_another():
            return None
        wanted = pwd.getpwnam(self.user)
        return wanted.pw_uid, wanted.pw_gid

    def _is_another(self) -> bool:
        """Whether its user is not ours already: without privileges even a change to oneself is refused."""
        return bool(self.user) and pwd.getpwnam(self.user).pw_uid != os.geteuid()

    def _environ(self) -> dict[str, str]:
        names = (*INHERITED, *self.environment)
        environ = {name: os.environ[name] for name in names if name in os.environ}
        if self.user:
            wanted = pwd.getpwnam(self.user)
            environ |= {"HOME": wanted.pw_dir, "USER": self.user, "LOGNAME": self.user}
        return environ

    def _run(self, words: Sequence[str], environ: Mapping[str, str], stdin: int) -> int:
        """The exit code. A child that the command leaves behind is heard no more, and not waited for."""
        with Ear() as ear:
            process = subprocess.Popen.__new__(subprocess.Popen)
            try:
                self._start(process, words, environ, stdin, ear.mouth)
                ear.listen()
                code = process.wait()
                ear.hear_out(LAST_WORDS_SECONDS)
            except BaseException:
                if getattr(process, "pid", None) is not None:
                    _end(process, f"MONQBUS_TOKEN={environ['MONQBUS_TOKEN']}")
                raise
        return code

    def _start(
        self,
        process: subprocess.Popen[bytes],
        words: Sequence[str],
        environ: Mapping[str, str],
        stdin: int,
        output: int,
    ) -> None:
        """Make *process* run. An interrupt may come after the fork: the caller has its pid all the same."""
        try:
            process.__init__(  # type: ignore[misc]
                words,
                cwd=self.folder,
                env=environ,
                stdin=stdin,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=partial(_settle, os.getpid()),  # system calls: nothing of Python's is locked there
                **(_identity(self.user) if self._is_another() else {}),
            )
        except OSError as error:
            if error.errno == errno.E2BIG:
                raise BadArguments(
                    f"{words[0]}: expected arguments that the system takes, 128 KiB each on most machines, "
                    "the event makes them longer; let the command read $MONQBUS_EVENT_FILE"
                ) from None
            if error.errno in _SHORT_OF:
                raise CommandFailed(f"{words[0]}: cannot be run: {error.strerror}") from None
            fault = command_program.fault(words[0], self.folder, self.user, environ.get("PATH"))
            unseen = f"command: expected a program, got {words[0]}: {error.strerror}; run it by hand"
            raise Snooze(fault or unseen, delay=SUSPENDED_SECONDS) from None


class Ear:
    """Prints what is written to `mouth`, a descriptor for others, until nobody can write there or it is left.

    It listens in a thread, in the daemon therefore in a greenlet. That thread alone uses and closes the
    ends it reads from: a descriptor that is closed under a reader may be somebody else's by then.
    """

    def __init__(self) -> None:
        self._heard, self.mouth = os.pipe()
        self._left, self._leave = os.pipe()
        os.set_blocking(self._heard, False)
        # a copy of the context, so that the lines belong to this task
        self._thread = threading.Thread(target=copy_context().run, args=(self._print_all,), daemon=True)

    def __enter__(self) -> Ear:
        try:
            self._thread.start()
        except BaseException:
            for descriptor in (self._heard, self.mouth, self._left, self._leave):
                os.close(descriptor)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Stop listening, wherever the others are; blocks until the thread has ended, which is at once."""
        if self.mouth >= 0:
            self.listen()
        try:
            with suppress(BrokenPipeError):  # it has ended
                os.write(self._leave, b".")  # closing would not do: gevent closes a pipe some time later
            self._thread.join()
        finally:
            os.close(self._leave)

    def listen(self) -> None:
        """Give `mouth` up: it has been handed on."""
        os.close(self.mouth)
        self.mouth = -1

    def hear_out(self, seconds: float) -> None:
        """Block until all that was written is printed and nobody can write any more, *seconds* at most."""
        self._thread.join(seconds)

    def _print_all(self) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        poller = select.poll()
        poller.register(self._heard, select.POLLIN)
        poller.register(self._left, select.POLLIN)
        try:
            # each look goes through the hub: whoever writes without pause must not keep it
            while self._left not in {descriptor for descriptor, _ in poller.poll()}:
                if not (piece := os.read(self._heard, READ_BYTES)):
                    break
                print(decoder.decode(piece), end="")  # noqa: T201 - this is the task's output
            print(decoder.decode(b"", final=True), end="")  # noqa: T201
        finally:
            os.close(self._heard)
            os.close(self._left)


def task_name(handler: Handler) -> str:
    """The name of the tasks of *handler*; no function of a module can have it."""
    return f"handler:{handler.name}"


def declare(handlers: Iterable[Handler], folder: Path) -> None:
    """Register each of *handlers* as the task ``handler:NAME``; *folder* is where it runs unless it says.

    Those that call a task need it to be declared before. Raises BadDeclaration, ConfigError.
    """
    for handler in handlers:
        attempts, open_after, probe = handler.max_attempts or None, handler.open_after, handler.probe
        if handler.task:
            task = target_of(handler)
            attempts = attempts or task.defaults.max_attempts
            if not open_after:
                open_after, probe = task.defaults.open_after, task.defaults.probe
            called: Callable[..., Any] = MappedCall(
                task.function, handler.args, dict(handler.kwargs), handler.where
            )
        else:
            folder_of = handler.working_dir or folder
            called = Command(handler.command, folder_of, handler.environment, handler.user, handler.where)
        event_handler(
            *handler.topics,
            when=handler.when,
            name=task_name(handler),
            priority=handler.priority,
            max_attempts=attempts,
            timeout=handler.timeout,
            open_after=open_after,
            probe=probe,
        )(called)


def _settle(daemon: int) -> None:
    """Between fork and exec: die with the daemon, and adopt orphans, so that `_end` finds them."""
    adopt_orphans()
    die_with(daemon)


def _identity(user: str) -> dict[str, Any]:
    wanted = pwd.getpwnam(user)
    groups = os.getgrouplist(user, wanted.pw_gid)
    return {"user": wanted.pw_uid, "group": wanted.pw_gid, "extra_groups": groups}


def _end(process: subprocess.Popen[bytes], mark: str) -> None:
    """Ask the command to end with all that comes from it, sessions of their own included; then make them."""
    tree = ProcessTree(process.pid, mark)
    tree.gather()
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    tree.signal(signal.SIGTERM, but_group=process.pid)
    with suppress(subprocess.TimeoutExpired):
        process.wait(KILL_SECONDS)
    tree.gather()
    for _ in range(KILLS):
        if tree.kill():
            break
        select.select([], [], [], PAUSE_SECONDS)  # others have their turn, and what has ended is reaped
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):
        process.wait(KILL_SECONDS)


def _judge(code: int) -> None:
    if code == TEMPORARY_FAILURE:
        raise Retry("the command asked to be run again later (exit code 75)")
    if code < 0:
        raise CommandFailed(f"killed by {_name_of(-code)}")
    if code:
        raise CommandFailed(f"exit code {code}")


def _name_of(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


# what the command is told


def _variables(event: Event, payload: CommandFiles) -> dict[str, str]:
    task = c.task
    return {
        "MONQBUS_EVENT": str(event.id),
        "MONQBUS_TOPIC": event.topic,
        "MONQBUS_HOOK": event.hook or "",
        "MONQBUS_DELIVERY": event.delivery or "",
        "MONQBUS_TASK": str(task.id),
        "MONQBUS_ATTEMPT": str(task.attempt),
        "MONQBUS_TOKEN": task.token,
        "MONQBUS_IDEMPOTENCY_KEY": task.idempotency_key,
        "MONQBUS_EVENT_FILE": str(payload.path / EVENT),
        "MONQBUS_BODY_FILE": str(payload.path / BODY),
    }
