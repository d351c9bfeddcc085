"""Runs one target in this process, which libFuzzer ends: `python -m tests.fuzz.one NAME FLAGS FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path

import atheris


def main() -> None:
    """Never returns. The folder gets the seeds, and what is found on the way."""
    name, *words = sys.argv[1:]
    with atheris.instrument_imports(include=["bus"]):
        from .targets import TARGETS
    target = TARGETS[name]
    for number, seed in enumerate(target.seeds):
        Path(words[-1], f"seed-{number}").write_bytes(seed)
    atheris.Setup([sys.argv[0], *words], target.takes)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
