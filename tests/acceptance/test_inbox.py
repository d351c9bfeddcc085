"""Other processes post into the embedded store whether its daemon runs or not; nothing of it is lost."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from .applications import Application, configuration
from .conftest import New, Ran
from .daemons import Daemon, until

APP = """\
import os
from pathlib import Path
from monqbus import event_handler, task

@task
def note(*words):
    with Path(os.environ["RAN"]).open("a") as file:
        file.write(" ".join(map(str, words)) + "\\n")
    return list(words)

@event_handler("order.paid")
def ship(topic, number):
    note(topic, number)
"""
CONFIG = configuration("posted")
APPLICATION = Application("from posted import note, ship\n")
FLOOD = """\
from itertools import count
for number in count():
    print(sys.argv[1], note.post(sys.argv[1], number).args[1], flush=True)
"""


@pytest.fixture
def daemon(new_daemon: New, tmp_path: Path) -> Daemon:
    (tmp_path / "posted.py").write_text(APP)
    return new_daemon(text=CONFIG)


def test_what_is_posted_while_no_daemon_runs_runs_when_it_comes(daemon: Daemon, ran: Ran):
    APPLICATION.said(daemon, "note.post(1)\npost_event('order.paid', 2)\nnote.options(key='k').post(3)")
    assert [] == ran()
    daemon.start()

    assert ["1", "3", "order.paid 2"] == sorted(ran(3))
    assert 0 == daemon.stop()
    assert [] == list((daemon.config.parent / "data" / "inbox").iterdir())


def test_a_join_waits_for_a_daemon_that_comes_later(daemon: Daemon):
    with APPLICATION.start(
        daemon, "task = note.post(1)\nprint('posted', flush=True)\nprint(task.join(60))"
    ) as process:
        assert process.stdout is not None
        assert "posted\n" == process.stdout.readline()
        daemon.start()

        assert "[1]\n" == process.stdout.readline()


def test_without_a_daemon_a_join_ends_with_its_time(daemon: Daemon):
    text = "try:\n    note.post(1).join(0.05)\nexcept monqbus.JoinTimeout as error:\n    print(error)"

    assert "still ready after 0.05 s; it has not begun: does a daemon run?" in APPLICATION.said(daemon, text)


def test_whoever_has_posted_sees_it_at_once(daemon: Daemon):
    """Whatever the command is asked after a post, the answer knows of it."""
    daemon.start()
    APPLICATION.said(daemon, "[note.options(delay=3600).post(n) for n in range(50)]")

    assert "ready             50\ntotal             50\n" == daemon.monqbus("count").stdout


def test_a_key_names_the_task_that_holds_it(daemon: Daemon):
    """Asked of the daemon, as only it knows."""
    daemon.start()
    text = "hold = note.options(key='k', delay=3600)\nprint(hold.post(1).id == hold.post(2).id)"

    assert "True\n" == APPLICATION.said(daemon, text)


def test_a_key_that_is_held_when_the_daemon_comes_is_one_task_and_told(daemon: Daemon, ran: Ran):
    APPLICATION.said(daemon, "hold = note.options(key='k')\nhold.post(1)\nhold.post(2)")
    daemon.start()
    daemon.wait_for("task.merged", "name=posted.note")

    assert ["1"] == ran(1)


def test_a_poster_that_is_stopped_holds_up_nobody(daemon: Daemon, ran: Ran):
    daemon.start()
    with stopped(APPLICATION.start(daemon, FLOOD, "stopped")):
        APPLICATION.said(daemon, "note.post('after')")

        until(lambda: [line for line in ran() if line == "after"], 1)


@contextmanager
def stopped(flood: subprocess.Popen[str]) -> Iterator[None]:
    """*flood* has posted and is stopped wherever it was, and killed in the end."""
    with flood:
        assert flood.stdout is not None
        flood.stdout.readline()
        flood.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            flood.kill()


def test_nothing_acknowledged_is_lost_when_posters_and_daemon_are_killed(daemon: Daemon, ran: Ran):
    """Three processes post without pause; each is killed, and the daemon four times in between."""
    told: list[str] = []
    with ExitStack() as stack:
        floods = [stack.enter_context(APPLICATION.start(daemon, FLOOD, name)) for name in ("a", "b", "c")]
        for flood in floods:
            for _ in range(2):
                daemon.start()
                assert flood.stdout is not None
                told += [flood.stdout.readline().strip() for _ in range(100)]
                daemon.kill()
            flood.kill()
            told += [line.strip() for line in flood.stdout if line.endswith("\n")]
    daemon.start()
    missing = set(told) - set(ran())
    while missing:
        missing -= set(until(ran, len(ran())))

    assert len(told) >= 600
    assert 0 == daemon.stop()


def test_a_mongodb_daemon_takes_over_what_an_embedded_store_has_left(daemon: Daemon, ran: Ran, standalone):
    """Who moves to MongoDB loses nothing that was posted just before."""
    APPLICATION.said(daemon, "note.post(1)")
    text = daemon.config.read_text().replace("store = sqlite", f"store = {standalone.address('inbox_left')}")
    daemon.config.write_text(text)
    daemon.start()

    assert ["1"] == ran(1)


def test_what_waits_is_said_to_whoever_looks_without_a_daemon(daemon: Daemon):
    APPLICATION.said(daemon, "note.post(1)")
    looked = daemon.monqbus("count")

    assert 0 == looked.returncode
    assert "the inbox holds" in looked.stderr
    assert "monqbus run" in looked.stderr


def test_a_full_disk_refuses_a_post_and_says_so(daemon: Daemon):
    text = (
        "import resource\nnote.post(1)\nresource.setrlimit(resource.RLIMIT_FSIZE, (600, 600))\n"
        "try:\n    note.post('x' * 1000)\nexcept monqbus.StoreUnavailable as error:\n    print(error)"
    )

    assert "until there is room" in APPLICATION.said(daemon, text)


def test_the_tasks_are_the_same_by_either_way(daemon: Daemon):
    """By the inbox and by the daemon: one and the same document, but for ids and moments."""
    daemon.start()
    call = ".post(1, [2])"
    options = "delay=3600, priority=3, max_attempts=2, timeout=9, result_type='keep'"
    APPLICATION.said(daemon, f"note.options({options}){call}\nnote.options({options}, key='k'){call}")
    rows = [json.loads(line) for line in daemon.monqbus("list", "--json").stdout.splitlines()]

    first, second = [
        {name: value for name, value in row.items() if name not in ("id", "key", "time_queue")}
        for row in rows
    ]
    assert first == second


def test_a_copy_leaves_no_posting_behind(daemon: Daemon, standalone):
    """What waits in the inbox would not be in the other store."""
    APPLICATION.said(daemon, "note.post(1)")
    copied = daemon.monqbus("copy", "--to", standalone.address("copied_inbox"))

    assert 0 != copied.returncode
    assert "copy: expected an empty inbox" in copied.stderr


def test_doctor_names_what_waits_and_what_could_not_be_stored(daemon: Daemon):
    APPLICATION.said(daemon, "note.post(1)")
    (daemon.config.parent / "data" / "inbox" / "x.posts.damaged").touch()
    found = daemon.monqbus("doctor").stdout

    assert "bytes of postings wait" in found
    assert "x.posts.damaged" in found


def test_what_no_store_takes_is_set_aside_and_the_rest_runs(daemon: Daemon, ran: Ran):
    """A record that is whole and makes no sense, between two that do."""
    text = (
        "from bus.apps.poster import poster\nnote.post(1)\n"
        "poster()._own()._inbox.append(b'no posting')\nnote.post(2)"
    )
    APPLICATION.said(daemon, text)
    daemon.start()
    daemon.wait_for("inbox.damaged", "expected a posting")

    assert ["1", "2"] == sorted(ran(2))
    (aside,) = (daemon.config.parent / "data" / "inbox").glob("*.damaged")
    assert b"no posting" == aside.read_bytes()


def test_a_thousand_calls_are_one_write_and_run_in_their_order(daemon: Daemon, ran: Ran):
    text = (
        "import os\nsyncs, sync = [], os.fdatasync\n"
        "os.fdatasync = lambda number: (syncs.append(number), sync(number))\n"
        "tasks = note.post_many((n,) for n in range(1000))\n"
        "print(len(syncs), len({task.id for task in tasks}), tasks[7].args)"
    )
    printed = APPLICATION.said(daemon, text)
    daemon.start()

    assert "2 1000 [7]\n" == printed  # the header of the new file, and all of them
    assert set(map(str, range(1000))) == set(ran(1000))


HELD = """\
try:
    with monqbus.hold():
        note.post("never")
        raise RuntimeError("no")
