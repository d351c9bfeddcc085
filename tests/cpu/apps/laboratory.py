"""What the workers of these tests run."""

import contextlib
import ctypes
import logging
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import bson
from bson import ObjectId

from monqbus import Cancel, MonqbusError, Retry, Snooze, c, event_handler, post_event, task

LOG = logging.getLogger("laboratory")


@task(cpu=True)
def where():
    return {
        "pid": os.getpid(),
        "parent": os.getppid(),
        "session": os.getsid(0),
        "group": os.getpgid(0),
        "nice": os.nice(0),
        "oom": int(Path("/proc/self/oom_score_adj").read_text()),
        "stdin": os.read(0, 1),
        "title": Path("/proc/self/cmdline").read_bytes().rstrip(b"\0").decode(),
        "descriptors": sorted(_descriptors()),
    }


def _descriptors():
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the folder itself
            yield str(link.readlink())


@task(cpu=True)
def chance():
    return [random.random(), str(ObjectId())]


@task(cpu=True)
def echo(*args, **kwargs):
    return {"args": list(args), "kwargs": kwargs, "pid": os.getpid()}


@task(cpu=True)
def give(kind):
    results = {
        "set": {1, 2},
        "large": "x" * 9_000_000,
        "reference": {"$ref": "a", "$id": 1},
        "bytes": b"\0" * 1_000_000,
    }
    return results[kind]


@task(cpu=True)
def fail(text):
    raise ValueError(text)


@task(cpu=True)
def leave():
    sys.exit("bye")


@task(cpu=True)
def judge(kind):
    kinds = {"Retry": (Retry, 5), "Snooze": (Snooze, 7), "Cancel": (Cancel, None)}
    verdict, delay = kinds[kind]
    raise verdict("moot", delay=delay)


@task(cpu=True)
def speak():
    print("to stdout")  # noqa: T201 - what is tested
    print("to stderr", file=sys.stderr)  # noqa: T201
    LOG.warning("to the log")
    LOG.debug("too quiet")
    thread = threading.Thread(target=print, args=("from a thread",))
    thread.start()
    thread.join()
    print("no end", end="")  # noqa: T201
    return c.task.log


@task(cpu=True)
def speak_in_bytes():
    sys.stdout.reconfigure(line_buffering=True)
    for part in ("é".encode()[:1], "é".encode()[1:], b"\xff\n"):
        sys.stdout.buffer.write(part)
    return [sys.stdout.encoding, sys.stderr.errors]


@task(cpu=True)
def flood(lines):
    for number in range(lines):
        print(number)  # noqa: T201


@task(cpu=True)
def advance():
    c.task.progress(0.25, "a quarter")
    return [c.task.attempt, c.task.token, c.project, c.user]


@task(cpu=True)
def post(value):
    stored = echo.post(value)
    return [stored.id, stored.state, post_event("laboratory.done", value)]


@task(cpu=True)
def post_badly(how):
    try:
        if how == "set":
            echo.post({1})
        else:
            echo.post(1)
    except MonqbusError as error:
        return [type(error).__name__, str(error)]


@task(cpu=True)
def post_from_threads(count):
    found = []
    threads = [threading.Thread(target=lambda n=n: found.append(echo.post(n).args[0])) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(found)


@task(cpu=True)
def wait_for_it(task_name):
    return echo.post("x").join(timeout=10)


@event_handler("laboratory.delivered", cpu=True)
def deliver(topic, event):
    return [topic, event.body, event.json, event.headers, event.hook]


@task(cpu=True)
def rest(seconds):
    time.sleep(seconds)
    return "rested"


@task(cpu=True)
def burn(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass
    return "burned"


@task(cpu=True)
def chatter():
    """Never stops talking with the daemon."""
    while True:
        print("x" * 2000)  # noqa: T201
        c.task.progress(0.5)
        echo.post(1)


@task(cpu=True)
def heed(place):
    try:
        Path(place).write_text("begun")
        time.sleep(60)
    except BaseException as error:
        Path(place).write_text(type(error).__name__)
        raise


@task(cpu=True)
def ignore(place, seconds):
    Path(place).write_text(str(os.getpid()))
    _endure(seconds)
    return "ignored"


def _endure(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(BaseException):
            time.sleep(0.05)


@task(cpu=True)
def breed(place, how):
    """Starts a child that would outlive everybody."""
    if how == "program":
        child = subprocess.Popen(["sleep", "600"]).pid
    elif how == "fork":
        process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,))
        process.start()
        child = process.pid
    elif how == "orphan":
        where = Path(place).with_suffix(".orphan")
        subprocess.run(["setsid", "-f", "sh", "-c", f"echo $$ > {where}; exec sleep 600"], check=True)
        while not (where.exists() and (child := where.read_text().strip())):
            time.sleep(0.01)
    else:
        child = subprocess.Popen(["sleep", "600"], start_new_session=True).pid
    Path(place).write_text(f"{os.getpid()} {child}")
    _endure(600)


@task(cpu=True)
def leave_orphans(count):
    """Each has ended, and nobody has waited for it."""
    subprocess.run(["sh", "-c", f"for n in $(seq {count}); do true & done"], check=True)
    return os.getpid()


@task(cpu=True)
def terminate_children():
    process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,))
    process.start()
    process.terminate()
    process.join()
    program = subprocess.Popen(["sleep", "600"])
    program.terminate()
    return [process.exitcode, program.wait()]


