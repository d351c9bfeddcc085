"""The bench: users' handlers run in a test as they would in the daemon."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from bus.apps import registry
from bus.apps.events import g
from bus.apps.registry import Registry, event_handler, task
from bus.errors import (
    JoinTimeout,
    MonqbusError,
    NotBound,
    NotFound,
    Retry,
    Snooze,
    StoreUnavailable,
    TaskFailed,
)
from bus.retry import Policy
from bus.store import open_memory_store
from bus.testing import Bench, FaultyStore, FrozenClock

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry of this test's own."""
    monkeypatch.setattr(registry, "_registry", Registry())


@pytest.fixture
def bench():
    with Bench() as bench:
        yield bench


@pytest.fixture
def ran():
    """What the handlers of a test say about their runs."""
    return []


@pytest.fixture
def note(ran):
    return task(name="note")(lambda what: ran.append(what))  # noqa: PLW0108 - a method is no task


# running


def test_nothing_runs_before_it_is_told_to(bench, note, ran):
    posted = note.post(1)
    assert ([], "ready") == (ran, bench.look(posted).state)

    (done,) = bench.run_ready()
    assert ([1], "complete", posted.id) == (ran, done.state, done.id)
    assert [] == bench.run_ready()


def test_tasks_run_in_the_daemons_order(bench, note, ran):
    """Priority, then age; a new one of higher priority goes before those that wait."""
    for n, priority in enumerate([10, 0, 20, 10]):
        note.options(priority=priority).post(n)
        bench.advance(1)
    task(name="first")(lambda: note.options(priority=15).post("new")).options(priority=99).post()
    bench.run_ready()

    assert [2, "new", 0, 3, 1] == ran


def test_a_delayed_task_waits_for_the_clock(bench, note, ran):
    note.options(delay=60).post(1)
    bench.advance(59.999)
    assert [] == bench.run_ready()

    bench.advance(0.001)
    bench.run_ready()
    assert [1] == ran


def test_draining_moves_the_clock_to_whatever_is_due_later(bench, note, ran):
    """And no further."""
    note.options(delay=3600).post("late")
    note.post("now")
    task(name="parent")(lambda: note.options(delay=60).post("child")).post()
    done = bench.drain()

    assert (["now", "child", "late"], 4) == (ran, len(done))
    assert 3600 == bench.clock.monotonic()


def test_a_failing_task_is_retried_as_in_the_daemon(bench):
    """Back-off without jitter: 30 s, then 46 s; then it gives up."""
    times = []
    fail = task(name="fail", max_attempts=3)(lambda: times.append(bench.clock.monotonic()) or 1 / 0)
    posted = fail.post()
    bench.drain()

    assert [0, 30, 76] == times
    assert ("error", 3) == (bench.look(posted).state, bench.look(posted).attempt)
    assert "ZeroDivisionError" in bench.look(posted).result


def test_verdicts_are_obeyed(bench):
    verdicts = [Snooze(delay=5), Retry(delay=7), None]

    def judge():
        if verdict := verdicts.pop(0):
            raise verdict

    posted = task(name="judge")(judge).post()
    bench.drain()

    assert (12, "complete", 2) == (
        bench.clock.monotonic(),
        bench.look(posted).state,
        bench.look(posted).attempt,
    )


def test_a_cloudevent_is_delivered_with_its_attributes(bench):
    """A handler gets them beside the data."""
    got: list[tuple[str, object]] = []
    note = lambda topic, event: got.append((event.attributes["subject"], event.data))  # noqa: E731
    event_handler("made", name="n")(note)

    bench.deliver("made", {"n": 1}, {"Content-Type": "application/json"}, attributes={"subject": "s"})
    bench.run_ready()

    assert [("s", {"n": 1})] == got


def test_time_may_pass_inside_a_handler(bench):
    """A handler that takes longer than its timeout fails as it would in the daemon."""
    slow = task(name="slow", timeout=30, max_attempts=1)(lambda: bench.advance(31))
    (done,) = [slow.post(), bench.run_ready()][1]

    assert ("error", "TimedOut: ran longer than its timeout of 30 s") == (
        done.state,
        done.history[0]["error"],
    )


