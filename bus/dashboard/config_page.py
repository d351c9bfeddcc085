"""The page of the configuration: every setting that counts now, without secrets."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from ..access import Role, visitor_of
from ..access.masking import MASK, without_secrets
from ..config import Secret
from ..http.problem import Answer
from . import text
from .desk import Desk

WRITTEN_FREELY: Final = frozenset({"command", "args", "kwargs", "environment", "body", "answer_headers"})
"""Settings that may hold anything, a token among it: for operators, as what tasks are given."""


def show(desk: Desk, environ: Mapping[str, Any]) -> Answer:
    """All sections. Never blocks."""
    config = desk.config()
    hides = frozenset() if visitor_of(environ).may(Role.OPERATOR) else WRITTEN_FREELY
    sections = [
        (title, _rows(one, hides))
        for title, one in [
            *((name, getattr(config, name)) for name in ("monqbus", "worker", "http", "admin")),
            *((f"hook:{name}", one) for name, one in sorted(config.hooks.items())),
            *((f"handler:{name}", one) for name, one in sorted(config.handlers.items())),
            *((f"schedule:{name}", one) for name, one in sorted(config.schedules.items())),
        ]
    ]
    return desk.page(
        environ, "config.html", sections=sections, file=str(config.path or ""), warnings=config.warnings
    )


def _rows(section: Any, hides: Collection[str]) -> list[tuple[str, str]]:
    """Each setting with its value, masked where it is a secret or one of *hides*."""
    return [(name, MASK if value and name in hides else _said(value)) for name, value in _settings(section)]


def _settings(section: Any) -> Iterator[tuple[str, Any]]:
    for one in dataclasses.fields(section):
        yield one.name, getattr(section, one.name)


def _said(value: Any) -> str:
    if _holds_secret(value):
        return MASK
    return text.cell(_plain(without_secrets(value)))


def _holds_secret(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(_holds_secret(one) for one in value.values())
    if isinstance(value, (list, tuple)):
        return any(_holds_secret(one) for one in value)
    return isinstance(value, Secret)


def _plain(value: Any) -> str:
    if value is None or value in ("", (), {}):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
