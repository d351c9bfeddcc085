"""The largest deliveries and batches of CloudEvents through a real daemon, on each kind of store."""

from __future__ import annotations

import hashlib
import hmac
import json
import signal
from collections.abc import Callable
from uuid import uuid4

import pytest

from tests.faces.stranger import ask, post
from tests.mongod import Deployment

from .conftest import CONFIG, SECRET, New
from .daemons import until

LARGEST = 25 * 1024 * 1024
HOOKS = """\
[hook:large]
verify = github
secret = env:HOOK_SECRET
topic = content.large
[hook:events]
verify = token
secret = env:HOOK_SECRET
format = cloudevents
topic = events.{{event}}
[hook:open]"""
TEXT = CONFIG.replace("[hook:open]", HOOKS).replace("[http]\n", "[http]\nmax_body = 25MiB\n")
Ran = Callable[[], list[str]]


@pytest.fixture(params=["sqlite", "standalone", "replica_set"])
def address(request: pytest.FixtureRequest) -> str:
    """The address of an empty store of each kind."""
    if request.param == "sqlite":
        return "sqlite"
    deployment: Deployment = request.getfixturevalue(request.param)
    return deployment.address(f"content_{uuid4().hex[:8]}")


def test_the_largest_delivery_is_kept_through_a_kill_and_runs(
    address: str, new_daemon: New, ran: Ran
) -> None:
    """202 means that all of its bytes are durable; a greenlet and a worker get them as they were signed."""
    text = json.dumps({"texts": ["x" * 1000] * (LARGEST // 1004 - 10)}).encode()
    body = text.replace(b"{", b"{" + b" " * (LARGEST - len(text)), 1)
    mac = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    headers = {"Content-Type": "application/json", "X-Hub-Signature-256": f"sha256={mac}"}
    first = new_daemon(address, text=TEXT).start()

    status, _ = first.request("POST", "/hooks/large", body, headers)
    refused, problem = first.request("POST", "/hooks/large", body + b" ", headers)
    first.signal(signal.SIGKILL)
    assert first.process is not None
    first.process.wait()
    new_daemon(address, text=TEXT).start()
    lines = until(lambda: sorted(set(ran())), 2)

    digest = hashlib.sha256(body).hexdigest()
    count = LARGEST // 1004 - 10
    assert (LARGEST, 202) == (len(body), status)
    assert (413, "body_too_large") == (refused, problem["code"])
    assert [f"greenlet {digest} {count}", f"process {digest} {count}"] == lines


def test_a_batch_of_cloudevents_runs_each_of_them_once(address: str, new_daemon: New, ran: Ran) -> None:
    """Sent twice as a batch, and one of them in its headers: what is known is answered and runs no more."""
    daemon = new_daemon(address, text=TEXT).start()
    least = {"source": "/mine", "type": "made", "specversion": "1.0"}
    events = [least | {"id": f"{n}", "data": {"n": n}} for n in range(50)]
    token = {"Authorization": f"Bearer {SECRET}"}
    batch = post(
        "/hooks/events",
        json.dumps(events).encode(),
        {"Content-Type": "application/cloudevents-batch+json", **token},
    )
    alone = {f"ce-{name}": value for name, value in (least | {"id": "7"}).items()}

    first, again = ask(daemon.address, batch), ask(daemon.address, batch)
    headers = {"Content-Type": "application/json", **alone, **token}
    one = ask(daemon.address, post("/hooks/events", b'{"n": 7}', headers))
    daemon.wait_for("task.finished", times=50)
    code = daemon.stop()

    assert [202, 200, 200] == [first.status, again.status, one.status]
    ids = [answer["event"] for answer in first.json["events"]]
    assert 50 == len(set(ids))
    assert ids == [answer["event"] for answer in again.json["events"]]
    assert ids[7] == one.json["event"]
    assert sorted(f"/mine {n} {n}" for n in range(50)) == sorted(ran())
    assert 0 == code
