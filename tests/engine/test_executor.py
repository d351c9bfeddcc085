"""One run of one task: every way it can end."""

from __future__ import annotations

import dataclasses
import sys

import gevent
import pytest
from bson import ObjectId
from gevent.event import Event as Signal

from bus.apps.command import Command
from bus.apps.context import c
from bus.engine.run import Run
from bus.errors import Cancel, Drained, Retry, Snooze, TimedOut, Withdrawn
from bus.model import Event, Posting

PATIENCE = 5.0


def burn(engine, seconds: float) -> None:
    """A handler that computes and never yields: time passes for the clock, not for the hub."""
    engine.clock.advance(seconds)


def test_what_a_handler_returns_completes_its_task(engine):
    engine.declare(lambda a, b=0: {"sum": a + b})

    task = engine.perform(engine.waiting(1))

    assert ("complete", {"sum": 1}, engine.clock.now()) == (task.state, task.result, task.time_stop)


def test_what_a_handler_raises_is_kept_from_its_own_frame_on(engine):
    """Frames of ours above it help nobody; causes stay."""

    def fail():
        try:
            raise KeyError("inner")
        except KeyError as error:
            raise ValueError("outer") from error

    engine.declare(fail)
    task = engine.perform(engine.waiting())

    assert ("ready", 1) == (task.state, task.attempt)
    assert "KeyError: 'inner'" in task.result
    assert "ValueError: outer" in task.result
    assert "in fail" in task.result
    assert "/bus/engine/" not in task.result
    assert ["ValueError: outer"] == [entry["error"] for entry in task.history]


def test_the_last_attempt_that_fails_ends_in_error(engine):
    engine.declare(lambda: 1 / 0, max_attempts=2)
    task = engine.waiting()

    states = []
    for _ in range(2):
        states.append(engine.perform(task).state)
        engine.clock.advance(3600)

    assert ["ready", "error"] == states
    assert "ZeroDivisionError" in engine.now(task).result


@pytest.mark.parametrize(
    ("verdict", "state", "attempt", "seconds"),
    [
        (Retry("busy", delay=5), "ready", 1, 5),
        (Snooze("later", delay=7), "ready", 0, 7),
        (Cancel("moot"), "skipped", 1, None),
    ],
)
def test_a_handler_says_what_becomes_of_its_task(engine, verdict, state, attempt, seconds):
    def judge():
        raise verdict

    engine.declare(judge)
    task = engine.perform(engine.waiting())

    assert (state, attempt) == (task.state, task.attempt)
    if seconds is not None:
        assert seconds == (task.time_queue - engine.clock.now()).total_seconds()


def test_a_verdict_with_an_impossible_delay_is_an_error_of_the_handler(engine):
    """It could not be stored as a moment, and the task must not hang in busy for it."""

    def judge():
        raise Retry(delay=1e15)

    engine.declare(judge)
    task = engine.perform(engine.waiting())

    assert "ValueError: Retry delay: expected 0 to 315360000 s" in task.result


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit, gevent.GreenletExit])
def test_no_exception_of_a_handler_ends_the_daemon(engine, error):
    """Not even those that end a process or a greenlet: they end their task."""

    def leave():
        raise error("bye")

    engine.declare(leave)
    task = engine.perform(engine.waiting())

    assert "ready" == task.state
    assert f"{error.__name__}: bye" == task.history[0]["error"]


def test_sys_exit_ends_its_task_only(engine):
    engine.declare(lambda: sys.exit(0))

    assert "SystemExit: 0" == engine.perform(engine.waiting()).history[0]["error"]


@pytest.mark.parametrize("value", [object(), "\ud800", 2**70, {1: 2}])
def test_a_result_that_cannot_be_stored_does_not_keep_its_task_from_completing(engine, value):
    engine.declare(lambda: value)
    task = engine.perform(engine.waiting())

    assert "complete" == task.state
    assert type(value).__name__ == task.result["not_storable"]


def test_arguments_that_do_not_fit_are_a_failure_like_any_other(engine):
    engine.declare(lambda a: a)

    assert "TypeError" in engine.perform(engine.waiting(1, 2, 3)).result


# time


