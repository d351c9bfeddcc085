"""The verbs that bring work in: every path ends in one durable write."""

from __future__ import annotations

import itertools
from datetime import timedelta

import gevent
import pytest
from bson import ObjectId
from gevent.event import Event as Signal

from bus import posting
from bus.apps.calls import Announcement, Batch, prepare
from bus.apps.context import c, restored
from bus.apps.options import Options
from bus.errors import (
    Cancel,
    Interrupt,
    JoinTimeout,
    NotFound,
    NotStorable,
    StoreError,
    StoreFull,
    StoreUnavailable,
    TaskFailed,
    TaskSkipped,
)
from bus.model import DEFAULT_PRIORITY, Event, Filter, MonQTask, Receipt
from bus.posting import PostOffice

PATIENCE = 5.0


@pytest.fixture
def office(engine):
    """A post office of a process that runs nothing itself, such as a web application."""
    return PostOffice(engine.store, lambda: engine.registry, engine.clock)


def delivery(engine, number: str | None = "1", topic: str = "a", body: bytes = b"{}") -> Event:
    clock = engine.clock
    return Event(clock.new_id(), topic, clock.now(), hook="x", delivery=number, body=body)


def count(engine) -> int:
    return sum(engine.store.count(Filter()).values())


def perform_all(engine) -> None:
    for _ in range(20):
        engine.claimer.tick()
        assert 0 == engine.pool.drain(PATIENCE)
        engine.recorder.tick()


# post


def test_a_post_is_stored_with_its_options_and_defaults(engine, office, facts):
    plain = office.post("t", [1], {"b": 2}, Options())
    chosen = office.post("t", [], {}, Options(5, 60, 3, 7, "k", "keep"))

    assert ([1], {"b": 2}, DEFAULT_PRIORITY, "forget") == (
        plain.args, plain.kwargs, plain.priority, plain.result_type,
    )  # fmt: skip
    assert (5, 3, 7, "k", "keep") == (
        chosen.priority, chosen.max_attempts, chosen.timeout, chosen.key, chosen.result_type,
    )  # fmt: skip
    assert engine.clock.now() + timedelta(seconds=60) == chosen.time_queue
    assert [plain, chosen] == [engine.now(plain), engine.now(chosen)]
    assert ["task.posted", "task.posted"] == facts.names


def test_the_context_of_the_poster_is_captured(engine, office):
    with restored({}):
        c.user, c.project = 7, "p"
        task = office.post("t", [], {}, Options())

    assert {"user_id": 7, "project_id": "p"} == engine.now(task).context


def test_what_a_handler_posts_carries_its_own_context(engine):
    """The chain of tasks keeps the user on whose behalf it began."""
    engine.declare(lambda: engine.office.post("child", [], {}, Options()), "parent")
    engine.declare(lambda: None, "child")
    with restored({}):
        c.user = 7
        engine.office.post("parent", [], {}, Options())
    perform_all(engine)

    assert [{"user_id": 7}] * 2 == [task.context for task in engine.store.find(Filter(), 9)]


def test_what_cannot_be_stored_is_refused_where_it_is_posted(engine, office):
    """Arguments and context alike; nothing is stored."""
    with pytest.raises(NotStorable, match=r"args\[0\]"):
        office.post("t", [object()], {}, Options())
    with restored({}), pytest.raises(NotStorable, match=r"context\['user_id'\]"):
        c.user = object()
        office.post("t", [], {}, Options())

    assert 0 == count(engine)


def test_a_key_holds_until_its_task_has_ended(engine, office, facts):
    """The second post changes nothing and gets the holder; after the end the key is free."""
    engine.declare(lambda n: n)
    first = office.post("t", [1], {}, Options(key="k"))
    second = office.post("t", [2], {}, Options(key="k"))
    assert (first.id, [1], 1) == (second.id, second.args, count(engine))
    assert ["task.posted"] == facts.names
    perform_all(engine)

    third = office.post("t", [3], {}, Options(key="k"))
    assert third.id != first.id
    assert 1 == first.join(0)
    assert 1 == second.join(0)


