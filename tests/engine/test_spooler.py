"""While the store is away deliveries go into the spool, and then into the store: in order, each once."""

from __future__ import annotations

import gevent
import pytest
from gevent.event import Event as Signal

from bus.apps.options import Options
from bus.errors import NotAccepted, NotStorable, StoreUnavailable
from bus.maintenance.spooler import MOMENT_SECONDS, PAUSE_SECONDS, STUCK_SECONDS, Spooler
from bus.model import Event, Filter
from bus.posting import PostOffice
from bus.store import open_spool

MIB = 1024**2
PATIENCE = 5.0


class House:
    """An engine whose deliveries may go into a spool, and what its handler of topic "a" has seen."""

    def __init__(self, engine, folder, most=64 * MIB) -> None:
        self.engine = engine
        self.folder = folder
        self.seen: list[bytes] = []
        engine.declare(lambda topic, event: self.seen.append(event.body), topic="a")
        self.start(most)

    def start(self, most=64 * MIB, *, min_free=0) -> None:
        """Open the spool as a daemon does when it starts."""
        engine = self.engine
        self.spool = open_spool(self.folder, most, min_free=min_free)
        self.spooler = Spooler(self.spool, engine.store, engine.clock, engine.lanes.expect)
        self.office = PostOffice(
            engine.store, lambda: engine.registry, engine.clock, starter=engine.lanes, spooler=self.spooler
        )

    def deliver(self, number, delivery=None, body=None):
        clock = self.engine.clock
        body = b"%d" % number if body is None else body
        event = Event(clock.new_id(), "a", clock.now(), hook="x", delivery=delivery, body=body)
        return self.office.deliver(event)

    def hand_over(self) -> None:
        """Tick until the spooler rests."""
        while self.spooler.tick() == 0:
            pass

    def perform_all(self) -> list[bytes]:
        """Run what waits one after the other; what the handler has seen."""
        for _ in range(50):
            self.engine.claimer.tick()
            self.engine.pool.drain(PATIENCE)
            self.engine.recorder.tick()
        return self.seen


@pytest.fixture
def house(new_engine, tmp_path):
    house = House(new_engine(1), tmp_path)
    yield house
    house.spool.close()


def test_while_the_store_answers_the_spool_stays_empty(house):
    house.deliver(1)

    assert not house.spooler.is_open
    assert (0, None, None) == (house.spool.size, house.spooler.remark, house.spooler.complaint)


def test_a_delivery_that_the_store_does_not_take_is_kept(house, facts):
    """Its sender gets the ids that were chosen; although a direct start was tried, it waits as ready."""
    house.engine.claimer.tick()
    house.engine.faulty.sleep()

    receipt = house.deliver(1)

    (posting,) = house.spool.oldest(9)
    assert (posting.event.id, [task.id for task in posting.tasks]) == (receipt.event_id, receipt.task_ids)
    assert ["ready"] == [task.state for task in posting.tasks]
    assert "spooling: 1 deliveries wait for the store" == house.spooler.remark
    assert house.spooler.complaint is None
    assert isinstance(facts.of("spool.opened")[0]["error"], StoreUnavailable)


def test_only_the_first_asks_the_store(house):
    """It may cost five seconds; the others are kept at once."""
    house.engine.faulty.sleep()
    house.deliver(1)
    house.engine.faulty.wake()

    house.deliver(2)

    assert 2 == house.spool.size


def test_what_was_kept_is_handed_over_in_order_and_each_runs_once(house, facts):
    house.engine.faulty.sleep()
    receipts = [house.deliver(number) for number in range(5)]
    assert PAUSE_SECONDS == house.spooler.tick()
    house.engine.faulty.wake()

    house.hand_over()

    assert not house.spooler.is_open
    assert 0 == house.spool.size
    assert [b"%d" % number for number in range(5)] == house.perform_all()
    stored = {task.id: task.state for task in house.engine.store.find(Filter(), 9)}
    assert {task_id: "complete" for receipt in receipts for task_id in receipt.task_ids} == stored
    assert [5] == [fields["count"] for fields in facts.of("spool.handed_over")]


def test_deliveries_queue_behind_those_in_the_spool(house):
    """Until the last one has left: order before speed."""
    house.engine.faulty.sleep()
    house.deliver(0)
    house.engine.faulty.wake()
    house.deliver(1)
    assert 0 == house.spooler.tick()
    assert house.spooler.is_open

    house.deliver(2)
    house.hand_over()
    house.deliver(3)

    assert 0 == house.spool.size
    assert [b"0", b"1", b"2", b"3"] == house.perform_all()


def test_an_unknown_outcome_at_the_beginning_stays_one_event(house):
    """The store had it after all: the same ids come again and change nothing."""
    house.engine.claimer.tick()  # so that a direct start may be tried
    house.engine.faulty.fail_next("post", after=True)

    receipt = house.deliver(1)
    house.hand_over()

    assert [b"1"] == house.perform_all()
    assert receipt.task_ids == [task.id for task in house.engine.store.find(Filter(), 9)]