except RuntimeError:
    pass
with monqbus.hold():
    first = note.options(delay=0).post("first")
    with monqbus.hold():
        event = post_event("order.paid", 2)
    later = note.options(delay=3600).post("later")
    try:
        first.join(1)
    except RuntimeError as error:
        print(error)
print(first.join(20), type(event).__name__, monqbus.__all__.count("hold"))
"""


def test_a_held_block_is_stored_at_its_end_and_not_at_all_when_it_raises(daemon: Daemon, ran: Ran):
    daemon.start()
    lines = APPLICATION.said(daemon, HELD).splitlines()

    assert "only that can be joined" in lines[0]
    assert "['first'] ObjectId 1" == lines[1]
    assert ["first", "order.paid 2"] == sorted(ran(2))
    assert "ready              1\n" in daemon.monqbus("count").stdout


IN_HANDLERS = """
from threading import Thread
from monqbus import hold

@task
def fan():
    with hold():
        note.post("greenlet")
        thread = Thread(target=lambda: note.post_many([("thread", 1), ("thread", 2)]))
        thread.start()
        thread.join()
    return [task.join(20) for task in note.post_many([("a",), ("b",)])]

@task(cpu=True)
def fan_out():
    with hold():
        one = note.post("worker")
        monq_event = __import__("monqbus").post_event("order.paid", 9)
    return one.join(20)
"""


def test_handlers_hold_in_greenlets_threads_and_workers(daemon: Daemon, ran: Ran, tmp_path: Path):
    (tmp_path / "posted.py").write_text(APP + IN_HANDLERS)
    daemon.start()
    text = "from posted import fan, fan_out\nprint(fan.post().join(20), fan_out.post().join(20))"
    results = APPLICATION.said(daemon, text)

    assert "[['a'], ['b']] ['worker']\n" == results
    assert ["a", "b", "greenlet", "order.paid 9", "thread 1", "thread 2", "worker"] == sorted(ran(7))
