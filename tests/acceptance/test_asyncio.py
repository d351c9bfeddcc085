"""Posting from asyncio: the loop turns while the store writes, and a cancelled await says what is stored."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import New
from .daemons import PATIENCE, ROOT, Daemon, until

APP = """\
import asyncio
from monqbus import event_handler, task

@task(result_type="keep")
def double(number):
    if number < 0:
        raise ValueError("below zero")
    return number * 2

@event_handler("order.paid", result_type="keep")
def ship(topic, number):
    return number

@task(result_type="keep")
def in_a_greenlet(number):
    return asyncio.run(_post(number))

@task(result_type="keep", cpu=True)
def in_a_process(number):
    return asyncio.run(_post(number))

async def _post(number):
    return await (await double.post_async(number)).join_async(20)
"""
CONFIG = """\
[monqbus]
data_dir = ./data
store = {store}
apps = awaited
path = .
[worker]
drain = 2s
cpu_workers = 1
[http]
listen = 127.0.0.1:0
"""
PRELUDE = f"""\
import asyncio, gc, json, logging, os, sys, threading
logging.getLogger("asyncio").setLevel(logging.ERROR)  # it warns of a slow machine too
sys.path[:0] = [{str(ROOT)!r}, "."]
import monqbus
from bus.apps import registry
from bus.apps.poster import bind, poster
from monqbus import hold, hold_async, post_event_async
monqbus.connect("monqbus.ini")
from awaited import double, in_a_greenlet, in_a_process

class Gate:
    '''The store, whose writes wait until they may; for ten seconds at most.'''

    def __init__(self):
        self.may, self.begun, self.store_ = threading.Event(), [], poster()
        bind(self)

    def __getattr__(self, name):
        return getattr(self.store_, name)

    def post(self, *call):
        self.begun.append(call)
        self.was_let = self.may.wait(10)
        return self.store_.post(*call)

async def turns(count):
    for _ in range(count):
        await asyncio.sleep(0)

async def until(holds):
    while not holds():
        await asyncio.sleep(0)

async def cancelled(task):
    try:
        await task
    except asyncio.CancelledError as error:
        return str(error) or str(error.__context__ or "")  # where Python 3.10 has it

def threads():
    return [one.name for one in threading.enumerate() if one.name.startswith("monqbus-async")]

"""

KEPT_OPEN = ("-W", "ignore::ResourceWarning")  # connections, for as long as the process lives

Say = Callable[[str], Any]


@pytest.fixture
def place(address: str, new_daemon: New, tmp_path: Path) -> Daemon:
    """A daemon that does not run yet, on each kind of store."""
    (tmp_path / "awaited.py").write_text(APP)
    return new_daemon(address, text=CONFIG)


@pytest.fixture
def say(place: Daemon) -> Say:
    """Runs `async def main()` in a process that is connected; what it returns."""

    def run(text: str) -> Any:
        program = PRELUDE + text + "\nprint(json.dumps(asyncio.run(main())))"
        done = subprocess.run(
            [sys.executable, "-X", "dev", *KEPT_OPEN, "-c", program],
            capture_output=True, text=True, timeout=2 * PATIENCE, cwd=place.config.parent,
            env=place.environ, check=False,
        )  # fmt: skip
        assert (0, "") == (done.returncode, done.stderr), done.stderr
        return json.loads(done.stdout)

    return run


def ran(place: Daemon, count: int) -> dict[str, object]:
    """The results of all tasks by their ids, when that are *count* and all have ended."""
    rows: list[dict[str, object]] = []

    def complete() -> list[str]:
        listed = place.monqbus("list", "--json", "--limit", "1000").stdout.splitlines()
        rows[:] = [json.loads(row) for row in listed]
        return ["complete" for row in rows if row["state"] == "complete"]

    until(complete, count)
    return {str(row["id"]): row["result"] for row in rows}


EVERYTHING = """
async def main():
    one = await double.post_async(1)
    two = await double.options(priority=3).post_async(number=2)
    many = await double.post_many_async((n,) for n in range(3, 6))
    many += await double.options(priority=4).post_many_async([[6]])
    event = await post_event_async("order.paid", 7)
    with hold():
        held = await double.post_async(8)
    async with hold_async():
        other = await double.post_async(9)
        third = double.post(10)
    try:
        async with hold_async():
            await double.post_async(11)
            raise KeyError
    except KeyError:
        pass
    tasks = [one, two, *many, held, other, third]
    failed = await double.options(max_attempts=1).post_async(-1)
    try:
        await failed.join_async(20)
    except monqbus.TaskFailed as error:
        said = "ValueError: below zero" in str(error)
    return [await asyncio.gather(*(task.join_async(20) for task in tasks)), said, len(str(event))]