@pytest.mark.parametrize("where", ["post", "declaration", "daemon"])
def test_a_handler_that_yields_is_stopped_when_its_time_is_up(engine, where):
    """The nearest word counts: the post's, the declaration's, the daemon's."""
    engine.declare(lambda: Signal().wait(PATIENCE), **({"timeout": 0.01} if where == "declaration" else {}))
    engine.executor.default_timeout = 0.01 if where == "daemon" else 99.0
    task = engine.perform(engine.waiting(**({"timeout": 0.01} if where == "post" else {})))

    assert "ready" == task.state
    assert "TimedOut: ran longer than its timeout of 0.01 s" == task.history[0]["error"]
    assert "in <lambda>" in task.result


def test_a_handler_that_never_yields_is_found_out_afterwards(engine):
    """Nothing could stop it, and its result came too late."""
    engine.declare(lambda: burn(engine, 2), timeout=1)
    task = engine.perform(engine.waiting())

    assert "TimedOut: ran longer than its timeout of 1 s" == task.history[0]["error"]
    assert "the handler did not yield, so it could not be stopped in time\n" == task.result


def test_a_handler_within_its_time_is_left_alone(engine):
    engine.declare(lambda: burn(engine, 0.9), timeout=1)

    assert "complete" == engine.perform(engine.waiting()).state


@pytest.mark.parametrize("how", ["returns", "raises"])
def test_a_handler_that_swallows_its_interrupt_does_not_escape_it(engine, how):
    """An `except BaseException` around everything changes nothing about the ending."""

    def stubborn():
        try:
            Signal().wait(PATIENCE)
        except BaseException:  # noqa: BLE001 - the mistake that is tested
            if how == "raises":
                raise ValueError from None
        return "fine"

    engine.declare(stubborn, timeout=0.01)
    task = engine.perform(engine.waiting())

    assert "ready" == task.state
    assert "TimedOut: ran longer than its timeout of 0.01 s" == task.history[0]["error"]


def test_except_exception_does_not_swallow_an_interrupt(engine):
    reached = []

    def careful():
        try:
            Signal().wait(PATIENCE)
        except Exception:  # noqa: BLE001 - the ordinary caution of a handler
            reached.append("swallowed")
        reached.append("went on")

    engine.declare(careful, timeout=0.01)
    engine.perform(engine.waiting())

    assert [] == reached


def test_at_most_one_interrupt_reaches_a_run(engine):
    """Its clean-up may take as long as it takes: time-out, drain and withdrawal leave it alone."""
    caught, entered, leave = [], Signal(), Signal()

    def clean_up():
        try:
            Signal().wait(PATIENCE)
        except BaseException as error:
            caught.append(type(error))
            entered.set()
            caught.append(leave.wait(PATIENCE))
            raise

    engine.declare(clean_up, timeout=0.01)
    engine.waiting()
    engine.claimer.tick()
    (run,) = engine.pool.running.values()
    assert entered.wait(PATIENCE)
    run.interrupt(Drained())
    engine.pool.interrupt(None, Withdrawn)
    gevent.idle()
    leave.set()
    assert 0 == engine.pool.drain(PATIENCE)

    assert [TimedOut, True] == caught


def test_an_interrupt_after_the_end_of_a_handler_reaches_nobody(engine):
    engine.declare(lambda: "done")
    (task,) = engine.store.claim(engine.instance, ["t"], 1, engine.waiting().time_queue).tasks
    run = Run(task, 0.0)
    engine.run(run)
    run.interrupt(Drained())
    engine.recorder.tick()

    assert run.interrupted is None
    assert "complete" == engine.now(task).state


def test_the_time_of_one_run_never_interrupts_the_next(engine):
    """The timer is gone with the handler."""
    engine.declare(lambda: None, timeout=0.02)
    engine.perform(engine.waiting())
    engine.declare(lambda: Signal().wait(0.05), "long")
    task = engine.perform(engine.waiting(name="long"))

    assert "complete" == task.state


# not the task's fault


