"""A queue that is full refuses deliveries until work is done or given up."""

from __future__ import annotations

from .conftest import CONFIG, New

SMALL = CONFIG.replace("[http]\n", "[http]\nmax_ready_tasks = 3\n")


def test_a_full_queue_refuses_deliveries_and_says_so(new_daemon: New) -> None:
    """503 and a reason at /readyz; operators still post; when tasks are cancelled deliveries are taken."""
    daemon = new_daemon(text=SMALL).start()
    for number in range(4):
        assert (
            0
            == daemon.monqbus("post", "accepted.add", "--args", f"[{number}, 1]", "--delay", "600").returncode
        )
    daemon.wait_for("queue.filled", "most=3")

    status, problem = daemon.request("POST", "/hooks/open", b"{}", {"X-Kind": "a"})
    assert (503, "queue_full") == (status, problem["code"])
    status, problem = daemon.request("GET", "/readyz")
    assert 503 == status
    assert "max_ready_tasks" in str(problem["detail"])

    assert 0 == daemon.monqbus("cancel", "--state", "ready").returncode
    daemon.wait_for("queue.recovered")
    assert 202 == daemon.request("POST", "/hooks/open", b"{}", {"X-Kind": "a"})[0]
    assert 200 == daemon.request("GET", "/readyz")[0]
    assert 0 == daemon.stop()
