"""How often a task crosses the network between its post and its recorded end, with MongoDB.

Counted by the server's profiler, so it is what real daemons and a real poster have asked.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pymongo
from pymongo.database import Database

import monqbus
from bus.config import load

from .daemons import Measured, cpu_ns, daemon, place, server_pid, write_config
from .filled import Stores, fill, opened
from .tables import table

TASKS = 300
BACKLOG = 5_000
PAUSE_SECONDS = 0.02
PROFILE_BYTES = 64 * 1024 * 1024
LEAST = 0.02
"""What is asked more seldom is not about tasks: leases, records, looks at indexes."""

Use = Callable[[Path], None]


def trips(found: Stores) -> None:
    """Commands and CPU for each task: posted one by one to an idle daemon, and as a backlog worked off."""
    if "mongodb" not in found:
        return
    rows: list[list[object]] = []
    for title, use, count in (("one by one", post_one_by_one, TASKS), ("a backlog", work_off, BACKLOG)):
        with place() as folder:
            config = write_config(folder, found["mongodb"]("trips"))
            with daemon(config) as server:
                use(config, 20)
                costs = _cpu(config, server, use, count)
                with profiled(config) as entries:
                    use(config, count)
        asked = Counter(f"{verb(entry)} {entry['ns'].partition('.')[2]}" for entry in entries)
        rows += [[title, words, n / count] for words, n in sorted(asked.items()) if n > LEAST * count]
        rows += [[title, f"µs of CPU, {whose}", cost / count / 1000] for whose, cost in costs.items()]
    table("Commands a task, MongoDB", ["use", "command", "a task"], rows)


def _cpu(config: Path, server: Measured, use: Callable[[Path, int], None], count: int) -> dict[str, int]:
    pids = {"daemon": server.process.pid, "mongod": server_pid(address_of(config))}
    before = {whose: cpu_ns(pid) for whose, pid in pids.items()}
    use(config, count)
    return {whose: cpu_ns(pid) - before[whose] for whose, pid in pids.items()}


def address_of(config: Path) -> str:
    """The address of the database that *config* names."""
    return load(config, {}).monqbus.store.reveal()


def post_one_by_one(config: Path, count: int) -> None:
    """Post from this process with pauses in which each task ends; returns when the last one has."""
    from benchapp import nothing

    monqbus.connect(config)
    for _ in range(count):
        nothing.post()
        time.sleep(PAUSE_SECONDS)
    _until_ended(config)


def work_off(config: Path, count: int) -> None:
    """Let *count* tasks wait, all of them at once, and return when the last one has ended."""
    waiting = opened(config)
    fill(waiting, count)
    waiting.ring()
    waiting.close()
    _until_ended(config)


def _until_ended(config: Path) -> None:
    with pymongo.MongoClient(address_of(config)) as client:
        tasks = client.get_default_database()["monq_task"]
        while tasks.find_one({"state": {"$in": ["ready", "busy"]}}, comment="bench"):
            time.sleep(0.05)
    time.sleep(0.3)  # what a claimer asks behind the last one


@contextmanager
def profiled(config: Path) -> Iterator[list[dict[str, Any]]]:
    """What the server is asked about tasks and the feed inside of the block; filled when that ends."""
    entries: list[dict[str, Any]] = []
    with pymongo.MongoClient(address_of(config)) as client:
        database: Database[dict[str, Any]] = client.get_default_database()
        database.command("profile", 0)
        database.drop_collection("system.profile")
        database.create_collection("system.profile", capped=True, size=PROFILE_BYTES)
        database.command("profile", 2)
        yield entries
        database.command("profile", 0)
        ours = {"ns": {"$regex": "monq_task"}, "command.comment": {"$ne": "bench"}}
        entries += database["system.profile"].find(ours)


def verb(entry: dict[str, Any]) -> str:
    """The command of a profiler's entry, as the driver names it."""
    command = entry.get("command", {})
    return next(iter(command)) if command and entry["op"] in ("command", "query") else str(entry["op"])
