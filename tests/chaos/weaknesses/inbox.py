"""Weaknesses of the inbox: one of the process that posts, one of the daemon that takes over."""

from __future__ import annotations

import threading

LATE_SECONDS = 0.3


def ack_before_write() -> None:
    """A posting is acknowledged at once and written a little later."""
    from bus.store.inbox.writer import InboxWriter

    append = InboxWriter.append

    def hasty(self: InboxWriter, payload: bytes) -> None:
        timer = threading.Timer(LATE_SECONDS, append, (self, payload))
        timer.daemon = True
        timer.start()

    InboxWriter.append = hasty


def taken_before_stored() -> None:
    """Records are marked as taken over at once and stored a little later."""
    import gevent

    from bus.maintenance.inbox_collector import Collector
    from bus.store.inbox.format import Record

    take_over = Collector._take_over

    def hasty(self: Collector, name: str, records: list[Record]) -> None:
        gevent.spawn_later(LATE_SECONDS, take_over, self, name, records)

    Collector._take_over = hasty
