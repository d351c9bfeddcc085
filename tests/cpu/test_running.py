"""A cpu task in its worker: what it gets, what it may do, what comes back."""

from __future__ import annotations

import os
from pathlib import Path

import gevent
import pytest
from bson import ObjectId

from bus.apps.options import Options
from bus.cpu.message import of_task, task_of
from bus.errors import StoreUnavailable
from bus.model import Event, Posting
from bus.posting import prepare

from .conftest import PATIENCE, Laboratory, New


def test_a_cpu_task_runs_in_another_process(laboratory: Laboratory):
    """A group of its own, its title says what it runs, it yields to the daemon, nothing is inherited.

    In the session of its daemon: in another one it could not yield, where sessions are scheduled as one.
    """
    task = laboratory.result("where")
    seen = task.result

    assert os.getpid() not in (seen["pid"], seen["parent"])
    assert (seen["pid"], os.getsid(0)) == (seen["group"], seen["session"])
    assert f"monqbus worker: laboratory.where {task.id}" == seen["title"]
    assert (19, 800, b"") == (seen["nice"], seen["oom"], seen["stdin"])
    assert 1 == sum(name.startswith("socket:") for name in seen["descriptors"])


def test_a_worker_stays_for_the_next_task(laboratory: Laboratory):
    pids = {laboratory.result("echo").result["pid"] for _ in range(3)}

    assert 1 == len(pids)


def test_an_idle_worker_says_so(laboratory: Laboratory):
    pid = laboratory.result("echo").result["pid"]

    assert b"monqbus worker: idle" == Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0")


def test_two_workers_share_no_chance(new_laboratory: New):
    """Forked from one app process, they must not throw the same dice or make the same ids."""
    laboratory = new_laboratory(2)
    runs = [laboratory.begin("chance") for _ in range(2)]
    (one, other) = [laboratory.ended(*run).result for run in runs]

    assert one[0] != other[0]
    assert one[1] != other[1]


def test_arguments_and_results_keep_their_types(laboratory: Laboratory):
    given = [1, 2.5, None, True, b"\0\xff", "ä\0", {"a": [1]}, ObjectId(), laboratory.clock.now()]

    assert given == laboratory.result("echo", *given).result["args"]


def test_a_task_is_sent_without_what_nobody_has_set(laboratory: Laboratory):
    """And is the same on the other side."""
    task = laboratory.post("echo", 1)
    document = of_task(task)

    assert {"id", "task_name", "args", "kwargs", "time_queue"} == document.keys()
    assert task == task_of(document)


def test_a_megabyte_goes_there_and_back(laboratory: Laboratory):
    data = os.urandom(1_000_000)

    assert data == laboratory.result("echo", data).result["args"][0]


@pytest.mark.parametrize(
    ("kind", "result"),
    [
        ("set", {"not_storable": "set"}),
        ("large", {"not_storable": "str"}),
        ("reference", {"$ref": "a", "$id": 1}),
        ("bytes", b"\0" * 1_000_000),
    ],
)
def test_a_result_is_stored_as_one_of_a_greenlet_would_be(laboratory: Laboratory, kind, result):
    """What no store can keep is replaced in the worker already; the task is complete all the same."""
    task = laboratory.result("give", kind)

    assert "complete" == task.state
    if isinstance(result, dict) and "not_storable" in result:
        assert result["not_storable"] == task.result["not_storable"]
    else:
        assert result == task.result


@pytest.mark.parametrize(("name", "line"), [("fail", "ValueError: no"), ("leave", "SystemExit: bye")])
def test_what_a_handler_raises_comes_with_its_traceback(laboratory: Laboratory, name, line):
    """From its own frame on; `sys.exit()` ends the task and leaves the worker."""
    task = laboratory.result(name, *(["no"] if name == "fail" else []))

    assert ("ready", 1) == (task.state, task.attempt)
    assert line == task.history[0]["error"]
    assert f"in {name}" in task.result
    assert "/bus/cpu/" not in task.result


def test_arguments_that_do_not_fit_are_a_failure_like_any_other(laboratory: Laboratory):
    assert "TypeError" in laboratory.result("fail", 1, 2, 3).result


@pytest.mark.parametrize(
    ("kind", "state", "attempt", "seconds"),
    [("Retry", "ready", 1, 5), ("Snooze", "ready", 0, 7), ("Cancel", "skipped", 1, None)],
)
def test_a_verdict_is_heeded(laboratory: Laboratory, kind, state, attempt, seconds):
    task = laboratory.result("judge", kind)

    assert (state, attempt) == (task.state, task.attempt)
    if seconds is None:
        assert "moot" == task.result
    else:
        assert seconds == (task.time_queue - laboratory.clock.now()).total_seconds()


def test_a_handler_finds_the_streams_that_libraries_expect(laboratory: Laboratory):
    """`buffer` for bytes, an encoding, `reconfigure`."""
    task = laboratory.result("speak_in_bytes")

    assert ("é\\xff\n", ["utf-8", "backslashreplace"]) == (task.output, task.result)


