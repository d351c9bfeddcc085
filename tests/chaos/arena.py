"""The place of one run: daemons, load and faults, and in the end the account of it all.

A scenario's function gets an `Arena` and works with these only:

* `daemon()` makes a `Victim` on the arena's store; several share it. `load()` sends to them.
* `kill`, `freezing` and `fault` do harm and write it down; `pause` lets the load go on meanwhile.
* `expect` adds a claim of the scenario's own.
* `settle` ends it: waits until all that was promised has run, stops the daemons, reads the store.
* `address` is the store: set it to a MongoDB URI before the first `daemon()` to use another one.
  `enter` keeps a resource (servers, a mounted disk) until the run is over.
* `pick` chooses between the short and the long form, `control` is None or the control under way.
  `is_weak` says whether its guarantee is switched off: not in a null control, which differs in nothing
  else and so shows that it is the weakness that a control shows.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

from bus.errors import StoreError
from bus.model import Event, MonQTask

from . import stores, witness
from .checker import Account, Fault, Figures, Pause, check
from .ledger import Ledger, ids
from .scenario import Control
from .sender import Load, Pace
from .victim import Victim

APPS = Path(__file__).parent / "apps"
LOOK_SECONDS = 0.1
STORE_LOOK_SECONDS = 0.5
CALM_SECONDS = 1.0  # so long nothing begins or ends before everything counts as over
# what still waits then is stuck and not lost, so that a control which ends early shows nothing by that
CONTROL_CALM_SECONDS = 2.0
CONTROL_SETTLE_SECONDS = 8.0
CONFIG = """\
[monqbus]
data_dir = {data}
store = {store}
apps = chaosapp
path = {apps}
[worker]
greenlets = {greenlets}
lease = {lease}
drain = 10s
[http]
listen = {address}
[hook:chaos]
verify = none
topic = chaos.{{header:X-Kind}}
"""
Value = TypeVar("Value")


class Arena:
    """One run of one scenario in the folder *place*; `with` ends whatever it has started."""

    def __init__(
        self, place: Path, *, short: bool = False, control: Control | None = None, is_null: bool = False
    ) -> None:
        self.place = place
        self.data = place / "data"
        self.address = stores.EMBEDDED
        self.control = control
        self.is_weak = control is not None and not is_null
        self.short = short
        self.ledger = Ledger(place / "ledger.jsonl")
        self.faults: list[Fault] = []
        self.pauses: list[Pause] = []
        self.victims: list[Victim] = []
        self._records = place / "records.jsonl"
        self._resource = place / "resource"
        self._resource.mkdir()
        self._stack = ExitStack()
        self._stack.callback(self.ledger.close)
        self._began = time.monotonic()
        self._tasks: list[MonQTask] = []
        self._events: list[Event] = []
        self._unmet: list[str] = []

    def __enter__(self) -> Arena:
        return self

    def __exit__(self, *_: object) -> None:
        for victim in self.victims:
            if victim.is_alive:
                victim.kill()
        self._stack.close()

    def enter(self, resource: AbstractContextManager[Value]) -> Value:
        """Enter *resource* now and leave it when the run is over."""
        return self._stack.enter_context(resource)

    def pick(self, *, short: Value, long: Value) -> Value:
        """*short* or *long*, by the form of this run; controls are always short."""
        return short if self.short or self.control is not None else long

    def pause(self, seconds: float) -> None:
        """Let daemons and load go on for *seconds*."""
        time.sleep(seconds)

    # daemons and load

    def daemon(
        self,
        name: str = "monqbus",
        *,
        greenlets: int = 100,
        lease: str = "60s",
        environ: Mapping[str, str] | None = None,
        data: Path | None = None,
        text: str = CONFIG,
    ) -> Victim:
        """A daemon that is not started yet, with the control's weakness and a port of its own.

        *environ* is added to its environment, *data* replaces the arena's data_dir, *text* the config.
        """
        config = self.place / f"{name}.ini"
        address = ("127.0.0.1", _free_port())
        config.write_text(
            text.format(
                data=data or self.data, store=self.address, apps=APPS, greenlets=greenlets, lease=lease,
                address=f"{address[0]}:{address[1]}",
            )
        )  # fmt: skip
        own = {"CHAOS_RECORDS": str(self._records), "CHAOS_RESOURCE": str(self._resource)}
        weakness = self.control.weakness if self.control and self.is_weak else ""
        victim = Victim(config, address, weakness, {**own, **(environ or {})})
        self.victims.append(victim)
        return victim

    def load(self, pace: Pace | None = None, to: Sequence[Victim] | None = None) -> Load:
        """A load to enter with `with`: to the daemons *to*, by default to all made so far."""
        addresses = [victim.address for victim in (to or self.victims)]
        return Load(self.ledger, addresses, pace or Pace())

    # harm

    def kill(self, victim: Victim) -> Fault:
        """SIGKILL *victim*; what it held according to the store was in flight."""
        return self.fault("killed", victim, victim.kill)

    def fault(
        self, what: str, victim: Victim, end: Callable[[], object], in_flight: int | None = None
    ) -> Fault:
        """Let *end* end *victim* in some way and write it down as a kill; the store is asked what was
        *in_flight*, unless that is given.
        """
        pid, at = victim.pid, time.monotonic()
        end()
        held = self.busy(pid) if in_flight is None else in_flight
        fault = Fault(what, at, at, held, pid, is_kill=True, may_repeat=True)
        self.faults.append(fault)
        return fault

    @contextmanager
    def trouble(self, what: str, in_flight: int = 0, *, may_repeat: bool = False) -> Iterator[Fault]:
        """A fault that lasts as long as the block and kills no daemon (a store's, a disk's).

        *may_repeat*: it outlasts a lease, so that what is *in_flight* may be given to somebody else.
        """
        fault = Fault(what, time.monotonic(), time.monotonic(), in_flight, may_repeat=may_repeat)
        self.faults.append(fault)
        try:
            yield fault
        finally:
            fault.over_at = time.monotonic()

    @contextmanager
    def freezing(self, victim: Victim) -> Iterator[Fault]:
        """SIGSTOP *victim* for as long as the block."""
        pid = victim.pid
        victim.freeze()
        began = time.monotonic()
        is_shared = self.address != stores.EMBEDDED  # else nobody can take over what it holds
        with self.trouble("frozen", self.busy(pid), may_repeat=is_shared) as fault:
            try:
                yield fault
            finally:
                self.pauses.append(Pause(pid, began, time.monotonic()))
                victim.thaw()

    def busy(self, pid: int) -> int:
        """How many tasks the daemon with *pid* holds, according to the store."""
        return stores.busy(self.address, self.data, pid)

    # the end

    def expect(self, is_so: bool, claim: str) -> None:
        """One more claim of this scenario; when it is not so, it is named in `missed`."""
        if not is_so:
            self._unmet.append(claim)

    def evidence(self) -> witness.Evidence:
        """What the handlers have said so far."""
        return witness.read(self._records)

    def settle(self, seconds: float = 120.0) -> None:
        """Wait until all that was promised has run and nothing moves any more, at most *seconds*;
        then stop the daemons and read the store. Never fails: what is missing shows in the figures.
        """
        if self.control is not None:  # without its guarantee it may never come to rest
            seconds = min(seconds, CONTROL_SETTLE_SECONDS)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not self._is_calm():
            time.sleep(LOOK_SECONDS)
        for victim in self.victims:
            if victim.is_alive:
                victim.stop()
        self._tasks = stores.tasks(self.address, self.data)
        self._events = stores.events(self.address, self.data)

    def _is_calm(self) -> bool:
        evidence = self.evidence()
        is_open = any(
            run.ended is None and any(victim.is_alive and victim.pid == run.daemon for victim in self.victims)
            for run in evidence.runs
        )
        calm_for = time.monotonic() - evidence.last_at
        if self.control is not None:  # what is lost there never comes, so nobody waits for it
            return not is_open and calm_for > CONTROL_CALM_SECONDS
        if is_open or calm_for <= CALM_SECONDS or not ids(self.ledger.of("acked")) <= evidence.ended:
            return False
        return self._is_settled()

    def _is_settled(self) -> bool:
        """Whether nothing waits in the store: what nobody promised may be there too, still in doubt."""
        try:
            is_settled = not stores.tasks(self.address, self.data, "ready", "busy")
        except StoreError:
            is_settled = False
        if not is_settled:
            time.sleep(STORE_LOOK_SECONDS)
        return is_settled

    def figures(self, aims: Mapping[str, float]) -> Figures:
        """What this run has shown, once it has settled."""
        account = Account(
            self.ledger, self.evidence(), self._tasks, self._events, self.faults, self.pauses,
            self._began, time.monotonic(),
        )  # fmt: skip
        figures = check(account, aims)
        figures.missed += self._unmet
        return figures


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