@task(cpu=True)
def crash(how):
    if how == "segfault":
        ctypes.string_at(0)
    elif how == "exit":
        os._exit(3)
    elif how == "silent":
        os._exit(0)
    elif how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "close":
        os.closerange(3, 100)
        time.sleep(600)
    elif how == "garbage":
        _write(b"\0\0\0\x08garbage!")
        time.sleep(600)
    elif how == "oversized":
        _write(b"\xff\xff\xff\xff")
        time.sleep(600)
    elif how == "half":
        _write(b"\0\0\xff\xff123")
        os._exit(0)


def _write(data):
    """Straight into the worker's connection, as a handler gone wild would."""
    import gc

    from bus.cpu.frames import FrameStream

    (wire,) = [one for one in gc.get_objects() if isinstance(one, FrameStream)]
    wire._stream.sendall(data)


@task(cpu=True)
def forge(how):
    """Tells the daemon an end of its own making, and goes on."""
    ends = {
        "no size": {"of": c.task.token, "bytes": "x"},
        "no kind": {"of": c.task.token, "bytes": 1, "ended": 7},
        "another run's": {"of": f"{ObjectId()}:1", "bytes": 1},
        "nobody's": {"bytes": 1},
    }
    data = bson.encode({"ended": "returned", "value": "forged", **ends[how]})
    _write(len(data).to_bytes(4, "big") + data)
    time.sleep(600)


@task(cpu=True)
def forge_words():
    """Speaks and asks in the name of another run."""
    import gc

    from bus.cpu.frames import FrameStream

    (wire,) = [one for one in gc.get_objects() if isinstance(one, FrameStream)]
    wire.send({"of": "another", "printed": "forged words\n"})
    wire.send({"of": "another", "progress": 0.9, "text": "forged"})
    wire.send({"of": "another", "ask": "post", "name": "laboratory.echo"})
    return wire.receive()


@task(cpu=True)
def deafen():
    """Sets signals up for itself, as a program of its own would."""
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
    return os.getpid()


@task(cpu=True)
def leave_thread(place):
    """Its thread speaks, posts and asks when the next task runs."""

    def haunt():
        while not Path(place).exists():
            time.sleep(0.01)
        print("a stray speaks")  # noqa: T201
        try:
            echo.post("stray")
        except MonqbusError as error:
            Path(place).with_name("answer").write_text(type(error).__name__)

    threading.Thread(target=haunt, daemon=True).start()
    return os.getpid()


@task(cpu=True)
def be_haunted(place):
    """Lets that thread do so, and starts one of its own that may."""
    Path(place).touch()
    while not Path(place).with_name("answer").exists():
        time.sleep(0.01)
    thread = threading.Thread(target=print, args=("my own thread",))
    thread.start()
    thread.join()
    return os.getpid()


@task(cpu=True)
def grow(size):
    grow.kept = b"x" * size
    return os.getpid()


@task
def cooperative(place):
    import gevent

    with Path(place).open("a") as file:
        file.write(f"{os.getpid()}\n")
    gevent.sleep(0.01)
    seen = []
    gevent.joinall([gevent.spawn(seen.append, n) for n in range(3)])
    with Path(place).open("a") as file:
        file.write(f"{os.getpid()}\n")
    return [os.getpid(), seen]


@task
def guilty(place):
    with Path(place).open("a") as file:
        file.write(f"{os.getpid()}\n")
    ctypes.string_at(0)


@task
def patient(place):
    import gevent

    Path(place).write_text("begun")
    try:
        gevent.sleep(60)
    except BaseException as error:
        Path(place).write_text(type(error).__name__)
        raise


async def _fetch():
    pass


@task(cpu=True)
def unfinished():
    return _fetch()


@task(cpu=True)
def takes_one(n):
    return n
