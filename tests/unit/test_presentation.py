"""A task as people and programs read it."""

from __future__ import annotations

import dataclasses
import json
from datetime import timedelta
from uuid import UUID

from bson import ObjectId
from hypothesis import given
from hypothesis import strategies as st

from bus.clock import FrozenClock
from bus.model import MonQTask
from bus.presentation import COLUMNS, DETAILS, plain, task_details, task_row

NOW = FrozenClock().now() + timedelta(milliseconds=7)
TASK = MonQTask(ObjectId("0" * 24), "app.work", [b"\x00"], {"at": NOW}, NOW, event_id=ObjectId("1" * 24))


def test_every_listing_has_the_promised_columns():
    """Rows of `--json` carry these, in this order."""
    promised = [
        "id", "task_name", "state", "priority", "attempt", "time_queue", "time_start", "time_stop", "topic",
        "result",
    ]  # fmt: skip

    assert promised == list(task_row(TASK)) == list(COLUMNS)


def test_the_details_are_everything_that_is_stored():
    """A field that is new in the model cannot be forgotten here."""
    in_memory = {"is_bereft", "event", "waiter", "fault"}
    stored = {field.name for field in dataclasses.fields(MonQTask)} - in_memory

    assert stored == set(task_details(TASK)) == {*COLUMNS, *DETAILS}


def test_moments_are_rfc_3339_in_utc_ids_are_text_bytes_are_base64():
    details = task_details(TASK)

    assert "2026-01-01T00:00:00.007Z" == details["time_queue"] == details["kwargs"]["at"]
    assert ("0" * 24, "1" * 24) == (details["id"], details["event_id"])
    assert [{"base64": "AA=="}] == details["args"]
    assert details["time_stop"] is None


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.binary() | st.uuids() | st.builds(ObjectId),
    lambda inner: st.lists(inner) | st.tuples(inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=10,
)


@given(VALUES)
def test_whatever_a_task_holds_can_be_written_as_json(value):
    assert plain(value) == json.loads(json.dumps(plain(value)))


def test_what_json_has_no_word_for_becomes_its_text():
    number = UUID(int=1)

    assert {"1": [str(number)]} == plain({1: (number,)})
