"""Builds the parts of a daemon from its configuration, each when it is first asked for.

Building a part starts nothing, but that the store and the spool are opened, and addresses bound: when that
happens, and what is started and stopped in which order, stands in `service_list`.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from gevent.event import Event

from ..access.gate import Route
from ..access.recognition import METRICS_PATH
from ..access.roles import Role
from ..api.access import AccessApi
from ..api.routes import api_routes, create_api
from ..api.server import Api
from ..apps import registry
from ..config import CONTROL_SOCKET
from ..errors import StoreError
from ..http import AccessLog, ControlSocket, Limits, Queue, Server
from ..metrics import CountedUrls, metrics_endpoint
from ..process import activation
from ..regex import searching
from ..webhook.admission import Admission
from ..webhook.delivery_log import DeliveryLog, Extent
from ..webhook.endings import Endings
from ..webhook.streams import Streams
from . import addresses
from .addresses import Addresses
from .desk_parts import DeskParts
from .gauges import Gauges
from .queue_parts import QueueParts
from .url_maps import public_urls

WAITING_SHARE: Final = 4
"""Every so many-th connection at most waits for the ends of tasks."""
STREAMING_SHARE: Final = 8
"""Every so many-th connection at most is shown what tasks print."""
ADMIN_CONNECTIONS: Final = 32


class Parts(QueueParts):
    """What one daemon consists of: all that works on the queue, and the listeners."""

    # the listeners; each of the first two binds its address when it is asked for

    @cached_property
    def control_socket(self) -> ControlSocket:
        """Raises ConfigError when the path cannot be had."""
        return ControlSocket(self._control_path, self.addresses.control)

    @cached_property
    def addresses(self) -> Addresses:
        """The listening sockets: bound now, or passed on. Raises ConfigError when one cannot be had."""
        return addresses.take(activation.passed(), self.config.http.listen, self._control_path)

    @property
    def _control_path(self) -> Path:
        return self.config.monqbus.data_dir / CONTROL_SOCKET

    @cached_property
    def delivery_log(self) -> DeliveryLog:
        """Records deliveries that store nothing."""
        settings, http = self.config.monqbus, self.config.http
        extent = Extent(
            settings.delivery_log,
            settings.delivery_log_size,
            timedelta(seconds=settings.keep_deliveries),
            http.log_refused_bodies,
            searching(http.redact) if http.redact else lambda _: False,
        )
        return DeliveryLog(self.store.log_deliveries, self.clock, extent)

    @cached_property
    def public(self) -> Server:
        """The server of the public listener, not started yet."""
        http = self.config.http
        urls = public_urls(
            hooks=lambda: self.config.hooks,
            publish=self.readiness.observed(self.office.deliver),
            publish_all=self.readiness.observed(self.office.deliver_all),
            ready=self.readiness.complaint,
            remark=self.readiness.remark,
            clock=self.clock,
            max_body=http.max_body,
            log=self.delivery_log,
            admission=Admission(http.max_inflight, lambda: self.queue_depth.is_full),
            trusted_proxies=http.trusted_proxies,
            endings=self.endings,
            streams=self.streams,
        )
        if self.counts is not None:
            urls = CountedUrls(urls, self.counts)
        return Server(
            self.addresses.public,
            urls,
            Limits.of(http),
            removes=self.addresses.files,
            tls=None if self.certificate is None else self.certificate.tls,
            access_log=AccessLog(http.trusted_proxies) if http.access_log else None,
        )

    @cached_property
    def endings(self) -> Endings:
        """Lets answers wait for the ends of tasks: at a share of the connections, others need some, too."""
        most = max(1, self.config.http.connections // WAITING_SHARE)
        return Endings(self.store.find, self.clock, most, Event)

    @cached_property
    def streams(self) -> Streams:
        """Shows what tasks print, to a share of the connections as well."""
        most = max(1, self.config.http.connections // STREAMING_SHARE)
        return Streams(self.store.find, self.clock, most, Event)

    def leave(self) -> None:
        """Let every answer be its connection's last, and none wait any longer. Never blocks."""
        self.public.leave()
        self.endings.close()
        self.streams.close()

    @cached_property
    def admin_addresses(self) -> Addresses:
        """The listening sockets of operators, none by default. Raises ConfigError when one cannot be had."""
        return addresses.bind(self.config.admin.listen, "[admin] listen")

    @cached_property
    def admin_server(self) -> Server | None:
        """The server of the operators' listener, not started yet; None where there is none."""
        if self.counts is None:
            return None
        metrics = metrics_endpoint(self.counts, Gauges(self, self.counts), Queue().step_back)
        routes = [Route("GET", METRICS_PATH, Role.METRICS, metrics, is_page=False)]
        pages = [] if self.desk is None else self.desk.routes()
        urls = self.access.gate([*routes, *api_routes(*self._api), *pages])
        taken = self.admin_addresses
        return Server(taken.public, urls, Limits(connections=ADMIN_CONNECTIONS), removes=taken.files)

    @cached_property
    def desk(self) -> DeskParts | None:
        """The pages of the operators' listener; None where there is none."""
        if self.counts is None:
            return None
        return DeskParts(self, self.counts, self.access.audit, self.control.is_stopping)

    def serve_api(self) -> None:
        """Answer on the control socket. Never blocks."""
        self.control_socket.serve(create_api(*self._api))

    @cached_property
    def _api(self) -> tuple[Api, AccessApi]:
        """What is answered there and to the visitors of the operators' listener."""
        api = Api(
            self.admin,
            self.office,
            registry.registry,
            self.clock,
            status=self.readiness.describe,
            catch_up=self.collector.collect,
            operations=self.operations,
            hooks=lambda: self.config.hooks,
            workers=self._workers,
        )
        return api, AccessApi(self.access.accounts, self.access.audit)

    def _workers(self) -> Mapping[str, Any]:
        """The slots of each lane, what runs in them, what was ready by name at the last look; all daemons."""
        now = self.clock.monotonic()
        running = [
            {"id": run.task.id, "name": run.task.task_name, "seconds": round(now - run.started, 3)}
            for run in self.lanes.running
        ]
        lanes = {lane: {"slots": size, "taken": taken} for lane, (size, taken) in self.lanes.slots.items()}
        waiting = {name: one.depth for name, one in self.unknown_tasks.waiting.items()}
        others: list[str] = []
        with suppress(StoreError):
            others = [one.process for one in self.store.instances() if one.id != self.instance.id]
        title = self.instance.process
        daemons = sorted([title, *others])
        return {"title": title, "daemons": daemons, "lanes": lanes, "running": running, "waiting": waiting}