def test_an_unknown_name_waits_and_holds_nothing_up(bench, note, ran):
    parked = note.post("parked")
    del registry.registry().tasks["note"]

    assert [] == bench.drain()
    assert "ready" == bench.look(parked).state


@pytest.fixture
def again(monkeypatch):
    """A task that posts itself; the bench's patience is fifty runs."""
    monkeypatch.setattr("bus.testing.MOST_RUNS", 50)

    @task(name="again")
    def again(delay: float) -> None:
        again.options(delay=delay).post(delay)

    return again


def test_a_task_that_posts_itself_for_ever_ends_the_test(bench, again):
    again.post(0)

    with pytest.raises(MonqbusError, match="50 tasks ran and there is no end; does one post itself"):
        bench.run_ready()


def test_a_task_that_posts_itself_for_later_ends_draining(bench, again):
    again.post(60)

    assert 1 == len(bench.run_ready())
    with pytest.raises(MonqbusError, match="there is no end"):
        bench.drain()


# joining


def test_a_join_runs_what_is_due_until_its_task_has_ended(bench, note):
    double = task(name="double")(lambda n: 2 * n)
    note.options(delay=9999).post("much later")

    assert 4 == double.post(2).join()
    assert 6 == double.options(delay=5).post(3).join(timeout=10)
    assert ["ready"] == [waiting.state for waiting in bench.tasks(name="note")]


def test_a_task_may_join_another_one(bench):
    """One at a time does not mean that they block each other."""
    inner = task(name="inner")(lambda n: n + 1)
    outer = task(name="outer")(lambda n: 10 * inner.post(n).join())

    assert 30 == outer.post(2).join()


def test_a_join_raises_what_the_task_raised(bench):
    with pytest.raises(TaskFailed, match="ZeroDivisionError"):
        task(name="fail", max_attempts=1)(lambda: 1 / 0).post().join()


def test_a_join_that_can_never_end_ends(bench, note):
    parked = note.post(1)
    del registry.registry().tasks["note"]

    with pytest.raises(JoinTimeout, match="nothing is left to run"):
        parked.join()


# events


def test_an_event_runs_each_of_its_handlers(bench, ran):
    for name in ("one", "two"):
        event_handler("a", name=name)(lambda topic, *args, name=name: ran.append((name, topic, *args)))
    g.post_event("a", 1)
    bench.run_ready()

    assert [("one", "a", 1), ("two", "a", 1)] == ran


@pytest.mark.parametrize(
    ("body", "raw"), [(b"\xff", b"\xff"), ({"n": 1}, b'{"n": 1}'), ([], b"[]"), ("x", b'"x"')]
)
def test_a_delivery_comes_as_the_webhook_would_bring_it(bench, ran, body, raw):
    """Bytes, lower-case headers, the hook's name; the same id twice is one event."""
    event_handler("a", name="h")(lambda topic, event: ran.append((topic, event)))
    first = bench.deliver("a", body, {"X-Kind": "push"}, hook="github", delivery="1")
    again = bench.deliver("a", body, delivery="1", hook="github")
    bench.run_ready()

    ((topic, event),) = ran
    assert ("a", raw, {"x-kind": "push"}, "github") == (topic, event.body, event.headers, event.hook)
    assert (first.task_ids, True) == (again.task_ids, again.duplicate)


# looking


def test_tasks_are_shown_in_order_of_posting(bench, note):
    note.post(1)
    task(name="notable")(lambda: None).post()
    note.options(delay=5).post(2)
    bench.run_ready()

    assert ["note", "notable", "note"] == [stored.task_name for stored in bench.tasks()]
    assert [[2]] == [stored.args for stored in bench.tasks("ready")]
    assert ["notable"] == [stored.task_name for stored in bench.tasks(name="notable")]


def test_a_task_of_another_bench_is_not_found(bench, note):
    with Bench():
        elsewhere = note.post(1)

    with pytest.raises(NotFound, match="is not stored here"):
        bench.look(elsewhere)