@pytest.mark.parametrize("reason", [Drained, Withdrawn])
def test_a_run_that_is_cut_short_goes_back_and_its_attempt_does_not_count(engine, reason):
    entered = Signal()

    def work():
        entered.set()
        Signal().wait(PATIENCE)

    engine.declare(work)
    task = engine.waiting()
    engine.claimer.tick()
    assert entered.wait(PATIENCE)
    engine.pool.interrupt(None, reason)
    assert 0 == engine.pool.drain(PATIENCE)
    engine.recorder.tick()

    now = engine.now(task)
    assert ("ready", 0, None, task.time_queue) == (now.state, now.attempt, now.worker, now.time_queue)
    assert [] == now.history


def test_a_run_that_is_cut_short_before_it_began_never_begins(engine):
    begun = []
    engine.declare(lambda: begun.append(1))
    task = engine.waiting()
    engine.claimer.tick()
    engine.pool.interrupt(None, Drained)
    assert 0 == engine.pool.drain(PATIENCE)
    engine.recorder.tick()

    assert [] == begun
    assert ("ready", 0) == (engine.now(task).state, engine.now(task).attempt)


def test_a_name_that_is_no_longer_registered_goes_back_unharmed(engine, facts):
    """A reload may take it away between claim and run; text of the store is never imported."""
    engine.declare(lambda: None, "os.system")
    task = engine.waiting("echo", name="os.system")
    (claimed,) = engine.store.claim(engine.instance, ["os.system"], 1, engine.clock.now()).tasks
    del engine.registry.tasks["os.system"]
    engine.run(Run(claimed, 0.0))
    engine.recorder.tick()

    assert ("ready", 0) == (engine.now(task).state, engine.now(task).attempt)
    assert "no task of this name is registered any more" == facts.of("task.released")[0]["outcome"].error


# what surrounds a run


def test_the_context_of_a_task_is_there_in_its_run_and_in_no_other(engine):
    seen = []

    def look(*_):
        seen.append((c.user, c.project, c.task.task_name))
        c.user = "leak"

    engine.declare(look)
    first = engine.waiting(1)
    first.context["user_id"] = 7
    engine.store.delete([first.id], ["ready"])
    engine.store.post([Posting([first])])
    engine.perform(first)
    engine.perform(engine.waiting(2))

    assert [(7, None, "t"), (None, None, "t")] == seen
    assert c.user is None


def test_two_runs_at_once_never_see_each_others_context(engine):
    seen, turns = {}, [Signal(), Signal()]

    def look(n):
        c.user = n
        turns[n].set()
        assert turns[1 - n].wait(PATIENCE)
        seen[n] = (c.user, c.task.args)

    engine.declare(look)
    engine.waiting(0)
    engine.waiting(1)
    engine.claimer.tick()
    assert 0 == engine.pool.drain(PATIENCE)

    assert {0: (0, [0]), 1: (1, [1])} == seen


def test_a_handler_knows_and_reports_its_own_run(engine):
    """`c.task`: attempt, fencing token, what it printed, and how far it is."""
    seen = []

    def work():
        seen.append((c.task.attempt, c.task.token, c.task.log))
        c.task.progress(0.4, "half")
        c.task.progress(7, "x" * 999)

    engine.declare(work)
    task = engine.perform(engine.waiting())

    assert [(1, f"{task.id}:1", "")] == seen
    assert {"fraction": 1.0, "text": "x" * 200} == task.progress


def test_a_handler_of_a_delivery_gets_topic_and_event(engine):
    """The bytes that were verified, headers, the hook's name."""
    seen = []
    engine.declare(lambda topic, event: seen.append((topic, event)), "h", topic="a.b")
    event = Event(
        engine.clock.new_id(), "a.b", engine.clock.now(), hook="x", body=b'{"n": 1}', headers={"k": "v"}
    )
    receipt = engine.office.deliver(event)
    engine.claimer.tick()
    assert 0 == engine.pool.drain(PATIENCE)
    engine.recorder.tick()

    ((topic, got),) = seen
    assert ("a.b", {"n": 1}, b'{"n": 1}', {"k": "v"}, "x") == (
        topic,
        got.json,
        got.body,
        got.headers,
        got.hook,
    )
    assert "complete" == engine.store.get(receipt.task_ids[0]).state


