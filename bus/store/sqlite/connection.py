"""The one connection to the file: queues jobs, commits them as whole transactions, handles disk errors.

What gathers while one commit is under way becomes the next one. New work is the first to be refused
when room gets scarce; what is under way may still end.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

from ...errors import MonqbusError, StoreError, StoreUnavailable
from ...process.native_threads import let_end
from ..contract import CALL_SECONDS, Notice
from ..group_commit import GroupCommit
from .data_dir import as_owner_of, require_own
from .disk_space import DiskSpace
from .file import connect, is_full, is_of_the_disk, look_at, prepare_folder, refusal, translated
from .file_identity import FileIdentity
from .file_lock import FileLock
from .path_lock import PathLock

Answer = TypeVar("Answer")
Job = Callable[[], Answer]
Away = Callable[[Callable[[], Any]], Any]
"""Runs a function that never raises, perhaps in another thread, and waits for what it returns."""


class _Kind(Generic[Answer]):
    """A job of a kind that is treated in its own way."""

    def __init__(self, job: Callable[[], Answer]) -> None:
        self._job = job

    def __call__(self) -> Answer:
        return self._job()


class _Scan(_Kind[Answer]):
    """A job that may read much."""


class _Intake(_Kind[Answer]):
    """A job that takes new work in: the first to be refused on a full disk."""


class _Large(_Intake[Answer]):
    """One of so many bytes that all of it runs in the native thread: its statements would hold the hub."""


class _Lookup(_Kind[Answer]):
    """A job that reads a row and promises nothing."""


class _Between(_Kind[None]):
    """A job that cannot be part of a transaction. It never raises."""


class Connection:
    """Runs jobs, which use `sql`, in committed transactions. *path* is a file or ``:memory:``.

    In a *daemon* the jobs of many greenlets go together, and a native thread waits for the disk.
    Anywhere else each job is a transaction of its own, in the thread of its caller. One that *looks*
    changes no file and makes none.
    """

    def __init__(self, path: Path | str, *, daemon: bool, min_free: int, looks: bool = False) -> None:
        self._path = path
        self._looks = looks
        self._begin = "BEGIN" if looks else "BEGIN IMMEDIATE"
        self._daemon = daemon
        self._min_free = min_free
        self._lock: FileLock | None = None
        self._name: PathLock | None = None
        self._place: FileIdentity | None = None
        self._disk: DiskSpace | None = None
        self._connection: sqlite3.Connection | None = None
        self._is_stuck = False
        self._turn = threading.Lock()
        self._group: GroupCommit[Job[Any], Any] | None = None
        self._pool: Any = None

    def open(self, *, examine: bool) -> None:
        """Take the locks, create what is missing; *examine* reads and checks all of a file that is only read.

        Raises ConfigError, StoreError.
        """
        if self._daemon or not isinstance(self._path, Path):
            self._open(examine=examine)
            return
        with as_owner_of(self._path.parent):  # a command of root's must not leave files of root's
            self._open(examine=examine)

    def _open(self, *, examine: bool) -> None:
        try:
            if self._looks and isinstance(self._path, Path):
                self._share_locks(self._path)
                self._connection = look_at(self._path, examine=examine)
                return
            if isinstance(self._path, Path):
                self._take_locks(self._path)
            self._connection = connect(self._path)
            if self._place is not None:
                self._place.remember()
            self._watch_disk()
            self._share()
            self._try_to_write()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file and release the lock. Never raises: what a failing disk has is in its log."""
        if self._connection is not None:
            with suppress(StoreError):
                self.write(_Lookup(lambda: None))  # what was handed in before is committed first
            with suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None
        if self._pool is not None:
            let_end(self._pool)
            self._pool = None
        for lock in (self._lock, self._name):
            if lock is not None:
                lock.release()

    @property
    def sql(self) -> sqlite3.Connection:
        """The driver's connection, for jobs. Raises StoreUnavailable when it is closed."""
        if self._connection is None:
            raise StoreUnavailable(f"{self._path}: the store is closed")
        return self._connection

    # jobs in

    def write(self, job: Job[Answer], *, patience: float = 0.0) -> Answer:
        """Run *job* in a committed transaction, together with whatever else waits."""
        if self._group is not None:
            answer: Answer = self._group.submit(job, CALL_SECONDS, patience=patience)
            return answer
        with self._turn:
            (answer,) = self._commit([job])
        if isinstance(answer, Exception):
            raise answer
        return answer

    def take_in(self, job: Job[Answer], *, is_large: bool = False) -> Answer:
        """As `write`, for a *job* that brings new work. Raises StoreFull while there is no room for any.

        One that *is_large* runs in the native thread, statements and all.
        """
        if self._disk is not None:
            if not self._daemon:
                self._disk.look()  # nobody tends this one
            if self._disk.is_low:
                raise refusal(self._path, self._disk.complaint)
        return self.write(_Large(job) if is_large else _Intake(job))

    def scan(self, job: Job[Answer]) -> Answer:
        """As `write`, for a *job* that may read much: all of it runs in the native thread."""
        return self.write(_Scan(job))

    def between(self, job: Job[None]) -> None:
        """Run *job*, which never raises, in the native thread and outside of every transaction."""
        self.write(_Between(job))

    def look_up(self, job: Job[Answer]) -> Answer:
        """As `write`, for a *job* that reads a row and promises nothing."""
        return self.write(_Lookup(job))

    def read(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query that may read much."""
        return self.scan(lambda: self.sql.execute(sql, values).fetchall())

    def ping(self) -> None:
        """Write one number: reading would succeed on a full disk too."""
        self.take_in(self._beat)

    def tend(self) -> Sequence[Notice]:
        """See whether the files are where they belong and how much room there is; what has changed."""
        if self._place is None or self._disk is None:
            return ()
        try:
            self.scan(self._look_around)  # a job, so that no other one meets it half way
            if self._is_stuck:
                self.scan(self._look_around)
        except StoreUnavailable:
            if news := self._place.news():
                return news
            raise
        return [*self._place.news(), *self._disk.news()]

    # inside

    def _take_locks(self, path: Path) -> None:
        prepare_folder(path.parent)
        lock = FileLock(path.with_suffix(".lock"))
        lock.take(path)
        self._lock = lock
        name = PathLock(path)
        name.take()
        self._name, self._place = name, FileIdentity(path)

    def _share_locks(self, path: Path) -> None:
        """Keep daemons out, but not others that look. The path's lock shows who has files that were moved."""
        require_own(path.parent)
        lock, name = FileLock(path.with_suffix(".lock")), PathLock(path)
        is_shared = lock.share(path)
        self._lock = lock
        name.take()
        if is_shared:
            name.release()
        else:
            self._name = name

    def _look_around(self) -> None:
        place, disk = self._place, self._disk
        if place is None or disk is None:
            return
        if self._name is not None:
            self._name.let_askers_go()
        if place.look() is None:
            self._keep_lock()
            disk.look(self._spare())
        elif place.has_lost_its_log:
            self._is_stuck = True  # a new connection makes a new log

    def _keep_lock(self) -> None:
        """Lock anew when the lock file was deleted or replaced: other processes look there first."""
        lock = self._lock
        if lock is None or lock.has_its_file or not isinstance(self._path, Path) or self._place is None:
            return
        anew = FileLock(self._path.with_suffix(".lock"))
        with suppress(MonqbusError):  # somebody has it for a moment: a second later again
            anew.take(self._path)
            lock.release()
            self._lock = anew
            self._place.tell_restored(anew.path)

    def _watch_disk(self) -> None:
        if isinstance(self._path, Path):
            self._disk = DiskSpace(self._path.parent, self._min_free)
            self._disk.look()

    def _share(self) -> None:
        if self._daemon:
            from gevent.threadpool import ThreadPool

            self._pool = ThreadPool(1)
            self._group = GroupCommit(self._commit)

    def _try_to_write(self) -> None:
        """Find out at the start, except that a daemon on a full disk starts: others free it meanwhile."""
        try:
            self.write(self._beat)
        except StoreUnavailable:
            if not (self._daemon and self._disk is not None and self._disk.is_low):
                raise

    def _beat(self) -> None:
        self.sql.execute("UPDATE beat SET beats = beats + 1")

    def _spare(self) -> int:
        """How many bytes inside the file are free for use."""
        (pages,) = self.sql.execute("PRAGMA freelist_count").fetchone()
        (size,) = self.sql.execute("PRAGMA page_size").fetchone()
        return int(pages * size)

    @property
    def _away(self) -> Away:
        return _at_once if self._pool is None else self._in_thread

    def _in_thread(self, function: Callable[[], Any]) -> Any:
        """Wait for *function* to end in the native thread, whoever tries to kill this greenlet meanwhile.

        The next transaction must not begin while this one is still being committed.
        """
        done = self._pool.spawn(function)
        while not done.ready():
            try:
                done.wait()
            except Exception:
                raise
            except BaseException:  # noqa: BLE001, S112 - a kill, by which nothing was cut short
                continue
        return done.get()

    def _commit(self, jobs: Sequence[Job[Any]]) -> list[Any]:
        """Run *jobs* in one transaction; when one of them fails, each in a transaction of its own.

        The statements run in the hub's thread and only the commit, which waits for the disk, in the
        native one. SQLite lets go of the interpreter lock at every statement, and beside a busy hub
        each way back costs a switch interval: measured, 64 posters got 2 000 instead of 9 000 posts
        a second when the statements ran over there.
        """
        for job in jobs:
            if isinstance(job, _Between):
                self._away(job)
        jobs = [_nothing if isinstance(job, _Between) else job for job in jobs]
        if any(isinstance(job, _Scan) for job in jobs):
            return self._run_away(jobs)
        if not any(isinstance(job, _Large) for job in jobs):
            return self._run_all(jobs, self._away)
        # in a transaction of their own: over there the many statements of the others would wait
        large = iter(self._run_away([job for job in jobs if isinstance(job, _Large)]))
        others = [job for job in jobs if not isinstance(job, _Large)]
        answers = iter(self._run_all(others, self._away) if others else ())
        return [next(large) if isinstance(job, _Large) else next(answers) for job in jobs]

    def _run_away(self, jobs: Sequence[Job[Any]]) -> list[Any]:
        answers: list[Any] = self._away(partial(self._run_all, jobs, _at_once))
        return answers

    def _run_all(self, jobs: Sequence[Job[Any]], away: Away) -> list[Any]:
        try:
            return self._run_together(jobs, away)
        except Exception as error:  # noqa: BLE001 - handed to the caller whose job it was
            self._roll_back()
            if is_full(error):
                return self._run_the_urgent(jobs, away)
            if len(jobs) == 1 or isinstance(error, StoreUnavailable) or is_of_the_disk(error):
                return [translated(error, self._path)] * len(jobs)
        except BaseException:  # killed before the commit had begun
            self._roll_back()
            raise
        return [self._run_all([job], away)[0] for job in jobs]

    def _run_together(self, jobs: Sequence[Job[Any]], away: Away) -> list[Any]:
        if self._is_stuck and (error := away(self._reopen)) is not None:
            raise error
        self.sql.execute(self._begin)
        changes = self.sql.total_changes
        answers = [job() for job in jobs]
        if self.sql.total_changes == changes:
            self.sql.execute("COMMIT")  # nothing was written, so nothing waits for the disk
            self._require_place(jobs)
        elif (error := away(self._commit_now) or self._look_for_place()) is not None:
            raise error
        return answers

    def _require_place(self, jobs: Sequence[Job[Any]]) -> None:
        """Raise StoreUnavailable when "it is there already" would be said of files nobody will find."""
        place = self._place
        if place is None or all(job is _nothing or isinstance(job, (_Scan, _Lookup)) for job in jobs):
            return
        if (lost := place.look()) is not None:
            raise lost

    def _commit_now(self) -> Exception | None:
        """Commit; what goes wrong is returned: gevent's pool prints a traceback of what is raised there.

        Into files that nobody will find again nothing more is written: so they can be copied.
        """
        place = self._place
        try:
            if place is not None and place.is_lost and (lost := place.look()) is not None:
                return lost
            self.sql.commit()
        except sqlite3.Error as error:
            return error
        return None

    def _look_for_place(self) -> StoreUnavailable | None:
        """What to answer when nobody will find what was just committed.

        Not in the native thread: each question lets go of the interpreter lock, and beside a busy hub the way
        back to it waits a switch interval. The names are in the kernel's cache, no disk is asked for them.
        """
        return self._place.look() if self._place is not None else None

    # when the disk is full or fails

    def _run_the_urgent(self, jobs: Sequence[Job[Any]], away: Away) -> list[Any]:
        """New work is refused; the rest is tried again without it, then in the room of the reserve."""
        full = translated(sqlite3.OperationalError("database or disk is full"), self._path)
        if self._disk is None:
            return [full] * len(jobs)
        self._disk.is_written_full()
        urgent = [job for job in jobs if not isinstance(job, _Intake)]
        if len(urgent) == len(jobs) and not self._disk.give_up_reserve():
            return [full] * len(jobs)
        answers = iter(self._run_all(urgent, away) if urgent else ())
        refused = refusal(self._path, self._disk.complaint)
        return [refused if isinstance(job, _Intake) else next(answers) for job in jobs]

    def _roll_back(self) -> None:
        """Forget the transaction. SQLite keeps to its connection: the next frames go over the failed ones."""
        connection = self._connection
        if connection is not None and not self._is_stuck and connection.in_transaction:
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            self._is_stuck = connection.in_transaction

    def _reopen(self) -> Exception | None:
        """A new connection in place of one that cannot go back; the lock stays ours. Returns an error.

        Never for another file than the open one: what only that holds would be gone with its descriptor.
        """
        place = self._place
        try:
            if (
                place is not None
                and (lost := place.look())
                and not (place.has_lost_its_log and self._checkpoint())
            ):
                return lost
            self.sql.close()
            if place is not None:
                place.expect_no_log()
            self._connection = connect(self._path)
            if place is not None:
                place.remember()
        except (MonqbusError, sqlite3.Error) as error:
            return error
        self._is_stuck = False
        return None

    def _checkpoint(self) -> bool:
        """Write what is in the log into the file; whether all of it is there and on the disk."""
        (is_blocked, pages, done) = self.sql.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return not is_blocked and pages == done


def _nothing() -> None:
    """What is left of a job that ran between two transactions."""


def _at_once(function: Callable[[], Any]) -> Any:
    return function()