def test_each_bench_is_empty_and_leaves_the_process_as_it_was(note, ran):
    """Also when the test in it fails; benches may be nested."""
    with Bench() as outer:
        note.post("outer")
        with pytest.raises(ZeroDivisionError), Bench() as inner:
            note.post("inner")
            _ = 1 / 0
        assert 1 == len(outer.tasks())
        outer.run_ready()

    assert ["outer"] == ran
    with pytest.raises(NotBound):
        note.post(1)
    with pytest.raises(StoreUnavailable):
        inner.tasks()


def test_start_and_policy_can_be_chosen():
    start = datetime(2030, 5, 1, 12, tzinfo=timezone.utc)
    fail = task(name="fail")(lambda: 1 / 0)
    with Bench(start=start, policy=Policy(max_attempts=1, keep_failed=timedelta(days=2))) as bench:
        fail.post()
        (done,) = bench.run_ready()

    assert (start, "error", start + timedelta(days=2)) == (done.time_queue, done.state, done.expire_at)


# faults


def test_a_sleeping_store_fails_every_verb_and_wakes_unharmed(bench, note, ran):
    note.post(1)
    bench.store.sleep()
    for act in (lambda: note.post(2), lambda: g.post_event("a"), bench.tasks):
        with pytest.raises(StoreUnavailable, match="was told to fail"):
            act()
    assert [] == bench.run_ready()
    bench.store.wake()
    bench.run_ready()

    assert [1] == ran


def test_an_end_is_recorded_when_the_store_answers_again(bench, note, ran):
    """The task does not run a second time for it."""
    posted = note.post(1)
    bench.store.fail_next("report")
    bench.run_ready()

    assert ([1], "complete") == (ran, bench.look(posted).state)


@pytest.mark.parametrize(("after", "count"), [(False, 0), (True, 1)])
def test_one_call_may_fail_before_or_after_its_work(bench, note, after, count):
    """A lost answer is the harder half of an outage: the post is there all the same."""
    bench.store.fail_next("post", after=after)
    with pytest.raises(StoreUnavailable):
        note.post(1)

    assert count == len(bench.tasks())
    note.post(2)
    assert count + 1 == len(bench.tasks())


def test_a_faulty_store_is_otherwise_the_store_it_wraps():
    store = FaultyStore(open_memory_store())
    store.sleep()

    assert not store.shared
    with pytest.raises(StoreUnavailable):
        store.ping()
    with pytest.raises(AttributeError):
        _ = store.no_such_verb
    store.close()


def test_the_frozen_clock_comes_along():
    clock = FrozenClock()
    clock.advance(1.5)

    assert 1.5 == clock.monotonic()


# the page


def test_the_example_of_the_page_runs_as_it_stands(tmp_path):
    """In a process that nothing has patched, warnings being errors."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "testing.md").read_text(), re.DOTALL)
    for name, block in zip(("mail.py", "test_mail.py"), blocks, strict=True):
        (tmp_path / name).write_text(block)
    (tmp_path / "test_zz.py").write_text(
        "from gevent import monkey\ndef test_nothing_is_patched():\n    assert not monkey.saved\n"
    )
    pytest_in_a_child = [
        sys.executable, "-X", "dev", "-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider",
        "--rootdir", ".", "-c", os.devnull, ".",
    ]  # fmt: skip

    done = subprocess.run(
        pytest_in_a_child,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert "6 passed" in done.stdout, done.stdout + done.stderr


def test_tasks_shows_all_of_them_however_large(bench, note):
    """A page of the store ends at 8 MiB; a test asks for what there is."""
    posted = [note.post("x" * 5 * 1024 * 1024) for _ in range(4)]

    assert [task.id for task in posted] == [stored.id for stored in bench.tasks()]


def test_rules_of_handlers_hold_as_in_the_daemon(bench):
    """Of deliveries and of published events."""

    @event_handler("order", name="paid", when='body.state == "paid" or args.0 == "paid"')
    def paid(topic, *args): ...

    for state in ("paid", "open"):
        bench.deliver("order", {"state": state})
        g.post_event("order", state)

    assert ["complete", "complete"] == [one.state for one in bench.run_ready()]
    assert 2 == len(bench.tasks())
