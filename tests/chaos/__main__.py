"""`python -m tests.chaos`: runs scenarios, prints one JSON line for each run, then a table.

Exit code 1 when a figure is not as it must be, when a control has shown no loss, or a null control one.
"""

from __future__ import annotations

import argparse
import dataclasses
import fnmatch
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from queue import Queue

import pytest

from . import cutoff, embedded, inbox, mongodb, schedules, spool
from .arena import Arena
from .checker import Figures
from .report import Line, markdown, table
from .scenario import SCENARIOS, Control, Missing, Scenario

__all__ = ["cutoff", "embedded", "inbox", "mongodb", "schedules", "spool"]

STORES = ("embedded", "mongodb")


def main(words: Sequence[str] | None = None) -> int:
    """Run what was asked for; the exit code."""
    asked = _asked(words)
    if asked.list:
        for one in chosen(asked.names, asked.store):
            print(f"{one.store:<12} {one.name}: {', '.join(control.name for control in one.controls)}")
        return 0
    lines = []
    for line in _of_each_store(asked) if asked.at_once else _of(asked):
        print(json.dumps(line), flush=True)
        lines.append(line)
    lines.sort(key=lambda line: STORES.index(line["store"]))
    if asked.markdown is not None:
        asked.markdown.write_text(markdown(lines))
    print(table(lines), file=sys.stderr)
    return 0 if lines and all(line["passed"] for line in lines) else 1


def _of(asked: argparse.Namespace) -> Iterator[Line]:
    """The lines of what was asked for, one run after the other."""
    for one, control in runs(chosen(asked.names, asked.store), short=asked.short, controls=asked.controls):
        if control is not None or not asked.null:
            yield run(one, control, short=asked.short, keep=asked.keep, is_null=asked.null)


def _of_each_store(asked: argparse.Namespace) -> Iterator[Line]:
    """The same, but the stores at the same time, each in a process of its own."""
    flags = [f"--{name}" for name in ("short", "null") if getattr(asked, name)]
    words = [*asked.names, *flags, *([] if asked.controls else ["--no-controls"])]
    words += ["--keep", str(asked.keep)] if asked.keep else []
    said: Queue[str | None] = Queue()
    readers = [threading.Thread(target=_read, args=([*words, "--store", store], said)) for store in STORES]
    for reader in readers:
        reader.start()
    for _ in readers:
        while (text := said.get()) is not None:
            yield json.loads(text)


def _read(words: Sequence[str], said: Queue[str | None]) -> None:
    command = [sys.executable, "-m", "tests.chaos", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for text in process.stdout or ():
            said.put(text)
    said.put(None)


def chosen(names: Sequence[str], store: str | None) -> list[Scenario]:
    """The scenarios of *store* (None: of all) whose name matches one of *names* (none: all)."""
    return [
        one
        for one in SCENARIOS
        if (store is None or store == one.store)
        and (not names or any(fnmatch.fnmatchcase(one.name, name) for name in names))
    ]


def runs(
    scenarios: Sequence[Scenario], *, short: bool, controls: bool = True
) -> Iterator[tuple[Scenario, Control | None]]:
    """What there is to run: each scenario as it is, then under its controls."""
    for one in scenarios:
        if one.in_short or not short:
            yield one, None
        for control in one.controls if controls else ():
            if control.in_short or not short:
                yield one, control


def run(
    one: Scenario, control: Control | None, *, short: bool, keep: Path | None = None, is_null: bool = False
) -> Line:
    """One run in a folder of its own; the JSON line of it."""
    line: Line = {"scenario": one.name, "store": one.store}
    if control is not None:
        line |= {"control": control.name, "shows": control.shows} | ({"null": True} if is_null else {})
    place = Path(tempfile.mkdtemp(prefix="monqbus-chaos-"))
    try:
        with Arena(place, short=short, control=control, is_null=is_null) as arena:
            one.body(arena)
            figures = arena.figures({} if short or control else one.aims)
    except (Missing, pytest.skip.Exception, pytest.fail.Exception) as missing:  # the latter two: tests.mongod
        return {**line, "skipped": str(missing), "passed": not os.environ.get("CI")}
    except Exception as error:  # noqa: BLE001 - one broken scenario must not hide the others
        traceback.print_exc()
        return {**line, "broken": f"{type(error).__name__}: {error}", "passed": False}
    finally:
        if keep is not None:
            shutil.copytree(place, keep / place.name, symlinks=True, ignore=shutil.ignore_patterns("*.sock"))
        shutil.rmtree(place, ignore_errors=True)
    return {**line, **dataclasses.asdict(figures), "passed": is_right(figures, control, is_null=is_null)}


def is_right(figures: Figures, control: Control | None, *, is_null: bool = False) -> bool:
    """A scenario misses nothing; a control shows what it is to show, and without its weakness does not."""
    if control is None:
        return not figures.missed
    return bool(getattr(figures, control.shows)) != is_null


def _asked(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("names", nargs="*", help="scenarios, * wildcards; none = all")
    parser.add_argument("--store", help="only those of this store: embedded, mongodb")
    parser.add_argument("--at-once", action="store_true", help="the stores at the same time, for two cores")
    parser.add_argument("--short", action="store_true", help="the short form that `make test` runs")
    parser.add_argument("--no-controls", dest="controls", action="store_false", help="leave the controls out")
    parser.add_argument(
        "--null", action="store_true", help="only the controls, nothing switched off: none may show anything"
    )
    parser.add_argument(
        "--markdown", type=Path, help="write the rows of docs/guarantees.md's table to this file"
    )
    parser.add_argument("--keep", type=Path, help="keep ledger, records, logs and data below this folder")
    parser.add_argument("--list", action="store_true", help="only list the scenarios and their controls")
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(main())