"""


def test_everything_that_posts_and_joins_has_a_form_for_asyncio(place: Daemon, say: Say) -> None:
    """With the same results."""
    place.start()

    assert [[2, 4, 6, 8, 10, 12, 16, 18, 20], True, 24] == say(EVERYTHING)
    counted = json.loads(place.monqbus("count", "--json").stdout)
    assert (10, 1, 11) == (counted["complete"], counted["error"], counted["total"])


TURNS = """
async def main():
    gate = Gate()
    post = asyncio.create_task(double.post_async(1))
    await until(lambda: gate.begun)
    await turns(1000)
    is_done_early = post.done()
    gate.may.set()
    await post
    return [is_done_early, gate.was_let]
"""
NO_TURNS = """
async def main():
    gate = Gate()
    gate.may.wait = lambda seconds: gate.may.is_set()
    asyncio.get_running_loop().call_soon(gate.may.set)
    double.post(1)
    return gate.was_let
"""


def test_the_loop_turns_while_the_store_writes(say: Say) -> None:
    """A thousand times in one write; not once in that of a plain post."""
    assert [False, True] == say(TURNS)
    assert not say(NO_TURNS)


CANCELS = """
async def main():
    gate = Gate()
    posts = [asyncio.create_task(double.post_async(n)) for n in range(20)]
    await until(lambda: len(gate.begun) == 16)
    posts[19].cancel()
    waits = await cancelled(posts[19])
    posts[0].cancel()
    await turns(100)
    is_let_go = posts[0].done()
    posts[1].cancel()
    await turns(3)
    posts[1].cancel()
    twice = await cancelled(posts[1])
    gate.may.set()
    return [waits, is_let_go, await cancelled(posts[0]), twice,
            [str((await post).id) for post in posts[2:19]]]
"""


def test_a_cancelled_post_is_stored_or_not_and_says_which(place: Daemon, say: Say) -> None:
    """Not begun: not stored. Begun: it waits for the outcome, but not when it is cancelled once more."""
    waits, is_let_go, begun, twice, ids = say(CANCELS)
    place.start()
    found = ran(place, 19)

    assert ("nothing is stored", False) == (waits, is_let_go)
    assert begun.startswith("task ") and begun.endswith(" is stored")
    assert 0 == found[begun.split()[1]]
    assert "whether it is stored is unknown" == twice
    assert [2 * number for number in range(19)] == sorted(found.values())
    assert set(ids) < set(found)


TIMES_OUT = """
async def main():
    gate = Gate()
    post = asyncio.create_task(asyncio.wait_for(double.post_async(1), 0.05))
    await until(lambda: gate.begun)
    asyncio.get_running_loop().call_later(0.2, gate.may.set)
    said = "in time"
    try:
        await post
    except (TimeoutError, asyncio.TimeoutError):
        said = "too late"
    bind(gate.store_)
    task = await double.post_async(2)
    try:
        await task.join_async(0.05)
    except monqbus.JoinTimeout as error:
        return [said, str(error).replace(str(task.id), "ID")]
"""


def test_time_limits_end_a_post_and_a_join(place: Daemon, say: Say) -> None:
    """No task is posted twice or half; a join that waits for a daemon names its own time."""
    said, sentence = say(TIMES_OUT)
    place.start()

    begins = "it has not begun: does a daemon run?"
    assert "too late" == said
    assert f"task ID awaited.double: still ready after 0.05 s; {begins}" == sentence
    assert [2, 4] == sorted(ran(place, 2).values())


THREADS = """
async def main():
    gate = Gate()
    posts = [asyncio.create_task(double.post_async(n)) for n in range(200)]
    await until(lambda: len(gate.begun) == 16)
    for post in posts[::2]:
        post.cancel()
    gate.may.set()
    await asyncio.gather(*posts, return_exceptions=True)
    tasks = [post.result() for post in posts if not post.cancelled()]
    joins = [asyncio.create_task(task.join_async()) for task in tasks]
    await turns(1000)
    for join in joins:
        join.cancel()
    await asyncio.gather(*joins, return_exceptions=True)
    return len(threads())

most = asyncio.run(main())
gc.collect()
for one in threading.enumerate():
    if one.name.startswith("monqbus-async"):
        one.join(10)

async def main():
    return [most, threads()]
"""


def test_no_thread_is_left_when_the_loop_is_gone(say: Say) -> None:
    """Two hundred posts and a hundred joins, half of them cancelled, take sixteen threads, which end."""
    assert [16, []] == say(THREADS)


OUTLIVES = """
async def main():
    ended = asyncio.Event()

    async def background():
        await ended.wait()
        return double.post(1), await double.post_async(2)

    with hold():
        task = asyncio.create_task(background())
        await turns(3)
    ended.set()
    return [str(one.id) for one in await task]