def test_a_handler_of_a_published_event_gets_topic_and_arguments(engine):
    seen = []
    engine.declare(lambda *args, **kwargs: seen.append((args, kwargs)), "h", topic="a")
    engine.office.publish("a", [1, 2], {"x": 3})
    engine.claimer.tick()
    assert 0 == engine.pool.drain(PATIENCE)

    assert [(("a", 1, 2), {"x": 3})] == seen


def test_the_facts_of_a_run_come_in_order(engine, facts):
    engine.declare(lambda: engine.clock.advance(1.5))
    engine.perform(engine.waiting())

    assert ["task.started", "task.finished"] == facts.names
    assert pytest.approx(1.5) == facts.of("task.finished")[0]["seconds"]


# a delivery that is gone


def bereft(engine, name: str, **options):
    """A task of a delivery that nobody has any more, claimed and run; as stored then."""
    task = engine.waiting("a.topic", name=name, **options)
    lost = dataclasses.replace(task, id=ObjectId(), event_id=ObjectId(), topic="a.topic")
    engine.store.delete([task.id], ["ready"])
    engine.store.adopt([lost], [])
    return engine.perform(lost)


def test_a_run_whose_delivery_is_gone_is_refused_and_not_tried_again(engine, facts):
    """A handler would be called without its event; the operator reads why in `error`."""
    called = []
    engine.declare(lambda *args: called.append(args), "h")
    task = bereft(engine, "h")

    assert [] == called
    assert ("error", 1) == (task.state, task.attempt)
    assert "the delivery it is about is no longer stored" in task.result
    assert task.result == task.history[-1]["error"]
    assert ["task.gave_up"] == [name for name in facts.names if name.startswith("task.g")]


def test_a_command_never_runs_on_the_body_of_nothing(engine, tmp_path):
    """It would read `body: null`, and end well."""
    engine.declare(Command(("touch", "ran"), tmp_path), "h")
    task = bereft(engine, "h")

    assert ("error", []) == (task.state, list(tmp_path.iterdir()))


@pytest.mark.parametrize("args", [(), (1, 2)])
def test_a_call_that_the_function_does_not_take_is_not_tried_again(engine, args):
    """It was tried eight times: what was posted before the function changed, or by a stranger."""
    engine.declare(lambda n: n)

    task = engine.perform(engine.waiting(*args))

    assert ("error", 1) == (task.state, task.attempt)
    assert task.result.startswith("TypeError: task t: ")
    assert task.result.endswith(f"; it is declared as (n) and called with {len(args)} positional arguments")


def test_a_type_error_of_the_body_is_tried_again(engine):
    """Also one that says the same as that of a call."""

    def inner(n): ...

    engine.declare(lambda: inner() or 1)
    task = engine.perform(engine.waiting())

    assert ("ready", 1) == (task.state, task.attempt)
    assert "missing 1 required positional argument: 'n'" in task.result


def test_a_type_error_of_a_compiled_function_that_fits_is_tried_again(engine):
    """It has no frame that would tell its own error from that of its call."""
    engine.declare(len)

    assert "ready" == engine.perform(engine.waiting(3)).state


def test_a_handler_that_takes_no_event_says_so_at_its_first_delivery(engine):
    """It was tried for 50 minutes."""

    def one(event): ...

    engine.declare(one, topic="x")
    receipt = engine.office.deliver(Event(engine.clock.new_id(), "x", engine.clock.now(), hook="h"))
    engine.claimer.tick()
    assert 0 == engine.pool.drain(PATIENCE)
    engine.recorder.tick()
    task = engine.store.get(receipt.task_ids[0])

    assert ("error", 1) == (task.state, task.attempt)
    assert "too many positional arguments; it is declared as (event) and called with 2" in task.result


def test_work_that_was_returned_unfinished_is_an_error_and_no_result(engine):
    """It was `complete`, with the repr of a coroutine as its result."""

    async def fetch(): ...

    engine.declare(lambda n: fetch())
    task = engine.perform(engine.waiting(1))

    assert ("error", 1) == (task.state, task.attempt)
    assert "TypeError: task t: it returned a coroutine, whose work has not run" in task.result
