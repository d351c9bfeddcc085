"""``make fuzz``: every target, or those named, each for SECONDS; needs atheris."""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Final

SECONDS: Final = 60
NAMES: Final = ("edge", "verifiers", "cloudevents", "rules", "payloads")
PLACE: Final = Path("build/fuzz")
LONGEST: Final = 4096
"""Bytes of an input."""
SLOWEST: Final = 5
"""Seconds that one input may take: a longer one is a fault like any other."""


def main() -> int:
    """Print one line for each target; 1 when one of them has found something."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; all by default")
    parser.add_argument("--seconds", type=int, default=SECONDS, help="for each")
    options = parser.parse_args()
    if importlib.util.find_spec("atheris") is None:
        print("atheris is not installed; run: pip install 'monqbus[fuzz]'")
        return 1
    return max(run(name, options.seconds) for name in options.names or NAMES)


def run(name: str, seconds: int) -> int:
    """Fuzz one target; what breaks it, and the log, stay in a folder of its own."""
    folder = PLACE / name
    corpus = folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    flags = [f"-max_total_time={seconds}", f"-max_len={LONGEST}", f"-timeout={SLOWEST}", "-rss_limit_mb=2048"]
    words = [*flags, "-print_final_stats=1", f"-artifact_prefix={folder}/", str(corpus)]
    log = folder / "log"
    with log.open("wb") as file:
        code = subprocess.run(
            [sys.executable, "-m", "tests.fuzz.one", name, *words], stdout=file, stderr=file, check=False
        ).returncode
    lines = log.read_text("utf-8", "replace").splitlines()
    count = next((line.split()[-1] for line in lines if "number_of_executed_units" in line), "?")
    print(f"{name:<12} {count} inputs in {seconds} s: {'nothing found' if not code else f'FAULT, see {log}'}")
    return int(bool(code))


if __name__ == "__main__":
    sys.exit(main())
