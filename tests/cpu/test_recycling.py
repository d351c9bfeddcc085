"""Workers are replaced before they grow old or fat, if the configuration says so."""

from __future__ import annotations

from .conftest import New, is_alive, until


def pid_of(laboratory) -> int:
    return laboratory.result("echo").result["pid"]


def test_a_worker_is_replaced_after_its_number_of_tasks(new_laboratory: New, facts):
    laboratory = new_laboratory(1, tasks=2)
    pids = [pid_of(laboratory) for _ in range(5)]

    assert pids[0] == pids[1] != pids[2] == pids[3] != pids[4]
    assert [2, 2] == [fields["tasks"] for fields in facts.of("cpu_worker.recycled")]
    until(lambda: not is_alive(pids[0]) and not is_alive(pids[2]))


def test_a_worker_that_has_grown_is_replaced_after_its_task(new_laboratory: New, facts):
    """What it holds is looked at when the task is over; the result is not lost."""
    laboratory = new_laboratory(1, size=200_000_000)
    slim = [pid_of(laboratory) for _ in range(2)]
    fat = laboratory.result("grow", 200_000_000).result
    after = pid_of(laboratory)

    assert slim[0] == slim[1] == fat != after
    assert facts.of("cpu_worker.recycled")[0]["bytes"] > 200_000_000


def test_no_limit_means_for_ever(new_laboratory: New, facts):
    laboratory = new_laboratory(1)
    laboratory.result("grow", 50_000_000)

    assert 1 == len({pid_of(laboratory) for _ in range(50)})
    assert [] == facts.of("cpu_worker.recycled")
