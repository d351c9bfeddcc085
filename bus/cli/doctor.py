"""`doctor`: shows each part of the installation, whether it is well, and the remedy.

Works beside a running daemon and with a config that nobody else can read; it changes nothing. The apps
are not imported: that is what `check` does.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

from ..clock import Clock
from ..config import Config
from ..connecting import client, is_embedded
from ..diagnosis import Diagnosis
from ..errors import ConfigError, MonqbusError
from ..model import ERROR, Filter
from ..store.checks import file, servers, unreadable
from ..store.fields import ASIDE
from ..store.inbox.reader import left_aside, waiting_bytes
from ..telemetry import FACTS
from . import terminal
from .host_checks import commands, data, limits, program
from .session import config_path, daemon_answers, read_config


def doctor(options: argparse.Namespace) -> int:
    """Print one line for each part; 1 when one of them is a problem."""
    worst = 0
    for found in _found(options):
        if options.json:
            terminal.row(found._asdict())
        else:
            terminal.line(_line(found))
        worst = max(worst, int(found.verdict == "problem"))
    return worst


def _line(found: Diagnosis) -> str:
    note = f"; {found.note}" if found.note else ""
    return f"{found.verdict:<8} {found.name:<11} {found.value}{note}"


def _found(options: argparse.Namespace) -> Iterator[Diagnosis]:
    yield from program()
    try:
        path = config_path(options)
        config = read_config(options)
    except ConfigError as error:
        for problem in error.problems:
            yield Diagnosis("config", problem, "problem")
        return
    yield Diagnosis("config", str(path))
    for warning in config.warnings:
        yield Diagnosis("config", warning, "warning")
    for fault in config.faults.values():
        yield Diagnosis("hook", fault, "problem", "closed: its deliveries get 503; then send the daemon HUP")
    yield from limits(config)
    yield from data(config)
    yield from commands(config)
    try:
        yield from _store(config)
    except MonqbusError as error:
        yield Diagnosis("store", str(error), "problem")


def _facts(since: datetime, facts: Mapping[str, int]) -> Diagnosis:
    """What went wrong in the running daemon so far: ends that came too late, tasks of dead daemons, …"""
    odd = [name for name in FACTS if FACTS[name][0] >= logging.WARNING and facts.get(name)]
    told = ", ".join(f"{name} {facts[name]}" for name in odd) or "nothing worth a warning"
    note = "what they mean: docs/facts.md; which tasks: the log" if odd else ""
    return Diagnosis("facts", f"since {since:%Y-%m-%d %H:%M:%SZ}: {told}", note=note)


def _readiness(status: Mapping[str, Any]) -> Iterator[Diagnosis]:
    """What `/readyz` says, and whoever in the daemon does not come to do his work."""
    if status["reason"] is None:
        yield Diagnosis("ready", status["remark"] or "deliveries are taken")
    else:
        yield Diagnosis(
            "ready", status["reason"], "problem", "what it needs: docs/operations.md; since when: the log"
        )
    for sentence in status.get("pauses", ()):  # a daemon of an earlier version has none
        yield Diagnosis(
            "paused", sentence, note="how many tasks wait: monqbus pauses; they begin: monqbus resume"
        )
    ill = [row for row in status["services"] if row["state"] in ("failing", "dead")]
    for row in ill:
        error = f" ({row['error']})" if row["error"] else ""
        value = f"{row['name']} is {row['state']}, last success {row['seconds']:.0f} s ago{error}"
        yield Diagnosis(
            "services", value, "problem", "if the store is well, restart the daemon, and tell its authors"
        )
    if not ill:
        yield Diagnosis("services", f"all {len(status['services'])} do their work")


def _store(config: Config) -> Iterator[Diagnosis]:
    answers = daemon_answers(config)
    if answers:
        with closing(client(config)) as admin:
            count = sum(admin.count(Filter()).values())
            yield Diagnosis("daemon", f"answers on its control socket, {count} tasks stored")
            yield from _readiness(admin.status())
            yield _facts(*admin.facts())
            if is_embedded(config):
                which = Filter(states=(ERROR,), error=ASIDE)
                yield from unreadable(sum(admin.count(which).values()))
    else:
        yield Diagnosis("daemon", "none runs here", note="start one with: monqbus run")
    if not is_embedded(config):
        yield from servers(config.monqbus.store.reveal(), Clock())
    elif not answers:
        yield from file(config.monqbus.data_dir, config.monqbus.min_free)
    yield from _inbox(config.monqbus.data_dir)


def _inbox(data_dir: Path) -> Iterator[Diagnosis]:
    if waiting := waiting_bytes(data_dir):
        note = "a daemon takes them over: monqbus run"
        yield Diagnosis("inbox", f"{waiting} bytes of postings wait", note=note)
    if aside := left_aside(data_dir):
        found = f"{len(aside)} files hold postings that could not be read or stored, such as {aside[0]}"
        yield Diagnosis("inbox", found, "problem", "look into them, post again what they hold, delete them")