"""


def test_what_was_started_in_a_hold_block_posts_for_itself_when_the_block_is_over(
    place: Daemon, say: Say
) -> None:
    """Its context still names the block, which nobody stores any more: the post was lost."""
    ids = say(OUTLIVES)
    place.start()

    assert {ids[0]: 2, ids[1]: 4} == ran(place, 2)


HANDLERS = """
async def main():
    said = []
    for handler, number in ((in_a_process, 1), (in_a_process, 2), (in_a_greenlet, 3)):
        task = await handler.options(max_attempts=1).post_async(number)
        try:
            said.append(await task.join_async(20))
        except monqbus.TaskFailed as error:
            said.append(str(error))
    return said
"""


def test_a_handler_in_a_greenlet_is_told_what_to_do_and_one_in_a_process_just_posts(
    place: Daemon, say: Say
) -> None:
    """One worker runs the second one, too: its threads are of that run."""
    place.start()
    one, two, refused = say(HANDLERS)

    assert (2, 4) == (one, two)
    assert "expected an asyncio application, got a process whose threads are greenlets of gevent" in refused
    assert "call .post() or .join() there" in refused


FORKS = """
monqbus.connect("monqbus.ini")

async def post():
    return str((await double.post_async(os.getpid())).id)

first = asyncio.run(post())
heard, mouth = os.pipe()
if os.fork() == 0:
    os.write(mouth, asyncio.run(post()).encode())
    os._exit(0)
os.close(mouth)
child = open(heard, "rb", closefd=True)

async def main():
    with child:
        return [first, child.read().decode(), await post()]
"""


def test_a_process_that_was_forked_after_the_first_loop_has_threads_of_its_own(
    place: Daemon, say: Say
) -> None:
    """As those of a server that loads the application first."""
    ids = say(FORKS)
    place.start()

    assert set(ids) == set(ran(place, 3))


PROGRAMS = """
from contextlib import suppress
from itertools import count
from pathlib import Path
from hypothesis import given, settings, strategies as st
from bus.clock import Clock
from bus.store.inbox.postings import from_payload
from bus.store.inbox.reader import InboxReader

class Broken(Exception):
    pass

leaf = st.sampled_from([("post",), ("event",), ("many",), ("cancelled",), ("raise",)])
programs = st.lists(st.recursive(leaf, lambda steps: st.one_of(
    st.tuples(st.sampled_from(["hold", "hold_async", "try"]), st.lists(steps, max_size=4)),
    st.tuples(st.just("gather"), st.lists(st.lists(steps, max_size=3), max_size=3)),
), max_leaves=12), max_size=5)
numbers, heard = count(), []

async def run(program, into):
    for verb, *more in program:
        number = next(numbers)
        if verb == "post":
            await double.post_async(number)
            into.append(number)
        elif verb == "event":
            await post_event_async("order.paid", number)
            into.append(number)
        elif verb == "many":
            await double.post_many_async([(number,), (next(numbers),)])
            into += [number, number + 1]
        elif verb == "cancelled":
            post = asyncio.create_task(double.post_async(number))
            await turns(number % 4)
            post.cancel()
            said = await cancelled(post)
            heard.append((number, said))
            if said is None or said.startswith("task "):
                into.append(number)
        elif verb == "raise":
            raise Broken
        elif verb == "try":
            with suppress(Broken):
                await run(more[0], into)
        elif verb == "gather":
            ends = await asyncio.gather(*(run(one, into) for one in more[0]), return_exceptions=True)
            for end in ends:
                if end is not None:
                    raise end
        else:
            inner = []
            if verb == "hold":
                with hold():
                    await run(more[0], inner)
            else:
                async with hold_async():
                    await run(more[0], inner)
            into += inner

reader, clock, examples = InboxReader(Path("data")), Clock(), []

def stored():
    found = []
    while pieces := list(reader.pieces()):
        for piece in pieces:
            for record in piece.records:
                batch = from_payload(record.payload, clock.now())
                found += [task.args[0] for task in batch.tasks]
                found += [made.event.args[0] for made in batch.events]
            reader.taken(piece.name, piece.records[-1].end)
    return sorted(found)

@settings(max_examples=150, deadline=None, database=None)
@given(programs)
def agrees(program):
    async def whole(into):
        with suppress(Broken):
            await run(program, into)

    expected = []
    asyncio.run(whole(expected))
    examples.append(program)
    found = stored()
    assert sorted(expected) == found, (program, sorted(expected), found, heard[-5:])

agrees()

async def main():
    return len(examples) > 100
"""


@pytest.mark.parametrize("address", ["sqlite"], indirect=True)
def test_whatever_is_awaited_held_gathered_cancelled_and_raised_the_model_has_what_is_stored(
    say: Say,
) -> None:
    """Blocks of both kinds, in concurrent tasks, on a real loop; and cancelled posts say the truth."""
    assert say(PROGRAMS)
