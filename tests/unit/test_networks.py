"""Addresses and networks: IPv6, IPv4 mapped into it, and what strangers write in their place."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus import networks
from bus.http.origin import MOST_HOPS, client

PROXIES = tuple(map(ip_network, ("10.0.0.0/8", "2001:db8:1::/48", "127.0.0.1")))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::FFFF:c000:201", "192.0.2.1"),
        ("2001:DB8::1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("::192.0.2.1", "::c000:201"),
    ],
)
def test_an_address_is_the_same_however_it_is_written(text, expected):
    """One of IPv4 that came through a socket for both families is the one of IPv4."""
    assert ip_address(expected) == networks.address(text)


@pytest.mark.parametrize(
    "text",
    ["", "unknown", "192.0.2", "192.0.2.1.5", "192.0.2.01", "192.0.2.1/24", "0x7f.1", "2130706433", "١.١.١.١",
     "192.0.2.1\x00", "[::1]", "192.0.2.1:80", "::1" + "0" * 80, "1" * 100_000],
)  # fmt: skip
def test_what_is_no_address_is_none(text):
    assert networks.address(text) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("192.0.2.1", "192.0.2.1/32"),
        ("2001:db8::1", "2001:db8::1/128"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("::ffff:192.0.2.1", "192.0.2.1/32"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
        ("::/0", "::/0"),
    ],
)
def test_a_network_is_what_its_addresses_are_compared_with(text, expected):
    """A single address of IPv6 is itself and no /32 of it; a mapped network is one of IPv4."""
    assert ip_network(expected) == networks.network(text)


@pytest.mark.parametrize(
    "text", ["10.0.0.1/8", "10.0.0.0/33", "::1/129", "fe80::%1/64", "home", "", "10.0.0.0/-1"]
)
def test_what_is_no_network_is_refused(text):
    with pytest.raises(ValueError):
        networks.network(text)


def asked(peer: str | None, forwarded: str | None = None, trusted=PROXIES) -> str:
    environ = {} if peer is None else {"REMOTE_ADDR": peer}
    if forwarded is not None:
        environ["HTTP_X_FORWARDED_FOR"] = forwarded
    return str(client(environ, trusted))


CLIENTS = [
    ("192.0.2.1", None, "192.0.2.1"),
    ("192.0.2.1", "198.51.100.7", "192.0.2.1"),
    ("10.0.0.1", None, "10.0.0.1"),
    ("10.0.0.1", "198.51.100.7", "198.51.100.7"),
    ("::ffff:10.0.0.1", "198.51.100.7", "198.51.100.7"),
    ("10.0.0.1", "198.51.100.7, 10.9.9.9", "198.51.100.7"),
    ("10.0.0.1", "203.0.113.9, 198.51.100.7, 10.9.9.9", "198.51.100.7"),
    ("10.0.0.1", "10.1.1.1,10.2.2.2", "10.1.1.1"),
    ("2001:db8:1::5", "2001:db8:2::1", "2001:db8:2::1"),
    ("2001:db8:2::5", "2001:db8:1::1", "2001:db8:2::5"),
    ("10.0.0.1", "[2001:db8:2::1]:4711", "2001:db8:2::1"),
    ("10.0.0.1", "[2001:db8:2::1]", "2001:db8:2::1"),
    ("10.0.0.1", "198.51.100.7:4711", "198.51.100.7"),
    ("10.0.0.1", "::ffff:198.51.100.7", "198.51.100.7"),
    ("10.0.0.1", "unknown", "None"),
    ("10.0.0.1", "", "None"),
    ("10.0.0.1", "198.51.100.7,", "None"),
    ("10.0.0.1", "198.51.100.7, _hidden", "None"),
    ("10.0.0.1", "198.51.100.7, ::ffff:10.1.1.1", "198.51.100.7"),
    ("", "198.51.100.7", "None"),
]


@pytest.mark.parametrize(("peer", "forwarded", "expected"), CLIENTS)
def test_only_trusted_proxies_say_for_which_client_they_ask(peer, forwarded, expected):
    """Read from the end: the first that is no proxy of ours. What cannot be understood is nobody."""
    assert expected == asked(peer, forwarded)


def test_without_trusted_proxies_the_header_is_never_read():
    """Neither from this machine: whoever reaches the listener could write it."""
    assert "127.0.0.1" == asked("127.0.0.1", "198.51.100.7", ())


@pytest.mark.parametrize("trusted", [(), PROXIES])
def test_who_comes_through_a_unix_socket_is_a_proxy(trusted):
    """Only our user and group may write to its file; it has no address of its own."""
    assert "198.51.100.7" == asked(None, "203.0.113.9, 198.51.100.7", trusted)
    assert "None" == asked(None, None, trusted)


def test_of_a_long_header_the_last_hops_are_looked_at():
    """A client may write as much in front as it likes: it is neither parsed nor believed."""
    assert "198.51.100.7" == asked("10.0.0.1", "10.0.0.9," * 5000 + "198.51.100.7")
    assert "10.0.0.9" == asked("10.0.0.1", "198.51.100.7" + ",10.0.0.9" * MOST_HOPS)


@given(
    peer=st.sampled_from(["10.0.0.1", "192.0.2.1", "::1", "x"]) | st.text(max_size=20),
    forwarded=st.text(max_size=80),
)
def test_no_header_makes_it_raise(peer, forwarded):
    """It is a stranger's text."""
    asked(peer, forwarded)
    asked("10.0.0.1", forwarded)
