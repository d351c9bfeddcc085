"""The inbox: one file a posting process, appended there and read here, whatever happens in between."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from bson import ObjectId
from hypothesis import given
from hypothesis import strategies as st

from bus.apps.calls import Announcement, Batch
from bus.clock import Clock
from bus.errors import ConfigError, NotStorable, StoreFull, StoreUnavailable
from bus.model import Event, MonQTask
from bus.store.inbox.format import HEADER, LARGEST_PAYLOAD, Damaged, frame, new_header, records
from bus.store.inbox.postings import Unreadable, from_payload, to_payload
from bus.store.inbox.reader import InboxReader, waiting_bytes
from bus.store.inbox.writer import FOLDER, LARGEST_FILE, InboxWriter

NOW = Clock().now()


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def writer(data_dir: Path) -> Iterator[InboxWriter]:
    writer = InboxWriter(data_dir)
    yield writer
    writer.close()


@pytest.fixture
def reader(data_dir: Path) -> Iterator[InboxReader]:
    reader = InboxReader(data_dir)
    yield reader
    reader.close()


def collected(reader: InboxReader) -> list[bytes]:
    """Everything that is new, marked as taken."""
    found = []
    for name, read in reader.pieces():
        found += [record.payload for record in read]
        reader.taken(name, read[-1].end)
    return found


def files(data_dir: Path) -> list[str]:
    return sorted(path.name for path in (data_dir / FOLDER).iterdir())


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Any file of this process ends at *size* bytes, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_is_appended_comes_out_in_order_and_once(writer, reader):
    for payload in (b"one", b"two", b"three"):
        writer.append(payload)

    assert [b"one", b"two", b"three"] == collected(reader)
    assert [] == collected(reader)


def test_what_is_not_marked_as_taken_comes_again_also_in_the_next_daemon(writer, reader, data_dir):
    for payload in (b"one", b"two"):
        writer.append(payload)
    ((name, read),) = reader.pieces()
    reader.taken(name, read[0].end)
    reader.close()

    second = InboxReader(data_dir)
    assert [b"two"] == collected(second)
    second.close()


def test_a_file_stays_while_its_writer_has_it_and_goes_with_the_last_record(writer, reader, data_dir):
    writer.append(b"one")
    assert [b"one"] == collected(reader)
    assert [] == collected(reader)
    assert 1 == len(files(data_dir))
    writer.append(b"two")
    writer.close()

    assert [b"two"] == collected(reader)
    assert [] == collected(reader)
    assert [] == files(data_dir)


def test_a_full_file_is_followed_by_another_one(writer, reader, data_dir):
    payload = bytes([7]) * (LARGEST_FILE // 2)
    for _ in range(3):
        writer.append(payload)
    assert 2 == len(files(data_dir))

    found = [one for _ in range(3) for one in collected(reader)]
    assert [payload] * 3 == found


def test_threads_share_a_file(writer, reader, data_dir):
    def post(number: int) -> None:
        for place in range(20):
            writer.append(f"{number}.{place}".encode())

    threads = [threading.Thread(target=post, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    found = collected(reader)
    assert 1 == len(files(data_dir))
    assert 160 == len(found)
    for number in range(8):
        own = [payload for payload in found if payload.startswith(b"%d." % number)]
        assert [f"{number}.{place}".encode() for place in range(20)] == own


@given(payloads=st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=5), data=st.data())
def test_cut_anywhere_all_whole_records_are_read_and_nothing_else(payloads, data):
    """A writer that is killed in the middle has acknowledged nothing of what it had begun."""
    framed = [frame(payload) for payload in payloads]
    whole = b"".join(framed)
    cut = data.draw(st.integers(0, len(whole)))
    expected = 0
    while sum(map(len, framed[: expected + 1])) <= cut and expected < len(framed):
        expected += 1

    assert payloads[:expected] == [record.payload for record in records(whole[:cut], HEADER.size)]


@given(payload=st.binary(min_size=1, max_size=40), data=st.data())
def test_a_flipped_bit_is_never_taken_for_a_record(payload, data):
    whole = bytearray(frame(payload) + frame(b"next"))
    bit = data.draw(st.integers(0, len(frame(payload)) * 8 - 1))
    whole[bit // 8] ^= 1 << bit % 8

    try:
        found = [record.payload for record in records(bytes(whole), HEADER.size)]
    except Damaged:
        return
    assert payload not in found


def test_zeros_at_the_end_are_no_record(writer, reader, data_dir):
    """After a power cut a file may be longer than what had come."""
    writer.append(b"one")
    writer.close()
    (name,) = files(data_dir)
    with (data_dir / FOLDER / name).open("ab") as file:
        file.write(bytes(100))

    assert [b"one"] == collected(reader)
    assert [] == collected(reader)
    assert [] == files(data_dir)


def test_what_is_damaged_is_left_aside_and_told(writer, reader, data_dir):
    writer.append(b"one")
    writer.append(b"two")
    writer.close()
    (name,) = files(data_dir)
    path = data_dir / FOLDER / name
    path.write_bytes(path.read_bytes()[:-1] + b"x")

    assert [b"one"] == collected(reader)
    assert [] == collected(reader)
    assert [f"{name}.damaged"] == files(data_dir)
    (complaint,) = reader.complaints()
    assert f"{name}.damaged: unreadable from byte {HEADER.size + len(frame(b'one'))}" in complaint
    assert [] == reader.complaints()


def test_a_file_of_somebody_else_is_left_aside(reader, data_dir):
    (data_dir / FOLDER).mkdir()
    (data_dir / FOLDER / "x.posts").write_bytes(b"what is this, and is it long enough for a header?")
    (data_dir / FOLDER / "link.posts").symlink_to("/etc/passwd")
    (data_dir / FOLDER / "folder.posts").mkdir()

    assert [] == collected(reader)
    assert ["folder.posts", "link.posts", "x.posts.damaged"] == files(data_dir)
    complaints = reader.complaints()
    assert ["folder.posts", "link.posts", "x.posts.damaged"] == sorted(
        complaint.partition(": ")[0].rpartition("/")[2] for complaint in complaints
    )
    assert [] == collected(reader)
    assert [] == reader.complaints()


def test_a_deleted_file_is_told_to_its_writer_and_read_to_its_end(writer, reader, data_dir):
    """Whoever cleans up there takes nothing that was acknowledged, once the daemon has found the file."""
    writer.append(b"one")
    assert [b"one"] == collected(reader)
    writer.append(b"two")
    (name,) = files(data_dir)
    (data_dir / FOLDER / name).unlink()

    with pytest.raises(StoreUnavailable, match="deleted while it was in use"):
        writer.append(b"three")
    writer.append(b"four")
    assert {b"two", b"four"} == set(collected(reader))


def test_what_the_disk_has_no_room_for_is_refused_and_leaves_nothing(writer, reader):
    writer.append(b"one")
    with (
        largest_file(HEADER.size + 20),
        pytest.raises(StoreFull, match="until there is room"),
    ):
        writer.append(b"two" * 100)
    writer.append(b"three")

    assert [b"one", b"three"] == collected(reader)


def test_below_min_free_nothing_is_taken(data_dir, reader):
    with pytest.raises(StoreFull, match=r"expected \d+.\d MiB free, got"):
        InboxWriter(data_dir, min_free=2**60).append(b"one")

    assert [] == collected(reader)


def test_after_a_failed_sync_nothing_is_said_to_be_stored(writer, reader, data_dir, monkeypatch):
    """The kernel has let go of the bytes: a second sync of that file would succeed and mean nothing."""
    writer.append(b"one")
    broken = writer._file

    def fail(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", fail)
        with pytest.raises(StoreUnavailable, match="whether the posting is stored is unknown"):
            writer.append(b"two")
    with pytest.raises(StoreUnavailable, match="an earlier write failed"):
        broken.sync()
    writer.append(b"three")

    assert 2 == len(files(data_dir))
    assert b"three" in collected(reader)


def test_where_no_file_can_be_made_the_remedy_is_said(data_dir, writer):
    (data_dir / FOLDER).write_text("in the way")

    with pytest.raises(ConfigError, match=r"File exists; post as the user of the daemon"):
        writer.append(b"one")


def test_a_file_without_a_header_yet_is_not_taken_for_a_dead_writers(reader, data_dir):
    (data_dir / FOLDER).mkdir()
    (data_dir / FOLDER / f"{ObjectId()}.new").write_bytes(new_header())

    assert [] == collected(reader)
    assert 1 == len(files(data_dir))


def test_what_waits_is_counted_without_touching_it(writer, reader, data_dir):
    assert 0 == waiting_bytes(data_dir)
    writer.append(b"one")
    assert len(frame(b"one")) == waiting_bytes(data_dir)
    assert [b"one"] == collected(reader)
    assert 0 == waiting_bytes(data_dir)
    with (data_dir / FOLDER / files(data_dir)[0]).open("rb") as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)


def a_task(**fields) -> MonQTask:
    return MonQTask(ObjectId(), "an.app", [1], {"two": 2}, fields.pop("time_queue", NOW), **fields)


def test_tasks_come_back_as_they_were_posted():
    task = a_task(key="k", priority=7, timeout=3.5, max_attempts=2, context={"user": 1}, result_type="keep")

    handed = from_payload(to_payload(Batch([task]), NOW), NOW)

    assert Batch([task]) == handed


def test_a_clock_that_is_ahead_there_makes_nothing_wait_here():
    """A delay is kept."""
    ahead = NOW + timedelta(hours=1)
    tasks = [a_task(time_queue=ahead), a_task(time_queue=ahead + timedelta(minutes=1))]

    handed = from_payload(to_payload(Batch(tasks), ahead), NOW)

    assert [NOW, NOW + timedelta(minutes=1)] == [task.time_queue for task in handed.tasks]


def test_what_was_posted_long_ago_keeps_its_time():
    task = a_task()

    handed = from_payload(to_payload(Batch([task]), NOW), NOW + timedelta(days=1))

    assert NOW == handed.tasks[0].time_queue


def test_events_come_with_their_context():
    event = Event(ObjectId(), "a.topic", NOW, args=[1], kwargs={"two": 2})

    handed = from_payload(to_payload(Batch(events=[Announcement(event, {"user": 1})]), NOW), NOW)

    assert [(event, {"user": 1})] == handed.events


@given(st.binary(max_size=60))
def test_rubbish_is_unreadable_and_nothing_else(payload):
    with pytest.raises(Unreadable):
        from_payload(payload, NOW)


def test_files_are_read_in_turn_however_much_one_of_them_has(writer, reader, data_dir):
    """A pass may be broken off after a piece: the next one begins behind it."""
    second = InboxWriter(data_dir)
    writer.append(b"first")
    second.append(b"second")
    names = []
    for _ in range(4):
        name, _ = next(reader.pieces())
        names.append(name)
    second.close()

    assert names[0] != names[1]
    assert names[:2] == names[2:]


def test_what_was_there_when_it_was_asked_is_told_from_what_came_later(writer, reader):
    writer.append(b"before")
    goal = reader.sizes()
    assert not reader.has_read(goal)
    assert [b"before"] == collected(reader)
    writer.append(b"after")

    assert reader.has_read(goal)
    assert not reader.has_read(reader.sizes())


def test_what_is_too_large_for_one_write_is_refused_before_it_is_begun(writer, reader):
    with pytest.raises(
        NotStorable, match=r"expected at most \d+ bytes, got \d+ in one write; post less at once"
    ):
        writer.append(bytes(LARGEST_PAYLOAD + 1))

    assert [] == collected(reader)


def test_a_batch_in_parts_is_the_same_in_order():
    tasks = [a_task() for _ in range(5)]
    announced = [Announcement(Event(ObjectId(), "a.topic", NOW), {})]
    parts = list(Batch(tasks, announced).parts(2))

    assert [2, 2, 1, 1] == [len(part) for part in parts]
    assert tasks == [task for part in parts for task in part.tasks]
    assert announced == [one for part in parts for one in part.events]