def test_what_a_handler_says_is_kept_in_order(laboratory: Laboratory, facts):
    """Print, log and other threads; records below the level are not kept; `c.task.log` has it all."""
    task = laboratory.result("speak")
    said = "to stdout\nto stderr\nWARNING laboratory: to the log\nfrom a thread\nno end"

    assert said == task.output.rstrip()
    assert said == task.result.rstrip()
    assert said.splitlines() == [fields["line"] for fields in facts.of("task.printed")]


def test_a_flood_of_output_keeps_nobody_from_the_hub(laboratory: Laboratory):
    """Its worker is read in bursts; the store keeps the first and the last lines."""
    turns = []
    run, greenlet = laboratory.begin("flood", 20_000)
    while not greenlet.ready():
        turns.append(1)
        gevent.sleep(0)
    task = laboratory.ended(run, greenlet)

    assert len(turns) > 1000
    assert task.output.startswith("0\n1\n")
    assert task.output.endswith("19999\n")


def test_a_handler_knows_and_reports_its_own_run(laboratory: Laboratory):
    task = prepare(
        laboratory.clock, "laboratory.advance", [], {}, Options(), {"project_id": 7, "user_id": "me"}
    )
    laboratory.store.post([Posting([task])])
    done = laboratory.perform(task)

    assert [1, f"{task.id}:1", 7, "me"] == done.result
    assert {"fraction": 0.25, "text": "a quarter"} == done.progress


def test_a_handler_of_a_delivery_gets_topic_and_event(laboratory: Laboratory):
    event = Event(
        laboratory.clock.new_id(), "laboratory.delivered", laboratory.clock.now(),
        hook="x", body=b'{"n": 1}', headers={"k": "v"},
    )  # fmt: skip
    receipt = laboratory.office.deliver(event)
    laboratory.claimer.tick()
    laboratory.pool.drain(PATIENCE)
    laboratory.recorder.tick()

    assert ["laboratory.delivered", b'{"n": 1}', {"n": 1}, {"k": "v"}, "x"] == laboratory.store.get(
        receipt.task_ids[0]
    ).result


# what it asks for


def test_a_handler_posts_and_publishes_through_the_daemon(laboratory: Laboratory):
    """Durable when `.post()` returns, with the `c` of the handler's own run."""
    posted = prepare(laboratory.clock, "laboratory.post", [1], {}, Options(), {"user_id": "me"})
    laboratory.store.post([Posting([posted])])
    stored_id, state, event_id = laboratory.perform(posted).result
    stored = laboratory.store.get(stored_id)

    assert "ready" == state
    assert ("laboratory.echo", [1], {"user_id": "me"}) == (stored.task_name, stored.args, stored.context)
    assert "laboratory.done" == laboratory.store.event(event_id).topic


def test_an_unstorable_argument_is_refused_where_it_is_given(laboratory: Laboratory):
    kind, text = laboratory.result("post_badly", "set").result

    assert "NotStorable" == kind
    assert text.startswith("args[0]: expected a value that BSON can hold")


def test_a_store_that_is_away_is_an_error_of_the_post(laboratory: Laboratory):
    """The same type with the same words as in the daemon."""
    laboratory.result("echo")
    run, greenlet = laboratory.begin("post_badly", "store")
    laboratory.faulty.fail_next("post")
    task = laboratory.ended(run, greenlet)

    assert [StoreUnavailable.__name__, "faulty store: post was told to fail"] == task.result


def test_threads_of_a_handler_post_side_by_side(laboratory: Laboratory):
    assert list(range(20)) == laboratory.result("post_from_threads", 20).result


def test_a_task_that_a_worker_has_posted_can_be_joined_there(new_laboratory: New):
    laboratory = new_laboratory(2)
    run, greenlet = laboratory.begin("wait_for_it", "echo")
    while not greenlet.ready():
        laboratory.claimer.tick()
        laboratory.recorder.tick()
        gevent.sleep(0.01)

    assert ["x"] == laboratory.ended(run, greenlet).result["args"]


def test_children_that_a_handler_starts_can_be_terminated(laboratory: Laboratory):
    """The worker is deaf for TERM; what it forks and what it executes are not."""
    assert [-15, -15] == laboratory.result("terminate_children").result


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("unfinished", "it returned a coroutine, whose work has not run; make it a plain function"),
        ("takes_one", "missing a required argument: 'n'; it is declared as (n) and called with 0"),
    ],
)
def test_a_call_that_can_never_end_is_an_error_at_once(laboratory: Laboratory, name: str, words: str):
    """As in a greenlet: no further attempt could help."""
    task = laboratory.result(name)

    assert ("error", 1) == (task.state, task.attempt)
    assert f"TypeError: task laboratory.{name}: {words}" in task.result
