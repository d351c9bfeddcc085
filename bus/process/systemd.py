"""Tells systemd how the daemon is: readiness, status, watchdog; the protocol of sd_notify(3).

A listener of facts that sends one datagram for each that matters, and a beat for the watchdog. Without
systemd, or another manager that sets NOTIFY_SOCKET, it says nothing.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping, MutableMapping
from contextlib import suppress
from typing import Any, Final

from ..clock import Clock
from .executable import main_pid

SEND_SECONDS: Final = 1.0
SPARE_SECONDS: Final = 10.0  # after the drain: ends are recorded, connections and files are closed


class ServiceManager:
    """Takes its variables out of *environ*, so that no child of a task can speak for the daemon.

    The watchdog's beat comes from the hub: one that is blocked stops beating, and the manager starts
    the daemon anew. Nothing here raises; a message blocks for at most `SEND_SECONDS`, when the
    manager does not read.
    """

    def __init__(self, environ: MutableMapping[str, str], clock: Clock) -> None:
        self._address = _address(environ.pop("NOTIFY_SOCKET", ""))
        self._clock = clock
        period = environ.pop("WATCHDOG_USEC", "")
        watched = environ.pop("WATCHDOG_PID", "")
        is_ours = watched in ("", str(os.getpid()), str(main_pid()))
        self._beat_seconds = int(period) / 2e6 if period.isdecimal() and is_ours else None

    def __call__(self, fact: str, fields: Mapping[str, Any]) -> None:
        """Hear a fact; send what the manager wants to know of it."""
        if self._address and (words := _WORDS.get(fact)):
            self._send(*words(fields, self._clock))

    def beat(self) -> float | None:
        """Say that the hub turns; the seconds until the next time, None where nobody wants to know."""
        if self._address and self._beat_seconds:
            self._send("WATCHDOG=1")
            return self._beat_seconds
        return None

    def _send(self, *lines: str) -> None:
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.settimeout(SEND_SECONDS)
            channel.sendto("\n".join(lines).encode(), self._address)


def _address(name: str) -> str:
    """The address of the socket *name*; nothing when it is none that can be used."""
    if name.startswith("@"):
        return "\0" + name[1:]  # unix(7): an abstract one
    return name if name.startswith("/") else ""


def _started(fields: Mapping[str, Any], _: Clock) -> tuple[str, ...]:
    declared = f"{fields['tasks']} tasks, {fields['hooks']} hooks"
    # a script around the daemon, or the executable's first process, may be in front of this one
    return "READY=1", f"STATUS=listening on {fields['listen']}: {declared}", f"MAINPID={main_pid()}"


def _reloading(_: Mapping[str, Any], clock: Clock) -> tuple[str, ...]:
    return "RELOADING=1", f"MONOTONIC_USEC={int(clock.monotonic() * 1e6)}"


def _reloaded(fields: Mapping[str, Any], _: Clock) -> tuple[str, ...]:
    later = f"; waiting for a restart: {fields['needs_restart']}" if fields.get("needs_restart") else ""
    return "READY=1", f"STATUS=reloaded: {fields['tasks']} tasks, {fields['hooks']} hooks{later}"


def _refused(_: Mapping[str, Any], __: Clock) -> tuple[str, ...]:
    return "READY=1", "STATUS=the new configuration was refused, the old one is in use; see the log"


def _draining(fields: Mapping[str, Any], _: Clock) -> tuple[str, ...]:
    seconds = fields["seconds_left"]
    extension = int((seconds + SPARE_SECONDS) * 1e6)
    status = f"STATUS=draining: {fields['running']} tasks run, for at most {seconds:g} s"
    return "STOPPING=1", status, f"EXTEND_TIMEOUT_USEC={extension}"


_WORDS: Final[Mapping[str, Callable[[Mapping[str, Any], Clock], tuple[str, ...]]]] = {
    "daemon.started": _started,
    "config.reloading": _reloading,
    "config.reloaded": _reloaded,
    "config.refused": _refused,
    "daemon.draining": _draining,
}
