"""Where a request comes from: whether from this machine, and for which client a proxy asks."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, Final

from .. import networks
from ..networks import Address, Network

FORWARDED: Final = re.compile(
    r"HTTP_(FORWARDED|X_FORWARDED_.*|X_REAL_IP|X_CLIENT_IP|TRUE_CLIENT_IP|CF_CONNECTING_IP|VIA)"
)
"""Headers by which proxies say for whom they ask: RFC 7239, RFC 9110 section 7.6.3, and usage."""

MOST_HOPS: Final = 32
"""Of X-Forwarded-For; those before the last ones are not looked at."""
_BRACKETED: Final = re.compile(r"\[([^\[\]]*)\](?::[0-9]{1,5})?")


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
    found = networks.address(text)
    return found is not None and found.is_loopback


def client(environ: Mapping[str, Any], trusted: Collection[Network]) -> Address | None:
    """The address of the client: the peer's, or the one for which *trusted* proxies say that they ask.

    X-Forwarded-For is read from its end, where each proxy writes the address that asked it: the first that is
    no proxy of ours is the client, and what stands before it is the client's own claim. From any other peer
    the header is not read at all. Whoever comes through a Unix socket has no address and may write to its
    file, as only our user and group may: it is a proxy. None where a proxy says no address that can be
    understood.
    """
    own: str | None = environ.get("REMOTE_ADDR")
    peer = networks.address(own or "")
    if own is not None and not networks.is_within(peer, trusted):
        return peer
    hops: str | None = environ.get("HTTP_X_FORWARDED_FOR")
    if hops is None:
        return peer
    found = None
    for hop in reversed(hops.rsplit(",", MOST_HOPS)[-MOST_HOPS:]):
        found = networks.address(_without_port(hop.strip()))
        if found is None or not networks.is_within(found, trusted):
            return found
    return found


def scheme(environ: Mapping[str, Any], trusted: Collection[Network]) -> str:
    """Whether the client has asked by http or https: what a *trusted* proxy says of it, else what came here.

    It says so in X-Forwarded-Proto. Of several words the last is that of the nearest proxy. A Unix socket's
    peer is one; see `client`.
    """
    seen: str = environ["wsgi.url_scheme"]
    said: str | None = environ.get("HTTP_X_FORWARDED_PROTO")
    if said is None:
        return seen
    own: str | None = environ.get("REMOTE_ADDR")
    word = said.rpartition(",")[2].strip().lower()
    is_proxy = own is None or networks.is_within(networks.address(own), trusted)
    return word if is_proxy and word in ("http", "https") else seen


def _without_port(hop: str) -> str:
    """An address as proxies write it: with a port behind it, one of IPv6 in brackets then."""
    if match := _BRACKETED.fullmatch(hop):
        return match[1]
    return hop.partition(":")[0] if hop.count(":") == 1 else hop