def test_a_post_while_the_store_is_away_says_so(engine, office):
    engine.faulty.sleep()

    with pytest.raises(StoreUnavailable):
        office.post("t", [], {}, Options())


def test_a_prepared_task_may_be_submitted_again(engine, office):
    """After an unknown outcome: its id makes it one task."""
    task = office.post("t", [1], {}, Options())
    office.submit(task)

    assert 1 == count(engine)


def test_an_interrupted_post_leaks_neither_slot_nor_task(engine):
    """A handler may time out while its own post is under way: then the task still runs, once."""
    engine.declare(lambda: ran.append(1))
    ran: list[int] = []
    engine.claimer.tick()
    entered, leave = Signal(), Signal()
    post = engine.store.post

    def slow(postings):
        receipts = post(postings)
        entered.set()
        leave.wait(PATIENCE)
        return receipts

    engine.faulty.__dict__["post"] = slow
    posting = gevent.spawn(engine.office.post, "t", [], {}, Options())
    assert entered.wait(PATIENCE)
    posting.kill(Interrupt(), block=False)
    posting.join(PATIENCE)
    assert isinstance(posting.exception, Interrupt)
    perform_all(engine)

    assert [1] == ran
    assert 4 == engine.pool.free


# events


def test_the_events_of_a_batch_and_their_tasks_are_one_write(engine, office, facts):
    """What was there before keeps its ids; the answers are in the order of the events."""
    engine.declare(lambda topic, event: ran.append(event.delivery), topic="a")
    ran: list[str | None] = []
    office.deliver(delivery(engine, "2"))
    calls: list[int] = []
    post = engine.store.post
    engine.faulty.__dict__["post"] = lambda postings: calls.append(len(postings)) or post(postings)
    events = [delivery(engine, number) for number in ("1", "2", "3")]

    receipts = engine.office.deliver_all(events)
    perform_all(engine)

    assert [3] == calls
    assert [False, True, False] == [receipt.duplicate for receipt in receipts]
    assert [events[0].id, events[2].id] == [receipts[0].event_id, receipts[2].event_id]
    assert ["1", "2", "3"] == sorted(ran)
    assert 1 == facts.names.count("event.repeated")


def test_an_event_becomes_one_task_for_each_handler_in_one_step(engine, office, facts):
    """Stored whole or not at all, so that no handler is forgotten by a crash in between."""
    for name in ("h1", "h2", "h3"):
        engine.declare(lambda *_: None, name, topic="a")
    engine.declare(lambda *_: None, "other", topic="b")
    steps = []
    post = engine.store.post
    engine.faulty.__dict__["post"] = lambda postings: steps.append(postings) or post(postings)
    receipt = office.publish("a", [1], {"x": 2})
    tasks = [engine.store.get(task_id) for task_id in receipt.task_ids]

    assert ["h1", "h2", "h3"] == [task.task_name for task in tasks]
    assert [(["a", 1], {"x": 2}, "a", receipt.event_id)] * 3 == [
        (task.args, task.kwargs, task.topic, task.event_id) for task in tasks
    ]
    assert [1] == [len(postings) for postings in steps]
    assert receipt.task_ids == engine.store.event(receipt.event_id).task_ids
    assert ["event.received", *["task.posted"] * 3] == facts.names


def test_each_handler_is_retried_alone(engine, office):
    ran = []
    engine.declare(lambda *_: ran.append("good"), "good", topic="a")
    engine.declare(lambda *_: ran.append("bad") or 1 / 0, "bad", topic="a", max_attempts=2)
    office.publish("a", [], {})
    for _ in range(2):
        engine.claimer.tick()
        assert 0 == engine.pool.drain(PATIENCE)
        engine.recorder.tick()
        engine.clock.advance(60)

    assert ["bad", "bad", "good"] == sorted(ran)
    assert {"complete": 1, "error": 1} == engine.store.count(Filter())


