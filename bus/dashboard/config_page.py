"""The page of the configuration: every setting that counts now, without secrets."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..config import Secret
from ..http.problem import Answer
from . import text
from .desk import Desk


def show(desk: Desk, environ: Mapping[str, Any]) -> Answer:
    """All sections. Never blocks."""
    config = desk.config()
    sections = [
        *((name, _rows(getattr(config, name))) for name in ("monqbus", "worker", "http", "admin")),
        *((f"hook:{name}", _rows(one)) for name, one in sorted(config.hooks.items())),
        *((f"handler:{name}", _rows(one)) for name, one in sorted(config.handlers.items())),
        *((f"schedule:{name}", _rows(one)) for name, one in sorted(config.schedules.items())),
    ]
    return desk.page(
        environ, "config.html", sections=sections, file=str(config.path or ""), warnings=config.warnings
    )


def _rows(section: Any) -> list[tuple[str, str]]:
    """Each setting with its value, masked where it is a secret or its name says that it may be."""
    return [(name, _said(name, value)) for name, value in _settings(section)]


def _settings(section: Any) -> Iterator[tuple[str, Any]]:
    for one in dataclasses.fields(section):
        yield one.name, getattr(section, one.name)


def _said(name: str, value: Any) -> str:
    if _holds_secret(value):
        return text.MASKED
    (shown,) = text.masked({name: _plain(value)}).values()
    return text.cell(shown if isinstance(shown, str) else str(shown))


def _holds_secret(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(_holds_secret(one) for one in value.values())
    if isinstance(value, (list, tuple)):
        return any(_holds_secret(one) for one in value)
    return isinstance(value, Secret)


def _plain(value: Any) -> Any:
    if value is None or value in ("", (), {}):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(str(one) for one in value)
    return (
        str(value)
        if isinstance(value, (Path, int, float))
        else value
        if isinstance(value, str)
        else str(value)
    )
