"""The skeleton of every long-lived greenlet."""

from __future__ import annotations

import gevent
from gevent.event import Event as Signal

from bus.engine.loop import RETRY_SECONDS, Loop

PATIENCE = 5.0


class Ticks:
    """A tick that does what *does* says, turn by turn, and then sleeps until it is woken."""

    def __init__(self, *does: object) -> None:
        self.does = list(does)
        self.count = 0
        self.news = Signal()

    def __call__(self) -> float | None:
        self.count += 1
        does = self.does.pop(0) if self.does else None
        try:
            if isinstance(does, Exception):
                raise does
            return does() if callable(does) else does  # type: ignore[return-value]
        finally:
            self.news.set()

    def reach(self, count: int) -> None:
        """Wait until there were *count* ticks."""
        with gevent.Timeout(PATIENCE):
            while self.count < count:
                self.news.clear()
                self.news.wait()


def started(ticks: Ticks) -> Loop:
    loop = Loop("test", ticks)
    loop.start()
    return loop


def test_a_loop_ticks_at_once_and_again_after_the_pause_it_asked_for():
    ticks = Ticks(0.001, 0, 0.001)
    loop = started(ticks)
    ticks.reach(4)
    loop.stop()

    assert 4 == ticks.count


def test_a_sleeping_loop_is_woken():
    """None means: until somebody wakes me; so does an hour."""
    ticks = Ticks(None, 3600)
    loop = started(ticks)
    for count in (1, 2, 3):
        ticks.reach(count)
        gevent.idle()
        assert count == ticks.count
        loop.wake()
    ticks.reach(4)
    loop.stop()


def test_a_wake_that_lands_during_a_tick_is_not_lost():
    """The order clear → tick → wait: whoever wakes while the loop works is seen right after."""
    entered, leave = Signal(), Signal()

    def busy() -> None:
        entered.set()
        leave.wait(PATIENCE)

    ticks = Ticks(busy)
    loop = started(ticks)
    assert entered.wait(PATIENCE)
    loop.wake()
    loop.wake()
    leave.set()
    ticks.reach(2)
    gevent.idle()
    loop.stop()

    assert 2 == ticks.count  # many wakes are one


def test_a_loop_outlives_its_worst_tick(facts):
    """The error is told, a pause follows, a wake ends the pause."""
    ticks = Ticks(ValueError("bad"))
    loop = started(ticks)
    failed = facts.wait_for("loop.failed")
    loop.wake()
    ticks.reach(2)
    loop.stop()

    assert ("test", "bad") == (failed["loop"], str(failed["error"]))
    assert RETRY_SECONDS > 0  # a tick that fails at once must not eat the processor


def test_a_failed_tick_is_followed_by_a_pause(facts):
    ticks = Ticks(ValueError("bad"), ValueError("worse"))
    loop = started(ticks)
    facts.wait_for("loop.failed")
    gevent.idle()

    assert 1 == ticks.count
    loop.stop()


def test_a_stopped_loop_never_ticks_again():
    ticks = Ticks(0.001, 0.001, 0.001)
    loop = started(ticks)
    ticks.reach(1)
    loop.stop()
    count = ticks.count
    loop.wake()
    gevent.idle()

    assert count == ticks.count


def test_stopping_lets_the_present_tick_end():
    entered, leave = Signal(), Signal()
    ended = []

    def busy() -> None:
        entered.set()
        leave.wait(PATIENCE)
        ended.append(True)

    loop = started(Ticks(busy))
    assert entered.wait(PATIENCE)
    stopping = gevent.spawn(loop.stop)
    gevent.idle()
    leave.set()
    stopping.join(PATIENCE)

    assert [True] == ended


def test_stopping_gives_up_on_a_tick_that_hangs():
    entered = Signal()

    def hang() -> None:
        entered.set()
        Signal().wait(PATIENCE)

    loop = started(Ticks(hang))
    assert entered.wait(PATIENCE)
    with gevent.Timeout(PATIENCE / 2):
        loop.stop(seconds=0.01)


def test_a_loop_that_never_started_can_be_woken_and_stopped():
    loop = Loop("test", lambda: None)
    loop.wake()

    assert loop.is_woken
    loop.stop()


def test_a_killed_loop_says_so():
    """A handler's `gevent.killall` reaches it: its record tells that nothing ticks any more."""
    ticks = Ticks(3600)
    loop = started(ticks)
    ticks.reach(1)
    alive = loop.health.death
    loop._greenlet.kill(timeout=PATIENCE)
    gevent.idle()

    assert (None, "GreenletExit") == (alive, loop.health.death)


def test_a_loop_that_was_killed_before_its_first_tick_says_so():
    loop = Loop("test", lambda: None)
    loop.start()
    loop._greenlet.kill(timeout=PATIENCE)
    gevent.idle()

    assert "GreenletExit" == loop.health.death


def test_what_is_no_exception_ends_a_loop_and_is_its_reason(capfd):
    """Only exceptions are outlived: what else a tick raises wants it to end."""

    class Odd(BaseException):
        """Nobody expects it."""

    def leave() -> None:
        raise Odd("out of place")

    loop = started(Ticks(leave))
    gevent.idle()
    gevent.idle()

    assert "Odd: out of place" == loop.health.death
    assert "Odd: out of place" in capfd.readouterr().err


def test_a_loop_that_was_stopped_has_not_died():
    """Nor one whose last tick hung and was killed."""
    stopped, hanging = started(Ticks(3600)), started(Ticks(lambda: Signal().wait(PATIENCE)))
    gevent.idle()
    for loop in (stopped, hanging):
        loop.stop(0.01)
    gevent.idle()

    assert [None, None] == [loop.health.death for loop in (stopped, hanging)]


def test_a_loop_that_has_died_can_be_started_again():
    """A drain does so, that its ends may be recorded."""
    ticks = Ticks(3600)
    loop = started(ticks)
    ticks.reach(1)
    loop._greenlet.kill(timeout=PATIENCE)
    loop.start()
    ticks.reach(2)
    loop.stop()

    assert 2 == ticks.count


def test_a_failed_tick_is_in_the_record_until_one_succeeds(facts):
    ticks = Ticks(ValueError("bad"))
    loop = started(ticks)
    facts.wait_for("loop.failed")
    failed = str(loop.health.error)
    loop.wake()
    ticks.reach(2)
    gevent.idle()

    assert ("bad", None) == (failed, loop.health.error)
    loop.stop()