def test_a_handler_keeps_the_options_of_its_declaration(engine, office):
    engine.declare(lambda *_: None, "h", topic="a", priority=3, delay=9, max_attempts=2, timeout=4)
    (task_id,) = office.publish("a", [], {}).task_ids
    task = engine.store.get(task_id)

    assert (3, 2, 4) == (task.priority, task.max_attempts, task.timeout)
    assert 9 == (task.time_queue - engine.clock.now()).total_seconds()


def test_an_event_that_only_tries_a_hook_is_no_warning_without_a_handler(engine, office, facts):
    """A ping of GitHub is no event that somebody forgot to handle."""
    event = delivery(engine)
    event.is_test = True

    receipt = office.deliver(event)

    assert "a" == engine.store.event(receipt.event_id).topic
    assert ["hook.tried"] == facts.names


def test_an_event_that_nobody_handles_is_recorded_and_told(engine, office, facts):
    """Nothing is silently dropped."""
    receipt = office.deliver(delivery(engine))

    assert ([], "a") == (receipt.task_ids, engine.store.event(receipt.event_id).topic)
    assert ["event.unhandled"] == facts.names


def test_an_event_that_nobody_handles_is_told_with_the_topic_that_was_meant(engine, facts):
    """A hook whose topic is mistyped shows itself in the log; a topic like no other has no such word."""
    engine.declare(lambda topic: None, "handler", topic="github.push")
    for topic in ("github.psuh", "elsewhere", "github.psuh"):
        engine.office.publish(topic, [], {})

    told = facts.of("event.unhandled")
    assert ["github.push", None, "github.push"] == [fields.get("near") for fields in told]


def test_ever_new_topics_are_not_compared_for_ever(engine, facts, monkeypatch):
    """A sender that chooses them makes no delivery slower than the first ones."""
    compared = []
    monkeypatch.setattr(posting, "MOST_COMPARED", 3)
    monkeypatch.setattr(posting, "nearest_name", lambda topic, topics: compared.append(topic) or "")
    for topic in "abcdeadb":
        engine.office.publish(topic, [], {})

    assert list("abc") == compared
    assert 8 == facts.names.count("event.unhandled")


@pytest.mark.parametrize("office_of", ["the daemon", "another process"])
def test_a_repeated_delivery_gives_the_first_ids(engine, office, facts, office_of):
    """And changes nothing, whatever its body says the second time."""
    engine.declare(lambda *_: None, "h", topic="a")
    house = engine.office if office_of == "the daemon" else office
    engine.claimer.tick()
    first = house.deliver(delivery(engine))
    for _ in range(9):
        again = house.deliver(delivery(engine, body=b"{1}"))
        assert (first.task_ids, first.event_id, True) == (again.task_ids, again.event_id, again.duplicate)
    assert 0 == engine.pool.drain(PATIENCE)

    assert (1, 4) == (count(engine), engine.pool.free)
    assert b"{}" == engine.store.event(first.event_id).body
    assert 9 == len(facts.of("event.repeated"))


@pytest.mark.parametrize("office_of", ["the daemon", "another process"])
def test_a_redelivery_runs_the_handlers_of_an_event_that_had_none(engine, office, facts, office_of):
    """Once, although a slot was free for a direct start; the delivery that counts is the first."""
    house = engine.office if office_of == "the daemon" else office
    first = house.deliver(delivery(engine))
    seen = []
    engine.declare(lambda topic, event: seen.append((topic, event.id, event.body)), "h", topic="a")
    engine.claimer.tick()

    again = house.deliver(delivery(engine, body=b"again"))
    assert (first.event_id, 1, False) == (again.event_id, len(again.task_ids), again.duplicate)
    assert house.deliver(delivery(engine)).duplicate
    perform_all(engine)

    assert [("a", first.event_id, b"{}")] == seen
    assert [first.event_id] == [fields["first"] for fields in facts.of("event.replayed")]
    assert again.task_ids == [fields["task"].id for fields in facts.of("task.posted")]
    assert 4 == engine.pool.free


