"""Scenarios on the embedded store: one daemon, one file, and everything a disk can do to it."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from .arena import Arena
from .disk import Disk, SmallDisk, failing_syncs, small_disk
from .scenario import Control, Missing, scenario
from .sender import Pace
from .victim import Victim

SMALL_DISK_MEBIBYTES = 256
# more than the slots can run, so that acknowledged work waits in the store when the fault comes
CROWDED = Pace(per_second=120, kinds={"quick": 6, "slow": 3, "guarded": 1}, resend=True)
FEW_GREENLETS = 12
FEW_AND_LONG = Pace(per_second=30, kinds={"quick": 5, "long": 4, "guarded": 1}, patience=5.0)
HELD = 73
RETURN = {"ready_again_max_seconds": 2.0, "works_again_max_seconds": 2.0}


@scenario(
    "daemon killed",
    store="embedded",
    controls=[
        Control("acknowledged before stored", shows="lost", weakness="intake.ack_before_store", in_short=True)
    ],
    aims={"ready_again_max_seconds": 3.0},
)
def daemon_killed(arena: Arena) -> None:
    """SIGKILL under load, again and again; it is started again at once."""
    victim = arena.daemon().start()
    stubborn, plain = Pace(per_second=100, resend=True), Pace(per_second=30, connections=2)
    with arena.load(stubborn), arena.load(plain):
        for _ in range(arena.pick(short=3, long=10)):
            arena.pause(arena.pick(short=0.7, long=1.5))
            arena.kill(victim)
            victim.start()
        arena.pause(0.7)
    arena.settle()


@scenario(
    "power cut",
    store="embedded",
    controls=[
        Control("synchronous=OFF", shows="lost", weakness="embedded.synchronous_off", in_short=True),
    ],
    aims={"ready_again_max_seconds": 3.0},
)
def power_cut(arena: Arena) -> None:
    """The file is left as the last sync left it, every second time with some of the later sectors."""
    disk = Disk(arena.place, arena.data)
    victim = arena.daemon(greenlets=FEW_GREENLETS, environ=disk.environ).start()
    with arena.load(CROWDED):
        for number in range(arena.pick(short=2, long=8)):
            arena.pause(arena.pick(short=1.0, long=1.5))
            _cut_power(arena, victim, disk, random.Random(number) if number % 2 else None)
            victim.start()
        arena.pause(0.5)
    arena.expect(disk.syncs > 0, "the store's syncs reach the shim")
    arena.settle()


def _cut_power(arena: Arena, victim: Victim, disk: Disk, dice: random.Random | None = None) -> None:
    def end() -> None:
        victim.kill()
        disk.lose_power(None if arena.control else dice)

    arena.fault("power cut", victim, end)


@scenario(
    "sync fails",
    store="embedded",
    controls=[Control("errors of the sync ignored", shows="lost")],
    aims=RETURN,
)
def sync_fails(arena: Arena) -> None:
    """EIO from every fsync and fdatasync for a while, and later a power cut: what was acknowledged
    in between must be on the disk. A daemon that gives up is started again, as a supervisor would.
    """
    disk = Disk(arena.place, arena.data)
    victim = arena.daemon(greenlets=FEW_GREENLETS, environ=disk.environ)
    if arena.is_weak:
        disk.lie()  # from the start and for good: a file with holes would not even be opened again
    victim.start()
    with arena.load(CROWDED):
        arena.pause(0.7)
        if arena.control is None:
            with arena.trouble("sync fails"):
                disk.fail_syncs()
                arena.pause(arena.pick(short=1.5, long=6.0))
                disk.heal()
            arena.expect(disk.failures > 0, "syncs have failed")
        if not victim.is_alive:
            arena.fault("gave up", victim, victim.wait)
            victim.start()
        arena.pause(1.5)
        _cut_power(arena, victim, disk)
        victim.start()
        arena.pause(0.5)
    arena.settle()


@scenario(
    "sync fails in the system call",
    store="embedded",
    controls=[
        Control("acknowledged though not stored", shows="lost", weakness="intake.ack_what_was_not_stored")
    ],
    aims=RETURN,
    in_short=False,
)
def sync_fails_in_the_system_call(arena: Arena) -> None:
    """The same without a shim: strace turns every fsync and fdatasync of the daemon into EIO."""
    victim = arena.daemon(greenlets=FEW_GREENLETS).start()
    with arena.load(CROWDED):
        arena.pause(1.0)
        with arena.trouble("sync fails"), failing_syncs(victim.pid):
            arena.pause(arena.pick(short=2.0, long=5.0))
        if not victim.is_alive:
            arena.fault("gave up", victim, victim.wait)
            victim.start()
        arena.pause(2.0)
        arena.kill(victim)
        victim.start()
        arena.pause(0.5)
    arena.settle()


@scenario(
    "disk full",
    store="embedded",
    controls=[
        Control("acknowledged though not stored", shows="lost", weakness="intake.ack_what_was_not_stored")
    ],
    aims=RETURN,
)
def disk_full(arena: Arena) -> None:
    """Not a byte is left for a while; the daemon refuses, lives, and goes on by itself."""
    disk, environ = _disk_to_fill(arena)
    victim = arena.daemon(greenlets=FEW_GREENLETS, environ=environ).start()
    pid = victim.pid
    with arena.load(CROWDED):
        arena.pause(1.0)
        with arena.trouble("disk full"):
            disk.fill()
            arena.pause(arena.pick(short=1.5, long=8.0))
            disk.heal()
        arena.pause(arena.pick(short=1.0, long=3.0))
    arena.expect(victim.is_alive and victim.pid == pid, "the daemon lives through it")
    arena.settle()


def _disk_to_fill(arena: Arena) -> tuple[SmallDisk | Disk, dict[str, str]]:
    """A real small disk where it can be mounted, else the preloaded one."""
    try:
        return arena.enter(small_disk(arena.data, SMALL_DISK_MEBIBYTES)), {}
    except Missing:
        disk = Disk(arena.place, arena.data)
        return disk, dict(disk.environ)


@scenario(
    "files taken away",
    store="embedded",
    controls=[
        Control("files believed, not looked at", shows="lost", weakness="embedded.files_not_looked_at"),
    ],
    aims={"ready_again_max_seconds": 3.0},
)
def files_taken_away(arena: Arena) -> None:
    """The folder is moved away and back; then a copy takes its place; then it is deleted, and put back
    from the descriptors that the daemon has open. What is acknowledged meanwhile must be there.
    """
    victim = arena.daemon(greenlets=FEW_GREENLETS).start()
    pid, away = victim.pid, arena.data.with_name("away")
    with arena.load(CROWDED):
        arena.pause(0.7)
        with arena.trouble("folder moved away"):
            arena.data.rename(away)
            arena.pause(arena.pick(short=1.0, long=5.0))
            away.rename(arena.data)
        arena.pause(arena.pick(short=1.5, long=3.0))
        arena.expect(victim.is_alive and victim.pid == pid, "the daemon lives through it")
        for harm in (_put_a_copy_in_its_place, _delete_and_put_back):
            _lose_the_open_files(arena, victim, harm)
            arena.kill(victim)
            victim.start()
            arena.pause(1.0)
    arena.settle()


def _lose_the_open_files(arena: Arena, victim: Victim, harm: Callable[[Path, int], None]) -> None:
    """Do *harm*, and let senders try for a while with the daemon that has the old files open."""
    victim.freeze()  # so that the copy is of one moment, also of a daemon that goes on writing
    harm(arena.data, victim.pid)
    victim.thaw()
    arena.pause(arena.pick(short=1.0, long=3.0))


def _put_a_copy_in_its_place(data: Path, pid: int) -> None:
    data.rename(data.with_name("old"))
    shutil.copytree(data.with_name("old"), data, ignore=shutil.ignore_patterns("*.sock"))
    shutil.rmtree(data.with_name("old"))


def _delete_and_put_back(data: Path, pid: int) -> None:
    shutil.rmtree(data)
    data.mkdir(mode=0o700)
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        name = Path(str(descriptor.readlink()).removesuffix(" (deleted)")).name
        if name in {"monqbus.db", "monqbus.db-wal"}:
            (data / name).write_bytes(descriptor.read_bytes())


@scenario(
    "second daemon on one file",
    store="embedded",
    controls=[Control("no lock", shows="overlaps", weakness="embedded.no_lock")],
    in_short=False,
)
def second_daemon(arena: Arena) -> None:
    """Beside a running daemon another one is started on its file: it exits and has touched nothing."""
    first = arena.daemon("first").start()
    second = _second(arena)
    with arena.load(FEW_AND_LONG, to=[first]):
        for _ in range(arena.pick(short=1, long=5)):
            arena.pause(1.0)
            _let_in(arena, second)
        arena.pause(2.0)
    arena.settle()


@scenario(
    "daemon frozen",
    store="embedded",
    controls=[Control("no lock, no fence", shows="stale_accepted", weakness="embedded.no_lock_no_fence")],
    in_short=False,
)
def daemon_frozen(arena: Arena) -> None:
    """SIGSTOP beyond every timeout; whoever comes meanwhile does not get in, and after it all goes on."""
    first = arena.daemon("first").start()
    second = _second(arena)
    with arena.load(FEW_AND_LONG, to=[first]):
        for _ in range(arena.pick(short=1, long=2)):
            arena.pause(2.0)
            with arena.freezing(first):
                if arena.is_weak:
                    _leave_transaction(arena, first)
                _let_in(arena, second)
                arena.pause(arena.pick(short=5.0, long=12.0))
            arena.pause(2.0)
    arena.settle()


def _second(arena: Arena) -> Victim:
    """A daemon on the same file. A control's has a data_dir of its own, with that file in it: else the
    control socket of the first one would still keep it out.
    """
    if not arena.is_weak:
        return arena.daemon("second")
    folder = arena.place / "side"
    folder.mkdir()
    (folder / "monqbus.db").symlink_to(arena.data / "monqbus.db")
    return arena.daemon("second", data=folder)


def _leave_transaction(arena: Arena, frozen: Victim) -> None:
    """Frozen inside a transaction, it would keep the other one out by that alone."""
    while _is_locked(arena.data / "monqbus.db"):
        frozen.thaw()
        arena.pause(0.01)
        frozen.freeze()


def _is_locked(file: Path) -> bool:
    with closing(sqlite3.connect(file, timeout=0, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
        except sqlite3.OperationalError:
            return True
    return False


def _let_in(arena: Arena, second: Victim) -> None:
    """Start *second*, which only a control's lack of a lock lets in."""
    if arena.is_weak:
        second.start()
        return
    second.launch()
    arena.expect(second.wait() == HELD, f"a second daemon exits {HELD}")
