"""One side of one contestant of ``make bench BENCH=peers``.

``peer_program.py NAME FOLDER ROLE [COUNT [SECONDS]]``, run by the Python of the contestant's own
environment: it imports what that has and nothing of the tests. The roles: `consume` until SIGTERM, `post` one
by one, `bulk` in calls of BULK, `wake` with pauses, `slow` for tasks that last SECONDS. Posters print seconds
and CPU seconds.
"""

import json
import os
import sys
import time
from importlib import import_module
from pathlib import Path

sys.path.append(str(Path(__file__).parent / "apps"))
from notes import write_note

BULK = 1000
PAUSE_SECONDS = 0.02


class Huey:
    """Huey on SQLite: WAL, every commit synced, eight threads that look every 10 to 50 ms."""

    def __init__(self, folder):
        self._queue = import_module("huey").SqliteHuey(filename=f"{folder}/huey.db", fsync=True)
        path = f"{folder}/notes"

        @self._queue.task()
        def note(sent, seconds=0.0):
            write_note(path, sent, seconds)

        self.post = note
        self.bulk = None  # it has none

    def consume(self):
        options = {"workers": 8, "worker_type": "thread", "initial_delay": 0.01, "max_delay": 0.05}
        self._queue.create_consumer(periodic=False, **options).run()


class Taskito:
    """taskito on SQLite as its documentation tunes it: eight threads, batches of 100, push dispatch."""

    def __init__(self, folder):
        self._queue = import_module("taskito").Queue(
            db_path=f"{folder}/taskito.db",
            workers=8,
            scheduler_poll_interval_ms=5,
            scheduler_batch_size=100,
            push_dispatch=True,
        )
        path = f"{folder}/notes"

        @self._queue.task()
        def note(sent, seconds=0.0):
            write_note(path, sent, seconds)

        self.post = note.delay
        self._name = note.name

    def bulk(self, count):
        self._queue.enqueue_many(self._name, [(time.monotonic(),) for _ in range(count)])

    def consume(self):
        self._queue.run_worker()


class Monqbus:
    """Ours, posting as any application does; its daemon consumes."""

    def __init__(self, folder):
        sys.path.insert(0, str(Path(__file__).parents[2]))
        from benchapp import note

        import_module("monqbus").connect(Path(folder) / "monqbus.ini")
        self._path, self._note = f"{folder}/notes", note

    def post(self, sent, seconds=0.0):
        self._note.post(self._path, sent, seconds)

    def bulk(self, count):
        self._note.post_many([(self._path, time.monotonic()) for _ in range(count)])


def main(name, folder, role, count=0, seconds=0):
    """Do what *role* says."""
    contestant = {"huey": Huey, "taskito": Taskito}.get(name, Monqbus)(folder)
    if role == "consume":
        contestant.consume()
        return
    count = int(count)
    contestant.post(time.monotonic())  # what is made at the first post is made
    began, cpu = time.monotonic(), os.times()
    for number in range(0, count, BULK if role == "bulk" else 1):
        if role == "bulk":
            contestant.bulk(min(BULK, count - number))
        elif role == "slow":
            contestant.post(time.monotonic(), float(seconds))
        else:
            contestant.post(time.monotonic())
        if role == "wake":
            time.sleep(PAUSE_SECONDS)
    took, now = time.monotonic() - began, os.times()
    print(json.dumps([took, now.user + now.system - cpu.user - cpu.system]))


if __name__ == "__main__":
    main(*sys.argv[1:])
