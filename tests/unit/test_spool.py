"""The spool on a real file: durable, first come first out, full when it says so."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bus.clock import UTC, Clock
from bus.errors import StoreFull, StoreHeld, StoreUnavailable
from bus.model import Event, MonQTask, Posting, Receipt
from bus.store import open_spool
from bus.store.spool import Spool

CLOCK = Clock()
MIB = 1024**2

NewSpool = Callable[..., Spool]


@pytest.fixture
def new_spool(tmp_path: Path) -> Iterator[NewSpool]:
    """Opens the spool of this test's folder."""
    opened: list[Spool] = []

    def new(most: int = 64 * MIB) -> Spool:
        spool = open_spool(tmp_path, most)
        assert spool is not None
        opened.append(spool)
        return spool

    yield new
    for spool in opened:
        spool.close()


@pytest.fixture
def spool(new_spool: NewSpool) -> Spool:
    return new_spool()


def a_posting(
    delivery: str | None = None, *, tasks: int = 1, body: bytes = b"{}", key: str | None = None
) -> Posting:
    """A delivery with its tasks, as the post office makes it."""
    event = Event(
        CLOCK.new_id(), "a.b", CLOCK.now(), hook="x", delivery=delivery, headers={"x-a": "1"}, body=body
    )
    made = [
        MonQTask(
            CLOCK.new_id(),
            f"app.f{n}",
            ["a.b"],
            {"n": n},
            CLOCK.now(),
            event_id=event.id,
            topic="a.b",
            key=key,
        )
        for n in range(tasks)
    ]
    event.task_ids = [task.id for task in made]
    event.expire_at = event.received
    return Posting(made, event)


def test_what_is_kept_comes_out_as_it_went_in(spool: Spool) -> None:
    """Ids, moments, bytes: the receipt has been given away."""
    posting = a_posting("d-1", tasks=2, body=bytes(range(256)))

    receipt = spool.keep(posting)

    assert (posting.event and posting.event.id, [task.id for task in posting.tasks], False) == (
        receipt.event_id, receipt.task_ids, receipt.duplicate,
    )  # fmt: skip
    assert [posting] == spool.oldest(9)
    assert UTC == spool.oldest(9)[0].tasks[0].time_queue.tzinfo


def test_first_come_first_out_across_a_restart(new_spool: NewSpool) -> None:
    """Also behind what was left over from an earlier run."""
    first, second, third = (a_posting(str(n), tasks=n) for n in range(3))
    spool = new_spool()
    spool.keep(first)
    spool.keep(second)
    spool.close()

    spool = new_spool()
    assert 2 == spool.size
    spool.keep(third)

    assert [first, second, third] == spool.oldest(9)
    assert [first] == spool.oldest(1)


def test_what_another_store_has_is_forgotten(spool: Spool) -> None:
    first, second = a_posting(tasks=2), a_posting()
    spool.keep(first)
    spool.keep(second)

    assert first.event is not None
    spool.forget([first, a_posting()])

    assert ([second], 1) == (spool.oldest(9), spool.size)
    assert spool.get(first.tasks[0].id) is None


def test_what_a_lost_file_cannot_forget_does_not_hold_up_what_is_behind_it(
    spool: Spool, tmp_path: Path
) -> None:
    """All leaves before it is gone with the process; what comes back with the file does not leave again."""
    postings = [a_posting() for _ in range(3)]
    for posting in postings:
        spool.keep(posting)
    away = tmp_path / "away"
    (tmp_path / "spool.sqlite").rename(away)
    left = []
    while batch := spool.oldest(1):
        left += batch
        with pytest.raises(StoreUnavailable, match="it was moved to"):
            spool.forget(batch)
    with pytest.raises(StoreUnavailable):
        spool.recount()
    away.rename(tmp_path / "spool.sqlite")
    before = spool.oldest(9)
    spool.recount()

    assert (postings, [], 0) == (left, before, spool.size)
    assert 0 == spool._connection.read("SELECT count(*) FROM event")[0][0]


def test_the_same_delivery_again_gets_the_first_ids(spool: Spool) -> None:
    """And so does the same posting, whose first try had an unknown outcome."""
    first, again = a_posting("d-1"), a_posting("d-1")
    assert first.event is not None
    spool.keep(first)

    repeated, same = spool.keep(again), spool.keep(first)

    ids = [task.id for task in first.tasks]
    assert Receipt(ids, first.event.id, duplicate=True) == repeated
    assert Receipt(ids, first.event.id, repeated=True) == same
    assert [first] == spool.oldest(9)
    assert 1 == spool.size


def test_without_a_delivery_id_each_is_kept(spool: Spool) -> None:
    spool.keep(a_posting())
    spool.keep(a_posting())

    assert 2 == spool.size


def test_some_may_be_passed_over(spool: Spool) -> None:
    stuck, other = a_posting(), a_posting()
    spool.keep(stuck)
    spool.keep(other)

    assert stuck.event is not None
    assert [other] == spool.oldest(9, {stuck.event.id})


def test_large_ones_leave_one_by_one(spool: Spool) -> None:
    """A batch is about 4 MiB, and never nothing."""
    postings = [a_posting(body=b"x" * (3 * MIB)) for _ in range(3)]
    for posting in postings:
        spool.keep(posting)

    assert postings[:1] == spool.oldest(9)


def test_a_full_spool_takes_nothing_until_something_has_left(new_spool: NewSpool) -> None:
    """It says what would help, and is not held to the byte."""
    spool = new_spool(MIB)
    kept = []
    with pytest.raises(StoreFull, match=r"raise \[http\] spool"):
        while len(kept) < 20:
            kept.append(a_posting(body=b"x" * (MIB // 8)))
            spool.keep(kept[-1])
    assert spool.is_full
    assert 5 <= spool.size <= 9

    assert kept[0].event is not None
    spool.forget([kept[0]])

    assert not spool.is_full
    spool.keep(a_posting())


def test_fullness_is_known_after_a_restart(new_spool: NewSpool) -> None:
    spool = new_spool(MIB)
    spool.keep(a_posting(body=b"x" * 2 * MIB))
    spool.close()

    assert new_spool(MIB).is_full


def test_what_is_left_over_is_found_without_the_setting(new_spool: NewSpool, tmp_path: Path) -> None:
    """Nothing that was promised is forgotten because a line of the configuration is."""
    assert open_spool(tmp_path, 0) is None
    posting = a_posting()
    spool = new_spool()
    spool.keep(posting)
    spool.close()

    found = new_spool(0)

    assert [posting] == found.oldest(9)
    with pytest.raises(StoreFull):
        found.keep(a_posting())


def test_the_spool_belongs_to_one_daemon_and_its_user(new_spool: NewSpool, tmp_path: Path) -> None:
    new_spool()

    with pytest.raises(StoreHeld, match=r"spool\.sqlite: held by pid"):
        new_spool()
    assert 0o600 == stat.S_IMODE((tmp_path / "spool.sqlite").stat().st_mode)


def test_what_is_kept_while_others_are_forgotten_is_counted(spool, monkeypatch):
    """Forgetting waits for the disk, and deliveries come meanwhile."""
    first, second = a_posting("d-1"), a_posting("d-2")
    spool.keep(first)
    scan = spool._connection.scan

    def scan_while_another_comes(job):
        monkeypatch.undo()
        spool.keep(second)
        return scan(job)

    monkeypatch.setattr(spool._connection, "scan", scan_while_another_comes)
    spool.forget([first])

    assert (1, 1) == (spool.size, len(spool.oldest(9)))
