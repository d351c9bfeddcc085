"""The checker sees each kind of broken promise in an account that holds exactly one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from bus.clock import Clock
from bus.model import Event, MonQTask

from .__main__ import is_right
from .checker import Account, Fault, Figures, Pause, check
from .ledger import Delivery, Ledger
from .scenario import Control
from .sender import Load, Pace, SenderBroken
from .witness import Evidence, Run, Write, read

Stored = tuple[MonQTask, Event]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """d-1 and d-2 acknowledged at 10 and 11, d-3 refused, d-4 without an answer."""
    ledger = Ledger(tmp_path / "ledger.jsonl")
    for outcome, status in (("acked", 202), ("acked", 200), ("refused", 503), ("unknown", 0)):
        ledger.note(ledger.new("quick"), 9.0, outcome, status)
    yield ledger
    ledger.close()


def run(delivery: str, started: float = 10.0, ended: float | None = 11.0, **more: object) -> Run:
    """A run of *delivery* by the daemon with pid 1, under token 1, that has returned when it has ended."""
    fields = {"token": 1, "pid": 1, "task": f"task of {delivery}", "has_returned": ended is not None, **more}
    fields.setdefault("daemon", fields["pid"])
    run_id = f"{delivery} at {started}"
    return Run(run_id, delivery, attempt=1, worker="w", started=started, ended=ended, **fields)


def stored(delivery: str, state: str = "complete", generation: int = 1, result: object = 1) -> Stored:
    """A task as it is at the end, and the event it comes from."""
    clock = Clock()
    event = Event(clock.new_id(), "chaos.quick", clock.now(), hook="chaos", delivery=delivery)
    task = MonQTask(clock.new_id(), "chaosapp.quick", [], {}, clock.now(), state=state, event_id=event.id)
    task.generation, task.result = generation, result
    return task, event


def figures(ledger: Ledger, *runs: Run, store: Sequence[Stored] | None = None, **more: object) -> Figures:
    """The figures of an account with *runs*, in which nothing else is wrong."""
    if store is None:
        store = [stored(delivery) for delivery in ("d-1", "d-2")]
    fields = {"faults": [], "pauses": [], **more}
    writes = fields.pop("writes", [])
    tasks, events = [task for task, _ in store], [event for _, event in store]
    account = Account(ledger, Evidence(list(runs), writes), tasks, events, began=0.0, ended=60.0, **fields)
    return check(account, {})


KEPT = (run("d-1"), run("d-2"))


def test_a_kept_promise_is_right(ledger: Ledger):
    """Everything acknowledged ran; a refused and an unknown one may have run too."""
    found = figures(ledger, *KEPT, run("d-3"), run("d-4"))

    assert [] == found.missed
    assert (2, 1, 1) == (found.acked, found.refused, found.unknown)
    assert (1, 1) == (found.refused_ran, found.unknown_ran)


@pytest.mark.parametrize("store", [[], [stored("d-2")], [stored("d-2", "error")]], ids=repr)
def test_what_never_returned_is_lost(ledger: Ledger, store: list[Stored]):
    """To begin is not enough, and what has ended without a return will never be called again."""
    runs = run("d-1"), run("d-2", ended=None)
    kill = Fault("killed", 11.0, 11.0, 1, pid=1)

    assert 1 == (found := figures(ledger, *runs, store=[stored("d-1"), *store], faults=[kill])).lost
    assert ["lost"] == found.missed


@pytest.mark.parametrize("state", ["ready", "busy"])
def test_what_still_waits_is_late_and_not_lost(ledger: Ledger, state: str):
    """A control that ends too early must not look as if it showed a loss."""
    found = figures(ledger, run("d-1"), store=[stored("d-1"), stored("d-2", state)])

    assert (0, 1, ["stuck"]) == (found.lost, found.stuck, found.missed)


@pytest.mark.parametrize(
    "store",
    [
        [stored("d-1")],
        [stored("d-1"), stored("d-2", "error")],
        [stored("d-1"), stored("d-2", "skipped")],
        [stored("d-1"), stored("d-2"), stored("d-2")],
        [stored("d-1"), stored("d-2"), stored("d-2", "skipped")],
    ],
    ids=["gone", "error", "skipped", "stored twice", "stored twice, once skipped"],
)
def test_what_has_returned_is_complete_exactly_once_in_the_store(ledger: Ledger, store: list[Stored]):
    """Whatever the handlers say, the store must say it too."""
    found = figures(ledger, *KEPT, store=store)

    assert (1, ["misrecorded"]) == (found.misrecorded, found.missed)


def test_two_tasks_of_one_delivery_overlap_too(ledger: Ledger):
    """A delivery that was stored twice has two holders, and no kill excuses it."""
    kill = Fault("killed", 5.0, 5.0, in_flight=3, pid=9, is_kill=True, may_repeat=True)
    twin = run("d-1", 10.5, 10.8, task="the other task of d-1")
    store = [stored("d-1"), stored("d-1"), stored("d-2")]
    found = figures(ledger, *KEPT, twin, store=store, faults=[kill])

    assert (1, 1, ["overlaps", "misrecorded"]) == (found.overlaps, found.misrecorded, found.missed)


def test_runs_that_are_cut_short_need_a_fault_that_cuts(ledger: Ledger):
    """A task that is interrupted again and again, or whose worker vanishes, does not run as promised."""
    cut = [run("d-1", at, at + 0.5, has_returned=False) for at in (1.0, 2.0)]
    gone = run("d-2", 3.0, None, pid=7, daemon=1, seen=3.5)
    frozen = Fault("frozen", 1.0, 4.0, in_flight=3, may_repeat=True)

    assert (3, ["cut"]) == ((found := figures(ledger, *cut, gone, *KEPT)).cut, found.missed)
    assert [] == figures(ledger, *cut, gone, *KEPT, faults=[frozen]).missed


def test_what_was_never_sent_is_a_ghost(ledger: Ledger):
    """Whatever it was, no sender asked for it."""
    found = figures(ledger, *KEPT, run("d-99"))

    assert (1, ["ghosts"]) == (found.ghosts, found.missed)


def test_a_second_return_needs_a_kill_with_work_in_flight(ledger: Ledger):
    """At least once is the promise; without a kill it is once."""
    again = run("d-1", 20.0, 21.0)
    kill = Fault("killed", 15.0, 15.0, in_flight=1, pid=1, is_kill=True, may_repeat=True)
    trouble = Fault("server killed", 15.0, 16.0, in_flight=1)

    assert (1, ["duplicates"]) == ((found := figures(ledger, *KEPT, again)).duplicates, found.missed)
    assert [] == figures(ledger, *KEPT, again, faults=[kill]).missed
    assert ["duplicates"] == figures(ledger, *KEPT, again, faults=[trouble]).missed


@pytest.mark.parametrize(
    ("other", "faults", "pauses", "expected"),
    [
        (run("d-1", 10.5, 12.0, pid=2), [], [], 1),
        (run("d-1", 11.0, 12.0, pid=2), [], [], 0),
        (run("d-1", 5.0, None, pid=2), [Fault("killed", 9.0, 9.0, 1, pid=2)], [], 0),
        (run("d-1", 5.0, None, pid=2), [Fault("killed", 10.5, 10.5, 1, pid=2)], [], 1),
        (run("d-1", 5.0, None, pid=2), [], [], 1),
        (run("d-1", 5.0, 20.0, pid=2), [], [Pause(2, 9.0, 15.0)], 0),
        (run("d-1", 5.0, 20.0, pid=2), [], [Pause(2, 9.0, 10.5)], 1),
        (run("d-1", 5.0, 20.0, pid=2), [], [Pause(3, 9.0, 15.0)], 1),
        (run("d-1", 5.0, None, pid=3, daemon=2), [Fault("killed", 9.0, 9.0, 1, pid=2)], [], 0),
        (run("d-1", 5.0, 20.0, pid=3, daemon=2), [Fault("killed", 9.0, 9.0, 1, pid=2)], [], 1),
        (run("d-1", 5.0, 20.0, pid=3, daemon=2), [], [Pause(2, 9.0, 15.0)], 1),
        (run("d-1", 5.0, None, pid=3, daemon=2, seen=9.9), [], [], 0),
        (run("d-1", 5.0, None, pid=3, daemon=2, seen=10.1), [], [], 1),
    ],
    ids=[
        "within it", "after it", "killed before", "killed within", "never ended", "frozen throughout",
        "thawed within", "another one frozen", "its worker died with it", "its worker outlived it",
        "its worker went on", "last seen before", "last seen within",
    ],
)  # fmt: skip
def test_an_overlap_is_two_runs_that_both_go_on(
    ledger: Ledger, other: Run, faults: list[Fault], pauses: list[Pause], expected: int
):
    """d-1 ran from 10 to 11: beside another run of the same task or not."""
    assert expected == figures(ledger, *KEPT, other, faults=faults, pauses=pauses).overlaps


@pytest.mark.parametrize(
    ("writes", "expected"),
    [
        ([Write("a", "t", 1, True), Write("a", "t", 1, True), Write("b", "t", 2, True)], 0),
        ([Write("a", "t", 1, True), Write("b", "t", 2, True), Write("a", "t", 1, False)], 0),
        ([Write("a", "t", 1, True), Write("b", "t", 1, True)], 1),
        ([Write("b", "t", 2, True), Write("a", "t", 1, True)], 1),
        ([Write("a", "t", 1, True), Write("b", "u", 1, True)], 0),
    ],
    ids=["in turn", "the late one refused", "two under one token", "the late one accepted", "two tasks"],
)
def test_a_write_of_a_replaced_run_is_stale(ledger: Ledger, writes: list[Write], expected: int):
    """The resource takes tokens that do not shrink, so each run needs one of its own."""
    assert expected == figures(ledger, *KEPT, writes=writes).stale_accepted


def test_an_end_of_a_replaced_run_is_stale(ledger: Ledger):
    """Every handler returns its generation: the recorded result must be that of the last claim."""
    found = figures(ledger, *KEPT, store=[stored("d-1", generation=2, result=2), stored("d-2", generation=2)])

    assert (1, ["stale_accepted"]) == (found.stale_accepted, found.missed)


@pytest.mark.parametrize("state", ["ready", "busy"])
def test_what_still_waits_at_the_end_is_stuck(ledger: Ledger, state: str):
    """When everything is calm nothing waits and nobody holds anything, promised or not."""
    store = [stored("d-1"), stored("d-2", state), stored("d-3", state)]

    assert ["stuck"] == figures(ledger, *KEPT, store=store).missed


def test_a_run_without_a_promise_shows_nothing(tmp_path: Path):
    """No delivery was acknowledged: whatever the other figures say, it is not right."""
    assert ["acked"] == figures(Ledger(tmp_path / "empty.jsonl"), store=[]).missed


def test_an_aim_is_an_upper_bound(ledger: Ledger):
    """Missed by more than it says."""
    store = [stored(delivery) for delivery in ("d-1", "d-2")]
    tasks, events = [task for task, _ in store], [event for _, event in store]
    account = Account(ledger, Evidence(list(KEPT)), tasks, events, [], [], 0.0, 60.0)

    assert ["seconds"] == check(account, {"seconds": 59.0}).missed
    assert [] == check(account, {"seconds": 60.0}).missed


def test_work_begins_again_when_a_handler_does(ledger: Ledger):
    """A 2xx after a fault is not yet a run."""
    faults = [Fault("server killed", 5.0, 7.5)]

    assert 2.5 == figures(ledger, *KEPT, faults=faults).works_again_max_seconds
    assert 0.5 == figures(ledger, *KEPT, run("d-1", 8.0), faults=faults).works_again_max_seconds


def test_a_control_must_show_its_figure_and_a_null_control_must_not(ledger: Ledger):
    """Lost without the guarantee proves something only where nothing is lost with it."""
    control = Control("no guarantee", shows="lost")
    lossy = figures(ledger, run("d-1"), store=[stored("d-1")])
    late = figures(ledger, run("d-1"), store=[stored("d-1"), stored("d-2", "ready")])

    assert (True, False) == (is_right(lossy, control), is_right(lossy, control, is_null=True))
    assert (False, True) == (is_right(late, control), is_right(late, control, is_null=True))
    assert (False, False) == (is_right(lossy, None), is_right(late, None))


def test_a_connection_that_dies_of_itself_fails_the_run(tmp_path: Path):
    """What it did not send is missing from the account."""

    class Broken(Ledger):
        def note(self, delivery: Delivery, *_: object) -> None:
            raise RuntimeError("pen dry")

    load = Load(Broken(tmp_path / "ledger.jsonl"), [("127.0.0.1", 9)], Pace(per_second=1000, connections=1))
    with pytest.raises(SenderBroken, match="pen dry"), load:
        for thread in load.threads:
            thread.join()


def test_a_resent_delivery_has_the_best_of_its_outcomes(ledger: Ledger):
    """One 2xx is a promise, whatever came before it; a refusal does not undo a silence."""
    refused, unknown = ledger.of("refused")[0], ledger.of("unknown")[0]
    ledger.note(refused, 9.0, "acked", 200)
    ledger.note(unknown, 9.0, "refused", 503)

    assert ["acked", "acked", "acked", "unknown"] == [one.outcome for one in ledger.deliveries()]


def test_records_are_read_up_to_the_last_whole_line(tmp_path: Path):
    """A file that is being written ends anywhere."""
    path = tmp_path / "records.jsonl"
    start = (
        '{"what": "start", "run": "r", "delivery": "d-1", "task": "t", "attempt": 1, "pid": 1, '
        '"daemon": 1, "worker": "w", "token": 1, "at": 1.0}'
    )
    alive = '{"what": "alive", "run": "r", "at": 1.5}'
    path.write_text(f'{start}\n{alive}\n{{"what": "end", "run": "r", "at": 2.0}}\n{{"what": "sta')
    evidence = read(path)

    assert [("d-1", 1.0, 1.5, 2.0, True)] == [
        (run.delivery, run.started, run.seen, run.ended, run.has_returned) for run in evidence.runs
    ]
    assert 2.0 == evidence.last_at
