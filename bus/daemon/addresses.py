"""Decides what the daemon listens on: sockets that a service manager has passed on, or its own."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from ..config.value_types import Listen, host_port, listen_text
from ..errors import ConfigError
from ..http import addresses_of, adopt, listen_tcp, listen_unix
from ..process.activation import Passed
from ..telemetry import emit

SETTING: Final = "[http] listen"
OTHERS: Final = 0o077
OF_GROUP: Final = 0o660
"""The mode of a public Unix socket: a proxy has another user, and is put into our group."""


class Addresses(NamedTuple):
    """The listening sockets of one daemon. *control* is None where none was passed on."""

    public: list[Any]
    control: Any | None
    files: Sequence[str] = ()
    """Of the Unix sockets among *public* those that this daemon has made, and will remove."""

    def close_public(self) -> None:
        """Close those of a daemon that has not come to serve on them."""
        for listener in self.public:
            listener.close()
        for name in self.files:
            Path(name).unlink(missing_ok=True)


def take(passed: Iterable[Passed], listen: Sequence[Listen], control_path: Path) -> Addresses:
    """Sort the sockets *passed* on; without one among them for the public, bind each of *listen*.

    A TCP socket must be at an address of *listen*, where port 0 stands for any, a Unix socket at a path of it
    or at *control_path*. May ask the DNS for a host's name. Raises ConfigError.
    """
    public: list[Any] = []
    control: list[Any] = []
    for one in passed:
        listener = adopt(one.number, f"LISTEN_FDS: descriptor {one.number} ({one.name})")
        if listener.family != socket.AF_UNIX:
            _check_public(listener, one, listen)
            public.append(listener)
        elif any(isinstance(path, Path) and _is_at(listener, path) for path in listen):
            public.append(listener)
        else:
            _check_control(listener, one, control_path)
            control.append(listener)
        emit("socket.passed", name=one.name, address=_said(listener.getsockname()))
    if len(control) > 1:
        raise ConfigError(
            f"LISTEN_FDS: expected one Unix socket at {control_path}, got {len(control)}; "
            "leave all but one ListenStream= out"
        )
    own = control[0] if control else None
    if public:
        return Addresses(public, own)
    return bind(listen, SETTING)._replace(control=own)


def bind(listen: Sequence[Listen], setting: str) -> Addresses:
    """A listening socket for each of *listen*. May ask the DNS; raises ConfigError naming *setting*."""
    return Addresses(_bound(listen, setting), None, [str(one) for one in listen if isinstance(one, Path)])


def _bound(listen: Sequence[Listen], setting: str) -> list[Any]:
    """A listener for each; none of them when one cannot be had."""
    made: list[Any] = []
    try:
        for one in listen:
            made.append(
                listen_unix(one, OF_GROUP) if isinstance(one, Path) else listen_tcp(*one, setting=setting)
            )
    except ConfigError:
        Addresses(
            made, None, [one.getsockname() for one in made if one.family == socket.AF_UNIX]
        ).close_public()
        raise
    return made


def _check_public(listener: Any, one: Passed, listen: Sequence[Listen]) -> None:
    host, port = listener.getsockname()[:2]
    hosts = [address for address in listen if not isinstance(address, Path)]
    wanted = set().union(*(addresses_of(*address, setting=SETTING) for address in hosts))
    if (host, port) not in wanted and (host, 0) not in wanted:
        raise ConfigError(
            f"LISTEN_FDS: descriptor {one.number} ({one.name}): expected a socket at {SETTING} = "
            f"{', '.join(map(listen_text, listen))}, got one at {host_port(host, port)}; write the "
            "same address into ListenStream= of the .socket unit and into the configuration"
        )


def _said(address: tuple[Any, ...] | str) -> str:
    return host_port(*address[:2]) if isinstance(address, tuple) else address


def _is_at(listener: Any, path: Path) -> bool:
    """Whether the file of a Unix socket is at *path*."""
    name = listener.getsockname()
    try:
        return Path(name).samefile(path) if isinstance(name, str) and name else False
    except OSError:
        return False


def _check_control(listener: Any, one: Passed, path: Path) -> None:
    if not _is_at(listener, path):
        raise ConfigError(
            f"LISTEN_FDS: descriptor {one.number} ({one.name}): expected a socket of {SETTING}, or the "
            f"control socket {path}, got the Unix socket {listener.getsockname()!r}; change "
            "ListenStream= of the .socket unit"
        )
    if mode := path.stat().st_mode & OTHERS:
        raise ConfigError(
            f"LISTEN_FDS: descriptor {one.number} ({one.name}): expected {path} to be its owner's alone, got "
            f"rights {mode:03o} of others; whoever can open it is the operator: write SocketMode=0600 into "
            "the .socket unit"
        )
