"""Weaknesses of taking deliveries in, on any store."""

from __future__ import annotations

import gevent

from bus.errors import StoreError
from bus.model import Event, Receipt
from bus.posting import PostOffice

LATE_SECONDS = 0.3

_deliver = PostOffice.deliver


def ack_before_store() -> None:
    """A delivery is acknowledged at once and stored a little later."""

    def hasty(self: PostOffice, event: Event) -> Receipt:
        gevent.spawn_later(LATE_SECONDS, _deliver, self, event)
        return Receipt([], event.id)

    PostOffice.deliver = hasty


def ack_what_was_not_stored() -> None:
    """A delivery that the store could not take is acknowledged all the same."""

    def careless(self: PostOffice, event: Event) -> Receipt:
        try:
            return _deliver(self, event)
        except StoreError:
            return Receipt([], event.id)

    PostOffice.deliver = careless
