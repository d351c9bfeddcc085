"""Facts: code emits what happened, listeners log, count and show it.

A fact is a noun and a past participle with keyword fields: ``emit("task.finished", task=task)``.
The catalogue below is the only list; docs/facts.md is tested against it.
"""

from __future__ import annotations

import logging
import sys
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Mapping
from typing import Any, Final, TypeVar

About = TypeVar("About", bound=Hashable)
Listener = Callable[[str, Mapping[str, Any]], None]

FACTS: Final[Mapping[str, tuple[int, str]]] = {
    "daemon.started": (logging.INFO, "the doors are open; what listens where"),
    "daemon.draining": (logging.INFO, "asked to stop; running tasks get `drain` seconds"),
    "daemon.stopped": (logging.INFO, "everything is closed; released = tasks given back"),
    "lease.revoked": (
        logging.WARNING,
        "a daemon of this machine is dead; its tasks need not wait for its lease",
    ),
    "config.reloading": (logging.DEBUG, "HUP came; configuration and apps are read"),
    "config.reloaded": (logging.INFO, "new configuration and apps are in use"),
    "config.refused": (logging.ERROR, "the new configuration is bad, the old one stays"),
    "config.warned": (logging.WARNING, "the new configuration works and is probably not meant so"),
    "socket.passed": (logging.INFO, "listens on a socket that the service manager keeps over restarts"),
    "socket.lost": (logging.ERROR, "the control socket's file is gone and cannot be put back: commands fail"),
    "socket.restored": (logging.WARNING, "the control socket's file was gone and is back"),
    "signal.ignored": (logging.WARNING, "a signal came that would have ended the daemon; a handler's alarm?"),
    "process.restored": (
        logging.WARNING,
        "an app had changed what the daemon needs of its process, a signal's handler for example; it is back",
    ),
    "slots.described": (logging.INFO, "USR1: how many slots are taken"),
    "slot.described": (logging.INFO, "USR1: what one slot is doing"),
    "event.received": (logging.INFO, "a delivery or published event is stored"),
    "event.repeated": (logging.INFO, "a delivery came again; nothing new was stored"),
    "event.replayed": (logging.INFO, "an event that no handler had taken has got those there are now"),
    "event.filtered": (
        logging.INFO,
        "the rule of a hook, or of each handler, does not hold for an event; it is recorded, without tasks",
    ),
    "event.unhandled": (
        logging.WARNING,
        "no handler knows the topic; the event is recorded, can be replayed; near = a topic like it",
    ),
    "hook.tried": (
        logging.INFO,
        "a sender tries a hook, as GitHub does with a ping; no handler takes such events, and none need",
    ),
    "handshake.answered": (
        logging.INFO,
        "a sender asked whether the hook is there, and got its answer; no event, and no handler hears of it",
    ),
    "subscription.offered": (
        logging.WARNING,
        "a sender waits until a person confirms a subscription; reason = the URL, which nobody opens here",
    ),
    "event.unreadable": (
        logging.WARNING,
        "a delivery says that it is JSON and is not, and why; it is stored, its handlers have the bytes",
    ),
    "topic.missed": (
        logging.INFO,
        "a delivery has no value for a placeholder of the hook's topic; it is stored under topic_fallback",
    ),
    "topic.shortened": (
        logging.INFO,
        "the topic of a delivery is over 128 characters; the end of it is a hash",
    ),
    "delivery.renamed": (
        logging.INFO,
        "the sender's id of a delivery is over 256 characters or not ASCII; its hash stands for it",
    ),
    "pause.began": (
        logging.INFO,
        "this daemon begins none of the tasks, or fires none of the schedules, of this name; why, until when",
    ),
    "breaker.opened": (
        logging.WARNING,
        "a task has failed as often as its open_after says: it is paused, and one is tried now and then",
    ),
    "breaker.probed": (logging.INFO, "of a task whose breaker is open one was tried; its end decides"),
    "breaker.closed": (logging.INFO, "the task that was tried succeeded: what has waited begins"),
    "pause.ended": (logging.INFO, "the pause was resumed, or its time is over; what has waited begins"),
    "delivery.differed": (
        logging.INFO,
        "a delivery came again under its id with another body; the first one counts",
    ),
    "delivery.renewed": (
        logging.WARNING,
        "a body came again under another id, which is not signed; perhaps a recorded delivery; not stored",
    ),
    "delivery.retried": (
        logging.INFO,
        "a delivery came again; so many of its tasks had failed, and wait again",
    ),
    "deliveries.unrecorded": (
        logging.WARNING,
        "the store does not take the records of refused and repeated deliveries; the first 500 wait for it",
    ),
    "hook.disabled": (
        logging.ERROR,
        "at the start and a reload: a secret of the hook is missing, and which; its deliveries get 503",
    ),
    "handler.mismatched": (
        logging.WARNING,
        "at the start and a reload: a handler does not take a hook's deliveries; each will end in error",
    ),
    "handler.suspended": (
        logging.WARNING,
        "a command cannot be started, and why: its folder, program, interpreter or user; its tasks wait",
    ),
    "handler.resumed": (logging.INFO, "the command can be started again; its tasks run within a minute"),
    "event.refused": (logging.WARNING, "a request was answered with an error; what was asked, and by whom"),
    "access.refused": (
        logging.WARNING,
        "a request to the administrators' listener was answered with an error; what was asked, and by whom",
    ),
    "tls.failed": (
        logging.WARNING,
        "a TLS handshake failed, of whom and why; code = certificate: the client does not trust ours",
    ),
    "refusals.omitted": (
        logging.WARNING,
        "so many more requests of this hook and kind, or handshakes, failed within a minute; without lines",
    ),
    "connections.limited": (
        logging.WARNING,
        "an address has all connections it may have; further ones get 429; told once until all are closed",
    ),
    "connections.filled": (
        logging.WARNING,
        "all connections are taken; silent and idle ones make room; told once a minute",
    ),
    "connections.refused": (
        logging.ERROR,
        "a connection could not be accepted, files are short; idle ones are closed; told once a minute",
    ),
    "files.limited": (
        logging.WARNING,
        "at the start: all `connections` at once would take the last of the files that may be open",
    ),
    "certificate.reloaded": (
        logging.INFO,
        "new connections get the new TLS certificate; until when it is valid",
    ),
    "certificate.refused": (
        logging.ERROR,
        "a changed certificate or key cannot be used, and why; the one before is served on; told once",
    ),
    "certificate.expiring": (
        logging.WARNING,
        "the certificate ends within 30 days, or has ended; at the start, and once a day",
    ),
    "http.answered": (
        logging.INFO,
        "with `access_log = yes`: a request was answered; `bytes` are those of head and body",
    ),
    "access.link": (
        logging.WARNING,
        "nobody can sign in to the administrators' listener yet; `url` signs an admin in, once, "
        "within `minutes`",
    ),
    "access.signed_in": (logging.INFO, "somebody signed in to the administrators' listener, and how"),
    "access.signed_out": (logging.INFO, "somebody ended his session"),
    "access.denied": (
        logging.WARNING,
        "name or password were wrong; a name that is none of ours is not told, it may be a password",
    ),
    "access.throttled": (logging.WARNING, "so many sign-ins have failed that the next has to wait"),
    "audit.failed": (logging.ERROR, "an operator's action was done and could not be stored in the audit"),
    "names.unmatched": (
        logging.WARNING,
        "at the start: `--only` or `--except` names what no app declares; the daemon may claim nothing",
    ),
    "queue.filled": (logging.WARNING, "`max_ready_tasks` tasks wait; deliveries get 503"),
    "queue.recovered": (logging.INFO, "fewer tasks wait again; deliveries are taken"),
    "task.posted": (logging.DEBUG, "a task is stored"),
    "task.merged": (
        logging.INFO,
        "a task of a batch was not stored: an unfinished one holds its key",
    ),
    "task.started": (logging.DEBUG, "a handler begins"),
    "task.printed": (logging.INFO, "a line that a handler printed"),
    "output.printed": (logging.INFO, "a line that something outside of a task's own greenlet printed"),
    "output.dropped": (logging.WARNING, "more was printed than is told; how many lines are left out"),
    "log.dropped": (logging.WARNING, "the log was not read or could not be written; how many lines are lost"),
    "task.finished": (logging.INFO, "a task is complete and recorded as such"),
    "task.retried": (logging.WARNING, "an attempt failed, another one follows"),
    "task.snoozed": (logging.INFO, "a handler asked to be run later"),
    "task.gave_up": (logging.ERROR, "the last attempt failed; the task is in `error`"),
    "task.coalesced": (logging.INFO, "of the tasks of one serial key that wait only one runs"),
    "task.skipped": (logging.INFO, "a task was cancelled by its handler or an operator"),
    "task.moved": (logging.INFO, "an operator retried or cancelled tasks"),
    "task.released": (logging.INFO, "a task went back to ready without using an attempt"),
    "claim.reconciled": (logging.WARNING, "a claim of unknown outcome was settled"),
    "task.parked": (logging.WARNING, "tasks wait under a name that no daemon knows"),
    "task.set_aside": (logging.ERROR, "a stored task cannot be read or begun; the reason; the others go on"),
    "task.unstorable": (logging.ERROR, "what a handler left behind cannot be stored; its end is, without it"),
    "task.unrecorded": (logging.ERROR, "the daemon stopped before the store took this end; it runs again"),
    "task.refused": (
        logging.ERROR,
        "a rule of the store (another's index, a validator) forbids a task's end; tried again each minute",
    ),
    "task.lost": (logging.ERROR, "an end came after the claim was lost; it changed nothing"),
    "task.rescued": (logging.WARNING, "a dead daemon's task was taken back"),
    "apps.threaded": (logging.WARNING, "importing the apps started threads; cpu workers do not have them"),
    "cpu_worker.crashed": (
        logging.WARNING,
        "a process that runs cpu tasks died; another one takes its place",
    ),
    "cpu_worker.stopped": (
        logging.WARNING,
        "somebody has stopped (SIGSTOP) a process that runs a cpu task; it is killed at the task's timeout",
    ),
    "cpu_worker.recycled": (logging.INFO, "such a process has had its number of tasks, or too much memory"),
    "cpu.failed": (logging.ERROR, "no process for cpu tasks can be made; they wait"),
    "cpu.lost": (logging.ERROR, "the process that all cpu workers come from is gone; the daemon stops"),
    "service.failing": (
        logging.ERROR,
        "a part of the daemon is late by three periods; `/readyz` says no, but for a store with a spool",
    ),
    "service.recovered": (logging.INFO, "it has succeeded again"),
    "service.died": (
        logging.ERROR,
        "a part of the daemon has ended though nobody stopped it; the daemon stops with exit code 1",
    ),
    "service.not_stopped": (
        logging.ERROR,
        "a part of the daemon failed as it was stopped; the others are stopped, the exit code is 1",
    ),
    "loop.failed": (logging.ERROR, "a loop's tick failed; it goes on after a pause"),
    "hub.blocked": (
        logging.ERROR,
        "a task keeps everything else from running: where, for how long, what helps; said while it does",
    ),
    "hub.unblocked": (logging.WARNING, "the block is over; how long it was"),
    "spool.opened": (logging.WARNING, "the store is away, or was; deliveries go into the spool"),
    "spool.handed_over": (logging.INFO, "the spool is empty; deliveries go to the store again"),
    "spool.filled": (logging.WARNING, "the spool has no room; deliveries get 503 until the store is back"),
    "spool.stuck": (logging.ERROR, "no store takes this delivery; it stays in the spool's file"),
    "inbox.damaged": (
        logging.ERROR,
        "what a process has posted cannot be read or stored; it stays in its file",
    ),
    "schedule.fired": (logging.DEBUG, "a tick of a schedule is stored, by this daemon or by another one"),
    "schedule.late": (
        logging.WARNING,
        "ticks were stored, or begin, later than the schedule's lateness; how many, of which moment, why",
    ),
    "schedule.missed": (
        logging.WARNING,
        "ticks are left out: they were missed, as the schedule's missed says, or have waited in vain; how "
        "many, and why they have",
    ),
    "schedule.skipped": (
        logging.INFO,
        "a tick was left out: a task of an earlier one is not finished, and overlap is skip",
    ),
    "schedule.refused": (
        logging.ERROR,
        "a tick cannot be stored: the task does not take the schedule's arguments, or a rule of the store",
    ),
    "clock.stepped": (
        logging.WARNING,
        "the machine's clock was set by so many seconds; the queue's time goes on as it was",
    ),
    "clock.followed": (
        logging.WARNING,
        "the clock has stayed ahead for ten minutes; the queue's time follows it by so many seconds",
    ),
    "lease.lost": (logging.ERROR, "this daemon could not renew its lease; it claims nothing"),
    "lease.regained": (logging.INFO, "the lease is renewed again"),
    "feed.reopened": (logging.INFO, "the wake-up feed was opened again; a full claim pass follows"),
    "store.failed": (logging.ERROR, "the store did not answer"),
    "store.recovered": (logging.INFO, "the store answers again"),
    "store.moved": (
        logging.ERROR,
        "the embedded store's files are not at their path any more: nothing new is acknowledged",
    ),
    "store.altered": (
        logging.ERROR,
        "a collection or index of MongoDB was dropped or changed by somebody else; work may be lost",
    ),
    "store.warned": (logging.WARNING, "something in the database works and is probably not meant so"),
    "store.restored": (logging.WARNING, "what was missing of the store is back, or was made anew"),
    "store.low_on_space": (logging.ERROR, "less than min_free is free: new work is refused with 503"),
    "store.has_space": (logging.INFO, "there is room again; new work is taken"),
    "store.reserve_made": (logging.INFO, "room was set aside for a full disk"),
    "store.reserve_spent": (logging.ERROR, "the disk is full; the reserve was given up to record ends"),
    "store.reserve_missing": (logging.WARNING, "no room could be set aside for a full disk"),
}


