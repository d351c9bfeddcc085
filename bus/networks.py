"""Addresses and networks of IP, as strangers and operators write them. Pure.

An IPv4 address that is mapped into IPv6 (``::ffff:10.0.0.1``, RFC 4291 section 2.5.5.2) is the IPv4 address:
a socket that listens on both families gives one for every IPv4 client.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

LONGEST: Final = 64
"""Characters of an address with its zone; a longer text is none."""
_MAPPED: Final = IPv6Network("::ffff:0:0/96")


def address(text: str) -> Address | None:
    """The address that *text* is, without its zone (``%eth0``); None when it is none. Never raises."""
    return _address(text) if len(text) <= LONGEST else None


@lru_cache(maxsize=1024)
def _address(text: str) -> Address | None:
    try:
        found = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def network(text: str) -> Network:
    """The network that *text* is; one address is a network of its own. Raises ValueError."""
    if "%" in text:
        raise ValueError("a network has no zone")
    found = ip_network(text)
    if isinstance(found, IPv6Network) and found.subnet_of(_MAPPED):
        mapped = found.network_address.ipv4_mapped
        return IPv4Network((mapped or 0, found.prefixlen - _MAPPED.prefixlen))
    return found


def is_within(one: Address | None, networks: Iterable[Network]) -> bool:
    """Whether *one* lies in any of *networks*; no address lies nowhere."""
    return one is not None and any(one in network for network in networks)
