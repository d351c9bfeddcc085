"""The services of a daemon: one line each, started in this order and stopped in reverse.

Native threads: the log's two, the watchdog, the timekeeper's for its file, and the embedded store's writer or
the heartbeat of a shared store. All others are greenlets.
"""

from __future__ import annotations

from typing import Final

import gevent

from ..apps.poster import bind
from ..engine.hub_thread import AnyThread
from ..engine.loop import Loop
from ..http import open_files, too_few_files
from ..log.refusals import PERIOD_SECONDS as REFUSALS_SECONDS
from ..process.systemd import SEND_SECONDS
from ..store import name_resolution
from ..telemetry import emit
from ..webhook.delivery_log import PERIOD_SECONDS as DELIVERY_LOG_SECONDS
from .build import Parts
from .doors import Door
from .signals import LOOK_SECONDS as BELONGINGS_SECONDS
from .signals import Belongings
from .startup import Entry, Step

HEARING_SECONDS: Final = 0.1
DOORS_SECONDS: Final = 5.0


def _store(parts: Parts) -> Step:
    resolved = parts.store.hosts
    return Step(lambda: name_resolution.install(gevent.get_hub(), resolved), parts.close_store)


def _spool(parts: Parts) -> Step | None:
    return None if parts.spool is None else Step(stop=parts.spool.close)


def _clock(parts: Parts) -> Step:
    parts.clock.now()  # asks the store what waits, before anything is posted
    return Step()


def _pauses(parts: Parts) -> Step:
    parts.pause_monitor.look()  # before anything is posted, which could begin at once
    return Step.loop(parts.pause_monitor.loop)


def _output(parts: Parts) -> Step:
    return Step(parts.capture.start, parts.capture.stop)


def _posting(parts: Parts) -> Step:
    poster = AnyThread(parts.office, parts.hub_thread)
    return Step(lambda: bind(poster), lambda: bind(None))


def _heartbeat(parts: Parts) -> Step | None:
    if not parts.store.shared:
        return None
    heartbeat = parts.heartbeat
    return Step(heartbeat.start, heartbeat.stop, lambda: (heartbeat.health, heartbeat.loop.health))


def _spooler(parts: Parts) -> Step | None:
    # handing over may be broken off anywhere: the next start does it again
    return None if parts.spooler is None else Step.hasty(parts.spooler.loop, HEARING_SECONDS)


def _spool_monitor(parts: Parts) -> Step | None:
    return None if parts.spooler is None else Step.loop(parts.spooler.store_monitor.loop)


def _collector(parts: Parts) -> Step:
    # on a shared store too: a process that has connected before the move to it posts on into the inbox
    collector = parts.collector

    def stop() -> None:
        collector.loop.stop(HEARING_SECONDS)  # what it would still take over, the next start does
        collector.close()

    return Step.of(collector.loop, stop)


def _lanes(parts: Parts) -> Step:
    lanes = parts.lanes
    return Step(lanes.start_claiming, lanes.stop, lambda: lanes.records)


def _listener(parts: Parts) -> Step | None:
    # it listens for seconds at a time; what it would still hear is of no use any more
    return Step.hasty(parts.listener.loop, HEARING_SECONDS) if parts.store.shared else None


def _certificate(parts: Parts) -> Step | None:
    return None if parts.certificate is None else Step.loop(parts.certificate.loop)


def _supervisor(parts: Parts) -> Step:
    return Step.loop(Loop("supervisor", parts.service_manager.beat, SEND_SECONDS, parts.clock))


def _belongings(parts: Parts) -> Step:
    return Step.loop(Loop("belongings", Belongings(parts.signals).tick, BELONGINGS_SECONDS, parts.clock))


def _refusals(parts: Parts) -> Step:
    return Step.loop(Loop("refusals", parts.log.refusals.tick, REFUSALS_SECONDS, parts.clock))


def _delivery_log(parts: Parts) -> Step:
    log = parts.delivery_log
    loop = Loop("delivery log", log.tick, DELIVERY_LOG_SECONDS, parts.clock)

    def stop() -> None:
        loop.stop()
        log.flush()

    return Step(loop.start, stop, lambda: (loop.health,), loop.retire)


def _api(parts: Parts) -> Step:
    socket = parts.control_socket
    door = Door("control socket", lambda: socket.server, mends=True)  # the doorkeeper
    return Step(parts.serve_api, socket.stop, lambda: (door.health,))


