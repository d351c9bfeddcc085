"""`post --from` and `event --from`: one call for each line of JSON, stored in bulk, never twice.

The id of each task or event follows from the journal and its line. So a run that was interrupted, by
whatever, is run again: what the journal says to be stored is passed over, and what was stored behind that is
stored again under the same ids, which changes nothing.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Final, NamedTuple

from bson import ObjectId

from ..apps import registry
from ..apps.calls import Announcement, Batch, announcement, prepare
from ..apps.options import Options
from ..clock import Clock
from ..config import Config, nearest_name
from ..connecting import is_embedded
from ..errors import BadCall, BadDeclaration, MonqbusError, NotAccepted, NotStorable, UsageError
from ..model import MonQTask
from . import terminal
from .journal import SUFFIX, Journal, id_of
from .json_lines import Call, Lines, call_of
from .session import open_bulk, read_config

CALLS: Final = 1000
BYTES: Final = 1024**2
"""A write begins when there are so many calls, or so many bytes of lines."""
OPTIONS: Final = ("delay", "priority", "key")
_SINGLE: Final = {"args": "[]", "kwargs": "{}", "wait": None, "key": None}

Made = MonQTask | Announcement
Make = Callable[[Clock, Call, ObjectId], Made]


class Progress:
    """How far it is, on a terminal only."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self._is_shown = terminal.shows_progress()

    def show(self, posted: int) -> None:
        """Say so in place of the last time; with a share where the size is known."""
        if self._is_shown:
            lines = self._lines
            share = f", {min(100 * lines.place // lines.size, 100)} %" if lines.size else ""
            terminal.progress(f"posted {posted}{share} …")

    def clear(self) -> None:
        """Leave the line to others."""
        if self._is_shown:
            terminal.clear_progress()


class Mark(NamedTuple):
    """So many *lines*, with the SHA-256 *digest*."""

    lines: int
    digest: str


def is_from_lines(options: argparse.Namespace) -> bool:
    """Whether calls come from a file or a pipe. Raises UsageError for --journal without one."""
    if options.source is None and options.journal is not None:
        raise UsageError("--journal: expected it with --from FILE, got it alone; one call needs no journal")
    return options.source is not None


def post_lines(options: argparse.Namespace, changes: Mapping[str, Any]) -> int:
    """Post one task of the asked-for name for each line."""
    name = options.name
    known = registry.registry

    def make(clock: Clock, call: Call, own: ObjectId) -> MonQTask:
        declared = known().tasks.get(name)
        if declared:
            declared.expect(call.args, call.kwargs)
        chosen = (declared.defaults if declared else Options()).but({**changes, **call.options})
        task = prepare(clock, name, call.args, call.kwargs, chosen, {})
        task.id = own
        return task

    def about() -> str:
        tasks = known().tasks
        said = f"no app declares {name}; the tasks wait until one does"
        return "" if name in tasks else said + _meant(name, tasks)

    return _run(options, f"post {name}", OPTIONS, make, about)


def publish_lines(options: argparse.Namespace) -> int:
    """Publish one event of the asked-for topic for each line."""
    topic = options.topic

    def make(clock: Clock, call: Call, own: ObjectId) -> Announcement:
        made = announcement(clock, topic, call.args, call.kwargs, {})
        made.event.id = own
        return made

    def about() -> str:
        topics = registry.registry().topics
        said = f"no handler for topic {topic}; the events are recorded"
        return "" if topic in topics else said + _meant(topic, topics)

    return _run(options, f"event {topic}", (), make, about)


def _meant(name: str, known: Iterable[str]) -> str:
    near = nearest_name(name, tuple(sorted(known)))
    return f"; did you mean {near}?" if near else ""


def _run(
    options: argparse.Namespace, what: str, known: tuple[str, ...], make: Make, about: Callable[[], str]
) -> int:
    _refuse_single(options)
    config = read_config(options)
    with ExitStack() as stack:
        lines = stack.enter_context(closing(Lines(options.source)))
        place = _journal_place(options, lines)
        poster = stack.enter_context(open_bulk(config))
        journal = None
        if place is not None:
            journal = stack.enter_context(closing(Journal(place, what, _store_of(config), poster.clock)))
            _go_on(lines, journal)
        if note := about():
            terminal.note(note)
        run = Run(lines, journal, poster.store, poster.clock)
        run.all(_made(lines, known, make, poster.clock, run.seed))
    terminal.done(f"posted {run.posted}")
    return 0


def _refuse_single(options: argparse.Namespace) -> None:
    """Raise UsageError for words that make sense with one call only."""
    for word, without in _SINGLE.items():
        if getattr(options, word, without) != without:
            raise UsageError(
                f"--{word}: expected it without --from, which posts many; leave it out, or write into the "
                'lines what belongs to one: {"args": [1], "kwargs": {}, "key": "a"}'
            )


def _journal_place(options: argparse.Namespace, lines: Lines) -> Path | None:
    """Where the journal is; None for a pipe for which none was named."""
    if options.journal is not None:
        return Path(options.journal)
    return None if lines.path is None else lines.path.with_name(lines.path.name + SUFFIX)