class _Hearing(dict[str, tuple[Listener, ...]]):
    """Who hears each fact, found once: most facts of a busy daemon are below the level of its log."""

    def __missing__(self, fact: str) -> tuple[Listener, ...]:
        number = FACTS[fact][0] if fact in FACTS else logging.CRITICAL
        self[fact] = tuple(listener for listener, level in _listeners if number >= level)
        return self[fact]


_listeners: list[tuple[Listener, int]] = []
_hearing = _Hearing()
counted: Counter[str] = Counter()


def emit(fact: str, **fields: Any) -> None:
    """Tell every listener that *fact* happened. Never raises, never blocks on purpose."""
    counted[fact] += 1
    for listener in _hearing[fact]:
        try:
            listener(fact, fields)
        except Exception as error:  # noqa: BLE001 - a broken listener must not break the work it watches
            print(f"monqbus: listener failed on {fact}: {error!r}", file=sys.__stderr__)


class ToldOnce:
    """Keeps what was told of until it is over, so that each fact is told once: by what it is *about*."""

    def __init__(self) -> None:
        self._about: set[Hashable] = set()

    def __contains__(self, about: Hashable) -> bool:
        return about in self._about

    def begins(self, about: Hashable = "") -> bool:
        """Whether that is news."""
        is_news = about not in self._about
        self._about.add(about)
        return is_news

    def ends(self, about: Hashable = "") -> bool:
        """Whether it had begun: then its end is news."""
        has_begun = about in self._about
        self._about.discard(about)
        return has_begun

    def now(self, abouts: Collection[About]) -> list[About]:
        """Those of *abouts* that are news, in their order; all others are over."""
        news = [about for about in abouts if about not in self._about]
        self._about = set(abouts)
        return news


def listen(listener: Listener, level: int = logging.NOTSET) -> Callable[[], None]:
    """Add *listener*, who hears facts of *level* and above; the returned function takes it away again."""
    _listeners.append((listener, level))
    _hearing.clear()

    def undo() -> None:
        _listeners.remove((listener, level))
        _hearing.clear()

    return undo
