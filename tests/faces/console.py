"""What the tests of the command line share: an app, a config, and what a command answered."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

CONFIG = """\
[monqbus]
store = {store}
apps = cliapp
path = ./apps
[http]
listen = 127.0.0.1:0
"""
APP = """\
from monqbus import c, event_handler, task

@task
def double(number):
    return number * 2

@task(max_attempts=1)
def fail(text):
    raise ValueError(text)

@event_handler("shop.sold")
def note(topic, *args, **kwargs):
    return [topic, *args]

@event_handler("shop.sold")
def count(topic, *args, **kwargs):
    return len(args)
"""
NOBODY = "6b04ec3f28e9893927a81901"


class Said(NamedTuple):
    """What a command answered."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def rows(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.lines]


Command = Callable[..., Said]


def write_place(folder: Path, store: str = "sqlite") -> Path:
    """A config with an app in *folder*."""
    (folder / "apps").mkdir()
    (folder / "apps" / "cliapp.py").write_text(APP)
    config = folder / "monqbus.ini"
    config.write_text(CONFIG.format(store=store))
    config.chmod(0o600)
    return config
