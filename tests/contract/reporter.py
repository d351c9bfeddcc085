"""Ends a task with postings, in a process of its own, and stands still where it is to be killed.

``python -m tests.contract.reporter ADDRESS DATA_DIR TASK WHERE``; WHERE is "between" what the end posts and
the rest of it, or "after" all of it. Says a line when it is there, and waits for its end.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

from bson import ObjectId

from bus.model import COMPLETE, Event, MonQTask, Posting, Report
from bus.store import open_store
from bus.store.mongo import reports
from bus.store.mongo.intake import Intake
from bus.store.sqlite.store import SqliteStore

from .samples import NOW, a_fan_out, a_task


def report_of(task: MonQTask) -> Report:
    """The end of *task*: it posts a task and an event with one, under the same keys each time."""
    fan_out = a_fan_out(Event(ObjectId(), "nightly", NOW, kind="schedule", key="night"), a_task("a.one"))
    return Report(task.claim, {"state": COMPLETE, "time_stop": NOW}, [Posting([a_task(key="k")]), fan_out])


def main(address: str, data_dir: str, task_id: str, where: str) -> None:
    """Report, and never get further than *where*."""
    store = open_store(address, Path(data_dir))
    task = store.get(ObjectId(task_id))
    assert task is not None
    if where == "between":
        _stop_behind(SqliteStore, "_post", 2)
        _stop_behind(reports, "_post", 2)  # where there are transactions
        _stop_behind(Intake, "store", 1)  # and where there are none
    store.report([report_of(task)])
    _stand()


def _stop_behind(owner: Any, name: str, times: int) -> None:
    """Stand still when what is called *name* has returned so many *times*."""
    real, calls = getattr(owner, name), []

    def stopping(*words: Any) -> Any:
        answer = real(*words)
        calls.append(name)
        if len(calls) == times:
            _stand()
        return answer

    setattr(owner, name, stopping)


def _stand() -> None:
    sys.stdout.write("there\n")
    sys.stdout.flush()
    while True:
        signal.pause()


if __name__ == "__main__":
    main(*sys.argv[1:])
