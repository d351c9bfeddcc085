"""Starts the daemons and stand-ins that are measured."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pymongo

ROOT = Path(__file__).parents[2]
SECRET = "secret of the bench"

CONFIG = """\
[monqbus]
data_dir = {place}/data
store = {store}
apps = benchapp
path = {apps}
[http]
listen = 127.0.0.1:0
[hook:bench]
verify = github
secret = {secret}
topic = bench.{{event}}
"""


class Measured:
    """A process under measurement: where it listens, what it costs."""

    def __init__(
        self, process: subprocess.Popen[bytes], address: tuple[str, int], config: Path | None
    ) -> None:
        self.process = process
        self.address = address
        self.config = config

    def cpu_seconds(self) -> float:
        """User and system time so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def pss_mb(self) -> float:
        """Proportional set size."""
        text = Path(f"/proc/{self.process.pid}/smaps_rollup").read_text()
        return int(re.search(r"^Pss:\s+(\d+)", text, re.M)[1]) / 1024


def write_config(place: Path, store: str) -> Path:
    """A config for *store* in *place*."""
    path = place / "monqbus.ini"
    apps = Path(__file__).parent / "apps"
    path.write_text(CONFIG.format(place=place, store=store, apps=apps, secret=SECRET))
    return path


@contextlib.contextmanager
def daemon(config: Path) -> Iterator[Measured]:
    """A monqbus daemon on *config*."""
    words = [sys.executable, str(ROOT / "monqbus.py"), "run", "--config", str(config)]
    with _started(words, config) as measured:
        yield measured


@contextlib.contextmanager
def bare(kind: str) -> Iterator[Measured]:
    """A stand-in without any storage: see tests.bench.bare."""
    with _started([sys.executable, "-m", "tests.bench.bare", kind], None) as measured:
        yield measured


@contextlib.contextmanager
def _started(words: list[str], config: Path | None) -> Iterator[Measured]:
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(words, cwd=ROOT, stderr=log, stdout=subprocess.DEVNULL)
        try:
            yield Measured(process, _address(process, log.fileno()), config)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                process.kill()


def _address(process: subprocess.Popen[bytes], log: int) -> tuple[str, int]:
    for _ in range(1500):
        text = os.pread(log, 1_000_000, 0).decode(errors="replace")
        if match := re.search(r"listen=http://([\d.]+):(\d+)", text):
            return match[1], int(match[2])
        if process.poll() is not None:
            break
        time.sleep(0.01)
    raise SystemExit(f"did not start:\n{text}")


@contextlib.contextmanager
def place() -> Iterator[Path]:
    """A folder of its own, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="monqbus-bench-") as folder:
        yield Path(folder)


def cpu_ns(pid: int) -> int:
    """Nanoseconds on a core so far, of all threads that the process has now."""
    total = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
            total += int((thread / "schedstat").read_text().split()[0])
    return total


def server_pid(address: str) -> int:
    """The process id of the mongod behind *address*, on this machine."""
    with pymongo.MongoClient(address) as client:
        return int(client.admin.command("serverStatus")["pid"])
