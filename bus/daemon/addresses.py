"""Decides what the daemon listens on: sockets that a service manager has passed on, or its own."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple

from ..config.value_types import host_port
from ..errors import ConfigError
from ..http import addresses_of, adopt, listen_tcp
from ..process.activation import Passed
from ..telemetry import emit

SETTING: Final = "[http] listen"
OTHERS: Final = 0o077


class Addresses(NamedTuple):
    """The listening sockets of one daemon. *control* is None where none was passed on."""

    public: list[Any]
    control: Any | None

    def close_public(self) -> None:
        """Close those of a daemon that has not come to serve on them."""
        for listener in self.public:
            listener.close()


def take(passed: Iterable[Passed], listen: tuple[str, int], control_path: Path) -> Addresses:
    """Sort the sockets *passed* on; without a TCP one among them, bind *listen*.

    A TCP socket must be at an address of *listen*, where port 0 stands for any; a Unix socket must be the
    one at *control_path*. May ask the DNS for a host's name. Raises ConfigError.
    """
    public: list[Any] = []
    control: list[Any] = []
    for one in passed:
        listener = adopt(one.number, f"LISTEN_FDS: descriptor {one.number} ({one.name})")
        if listener.family == socket.AF_UNIX:
            _check_control(listener, one, control_path)
            control.append(listener)
        else:
            _check_public(listener, one, listen)
            public.append(listener)
        emit("socket.passed", name=one.name, address=_said(listener.getsockname()))
    if len(control) > 1:
        raise ConfigError(
            f"LISTEN_FDS: expected one Unix socket at {control_path}, got {len(control)}; "
            "leave all but one ListenStream= out"
        )
    return Addresses(public or [listen_tcp(*listen)], control[0] if control else None)


def _check_public(listener: Any, one: Passed, listen: tuple[str, int]) -> None:
    host, port = listener.getsockname()[:2]
    wanted = addresses_of(*listen, setting=SETTING)
    if (host, port) not in wanted and (host, 0) not in wanted:
        raise ConfigError(
            f"LISTEN_FDS: descriptor {one.number} ({one.name}): expected a socket at {SETTING} = "
            f"{host_port(*listen)}, got one at {host_port(host, port)}; write the same address into "
            "ListenStream= of the .socket unit and into the configuration"
        )


def _said(address: tuple[Any, ...] | str) -> str:
    return host_port(*address[:2]) if isinstance(address, tuple) else address


def _check_control(listener: Any, one: Passed, path: Path) -> None:
    name = listener.getsockname()
    try:
        is_same = Path(name).samefile(path) if isinstance(name, str) and name else False
    except OSError:
        is_same = False
    if not is_same:
        raise ConfigError(
            f"LISTEN_FDS: descriptor {one.number} ({one.name}): expected a TCP socket, or the control socket "
            f"{path}, got the Unix socket {name!r}; change ListenStream= of the .socket unit"
        )
    if mode := path.stat().st_mode & OTHERS:
        raise ConfigError(
            f"LISTEN_FDS: descriptor {one.number} ({one.name}): expected {path} to be its owner's alone, got "
            f"rights {mode:03o} of others; whoever can open it is the operator: write SocketMode=0600 into "
            "the .socket unit"
        )
