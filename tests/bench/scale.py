"""Several daemons on one replica set: how the work divides, and what is asked for nothing."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pymongo

from .daemons import Measured, cpu_ns, daemon, place, server_pid, write_config
from .filled import Stores
from .tables import table
from .trips import post_one_by_one, profiled, verb, work_off

DAEMONS = (1, 2, 4, 8)
BACKLOG = 8_000
TASKS = 200
HEAD = [
    "daemons", "tasks/s", "daemons' CPU µs", "mongod's CPU µs", "looks", "found nothing", "takes",
    "came back empty", "hints heard", "begun twice",
]  # fmt: skip


def scale(found: Stores) -> None:
    """Tasks/s, CPU and commands a task: a backlog, and tasks that come one by one."""
    if "mongodb" not in found:
        return
    for title, use, count in (("a backlog", work_off, BACKLOG), ("one by one", post_one_by_one, TASKS)):
        rows = [_row(found, use, count, number) for number in DAEMONS]
        table(f"Daemons on one replica set: {title}; each figure but the rate is for one task", HEAD, rows)


def _row(found: Stores, use: Any, count: int, number: int) -> list[object]:
    with place() as folder, ExitStack() as stack:
        address = found["mongodb"]("scale")
        configs = [_config(folder, address, one) for one in range(number)]
        servers = [stack.enter_context(daemon(config)) for config in configs]
        use(configs[0], 50)
        before, began = _cpu(servers, address), time.monotonic()
        use(configs[0], count)
        took = time.monotonic() - began
        costs = [
            (now - then) / count / 1000 for now, then in zip(_cpu(servers, address), before, strict=True)
        ]
        with profiled(configs[0]) as entries:
            use(configs[0], count)
        with pymongo.MongoClient(address) as client:
            twice = client.get_default_database()["monq_task"].count_documents({"generation": {"$gt": 1}})
    asked = [one / count for one in _asked(entries)]
    return [number, count / took, *costs, *asked, twice]


def _config(folder: Path, address: str, number: int) -> Path:
    own = folder / str(number)
    own.mkdir()
    return write_config(own, address)


def _cpu(servers: list[Measured], address: str) -> tuple[int, int]:
    return sum(cpu_ns(server.process.pid) for server in servers), cpu_ns(server_pid(address))


def _asked(entries: list[dict[str, Any]]) -> tuple[int, int, int, int, int]:
    """Looks for work, those that found none, takes, those that got nothing, hints that were heard."""
    looks = [one for one in entries if verb(one) == "find" and one["command"].get("hint") == "monqbus_claim"]
    takes = [one for one in entries if verb(one) == "update" and _is_a_take(one)]
    hints = [
        one for one in entries
        if one["ns"].endswith(".feed") and verb(one).lower() == "getmore" and one.get("nreturned")
    ]  # fmt: skip
    return (
        len(looks),
        sum(not one.get("nreturned") for one in looks),
        len(takes),
        sum(not one.get("nMatched", one.get("nModified")) for one in takes),
        len(hints),
    )


def _is_a_take(entry: dict[str, Any]) -> bool:
    return "ready" in str(entry["command"].get("q", {}))
