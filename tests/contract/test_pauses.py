"""A pause holds in every daemon of a store, over restarts, and ends by itself; what waits is not lost."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import NamedTuple

import pytest

from bus.admin import Admin
from bus.apps.hook_handlers import names_of, own_names_of
from bus.apps.options import Options
from bus.apps.registry import Registry, Task
from bus.clock import Clock, FrozenClock
from bus.copying import copy
from bus.engine.claimer import Claimer
from bus.engine.lanes import Lane, Lanes
from bus.engine.pool import Pool
from bus.engine.recorder import Recorder
from bus.errors import BadFilter, NotFound, StoreUnavailable
from bus.maintenance.pause_monitor import LOOK_SECONDS, PauseMonitor
from bus.model import Filter, Instance, Posting, Record
from bus.pauses import KIND, Pause
from bus.posting import PostOffice
from bus.store import open_memory_store

from .samples import a_task, depths

NAMES = ("mail.send", "mail.count", "other")


class Topic(NamedTuple):
    """What of a hook pauses ask for."""

    name: str
    topic: str


class Daemon:
    """The parts of a daemon that have to do with pauses; its loops tick by hand, its tasks run until told."""

    def __init__(self, store, clock, number=1, slots=10):
        self.store, self.clock = store, clock
        self.began = []
        registry = self.registry = Registry()
        self.hooks = {name: Topic(name, f"{name}.{{header:x-event}}") for name in ("shop", "till")}
        for name in NAMES:
            registry.add(Task(lambda *_: None, name, Options()))
        for topic, name in (("shop.sold", "mail.send"), ("shop.lost", "mail.count"), ("till.sold", "other")):
            registry.subscribe(registry.tasks[name], [topic])
        self.instance = Instance(f"w{number}", f"monqbus/here pid {number}", None)
        recorder = Recorder(store, clock)

        def new_claimer(pool, names):
            return Claimer(store, self.instance, pool, recorder, clock, names=names, may_claim=lambda: True)

        self.claimers = []

        def new_lane(pool, names):
            self.claimers.append(new_claimer(pool, names))
            return self.claimers[-1]

        self.lanes = Lanes(self.instance, clock, lambda size: Pool(size, self._run, Clock()), new_lane)
        self.lanes.arrange({"greenlets": Lane(slots, frozenset(NAMES))})
        self.monitor = PauseMonitor(
            store,
            clock,
            lambda: self.lanes.pause(self.monitor.is_task_paused),
            lambda name: names_of(self.hooks[name], registry) if name in self.hooks else (),
        )
        self.monitor.look()
        self.office = PostOffice(store, lambda: registry, clock, starter=self.lanes)
        self.admin = Admin(
            store,
            clock,
            paused=self.monitor.look,
            tasks_of_hook=lambda name: own_names_of(name, self.hooks, registry),
        )

    def _run(self, run):
        self.began.append(run.task.task_name)

    def turn(self):
        """Two passes of its claimer, so that it has seen whether something waits; the names that began."""
        for _ in range(3):
            self.claimers[0].tick()
        self.lanes.drain(5)
        began, self.began = self.began, []
        return sorted(began)


@pytest.fixture
def clock():
    return FrozenClock()


@pytest.fixture
def two(new_store, clock):
    """Two daemons: on a shared store each with connections of its own."""
    first = new_store()
    second = new_store() if first.shared else first
    for number, store in enumerate((first, second), 1):
        store.renew(Instance(f"w{number}", "x", None), 60)
    return Daemon(first, clock, 1), Daemon(second, clock, 2)


def waiting(daemon, *names):
    for name in names:
        daemon.store.post([Posting([a_task(name, time_queue=daemon.clock.now())])])


def test_what_is_paused_waits_and_the_rest_goes_on(two):
    one, _ = two
    one.admin.pause("task", "mail.*", "smtp is down")
    waiting(one, *NAMES)

    assert ["other"] == one.turn()
    assert {"mail.send": 1, "mail.count": 1} == depths(one.store.waiting())
    one.admin.resume("task", "mail.*")
    assert ["mail.count", "mail.send"] == one.turn()


def test_a_paused_task_does_not_begin_as_it_is_posted_either(two):
    """Direct start: with all slots free and nothing waiting."""
    one, _ = two
    one.turn()
    begun = one.office.post("mail.send", [], {}, Options())
    one.lanes.drain(5)
    one.admin.pause("task", "mail.*", "smtp is down")
    held = one.office.post("mail.send", [], {}, Options())

    assert ["busy", "ready"] == [begun.state, held.state]
    assert "busy" == one.office.post("other", [], {}, Options()).state


def test_another_daemon_holds_to_it_at_its_next_look(two):
    """Which it takes within LOOK_SECONDS, whatever the feed may lose."""
    one, other = two
    one.admin.pause("task", "*", "a freeze")
    assert other.monitor.look() <= LOOK_SECONDS <= 1
    waiting(one, *NAMES)

    assert [[], []] == [one.turn(), other.turn()]
    other.admin.resume("task", "*")
    one.monitor.look()
    assert sorted(NAMES) == sorted(other.turn() + one.turn())


def test_a_daemon_that_starts_during_a_pause_begins_nothing_of_it(two, clock):
    one, other = two
    waiting(one, "mail.send")
    one.admin.pause("task", "mail.send", "smtp is down")
    late = Daemon(other.store, clock, 2)

    assert [] == late.turn()
    assert "ready" == late.office.post("mail.send", [], {}, Options()).state


def test_a_pause_ends_by_itself_at_its_end_and_is_forgotten(two, clock):
    one, other = two
    one.admin.pause("task", "mail.*", "smtp is down", until=clock.now() + timedelta(seconds=90))
    other.monitor.look()
    waiting(one, "mail.send")
    clock.advance(89.999)
    one.monitor.look()

    assert [] == one.turn()
    clock.advance(0.001)
    one.monitor.look()
    assert ["mail.send"] == one.turn()
    other.monitor.look()
    assert ([], []) == (other.monitor.pauses, one.store.records(KIND))


def test_the_next_look_is_at_the_end_of_a_pause(two, clock):
    one, _ = two
    one.admin.pause("task", "x", "y", until=clock.now() + timedelta(milliseconds=300))

    assert 0.3 == pytest.approx(one.monitor.look())


def test_a_pause_that_was_made_longer_meanwhile_is_not_ended(two, clock):
    """Whoever sees the old end deletes the version that it has read, and no other."""
    one, other = two
    one.admin.pause("task", "x", "y", until=clock.now() + timedelta(seconds=1))
    clock.advance(1)
    stale = other.store.records(KIND)
    one.admin.pause("task", "x", "y", until=clock.now() + timedelta(hours=1))

    assert [False] == other.store.keep_records([replace(record, fields={}) for record in stale])
    assert ["x"] == [state.pause.name for state in other.admin.pauses()]


def test_paused_again_it_keeps_its_beginning_and_gets_the_new_reason_and_end(two, clock):
    one, other = two
    began = clock.now()
    one.admin.pause("task", "x", "first", until=clock.now() + timedelta(hours=1), by="a@b")
    clock.advance(60)
    other.admin.pause("task", "x", "second", by="c@d")

    (state,) = one.admin.pauses()
    assert Pause("task", "x", "second", began, None, "c@d", 2) == state.pause


def test_pauses_say_how_many_tasks_wait_for_them(two):
    one, other = two
    waiting(one, *NAMES, "mail.send", "nobody.knows")
    one.admin.pause("task", "mail.*", "smtp is down")
    one.admin.pause("schedule", "night", "inventory")

    assert [("night", None), ("mail.*", 3)] == [
        (state.pause.name, state.ready) for state in other.admin.pauses()
    ]
    assert 3 == other.admin.count_paused(Filter())
    assert 2 == other.admin.count_paused(Filter(name="mail.send"))
    assert 0 == other.admin.count_paused(Filter(states=("error",)))


def test_resuming_what_is_not_paused_names_the_pause_that_holds_it(two):
    one, _ = two
    one.admin.pause("task", "mail.*", "smtp is down")

    with pytest.raises(NotFound, match=r"mail.send: no pause of this name; it is paused as mail.\*"):
        one.admin.resume("task", "mail.send")
    with pytest.raises(NotFound, match=r"schedule night: no pause .* `monqbus pauses` lists"):
        one.admin.resume("schedule", "night")


def test_an_end_that_is_past_is_refused(two, clock):
    one, _ = two
    with pytest.raises(BadFilter, match=r"^until: expected a moment that is to come"):
        one.admin.pause("task", "x", "y", until=clock.now())

    assert [] == one.store.records(KIND)


def test_a_record_without_anything_readable_holds_and_can_be_resumed(two):
    """An operator has meant something to wait, and only an operator may say that it need not."""
    one, other = two
    one.store.keep_records([Record(KIND, "task mail.*", {"reason": b"\xff", "until": "soon"})])
    other.monitor.look()
    waiting(one, "mail.send")

    assert [] == other.turn()
    other.admin.resume("task", "mail.*")
    assert ["mail.send"] == other.turn()


def test_a_store_that_is_away_changes_no_pause(two, monkeypatch):
    """What holds goes on to hold; what is not known to have ended has not."""
    one, _ = two
    one.admin.pause("task", "mail.*", "smtp is down")
    waiting(one, "mail.send")
    with monkeypatch.context() as patch:

        def away(*_):
            raise StoreUnavailable("away")

        patch.setattr(one.store, "records", away)
        with pytest.raises(StoreUnavailable):
            one.monitor.look()

    assert [] == one.turn()


def test_pauses_are_copied_with_what_they_hold_up(store, clock):
    source = open_memory_store()
    Admin(source, clock).pause("task", "mail.*", "smtp is down", by="a@b")
    source.post([Posting([a_task("mail.send")])])
    copy(source, store)

    (state,) = Admin(store, clock).pauses()
    assert ("mail.*", "smtp is down", "a@b", 1) == (
        state.pause.name, state.pause.reason, state.pause.by, state.ready,
    )  # fmt: skip
    source.close()


def test_the_pause_of_a_hook_holds_up_what_was_ready_already_and_what_comes(two):
    """Other hooks go on; so do the deliveries, which are stored as ever."""
    one, other = two
    waiting(one, "mail.send", "other")
    one.admin.pause("hook", "shop", "a migration")
    other.monitor.look()
    waiting(one, "mail.count")

    assert ["other"] == sorted(one.turn() + other.turn())
    one.office.publish("shop.sold", [], {})
    (state,) = other.admin.pauses()
    assert ("hook shop", 3, {"mail.send", "mail.count"}) == (
        state.pause.title, state.ready, set(state.pause.tasks),
    )  # fmt: skip
    assert 3 == other.admin.count_paused(Filter())
    assert state.pause == other.admin.paused("mail.send")
    other.admin.resume("hook", "shop")
    one.monitor.look()
    assert ["mail.count", "mail.send", "mail.send"] == sorted(one.turn() + other.turn())


def test_a_daemon_that_has_not_the_hook_holds_to_its_pause_too(two):
    one, other = two
    other.hooks.clear()
    one.admin.pause("hook", "shop", "a migration")
    other.monitor.look()
    waiting(one, "mail.send")

    assert [] == other.turn()


def test_a_handler_that_the_hook_gets_during_its_pause_waits_and_is_counted(two):
    """As after an edit and a reload: by the next look."""
    one, other = two
    one.admin.pause("hook", "shop", "a migration")
    one.registry.unsubscribe(one.registry.tasks["other"])
    one.registry.subscribe(one.registry.tasks["other"], ["shop.new"])
    one.monitor.look()
    other.monitor.look()
    waiting(one, "other")

    assert [] == one.turn() + other.turn()
    assert 1 == other.admin.count_paused(Filter())


def test_a_hook_whose_handler_takes_anything_else_is_not_paused(two):
    """A task is claimed by its name alone: what else that name has would wait with it."""
    one, _ = two
    one.registry.subscribe(one.registry.tasks["mail.send"], ["by.hand"])
    with pytest.raises(BadFilter, match=r"^hook: shop: its handler mail.send has also the topic by.hand"):
        one.admin.pause("hook", "shop", "a migration")
    with pytest.raises(BadFilter, match=r"^hook: shpo: the configuration has no such hook; did you mean"):
        one.admin.pause("hook", "shpo", "a migration")

    assert [] == one.store.records(KIND)


def test_two_hooks_of_one_topic_are_not_paused_alone(two):
    one, _ = two
    one.hooks["also"] = Topic("also", "shop.sold")
    with pytest.raises(BadFilter, match=r"takes deliveries of \[hook:also\], too, which would wait"):
        one.admin.pause("hook", "shop", "a migration")

    assert [] == one.store.records(KIND)


def test_a_task_that_a_hook_holds_up_is_resumed_with_the_hook(two):
    one, _ = two
    one.admin.pause("hook", "shop", "a migration")

    with pytest.raises(NotFound, match=r"mail.send: no pause of this name; it is paused as hook shop"):
        one.admin.resume("task", "mail.send")
