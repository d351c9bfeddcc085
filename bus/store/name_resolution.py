"""Resolves host names in native threads that handlers cannot occupy.

gevent does it in the ten threads of its hub, the same that handlers are told to use for what blocks:
while they are taken no address is found, 127.0.0.1 neither, and a store that is back stays away.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Final

from gevent.resolver import thread
from gevent.threadpool import ThreadPool

OWN_THREADS: Final = 8
OTHER_THREADS: Final = 32


class Resolver(thread.Resolver):  # type: ignore[misc]  # gevent has no type hints
    """gevent's resolver on two pools of its own: one for *hosts*, and one for everybody else's names.

    A name server that does not answer keeps a thread for half a minute.
    """

    def __init__(self, hub: Any, hosts: Callable[[], Collection[str]]) -> None:
        super().__init__(hub)
        self._hosts = hosts
        self._own = ThreadPool(OWN_THREADS, hub)
        self.pool = ThreadPool(OTHER_THREADS, hub)

    def getaddrinfo(self, host: Any, *args: Any, **kwargs: Any) -> Any:
        """As socket.getaddrinfo; blocks the calling greenlet."""
        if host in self._hosts():
            return self._own.apply(thread._socket.getaddrinfo, (host, *args), kwargs)
        return super().getaddrinfo(host, *args, **kwargs)


def install(hub: Any, hosts: Callable[[], Collection[str]]) -> None:
    """Let *hub* look names up this way, those of *hosts* first of all.

    One that GEVENT_RESOLVER names is left alone: it needs no threads.
    """
    if type(hub.resolver) is thread.Resolver:
        hub.resolver = Resolver(hub, hosts)
