"""The URL maps of a daemon's listeners: the public one here, those of operators in `api.routes`.

Every path of the public listener stands in this file; `api.routes.ROUTES` are those of the control socket.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

from ..clock import Clock
from ..http.health_endpoints import healthz, readyz
from ..http.url_map import UrlMap
from ..model import Event, Receipt
from ..networks import Network
from ..webhook.admission import Admission
from ..webhook.delivery import Receiver
from ..webhook.delivery_log import DeliveryLog, Extent
from ..webhook.endings import Endings
from ..webhook.endpoint import deliveries, meant
from ..webhook.streams import Streams

if TYPE_CHECKING:
    from ..webhook.endpoint import Hooks


def public_urls(
    *,
    hooks: Hooks,
    publish: Callable[[Event], Receipt],
    ready: Callable[[], str | None],
    clock: Clock,
    max_body: int,
    admission: Admission | None = None,
    remark: Callable[[], str | None] = lambda: None,
    trusted_proxies: Collection[Network] = (),
    publish_all: Callable[[Sequence[Event]], list[Receipt]] | None = None,
    endings: Endings | None = None,
    log: DeliveryLog | None = None,
    streams: Streams | None = None,
) -> UrlMap:
    """The public listener's.

    *hooks* gives the present hooks by name and is asked for each delivery, so that a reload swaps
    them between two. *ready* gives the reason why no delivery should be sent here, or None; *remark* what is
    worth saying although they may come. *admission* turns deliveries away when there are too many of them.
    *trusted_proxies* say for which client they ask. *publish_all* stores the events of a batch in one write.
    *log* records deliveries that store nothing. *endings* lets answers wait for the ends of tasks, *streams*
    shows what tasks print. Errors that nobody expected propagate to the server: it logs them and answers 500.
    """
    log = log or DeliveryLog(lambda *_: None, clock, Extent())
    receiver = Receiver(
        publish,
        clock,
        max_body,
        admission or Admission(),
        log,
        trusted_proxies=trusted_proxies,
        publish_all=publish_all,
        streams=streams,
    )
    return UrlMap(
        {
            "/hooks/NAME": deliveries(hooks, receiver, log, endings),
            "/healthz": healthz,
            "/readyz": readyz(ready, clock, remark),
        },
        hint=lambda path: meant(path, hooks()),
    )