def _public(parts: Parts) -> Step:
    def start() -> None:
        if remedy := too_few_files(parts.config.http.connections):
            emit("files.limited", most=open_files(), remedy=remedy)
        parts.public.start()

    door = Door("public listener", lambda: parts.public)
    return Step(start, parts.public.stop, lambda: (door.health,))


def _counting(parts: Parts) -> Step | None:
    return None if parts.counts is None else Step.listening(parts.counts)


def _admin_listener(parts: Parts) -> Step | None:
    server = parts.admin_server
    if server is None:
        return None
    door = Door("admin listener", lambda: server)
    return Step(server.start, server.stop, lambda: (door.health,))


def _history(parts: Parts) -> Step | None:
    return None if parts.desk is None else Step.loop(parts.desk.loop)


def _doorkeeper(parts: Parts) -> Step:
    return Step.of(Loop("doorkeeper", parts.control_socket.look, DOORS_SECONDS, parts.clock))


SERVICES: Final[tuple[Entry[Parts], ...]] = (
    # the process, before the apps are imported, which may do anything that handlers may do
    Entry("calls of native threads", lambda parts: Step(stop=parts.hub_thread.close)),
    Entry("logging locks", lambda parts: Step(parts.logging_locks.start, parts.logging_locks.stop)),
    Entry("fork guard", lambda parts: Step(parts.fork_guard.start, parts.fork_guard.stop)),
    Entry("log", lambda parts: Step.of(parts.log)),
    Entry("service manager", lambda parts: Step.listening(parts.service_manager)),
    Entry("counting", _counting),
    Entry("apps", lambda parts: Step(parts.load_apps)),
    Entry("store", _store),
    Entry("spool", _spool),
    Entry("clock", _clock),
    # addresses are taken before any task begins: a port in use must not cost a task its run
    Entry("public address", lambda parts: Step(stop=parts.addresses.close_public)),
    Entry("control address", lambda parts: Step(stop=parts.control_socket.stop)),
    Entry("admin address", lambda parts: Step(stop=parts.admin_addresses.close_public)),
    Entry("cpu workers", lambda parts: Step(parts.start_cpu_workers, parts.stop_cpu_workers)),
    # before anything is claimed: until then a signal may simply end the process
    Entry("signals", lambda parts: Step(parts.signals.start, parts.signals.stop)),
    Entry("output", _output),
    Entry("pauses", _pauses),
    Entry("posting", _posting),
    Entry("watchdog", lambda parts: Step.of(parts.watchdog)),
    Entry("heartbeat", _heartbeat),
    Entry("clock mark", lambda parts: Step(stop=parts.timekeeper.save)),
    Entry("spooler", _spooler),
    Entry("timekeeper", lambda parts: Step.loop(parts.timekeeper.loop)),
    Entry("store monitor", lambda parts: Step.loop(parts.store_monitor.loop)),
    Entry("recorder", lambda parts: Step.of(parts.recorder.loop)),
    Entry("rescuer", lambda parts: Step.loop(parts.rescuer.loop)),
    Entry("pruner", lambda parts: Step.loop(parts.pruner.loop)),
    Entry("reconciler", lambda parts: Step.loop(parts.reconciler.loop)),
    Entry("unknown tasks", lambda parts: Step.loop(parts.unknown_tasks.loop)),
    Entry("program monitor", lambda parts: Step.loop(parts.program_monitor.loop)),
    Entry("certificate", _certificate),
    Entry("queue depth", lambda parts: Step.loop(parts.queue_depth.loop)),
    Entry("supervisor", _supervisor),
    Entry("belongings", _belongings),
    Entry("refusals", _refusals),
    Entry("spool monitor", _spool_monitor),
    Entry("posted tasks, counted", lambda parts: Step.listening(parts.queue_depth)),
    Entry("posted tasks, unknown", lambda parts: Step.listening(parts.unknown_tasks)),
    Entry("breakers", lambda parts: Step.loop(parts.breakers.loop)),
    Entry("lanes", _lanes),
    Entry("listener", _listener),
    Entry("scheduler", lambda parts: Step.loop(parts.scheduler.loop)),
    Entry("collector", _collector),
    # connections are accepted last of all: what comes in can be stored and run
    Entry("delivery log", _delivery_log),
    Entry("control socket", _api),
    Entry("public listener", _public),
    Entry("history", _history),
    Entry("admin listener", _admin_listener),
    Entry("doorkeeper", _doorkeeper),
    Entry("reloader", lambda parts: Step.of(parts.reloader.loop)),
)
