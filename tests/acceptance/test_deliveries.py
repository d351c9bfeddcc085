"""What was answered 202 runs, once for each handler; what was forged does not."""

from __future__ import annotations

import hashlib
import hmac
import json
import random
from datetime import datetime, timezone
from pathlib import Path
from uuid import uuid4

import gevent
import pytest
from bson import ObjectId

from tests.mongod import Deployment

from .conftest import SECRET, New

PAYLOADS = Path(__file__).parents[2] / "examples" / "github" / "payloads"
TYPES: dict[str, dict[str, object]] = {
    **{
        kind: json.loads((PAYLOADS / f"{kind}.json").read_text())
        for kind in ("push", "pull_request", "release")
    },
    "issues": {"action": "opened", "issue": {"title": "It is slow", "state": "open", "labels": []}},
    "ping": {
        "zen": "Keep it logically awesome.",
        "hook_id": 30,
        "hook": {"type": "Repository", "active": True},
    },
}
DELIVERIES = 200
FORGED = 30


@pytest.fixture(params=["sqlite", "standalone", "replica_set"])
def address(request: pytest.FixtureRequest) -> str:
    """The address of an empty store of each kind."""
    if request.param == "sqlite":
        return "sqlite"
    deployment: Deployment = request.getfixturevalue(request.param)
    return deployment.address(f"accepted_{uuid4().hex[:8]}")


def delivery(number: int, kind: str) -> tuple[bytes, dict[str, str]]:
    """Body and headers as GitHub sends them."""
    body = json.dumps({**TYPES[kind], "number": number}).encode()
    signature = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    return body, {
        "Content-Type": "application/json",
        "X-GitHub-Event": kind,
        "X-GitHub-Delivery": f"d-{number}",
        "X-Hub-Signature-256": f"sha256={signature}",
    }


def forgery(number: int, kind: str) -> tuple[bytes, dict[str, str]]:
    """A delivery by somebody who does not know the secret: in turn four ways to try."""
    body, headers = delivery(number, kind)
    if number % 4 == 0:
        return body.replace(b'"number"', b'"Number"'), headers
    if number % 4 == 1:
        del headers["X-Hub-Signature-256"]
    elif number % 4 == 2:
        headers["X-Hub-Signature-256"] = "sha256=" + hmac.new(b"guessed", body, hashlib.sha256).hexdigest()
    else:
        headers["X-Hub-Signature-256"] = "sha256="
    return body, headers


def lines_of(number: int, kind: str) -> list[str]:
    """What the handlers of one delivery write."""
    again = [f"again github.release d-{number} {number}"] if kind == "release" else []
    return [f"github.{kind} d-{number} {number}", *again]


def test_every_delivery_runs_once_for_each_of_its_handlers(address, new_daemon: New, ran):
    """200 deliveries of five types, some twice, some forged: what ran is what was accepted."""
    daemon = new_daemon(address).start()
    dice = random.Random(7)
    kinds = {number: dice.choice(list(TYPES)) for number in range(DELIVERIES + FORGED)}
    forged = set(dice.sample(sorted(kinds), FORGED))
    twice = set(dice.sample(sorted(kinds.keys() - forged), 40))
    sent = [*kinds, *twice]
    dice.shuffle(sent)
    answers: dict[int, list[tuple[int, dict[str, object]]]] = {}

    def send(number: int) -> None:
        body, headers = (forgery if number in forged else delivery)(number, kinds[number])
        answers.setdefault(number, []).append(daemon.request("POST", "/hooks/github", body, headers))

    for start in range(0, len(sent), 20):
        gevent.joinall([gevent.spawn(send, number) for number in sent[start : start + 20]], raise_error=True)
    true = kinds.keys() - forged
    expected = sorted(line for number in true for line in lines_of(number, kinds[number]))
    daemon.wait_for("task.finished", times=len(expected))
    counted = json.loads(daemon.monqbus("count", "--json").stdout)
    code = daemon.stop()

    assert expected == sorted(ran())
    for number, got in answers.items():
        statuses = sorted(status for status, _ in got)
        assert ([401] if number in forged else [200, 202] if number in twice else [202]) == statuses
        assert 1 == len({json.dumps([answer.get("event"), answer.get("tasks")]) for _, answer in got})
        assert (number in twice) == any("duplicate" in answer for _, answer in got)
    assert [len(expected)] * 2 == [counted["complete"], counted["total"]]
    assert 0 == code


def test_an_event_that_nobody_handles_is_recorded(new_daemon: New):
    """A topic without a handler is answered 202 without tasks, and told."""
    daemon = new_daemon().start()

    status, answer = daemon.request("POST", "/hooks/open", b"x", {"X-Kind": "unheard"})

    assert (202, []) == (status, answer["tasks"])
    assert "topic=open.unheard" in daemon.wait_for("event.unhandled")


def test_a_foreign_document_with_thirteen_fields_runs(standalone: Deployment, new_daemon: New):
    """Allura's fields alone, written by another program that rings no bell, are found by the poll."""
    database = f"foreign_{uuid4().hex[:8]}"
    daemon = new_daemon(standalone.address(database)).start()
    collection = standalone.client[database]["monq_task"]
    collection.insert_one(
        {
            "_id": ObjectId(), "state": "ready", "priority": 10, "result_type": "forget",
            "time_queue": datetime.now(timezone.utc), "time_start": None, "time_stop": None,
            "task_name": "accepted.add", "process": None, "context": {}, "args": [40, 2], "kwargs": {},
            "result": None,
        }
    )  # fmt: skip
    daemon.wait_for("task.finished", seconds=6)

    assert 42 == collection.find_one({})["result"]
