"""Whether a request comes from this machine, and not through a proxy on it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import IPv6Address, ip_address
from typing import Any, Final

FORWARDED: Final = re.compile(
    r"HTTP_(FORWARDED|X_FORWARDED_.*|X_REAL_IP|X_CLIENT_IP|TRUE_CLIENT_IP|CF_CONNECTING_IP|VIA)"
)
"""Headers by which proxies say for whom they ask: RFC 7239, RFC 9110 section 7.6.3, and usage."""


def is_of_this_machine(environ: Mapping[str, Any]) -> bool:
    """True when peer and Host are loopback and no header says that somebody else asks.

    A page in a browser of this machine may ask for itself under its own name (DNS rebinding), and a proxy
    that keeps Host shows the public one; hence Host. A proxy that hides all of it is taken for this machine.
    """
    if any(FORWARDED.fullmatch(name) for name in environ):
        return False
    return _is_loopback(environ.get("REMOTE_ADDR", "")) and _is_local_name(environ.get("HTTP_HOST", ""))


def _is_local_name(host: str) -> bool:
    """*host* as in the header: a name or an address, the latter in brackets if IPv6, perhaps with a port."""
    name = re.sub(r":\d*$", "", host).strip("[]").lower()
    return name == "localhost" or _is_loopback(name)


def _is_loopback(text: str) -> bool:
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback
