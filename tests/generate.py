"""The pages that are printed from the code. ``python -m tests.generate`` (``make docs``) writes them anew.

What stands above MARK in a page is written by hand and kept.
"""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from bus.cli.words import build_parser
from bus.config import hello, reference, sample
from bus.telemetry import FACTS
from tests.markdown import DOCS, ROOT

MARK: Final = "<!-- from here on printed by: make docs -->\n"
COLUMNS: Final = "100"


def commands() -> dict[str, argparse.ArgumentParser]:
    """Every command's parser by name, in the order of ``monqbus --help``."""
    actions = build_parser()._actions
    (commands,) = (action for action in actions if isinstance(action, argparse._SubParsersAction))
    return dict(commands.choices)


def help_page() -> str:
    """The help of the program and of each command, as it is printed in a terminal of COLUMNS."""
    os.environ["COLUMNS"] = COLUMNS
    return "\n".join(_help(name, parser) for name, parser in [("", build_parser()), *commands().items()])


def _help(name: str, parser: argparse.ArgumentParser) -> str:
    title = f"monqbus {name}".strip()
    return f"## {title}\n\n```text\n{parser.format_help().rstrip()}\n```\n"


def facts_page() -> str:
    """The table of facts."""
    return "".join(_rows())


def _rows() -> Iterator[str]:
    yield "| fact | level | means |\n|---|---|---|\n"
    for fact, (level, means) in FACTS.items():
        yield f"| `{fact}` | {logging.getLevelName(level).lower()} | {means} |\n"


def kept(path: Path) -> str:
    """What is written by hand in *path*: everything up to MARK."""
    text, mark, _ = path.read_text().partition(MARK)
    return text + mark


PAGES: Final[Mapping[Path, Callable[[], str]]] = {
    ROOT / "config.example.ini": lambda: sample(hello("./examples/hello")),
    DOCS / "configuration.md": reference,
    DOCS / "cli.md": help_page,
    DOCS / "facts.md": facts_page,
}

if __name__ == "__main__":
    for page, printed in PAGES.items():
        by_hand = kept(page)
        page.write_text((f"{by_hand}\n" if by_hand.endswith(MARK) else "") + printed())