@pytest.mark.parametrize("kind", ["delivery", "published"])
def test_an_event_that_no_handler_took_can_be_replayed(engine, office, facts, kind):
    """With the handlers there are now, once."""
    if kind == "delivery":
        event_id = office.deliver(delivery(engine, None)).event_id
    else:
        event_id = office.publish("a", [7], {"b": 8}).event_id
    with pytest.raises(NotFound, match="no handler for topic a; declare one, then replay it"):
        office.replay(event_id)
    seen = []
    engine.declare(lambda *args, **kwargs: seen.append((*args[1:], kwargs)), "h", topic="a")
    receipt = engine.office.replay(event_id)
    with pytest.raises(StoreError, match=f"got one that has {receipt.task_ids[0]}; `monqbus retry`"):
        engine.office.replay(event_id)
    perform_all(engine)

    stored = engine.store.event(event_id)
    assert [(stored, {}) if kind == "delivery" else (7, {"b": 8})] == seen
    assert ["event.replayed"] == [name for name in facts.names if name.startswith("event.rep")]


def test_an_event_that_is_gone_cannot_be_replayed(office):
    with pytest.raises(NotFound, match="events are forgotten after keep_events"):
        office.replay(ObjectId())


def test_a_replayed_event_is_kept_as_long_as_a_new_one(engine, office):
    """Its tasks need it."""
    event_id = office.deliver(delivery(engine)).event_id
    engine.clock.advance(29 * 86_400)
    engine.declare(lambda *_: None, "h", topic="a")
    office.replay(event_id)

    assert timedelta(days=30) == engine.store.event(event_id).expire_at - engine.clock.now()


def failing(engine, office):
    """A delivery whose only task has ended in error, by its receipt."""
    engine.declare(lambda *_: 1 / 0, "h", topic="a", max_attempts=1)
    receipt = office.deliver(delivery(engine))
    perform_all(engine)
    assert {"error": 1} == engine.store.count(Filter())
    return receipt


def test_a_redelivery_makes_what_had_failed_ready_again(engine, office, facts):
    """Once, however many come; the answer has the first ids and says how many."""
    first = failing(engine, office)
    again = [office.deliver(delivery(engine)) for _ in range(3)]

    assert [(first.task_ids, first.event_id, True)] * 3 == [
        (one.task_ids, one.event_id, one.duplicate) for one in again
    ]
    assert [1, 0, 0] == [one.retried for one in again]
    assert {"ready": 1} == engine.store.count(Filter())
    assert [(1, first.event_id)] == [(one["count"], one["first"]) for one in facts.of("delivery.retried")]
    perform_all(engine)
    assert {"error": 1} == engine.store.count(Filter())


def test_of_many_redeliveries_at_once_one_makes_what_had_failed_ready(engine, office):
    """Each task runs once more, and all are told the first ids."""
    first = failing(engine, office)
    greenlets = [gevent.spawn(office.deliver, delivery(engine)) for _ in range(200)]
    gevent.joinall(greenlets, timeout=PATIENCE, raise_error=True)
    receipts = [greenlet.value for greenlet in greenlets]

    assert 1 == sum(receipt.retried for receipt in receipts)
    assert {tuple(first.task_ids)} == {tuple(receipt.task_ids) for receipt in receipts}
    assert {"ready": 1} == engine.store.count(Filter())


def test_a_recorded_delivery_under_another_id_makes_nothing_run(engine, office):
    """Whoever has captured one could make its tasks run again and again."""
    engine.declare(lambda *_: 1 / 0, "h", topic="a", max_attempts=1)
    one, captured = delivery(engine, "1"), delivery(engine, "2")
    one.guard = captured.guard = "x:1"
    first = office.deliver(one)
    perform_all(engine)
    again = office.deliver(captured)

    assert (first.task_ids, True, 0) == (again.task_ids, again.duplicate, again.retried)
    assert {"error": 1} == engine.store.count(Filter())