def test_a_repeated_delivery_in_the_spool_gets_the_first_ids(house, facts):
    house.engine.faulty.sleep()
    first = house.deliver(1, "d-1")

    again = house.deliver(1, "d-1")

    assert first._replace(duplicate=True) == again
    assert 1 == house.spool.size
    assert [first.event_id] == [fields["first"] for fields in facts.of("event.repeated")]


def test_a_delivery_from_before_the_outage_is_recognised_at_the_latest_when_handed_over(house, facts):
    """202 with ids that nobody will find; never a second event."""
    first = house.deliver(1, "d-1")
    house.engine.faulty.sleep()
    house.deliver(1, "d-1")
    house.engine.faulty.wake()

    house.hand_over()

    assert [b"1"] == house.perform_all()
    assert [first.event_id] == [fields["first"] for fields in facts.of("event.repeated")]


def test_a_daemon_that_died_hands_over_at_its_next_start(house, facts):
    house.engine.faulty.sleep()
    house.deliver(1)
    house.spool.close()

    house.start()
    house.engine.faulty.wake()

    assert house.spooler.is_open
    assert [1] == [fields["waiting"] for fields in facts.of("spool.opened")[1:]]
    house.hand_over()
    assert [b"1"] == house.perform_all()


def test_a_daemon_that_dies_while_handing_over_hands_over_again(house, monkeypatch):
    """The store has them, the spool does not know it yet: they are still once."""
    house.engine.faulty.sleep()
    house.deliver(1)
    house.engine.faulty.wake()
    house.engine.faulty.fail_next("post", after=True)
    assert PAUSE_SECONDS == house.spooler.tick()
    assert 1 == house.spool.size

    house.hand_over()

    assert 0 == house.spool.size
    assert [b"1"] == house.perform_all()


def test_what_handlers_post_never_goes_into_the_spool(house):
    """They are not senders on the network: they see the outage and are tried again."""
    house.engine.faulty.sleep()

    with pytest.raises(StoreUnavailable):
        house.office.post("t", [], {}, Options())
    with pytest.raises(StoreUnavailable):
        house.office.publish("a", [], {})

    assert 0 == house.spool.size
    assert not house.spooler.is_open


def test_a_full_spool_says_so_once(house, facts):
    """The sender gets 503 and /readyz says why; after the hand-over all is well."""
    house.spool.close()
    house.start(MIB)
    house.engine.faulty.sleep()
    house.deliver(1, body=b"x" * 2 * MIB)

    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            house.deliver(2)

    assert 1 == len(facts.of("spool.filled"))
    assert "full" in house.spooler.complaint
    house.engine.faulty.wake()
    house.hand_over()
    assert house.spooler.complaint is None
    house.deliver(3)
    assert 0 == house.spool.size


def test_a_spool_whose_disk_is_full_says_so(house, facts):
    """As the embedded store does: before the last byte is taken."""
    house.spool.close()
    house.start(min_free=10**18)
    house.engine.faulty.sleep()

    with pytest.raises(StoreUnavailable, match="low on disk space"):
        house.deliver(1)

    assert "low on disk space" in house.spooler.complaint
    assert 1 == len(facts.of("spool.filled"))


def test_one_that_no_store_takes_does_not_hold_up_the_others(house, facts):
    """It stays in the file and is told of; nothing that was promised is thrown away."""
    store = house.engine.faulty._store
    post = store.post

    def choosy(postings):
        if any(posting.event and posting.event.body == b"1" for posting in postings):
            raise NotStorable("document: too much")
        return post(postings)

    store.post = choosy
    house.engine.faulty.sleep()
    for number in range(3):
        house.deliver(number)
    house.engine.faulty.wake()

    house.hand_over()

    assert not house.spooler.is_open
    assert (1, 1) == (house.spool.size, len(facts.of("spool.stuck")))
    assert [b"0", b"2"] == house.perform_all()


def test_one_that_a_rule_of_the_store_forbids_does_not_hold_up_the_others(house, facts):
    """A validator's refusal was taken for an outage, for ever; it is tried again every minute instead."""
    store = house.engine.faulty._store
    post = store.post

    def ruled(postings):
        if any(posting.event and posting.event.body == b"1" for posting in postings):
            raise NotAccepted("MongoDB: refused by the validator of the collection")
        return post(postings)

    store.post = ruled
    house.engine.faulty.sleep()
    for number in range(9):
        house.deliver(number)
    house.engine.faulty.wake()

    house.hand_over()
    pause = house.spooler.tick()
    assert (False, 1, STUCK_SECONDS) == (house.spooler.is_open, house.spool.size, pause)
    house.engine.clock.advance(STUCK_SECONDS)
    house.spooler.tick()
    store.post = post
    house.engine.clock.advance(STUCK_SECONDS)
    house.spooler.tick()

    assert (0, 1) == (house.spool.size, len(facts.of("spool.stuck")))
    assert [b"0", *(b"%d" % number for number in range(2, 9)), b"1"] == house.perform_all()


