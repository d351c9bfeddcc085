"""Handlers that are commands: a program is run for each event, never by a shell.

It gets the event as JSON on its standard input and in a file, the exact body of a delivery in
another one, placeholders as arguments, and a small environment. What it prints is kept with the task.
"""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, Final

from . import strictjson
from .config import Handler
from .context import c
from .errors import Cancel, CommandFailed, Retry
from .leash import die_with
from .model import Event
from .registry import event_handler
from .rows import plain

TEMPORARY_FAILURE: Final = 75  # EX_TEMPFAIL of sysexits.h
KILL_SECONDS: Final = 2.0
LAST_WORDS_SECONDS: Final = 0.5
LONGEST_LINE: Final = 64 * 1024
INHERITED: Final = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "TZ", "TMPDIR")

_HOLE: Final = re.compile(r"\{([a-z]+)(?::([^{}]+))?\}")


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

        Raises Cancel when the event does not fill a placeholder, Retry for exit code 75,
        CommandFailed for any other than 0 or a signal. An interrupt ends its whole process group.
        """
        event = args[0] if args and isinstance(args[0], Event) else _published(topic, args, kwargs)
        told = _told(event)
        before = ("", *self.words)  # each word beside the one in front of it
        words = [self._fill(word, told, before[place]) for place, word in enumerate(self.words)]
        with self._files(event, told) as folder:
            environ = self._environ() | _variables(event, folder)
            with (folder / "event.json").open("rb") as stdin:
                code = self._run(words, environ, stdin)
        _judge(code)

    def _fill(self, word: str, told: Mapping[str, Any], word_before: str) -> str:
        """*word* with its placeholders filled; all of it stays one argument."""

        def value(hole: re.Match[str]) -> str:
            found = _find(told, hole[1], hole[2])
            if found is None or "\x00" in found:
                raise Cancel(f"the event has no usable value for {hole[0]}")
            return found

        filled = _HOLE.sub(value, word)
        if filled.startswith("-") and not word.startswith("-") and word_before != "--":
            raise Cancel(f"the event makes {word} an option; write -- before it if that is meant")
        return filled

    @contextmanager
    def _files(self, event: Event, told: Mapping[str, Any]) -> Iterator[Path]:
        folder = Path(tempfile.mkdtemp(prefix="monqbus-"))
        try:
            (folder / "event.json").write_text(json.dumps(told), encoding="utf-8")
            (folder / "body").write_bytes(event.body)
            if self.user:
                wanted = pwd.getpwnam(self.user)
                for path in (*folder.iterdir(), folder):
                    os.chown(path, wanted.pw_uid, wanted.pw_gid)
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _environ(self) -> dict[str, str]:
        names = (*INHERITED, *self.environment)
        environ = {name: os.environ[name] for name in names if name in os.environ}
        if self.user:
            wanted = pwd.getpwnam(self.user)
            environ |= {"HOME": wanted.pw_dir, "USER": self.user, "LOGNAME": self.user}
        return environ

    def _run(self, words: Sequence[str], environ: Mapping[str, str], stdin: IO[bytes]) -> int:
        try:
            process = subprocess.Popen(
                words,
                cwd=self.folder,
                env=environ,
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=partial(die_with, os.getpid()),  # noqa: PLW1509 - one system call, nothing of Python's is locked there
                **(_identity(self.user) if self.user else {}),
            )
        except OSError as error:
            raise CommandFailed(f"{words[0]}: cannot be run: {error.strerror}") from None
        try:
            return _listen_until_it_ends(process)
        except BaseException:
            _end(process)
            raise


def task_name(handler: Handler) -> str:
    """The name of the tasks of *handler*; no function of a module can have it."""
    return f"handler:{handler.name}"


def declare(handlers: Iterable[Handler]) -> None:
    """Register each of *handlers* as the task ``handler:NAME``. Raises BadDeclaration."""
    for handler in handlers:
        command = Command(
            handler.command,
            handler.working_dir or Path.cwd(),
            handler.environment,
            handler.user,
            handler.where,
        )
        event_handler(
            *handler.topics,
            name=task_name(handler),
            priority=handler.priority,
            max_attempts=handler.max_attempts or None,
            timeout=handler.timeout,
        )(command)


def _identity(user: str) -> dict[str, Any]:
    wanted = pwd.getpwnam(user)
    groups = os.getgrouplist(user, wanted.pw_gid)
    return {"user": wanted.pw_uid, "group": wanted.pw_gid, "extra_groups": groups}


def _listen_until_it_ends(process: subprocess.Popen[bytes]) -> int:
    """Print what *process* prints; its exit code. A child it leaves behind is not waited for."""
    context = copy_context()  # so that the lines belong to this task
    listener = threading.Thread(target=context.run, args=(_print_all, process.stdout), daemon=True)
    listener.start()
    code = process.wait()
    listener.join(LAST_WORDS_SECONDS)
    return code


def _print_all(stream: IO[bytes]) -> None:
    with suppress(OSError, ValueError):  # closed while a child of the child still holds it
        while line := stream.readline(LONGEST_LINE):
            print(line.decode("utf-8", "replace"), end="")  # noqa: T201 - this is the task's output


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask the whole process group to end, then make it."""
    for number, seconds in ((signal.SIGTERM, KILL_SECONDS), (signal.SIGKILL, KILL_SECONDS)):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
    if process.stdout is not None:
        process.stdout.close()


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


def _published(topic: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Event:
    """The event that a published one was: a handler gets its parts."""
    task = c.task
    return Event(task.event_id or task.id, topic, task.time_queue, args=list(args), kwargs=dict(kwargs))


def _told(event: Event) -> dict[str, Any]:
    task = c.task
    return {
        "id": str(event.id),
        "topic": event.topic,
        "hook": event.hook,
        "delivery": event.delivery,
        "received": plain(event.received),
        "headers": event.headers,
        "body": _body(event),
        "args": plain(event.args),
        "kwargs": plain(event.kwargs),
        "task": {"id": str(task.id), "attempt": task.attempt, "token": task.token},
    }


def _body(event: Event) -> Any:
    if not event.body:
        return None
    try:
        return event.json
    except strictjson.BadJson:
        pass
    try:
        return event.body.decode("utf-8")
    except UnicodeDecodeError:
        return plain(event.body)


def _find(told: Mapping[str, Any], kind: str, path: str | None) -> str | None:
    if path is None:
        return strictjson.at_path(told, kind)
    if kind == "header":
        header: str | None = told["headers"].get(path.lower())
        return header
    return strictjson.at_path(told[kind], path)


def _variables(event: Event, folder: Path) -> dict[str, str]:
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
        "MONQBUS_EVENT_FILE": str(folder / "event.json"),
        "MONQBUS_BODY_FILE": str(folder / "body"),
    }
