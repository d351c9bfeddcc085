"""The section [admin], and what it refuses: a listener whose passwords or visitors others could take."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from .ini import Section
from .section_kinds import SectionKind, Values
from .settings import AdminListener
from .value_types import HEADER_AUTH, is_loopback, listen_text

ABOUT: Final = """\
Nobody is let in who has not signed in; [access.md](access.md) says how. `GET /metrics` is answered to this
machine without it, to others with an API token of the role `metrics`.
"""


def _faults(section: Section, values: Values, _: Path) -> Iterator[tuple[int, str]]:
    yield from _reached_by_others(section, values)
    yield from _header_of_anybody(section, values)


def _reached_by_others(section: Section, values: Values) -> Iterator[tuple[int, str]]:
    if values.read.get("trusted_proxies"):
        return
    for one in values.read.get("listen", ()):
        if not is_loopback(one):
            expected = "expected an address that this machine alone reaches"
            remedy = (
                "passwords would cross the network in plain text; write 127.0.0.1 or unix:/PATH, or put a "
                "proxy with https in front and name it in trusted_proxies"
            )
            line = section.entries["listen"].line
            yield line, f"[admin] listen: {expected}, got {listen_text(one)}; {remedy}"


def _header_of_anybody(section: Section, values: Values) -> Iterator[tuple[int, str]]:
    auth: str = values.read.get("auth", "")
    listen = values.read.get("listen", ())
    if not auth.startswith(HEADER_AUTH) or values.read.get("trusted_proxies"):
        return
    if "trusted_proxies" in values.given or all(isinstance(one, Path) for one in listen):
        return  # that is said already; and whoever may write to a Unix socket is a proxy
    sentence = (
        f"expected trusted_proxies with it, got none: everybody could send {auth.removeprefix(HEADER_AUTH)}; "
        "name the proxies that set it"
    )
    yield section.entries["auth"].line, f"[admin] auth: {sentence}"


ADMIN: Final = SectionKind(
    "admin", "admin", AdminListener, "What operators reach: API and metrics.", check=_faults, about=ABOUT
)
