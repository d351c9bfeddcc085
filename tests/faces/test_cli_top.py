"""`top`: one screen of what a daemon does, as its control socket tells it."""

from __future__ import annotations

from bus.cli.top import Look, lines

from .console import Command

FACTS = {"task.posted": 10, "task.finished": 5}
STATUS = {"reason": None, "remark": None, "services": [{"name": "pruner", "state": "working", "error": None}]}
WORKERS = {
    "title": "monqbus/here pid 7",
    "lanes": {"greenlets": {"slots": 100, "taken": 2}, "cpu": {"slots": 0, "taken": 0}},
    "running": [
        {"id": "6b04e9ad5827144958b0b2e2", "name": "shop.short", "seconds": 0.5},
        {"id": "6b04e9ad5827144958b0b2e3", "name": "shop.long\x1b[2J", "seconds": 90.0},
    ],
    "waiting": {"shop.few": 1, "shop.many": 30},
}


def test_rates_are_what_has_happened_between_two_looks() -> None:
    """By the facts' counts; the longest run and the most frequent name that waits come first."""
    before = Look(0.0, FACTS, STATUS, WORKERS)
    now = Look(2.0, {"task.posted": 30, "task.finished": 6, "task.lost": 1}, STATUS, WORKERS)
    said = "\n".join(lines(before, now, 100, 100))

    assert "monqbus/here pid 7  ready" in said
    assert "posted 10.0/s  finished 0.5/s  retried 0.0/s" in said
    assert "since its start: task.lost 1" in said
    assert "ready 31  running 2" in said
    assert said.index("shop.long") < said.index("shop.short")
    assert said.index("shop.many") < said.index("shop.few")


def test_a_screen_is_no_larger_than_the_terminal_and_says_first_what_is_wrong() -> None:
    ill = [{"name": "pruner", "state": "failing", "error": "TimeoutError: x"}]
    status = {"reason": "store: away", "services": ill, "pauses": ["shop.*: why"]}
    look = Look(0.0, FACTS, status, WORKERS)
    said = lines(look, look, 60, 3)

    assert 3 == len(said)
    assert max(map(len, said)) <= 60
    assert "NOT READY: store: away" in said[0]
    assert "paused  shop.*: why" == said[1]
    assert "pruner is failing: TimeoutError: x" in lines(look, look, 100, 100)


def test_beside_a_daemon_it_is_printed_once_where_nobody_looks_at_a_terminal(beside: Command) -> None:
    said = beside("top", "--interval", "100ms")

    assert 0 == said.code
    assert "greenlets" in said.out
    assert "\x1b" not in said.out


def test_without_a_daemon_it_says_how_to_start_one(alone: Command) -> None:
    said = alone("top")

    assert 69 == said.code
    assert "no daemon answers" in said.err