def test_a_redelivery_forgets_no_crash(engine, office):
    """It comes from outside: it must not be able to bring down one daemon after the other."""
    (task_id,) = failing(engine, office).task_ids
    engine.store.move([task_id], ("error",), {"crashes": 3})
    office.deliver(delivery(engine))

    assert 3 == engine.store.get(task_id).crashes


@pytest.mark.parametrize("state", ["complete", "skipped", "ready"])
def test_a_redelivery_leaves_tasks_alone_that_did_not_fail(engine, office, state):
    """What is done is done, what an operator has cancelled stays so, and what waits has its turn."""
    (task_id,) = failing(engine, office).task_ids
    engine.store.move([task_id], ("error",), {"state": state})

    assert 0 == office.deliver(delivery(engine)).retried
    assert {state: 1} == engine.store.count(Filter())


def test_a_hook_may_leave_failed_tasks_to_its_operator(engine, office):
    """on_duplicate = ignore."""
    failing(engine, office)
    event = delivery(engine)
    event.on_duplicate = "ignore"

    assert (True, 0) == (office.deliver(event).duplicate, office.deliver(event).retried)
    assert {"error": 1} == engine.store.count(Filter())


def test_what_differs_in_a_repetition_is_told(engine, office, facts):
    """Another body under the same id counts for nothing, as Stripe has it; so does another id."""
    one, same, differs, renewed = (delivery(engine, n) for n in ("1", "1", "1", "2"))
    differs.body, one.guard, renewed.guard = b"{ }", "x:1", "x:1"
    receipts = [office.deliver(event) for event in (one, same, differs, renewed)]

    assert [False, True, True, True] == [receipt.duplicate for receipt in receipts]
    assert ["delivery.differed", "delivery.renewed"] == [name for name in facts.names if "delivery" in name]


def test_deliveries_without_an_id_are_all_new(engine, office):
    engine.declare(lambda *_: None, "h", topic="a")
    for _ in range(3):
        assert not office.deliver(delivery(engine, None)).duplicate

    assert 3 == count(engine)


def test_an_event_is_forgotten_thirty_days_after_it_came(engine, office):
    receipt = office.publish("a", [], {})

    assert engine.clock.now() + timedelta(days=30) == engine.store.event(receipt.event_id).expire_at


def test_a_fan_out_begins_at_once_where_all_of_it_fits(engine):
    """All or none: handlers of one event do not overtake each other."""
    for name in ("h1", "h2", "h3"):
        engine.declare(lambda *_: engine.gate.wait(PATIENCE), name, topic="a")
    engine.claimer.tick()
    engine.office.publish("a", [], {})
    engine.office.publish("a", [], {})

    assert {"busy": 3, "ready": 3} == engine.store.count(Filter())
    assert 1 == engine.pool.free
    assert engine.claimer.loop.is_woken


# join


def test_a_join_returns_the_result(engine):
    engine.declare(lambda n: {"twice": 2 * n})
    task = engine.office.post("t", [2], {}, Options())
    perform_all(engine)

    assert {"twice": 4} == task.join(0)


def test_a_join_waits_for_the_end(engine, office):
    """It looks again and again, at most half a second apart."""
    engine.declare(lambda n: n)
    task = office.post("t", [2], {}, Options())
    looks = []
    get = engine.store.get

    def look(task_id):
        looks.append(engine.clock.monotonic())
        if len(looks) == 20:
            perform_all(engine)
        return get(task_id)

    engine.faulty.__dict__["get"] = look

    assert 2 == task.join()
    gaps = [after - before for before, after in itertools.pairwise(looks)]
    assert (0.01, 0.5) == (pytest.approx(gaps[0]), pytest.approx(gaps[-1]))


