"""Bounds how many connections one client address has open."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from ipaddress import ip_network
from typing import Any, Final

from .. import networks
from ..networks import Network
from ..telemetry import ToldOnce, emit

LOOPBACK: Final[tuple[Network, ...]] = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
HOUSEHOLD_BITS: Final = 64  # of an IPv6 address; the others are one customer's to choose freely


class ConnectionQuota:
    """Counts connections by address, IPv6 by /64: at most *most* each, any number when it is 0.

    From the *uncounted* networks everybody comes: they are proxies, and this machine.
    """

    def __init__(self, most: int, uncounted: Collection[Network]) -> None:
        self._most = most
        self._uncounted = tuple(uncounted)
        self._open: Counter[str] = Counter()
        self._told = ToldOnce()

    def is_full(self, who: str) -> bool:
        """Whether *who* has all connections that it may have."""
        return bool(who) and self._open[who] >= self._most

    def enter(self, who: str) -> bool:
        """Count one more connection of *who*; False, and nothing counted, when it has all it may have."""
        if not who:
            return True
        if self._open[who] >= self._most:
            if self._told.begins(who):
                emit("connections.limited", address=who, open=self._open[who])
            return False
        self._open[who] += 1
        return True

    def leave(self, who: str) -> None:
        """A connection that `enter` let in is closed."""
        if not who:
            return
        self._open[who] -= 1
        if not self._open[who]:
            del self._open[who]
            self._told.ends(who)

    def size(self, who: str) -> int:
        """How many connections *who* has open; who is not counted stands for itself alone."""
        return self._open.get(who, 1)

    def who(self, address: Any) -> str:
        """The name under which a connection from the socket's *address* is counted; "": it is not."""
        if not self._most or not isinstance(address, tuple):
            return ""
        ip = networks.address(address[0])
        if ip is None or networks.is_within(ip, self._uncounted):
            return ""
        return str(ip_network((ip, HOUSEHOLD_BITS), strict=False)) if ip.version == 6 else str(ip)
