"""A store in a process of its own: does what its standard input says, a line of JSON for each answer.

``python -m tests.contract.storekeeper PATH``; the words are methods of Keeper, ``control`` among the
arguments switches off what a claim is about.
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path

from bus.errors import StoreError
from bus.model import COMPLETE, Filter, Posting, Report
from bus.store.sqlite import file
from bus.store.sqlite.store import SqliteStore

from .samples import NAME, NOW, ONE, a_delivery, a_fan_out, a_task


class Keeper:
    """Every word gets its arguments as text and returns what JSON can say."""

    def __init__(self, path: Path) -> None:
        self.store = SqliteStore(path, daemon=False)
        self.store.open()

    def post(self, delivery: str, size: str = "0") -> bool:
        """Store a delivery with one task; whether it was there already."""
        event = a_delivery(delivery)
        event.body = b"x" * int(size)
        (receipt,) = self.store.post([a_fan_out(event, a_task(args=[delivery]))])
        return receipt.duplicate

    def flood(self, name: str, count: str) -> int:
        """Store so many tasks of 3 kB, fifty in a transaction."""
        for _ in range(int(count) // 50):
            self.store.post([Posting([a_task(args=[name, "x" * 3000])]) for _ in range(50)])
        return int(count)

    def end(self) -> list[bool]:
        """Claim what waits and report it complete."""
        tasks = self.store.claim(ONE, {NAME}, 100, NOW).tasks
        return self.store.report([Report(task.claim, {"state": COMPLETE}) for task in tasks])

    def deliveries(self) -> list[str]:
        """The delivery ids of all stored tasks."""
        return sorted(task.args[0] for task in self.store.find(Filter(), 1000))

    def count(self) -> dict[str, int]:
        """Tasks by state."""
        return self.store.count(Filter())

    def limit(self, size: str) -> None:
        """Let no file of this process grow beyond *size* bytes; -1 for no limit."""
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(size), hard))

    def close(self) -> None:
        """Close the store."""
        self.store.close()


def main(path: str, *words: str) -> None:
    """Serve until standard input ends."""
    if "control" in words:
        file._write_log_again = lambda path: False
    keeper = Keeper(Path(path))
    _say("open")
    for line in sys.stdin:
        word, *values = line.split()
        try:
            answer = getattr(keeper, word)(*values)
        except StoreError as error:
            answer = f"{type(error).__name__}: {error}"
        _say(answer)


def _say(answer: object) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
