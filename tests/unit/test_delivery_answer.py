"""What a sender reads of a delivery that is stored."""

from __future__ import annotations

import json

import pytest
from bson import ObjectId

from bus.clock import FrozenClock
from bus.model import Event, Receipt
from bus.webhook.delivery import _accepted

ONE, OTHER = ObjectId("1" * 24), ObjectId("2" * 24)
ODD = 'a"b\\\n\u2028'
RECEIPTS = {
    "one task": Receipt([ONE], OTHER),
    "two tasks": Receipt([ONE, OTHER], OTHER),
    "no task": Receipt([], OTHER),
    "again": Receipt([ONE], OTHER, duplicate=True),
    "ids of another program": Receipt([ODD, 7], ODD, duplicate=True),  # type: ignore[list-item, arg-type]
}


@pytest.mark.parametrize("receipt", RECEIPTS.values(), ids=RECEIPTS)
def test_the_answer_to_a_stored_delivery_is_json_whatever_its_ids_are(receipt):
    """It is put together without the encoder; its text is the one that the encoder would give."""
    answer = _accepted(Event(ONE, "a", FrozenClock().now(), hook="h"), receipt)
    content = {"event": str(receipt.event_id), "tasks": [str(task_id) for task_id in receipt.task_ids]}
    if receipt.duplicate:
        content["duplicate"] = True

    assert json.dumps(content) + "\n" == answer.body.decode()
    assert ("Content-Length", str(len(answer.body))) in answer.headers
    assert ("200 OK" if receipt.duplicate else "202 Accepted") == answer.status