def test_a_join_of_a_failed_task_raises_its_traceback(engine):
    engine.declare(lambda: 1 / 0, max_attempts=1)
    task = engine.office.post("t", [], {}, Options())
    perform_all(engine)

    with pytest.raises(TaskFailed, match=r"failed after 1 attempt\nTraceback") as caught:
        task.join(0)
    assert "ZeroDivisionError: division by zero" in caught.value.traceback


def test_a_join_of_a_cancelled_task_says_why(engine):
    def cancel():
        raise Cancel("moot")

    engine.declare(cancel)
    task = engine.office.post("t", [], {}, Options())
    perform_all(engine)

    with pytest.raises(TaskSkipped, match="skipped: moot"):
        task.join(0)


def test_a_join_gives_up_on_time_and_names_the_last_error(engine, office):
    engine.declare(lambda: 1 / 0)
    task = office.post("t", [], {}, Options())
    engine.claimer.tick()
    assert 0 == engine.pool.drain(PATIENCE)
    engine.recorder.tick()
    begun = engine.clock.monotonic()

    with pytest.raises(JoinTimeout, match="still ready after 3 s; last error: ZeroDivisionError"):
        task.join(3)
    assert 3 <= engine.clock.monotonic() - begun < 3.5


def test_a_join_of_a_forgotten_task_says_that_it_is_gone(engine, office):
    task = office.post("t", [], {}, Options())
    engine.store.delete([task.id], ["ready"])

    with pytest.raises(NotFound, match="no longer stored"):
        task.join(1)


def test_a_store_without_room_leaves_no_doubt(engine, facts, monkeypatch):
    """Nothing was stored: the slot is free again, and nothing has to be settled later."""

    def refuse(_):
        raise StoreFull("no room")

    engine.declare(lambda: None)
    engine.claimer.tick()  # now it knows that nothing waits, so a post would start directly
    free = engine.pool.free
    with monkeypatch.context() as patch:
        patch.setattr(engine.faulty._store, "post", refuse)
        with pytest.raises(StoreFull):
            engine.office.post("t", [], {}, Options())
    engine.claimer.tick()

    assert free == engine.pool.free
    assert [] == facts.of("claim.reconciled")


# the same id again


def test_a_task_that_is_posted_again_under_its_id_is_begun_once(engine):
    """When the first one waits, runs or has ended; the slot that was set aside is free again."""
    begun = []
    engine.declare(begun.append, "once")
    task_id = engine.clock.new_id()
    engine.claimer.tick()  # now it knows that nothing waits, so a post starts directly

    stored = []
    for _ in range(3):
        task = prepare(engine.clock, "once", [1], {}, Options(), {})
        task.id = task_id
        stored.append(engine.office.submit(task).state)
        assert 0 == engine.pool.drain(PATIENCE)
        engine.recorder.tick()

    assert [1] == begun
    assert ["busy", "complete", "complete"] == stored
    assert 4 == engine.pool.free


def test_an_event_that_is_published_again_under_its_id_runs_its_handlers_once(engine, facts):
    """Its publisher did not hear the first answer."""
    begun = []
    engine.declare(begun.append, "handler", topic="a")
    event_id = engine.clock.new_id()
    engine.claimer.tick()

    receipts = []
    for _ in range(2):
        receipts.append(engine.office.publish("a", [], {}, event_id=event_id))
        assert 0 == engine.pool.drain(PATIENCE)
        engine.recorder.tick()

    assert ["a"] == begun
    assert receipts[0].task_ids == receipts[1].task_ids
    assert 1 == facts.names.count("event.repeated")


def test_a_call_by_name_has_the_options_that_are_declared_but_for_its_changes(engine):
    """Whoever asks, the command line or the API: both ask here."""
    engine.declare(lambda: None, "known", priority=3, max_attempts=2)

    task, is_known, near = engine.office.post_named("known", [], {}, {"priority": 7})
    unknown = engine.office.post_named("knwon", [], {}, {})

    assert (7, 2, True, "") == (task.priority, task.max_attempts, is_known, near)
    assert (10, False, "known") == (unknown.task.priority, unknown.is_known, unknown.near)