def _store_of(config: Config) -> str:
    """The name of the store, without what may be secret."""
    if is_embedded(config):
        return f"sqlite in {config.monqbus.data_dir.resolve()}"
    address = config.monqbus.store.reveal().partition("://")[2]
    return "mongodb " + address.rpartition("@")[2].partition("?")[0]


def _go_on(lines: Lines, journal: Journal) -> None:
    """Pass over the lines that the journal says to be stored. Raises UsageError when they are others now."""
    lines.skip(journal.lines)
    if not journal.lines:
        return
    if (lines.number, lines.digest) == (journal.lines, journal.digest):
        terminal.note(
            f"{lines.name}: the first {journal.lines} lines are posted already, as {journal.path} says; "
            "delete it to post them once more"
        )
        return
    if not (journal.is_complete and lines.rewind()):
        raise UsageError(
            f"{lines.name}: expected the {journal.lines} lines that {journal.path} says to be posted, "
            "got others; bring them back, or delete that file to post all there is now"
        )
    journal.begin_anew()


def _made(
    lines: Lines, known: tuple[str, ...], make: Make, clock: Clock, seed: ObjectId
) -> Iterator[tuple[int, Made]]:
    """The bytes of each line, and what it asks for. Raises for a bad one, which it names."""
    for line in lines:
        try:
            yield len(line.text), make(clock, call_of(line.text, known), id_of(seed, line.number, line.text))
        except (UsageError, BadCall, NotStorable, BadDeclaration) as error:
            kind = UsageError if isinstance(error, BadDeclaration) else type(error)
            raise kind(f"{lines.name} line {line.number}: {error}") from error


class Run:
    """One run over *lines*: gathers calls, has them stored by *store*, remembers how far it is."""

    def __init__(
        self, lines: Lines, journal: Journal | None, store: Callable[[Batch], None], clock: Clock
    ) -> None:
        self.posted = 0
        self.seed = journal.seed if journal else clock.new_id()
        self._lines = lines
        self._journal = journal
        self._store = store
        self._calls: list[tuple[Mark, Made]] = []
        self._bytes = 0
        self._stored = self._reached = Mark(lines.number, lines.digest)
        self._progress = Progress(lines)

    def all(self, made: Iterator[tuple[int, Made]]) -> None:
        """Store all of *made*; when one is bad, those before it. Says how to go on after an interruption."""
        try:
            bad = self._gather(made)
            self._write(is_complete=bad is None)
            if bad is not None:
                raise bad
        except BaseException:
            self._progress.clear()
            terminal.note(self._how_to_go_on())
            raise
        self._progress.clear()

    def _gather(self, made: Iterator[tuple[int, Made]]) -> MonqbusError | None:
        """Store *made* write by write, up to the last; what is wrong with the first that is bad."""
        while True:
            try:
                found = next(made, None)
            except MonqbusError as error:
                return error
            if found is None:
                self._reached = Mark(self._lines.number, self._lines.digest)
                return None
            size, call = found
            if self._bytes + size > BYTES or len(self._calls) >= CALLS:
                self._write()
            self._bytes += size
            self._reached = Mark(self._lines.number, self._lines.digest)
            self._calls.append((self._reached, call))

    def _write(self, *, is_complete: bool = False) -> None:
        """Store what was gathered, then remember it: in between it may be stored once more."""
        if self._calls:
            try:
                self._store(_batch(call for _, call in self._calls))
            except (NotStorable, NotAccepted):
                self._write_apart()
        self._remember(self._reached, len(self._calls), is_complete=is_complete)

    def _write_apart(self) -> None:
        """Store one by one what the store did not take together; raises for the first bad one."""
        for done, (mark, call) in enumerate(self._calls):
            try:
                self._store(_batch([call]))
            except (NotStorable, NotAccepted) as error:
                if done:
                    self._remember(self._calls[done - 1][0], done)
                raise type(error)(f"{self._lines.name} line {mark.lines}: {error}") from error

    def _remember(self, mark: Mark, count: int, *, is_complete: bool = False) -> None:
        """Keep in mind that all up to *mark* is stored, the first *count* of what was gathered."""
        if self._journal is not None:
            self._journal.stored(*mark, is_complete=is_complete)
        self._stored = mark
        self.posted += count
        self._calls, self._bytes = self._calls[count:], 0
        self._progress.show(self.posted)

    def _how_to_go_on(self) -> str:
        said = f"{self._lines.name}: the first {self._stored.lines} lines are posted"
        if self._journal is not None:
            return f"{said}; run the same command again to post the others"
        if self._calls:
            said += f", and perhaps those up to line {self._reached.lines}"
        return f"{said}; with --journal FILE the same command can be run again and posts the others only"


def _batch(calls: Iterable[Made]) -> Batch:
    batch = Batch()
    for call in calls:
        if isinstance(call, MonQTask):
            batch.tasks.append(call)
        else:
            batch.events.append(call)
    return batch