def test_one_that_nobody_can_read_does_not_hold_up_the_others(house, facts):
    """It stays in the file, and is told."""
    house.engine.faulty.sleep()
    for number in range(3):
        house.deliver(number)
    sql = house.spool._connection.sql
    sql.execute("UPDATE event SET document = ? WHERE seq = 1", (b"rubbish",))
    sql.execute("UPDATE task SET body = ? WHERE seq = 2", (b"rubbish",))
    house.engine.faulty.wake()

    house.hand_over()

    assert (False, 2) == (house.spooler.is_open, house.spool.size)
    assert 2 == len(facts.of("spool.stuck"))
    assert [b"2"] == house.perform_all()


def test_a_delivery_on_its_way_into_the_spool_keeps_it_open(house):
    """Closing between its decision and its commit would let a later one overtake it."""
    gate, keep = Signal(), house.spool.keep
    house.spool.keep = lambda posting: gate.wait(PATIENCE) and keep(posting)
    house.spooler.begin(StoreUnavailable("away"))
    keeping = gevent.spawn(house.deliver, 1)
    gevent.sleep(0)

    assert MOMENT_SECONDS == house.spooler.tick()
    assert house.spooler.is_open

    gate.set()
    keeping.get(timeout=PATIENCE)
    house.hand_over()
    assert not house.spooler.is_open
    assert [b"1"] == house.perform_all()


def test_a_delivery_that_was_given_up_and_kept_after_all_is_not_forgotten(house, monkeypatch):
    """A disk that hangs: the sender reads 503, the row is there, and the count of rows is wrong."""
    house.engine.faulty.sleep()
    take_in = house.spool._connection.take_in

    def late(job, **kind):
        take_in(job, **kind)
        raise StoreUnavailable("no answer in time")

    with monkeypatch.context() as disk, pytest.raises(StoreUnavailable):
        disk.setattr(house.spool._connection, "take_in", late)
        house.deliver(0)
    wrong = house.spool.size
    house.deliver(1)
    house.engine.faulty.wake()
    house.hand_over()

    assert 0 == wrong
    assert (0, [], False) == (house.spool.size, house.spool.oldest(9), house.spooler.is_open)
    assert [b"0", b"1"] == house.perform_all()


def test_one_that_came_while_the_count_was_wrong_keeps_the_spool_open(house):
    """Acknowledged and left behind, it would wait for the next outage."""
    house.engine.faulty.sleep()
    house.deliver(0)
    house.spool._size = 0
    house.engine.faulty.wake()
    house.spool.oldest = lambda *_: []
    house.spooler.tick()

    assert (True, 1) == (house.spooler.is_open, house.spool.size)


# an event that no handler took


@pytest.fixture
def unhandled(house):
    """Delivers to a topic that has no handler yet; then `declare` gives it one."""

    class Unhandled:
        def deliver(self, body=b"1"):
            clock = house.engine.clock
            event = Event(clock.new_id(), "late", clock.now(), hook="x", delivery="d", body=body)
            return house.office.deliver(event)

        def declare(self):
            house.engine.declare(lambda topic, event: house.seen.append(event.body), "late", topic="late")

    return Unhandled()


def test_a_redelivery_in_the_spool_of_an_event_in_the_store_runs_its_handlers(house, unhandled, facts):
    """Its sender was told the ids of tasks that are there once the store is back."""
    first = unhandled.deliver()
    unhandled.declare()
    house.engine.faulty.sleep()
    again = unhandled.deliver()
    house.engine.faulty.wake()
    house.hand_over()

    assert [b"1"] == house.perform_all()
    assert first.event_id == house.engine.store.get(again.task_ids[0]).event_id
    assert (1, 0) == (len(facts.of("event.replayed")), house.spool.size)
    assert unhandled.deliver().duplicate


def test_a_redelivery_of_an_event_that_is_in_the_spool_runs_its_handlers(house, unhandled):
    house.engine.faulty.sleep()
    first = unhandled.deliver()
    unhandled.declare()
    again = unhandled.deliver()
    assert (first.event_id, False, 1) == (again.event_id, again.duplicate, house.spool.size)
    house.engine.faulty.wake()
    house.hand_over()

    assert [b"1"] == house.perform_all()
    assert unhandled.deliver().duplicate


def test_a_redelivery_while_its_event_is_handed_over_is_not_lost(house, unhandled, monkeypatch):
    """It gets its tasks in the spool when the store has the event already: the next round brings them."""
    house.engine.faulty.sleep()
    unhandled.deliver()
    unhandled.declare()
    house.engine.faulty.wake()
    again = []
    post = house.engine.store.post

    def meanwhile(postings):
        receipts = post(postings)
        if not again:
            again.append(unhandled.deliver())
        return receipts

    monkeypatch.setattr(house.engine.store, "post", meanwhile, raising=False)
    house.hand_over()

    assert [b"1"] == house.perform_all()
    assert "complete" == house.engine.store.get(again[0].task_ids[0]).state
    assert 0 == house.spool.size
    assert unhandled.deliver().duplicate
