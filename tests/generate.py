"""The pages that are printed from the code. ``python -m tests.generate`` (``make docs``) writes them anew.

What stands above MARK in a page is written by hand and kept.
"""

from __future__ import annotations

import argparse
import ast
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from bus.cli.parser import build_parser
from bus.config import hello, reference, sample
from bus.metrics.families import FAMILIES
from bus.senders import SENDERS, Sender
from bus.senders.guides import GUIDES
from bus.telemetry import FACTS
from tests.floors import FLOORS
from tests.markdown import DOCS, ROOT

MARK: Final = "<!-- from here on printed by: make docs -->\n"
COLUMNS: Final = "100"
PUBLIC_KEYS: Final = {
    "discord": "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
    "sendgrid": "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE1FOf0EciFogUGDGmvV1+BkOx0N+5"
    "dB8P2DCERa2HQTh/VrPe72ZaYCdOEPxCC9FTG6h3Rytg03sVSCHNogVG0A==",
}
"""What such keys look like, for the pages."""


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


def metrics_page() -> str:
    """The table of metrics."""
    head = "| metric | kind | labels | is |\n|---|---|---|---|\n"
    return head + "".join(
        f"| `{one.name}` | {one.kind} | {', '.join(f'`{label}`' for label in one.labels)} | {one.means} |\n"
        for one in FAMILIES
    )


def senders_page() -> str:
    """The table of senders, from their rows."""
    return "".join(_sender_rows())


def _sender_rows() -> Iterator[str]:
    yield "| `verify` | sender | proof | delivery id | `{event}` | a topic to begin with |\n"
    yield "|---|---|---|---|---|---|\n"
    for name, one in SENDERS.items():
        title = f"[{one.title}]({one.link})" if one.link else one.title
        proof = f"{one.proof}; the time at most `tolerance` from now" if one.is_timed else one.proof
        event = _places(one.event) or "the hook's name"
        delivery = _places((*one.delivery, "header:idempotency-key"))
        yield f"| `{name}` | {title} | {proof} | {delivery} | {event} | `{one.topic}` |\n"

    for name, one in SENDERS.items():
        yield f"\n## {one.title}\n\n"
        if name != "none":
            yield f"```ini\n{_hook(name, one)}```\n\n"
        yield f"{GUIDES[name].strip()}\n"


def _hook(name: str, one: Sender) -> str:
    """The least that a hook of this sender needs."""
    variable = name.upper().replace("-", "_")
    own = {
        "header": "X-Signature",
        "user": "ship",
        "public_url": f"https://hooks.example.org/hooks/{name}",
        "verify_token": f"env:{variable}_VERIFY_TOKEN",
    }
    secret = PUBLIC_KEYS.get(name, f"env:{variable}_SECRET")
    settings = {"verify": name, "secret": secret, **{key: own[key] for key in one.required}}
    if one.topic != "{name}":
        settings["topic"] = one.topic.replace("{name}", name)
    return f"[hook:{name}]\n" + "".join(f"{key} = {value}\n" for key, value in settings.items())


def _places(places: Iterable[str]) -> str:
    """Each place for people: a header's name as senders write it, a path with where it leads."""
    parts = [place.partition(":")[::2] for place in places]
    return ", else ".join(f"`{where}`" + (" in the body" if kind == "body" else "") for kind, where in parts)


def rooms_page() -> str:
    """The floors from the top down, then each room with its files, in the words of their docstrings."""
    return "".join((*_floors(), *_rooms()))


def _floors() -> Iterator[str]:
    yield "| floor | rooms |\n|---|---|\n"
    for number, floor in reversed([*enumerate(FLOORS)]):
        yield f"| {number} {floor.name} | {' '.join(f'`{room}`' for room in floor.rooms)} |\n"


def _rooms() -> Iterator[str]:
    for floor in reversed(FLOORS):
        yield f"\n## {floor.name.capitalize()}\n"
        files = [room for room in floor.rooms if (ROOT / "bus" / f"{room}.py").exists()]
        for room in floor.rooms:
            if room not in files:
                yield from _room(ROOT / "bus" / room)
        yield from _files(ROOT / "bus" / f"{room}.py" for room in files)


def _room(folder: Path) -> Iterator[str]:
    yield f"\n### {folder.relative_to(ROOT)}/\n\n{_first_line(folder / '__init__.py')}\n"
    yield from _files(path for path in sorted(folder.glob("*.py")) if path.stem != "__init__")
    for inner in sorted(path.parent for path in folder.glob("*/__init__.py")):
        yield from _room(inner)


def _files(paths: Iterable[Path]) -> Iterator[str]:
    rows = [f"| `{path.stem}` | {_first_line(path)} |\n" for path in paths]
    if rows:
        yield "\n| file | is |\n|---|---|\n"
        yield from rows


def _first_line(path: Path) -> str:
    return str(ast.get_docstring(ast.parse(path.read_text()))).partition("\n")[0]


def kept(path: Path) -> str:
    """What is written by hand in *path*: everything up to MARK."""
    text, mark, _ = path.read_text().partition(MARK)
    return text + mark


PAGES: Final[Mapping[Path, Callable[[], str]]] = {
    ROOT / "config.example.ini": lambda: sample(hello("./examples/hello")),
    DOCS / "configuration.md": reference,
    DOCS / "cli.md": help_page,
    DOCS / "facts.md": facts_page,
    DOCS / "monitoring.md": metrics_page,
    DOCS / "rooms.md": rooms_page,
    DOCS / "senders.md": senders_page,
}

if __name__ == "__main__":
    for page, printed in PAGES.items():
        by_hand = kept(page)
        page.write_text((f"{by_hand}\n" if by_hand.endswith(MARK) else "") + printed())
