"""Opens listening sockets, and takes over those that were opened before."""

from __future__ import annotations

import errno
import os
import socket as plain
import stat
from collections.abc import Iterable
from enum import IntEnum
from pathlib import Path
from typing import Any

from gevent import socket

from ..errors import ConfigError, UnusableForNow

BACKLOG = 1024
_ACTIVATION_REMEDY = "set ListenStream= in the .socket unit, and nothing else that listens"


def listen_tcp(host: str, port: int, *, setting: str = "[http] listen") -> Any:
    """A listening TCP socket; port 0 takes any free one. Raises UnusableForNow naming *setting*:
    at a boot the address or the name may come later, and a port becomes free.

    TCP_NODELAY is inherited by every accepted connection: without it an answer can wait 40 ms for
    the client's delayed acknowledgement.
    """
    family, _, _, _, address = _resolved(host, port, setting)[0]
    try:
        listener = _new(family)
    except OSError as error:
        raise UnusableForNow(_unusable(host, port, setting, error)) from error
    try:
        listener.setsockopt(plain.SOL_SOCKET, plain.SO_REUSEADDR, 1)
        listener.setsockopt(plain.IPPROTO_TCP, plain.TCP_NODELAY, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise UnusableForNow(f"{setting}: cannot listen on {host}:{port}: {_remedy(error, port)}") from error
    return listener


def listen_unix(path: str | Path, mode: int = 0o600) -> Any:
    """A listening Unix socket of *mode*. Raises ConfigError.

    A socket file that a dead process left behind is replaced, one that answers is not.
    """
    path = Path(path)
    _remove_stale(path)
    listener = _new(plain.AF_UNIX)
    try:
        # the file gets it from the socket: its name may lead elsewhere soon
        os.fchmod(listener.fileno(), mode)
        masked = os.umask(0o777 & ~mode)
        try:
            listener.bind(str(path))
        finally:
            os.umask(masked)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise UnusableForNow(f"socket {path}: cannot listen: {error.strerror or error}") from error
    return listener


def adopt(number: int, title: str) -> Any:
    """The listening socket of descriptor *number*, TCP or Unix. Raises ConfigError naming it by *title*."""
    expected = f"{title}: expected a listening TCP or Unix socket"
    try:
        found = socket.socket(fileno=number)
    except OSError as error:
        raise ConfigError(f"{expected}, got: {error.strerror}; {_ACTIVATION_REMEDY}") from error
    if found.family not in (plain.AF_INET, plain.AF_INET6, plain.AF_UNIX):
        raise ConfigError(
            f"{expected}, got an {_named(plain.AddressFamily, found.family)} one; {_ACTIVATION_REMEDY}"
        )
    if found.type != plain.SOCK_STREAM:
        raise ConfigError(
            f"{expected}, got a {_named(plain.SocketKind, found.type)} one; {_ACTIVATION_REMEDY}"
        )
    if not found.getsockopt(plain.SOL_SOCKET, plain.SO_ACCEPTCONN):
        raise ConfigError(f"{expected}, got one that does not listen; set Accept=no in the .socket unit")
    if found.family != plain.AF_UNIX:
        found.setsockopt(plain.IPPROTO_TCP, plain.TCP_NODELAY, 1)
    found.settimeout(None)
    return found


def _named(kinds: Iterable[IntEnum], number: int) -> str:
    return next((kind.name for kind in kinds if kind == number), str(number))


def addresses_of(host: str, port: int, *, setting: str) -> set[tuple[Any, ...]]:
    """Every address and port that *host* and *port* stand for. Raises UnusableForNow naming *setting*."""
    return {address[:2] for *_, address in _resolved(host, port, setting)}


def _resolved(host: str, port: int, setting: str) -> list[tuple[Any, ...]]:
    try:
        return list(socket.getaddrinfo(host, port, type=plain.SOCK_STREAM, flags=plain.AI_PASSIVE))
    except OSError as error:
        raise UnusableForNow(_unusable(host, port, setting, error)) from error


def _unusable(host: str, port: int, setting: str, error: OSError) -> str:
    return f"{setting}: cannot use {host}:{port}: {error.strerror or error}"


def _new(family: int) -> Any:
    """A stream socket that waits for as long as it takes, whatever an app has made the default."""
    made = socket.socket(family, plain.SOCK_STREAM)
    made.settimeout(None)
    return made


def _remedy(error: OSError, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"the port is in use; stop who has it (ss -ltnp 'sport = :{port}') or choose another one"
    if error.errno == errno.EACCES:
        return "not permitted; choose a port above 1023 or put a proxy in front"
    if error.errno == errno.EADDRNOTAVAIL:
        return "this machine does not have that address; 127.0.0.1 or 0.0.0.0 always works"
    return error.strerror or str(error)


def _remove_stale(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ConfigError(f"socket {path}: there is a file that is not a socket; move it away")
    with _new(plain.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except OSError as error:
            raise UnusableForNow(f"socket {path}: {error.strerror or error}") from error
    raise UnusableForNow(
        f"socket {path}: another daemon answers there; stop it, or name another path or data_dir"
    )