def test_a_published_event_names_the_topic_that_was_meant(engine):
    """Where it has no handler itself; it runs in the context that is given."""
    engine.declare(lambda topic: None, "handler", topic="shop.sold")

    receipt, near, _ = engine.office.publish_named("shop.sold", [], {}, context={"user": "u"})
    unheard = engine.office.publish_named("shop.slod", [], {})

    assert (1, "") == (len(receipt.task_ids), near)
    assert {"user": "u"} == engine.store.get(receipt.task_ids[0]).context
    assert ([], "shop.sold") == (unheard.receipt.task_ids, unheard.near)


def test_an_event_without_handlers_published_again_under_its_id_runs_those_there_are_now_once(engine):
    """The slots that were set aside for them are free: they were stored as ready, and are claimed."""
    begun = []
    event_id = engine.clock.new_id()
    engine.office.publish("a", [], {}, event_id=event_id)
    engine.declare(begun.append, "handler", topic="a")
    engine.claimer.tick()
    for _ in range(2):
        engine.office.publish("a", [], {}, event_id=event_id)
        perform_all(engine)

    assert ["a"] == begun
    assert ({"complete": 1}, 4) == (engine.store.count(Filter()), engine.pool.free)


def a_call(engine, **options) -> MonQTask:
    return prepare(engine.clock, "a", [1], {}, Options(**options), {})


def test_a_batch_is_stored_in_one_call(engine, office, monkeypatch):
    """Tasks, and events with theirs."""
    engine.declare(lambda *_: None, "one", topic="sold")
    event = Event(engine.clock.new_id(), "sold", engine.clock.now())
    calls = []
    post = engine.store.post
    monkeypatch.setattr(engine.store, "post", lambda postings: calls.append(1) or post(postings))
    tasks = [a_call(engine), a_call(engine)]
    office.store(Batch(tasks, [Announcement(event, {})]))

    assert [1] == calls
    assert 3 == count(engine)
    assert [task.id for task in tasks] == [office.look(task.id).id for task in tasks]


def test_a_batch_with_one_that_cannot_be_stored_stores_nothing(engine, office):
    with pytest.raises(NotStorable):
        office.store(
            Batch([a_call(engine), prepare(engine.clock, "a", ["x" * 20_000_000], {}, Options(), {})])
        )

    assert 0 == count(engine)


def test_a_task_of_a_batch_whose_key_is_held_becomes_the_holder(engine, office):
    first, second = a_call(engine, key="k"), a_call(engine, key="k")
    office.store(Batch([first, second]))

    assert first.id == second.id
    assert 1 == count(engine)


def test_posts_of_a_transaction_are_told_and_looked_for_when_it_has_committed(
    engine, office, monkeypatch, facts
):
    """Not before, as it may never; they wait, and one whose key is held is told as merged."""
    held, told, rung = ObjectId(), [], []
    calls = []

    def within(session, postings, committed):
        calls.append((session, [task.state for posting in postings for task in posting.tasks]))
        told.append(committed)
        return [
            Receipt([task.id if task.key is None else held for task in one.tasks], None) for one in postings
        ]

    monkeypatch.setattr(engine.store, "post_within", within)
    monkeypatch.setattr(engine.store, "ring", rung.append)
    tasks, session = [a_call(engine), a_call(engine, key="k")], object()
    own = [task.id for task in tasks]
    office.store(Batch(tasks, session=session))
    before = (list(facts.names), list(rung), [task.waiter for task in tasks])
    told[0]()

    assert [(session, ["ready", "ready"])] == calls
    assert ([], [], [None, None]) == before
    assert [own[0], held] == [task.id for task in tasks]
    assert [own[0]] == [fields["task"].id for fields in facts.of("task.posted")]
    assert [held] == [fields["holder"] for fields in facts.of("task.merged")]
    assert ([{tasks[0].task_name}], [office.join] * 2) == (rung, [task.waiter for task in tasks])
