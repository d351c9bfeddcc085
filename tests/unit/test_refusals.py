"""What is too much of one kind of refusal has no line, and is counted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from bus import telemetry
from bus.log.refusals import MOST_TOLD, PERIOD_SECONDS, Refusals
from bus.telemetry import emit

Heard = list[tuple[str, Mapping[str, Any]]]


@pytest.fixture
def heard() -> Heard:
    """What comes through."""
    return []


@pytest.fixture
def refusals(heard: Heard) -> Iterator[Refusals]:
    """In front of a listener that writes down what it hears."""
    made = Refusals(lambda fact, fields: heard.append((fact, fields)))
    forget = telemetry.listen(made)
    yield made
    forget()


def refuse(times: int, hook: str = "shop", code: str = "not_verified") -> None:
    for number in range(times):
        emit("event.refused", hook=hook, status=401, code=code, reason="wrong", request=str(number))


def test_the_first_ones_are_told_and_the_rest_is_counted(refusals: Refusals, heard: Heard):
    """Whatever a stranger sends in a minute, the log has eleven lines of it."""
    refuse(1000)
    told = [fields["request"] for _, fields in heard]
    refusals.tick()

    assert [str(number) for number in range(MOST_TOLD)] == told
    assert (
        "refusals.omitted",
        {"hook": "shop", "status": 401, "code": "not_verified", "count": 1000 - MOST_TOLD},
    ) == heard[-1]


def test_a_scanner_of_tls_does_not_fill_the_log(refusals: Refusals, heard: Heard):
    """Its handshakes are limited by the reason, and hide no refusal and no other reason."""
    for _ in range(100):
        emit("tls.failed", code="malformed", reason="wrong version number", peer="192.0.2.1")
    emit("tls.failed", code="certificate", reason="tlsv1 alert unknown ca", peer="192.0.2.2")
    refuse(1)
    told = [fact for fact, _ in heard]
    refusals.tick()

    assert ["tls.failed"] * (MOST_TOLD + 1) + ["event.refused"] == told
    assert ("refusals.omitted", {"tls": "malformed", "count": 100 - MOST_TOLD}) == heard[-1]


def test_no_kind_of_refusal_hides_another(refusals: Refusals, heard: Heard):
    """Nor one hook another one."""
    refuse(100)
    heard.clear()
    refuse(1, code="bad_json")
    refuse(1, hook="other")

    assert [("shop", "bad_json"), ("other", "not_verified")] == [
        (fields["hook"], fields["code"]) for _, fields in heard
    ]


def test_the_next_period_begins_anew(refusals: Refusals, heard: Heard):
    """Nothing is kept of the one before; a quiet one is not told of."""
    refuse(MOST_TOLD)
    assert PERIOD_SECONDS == refusals.tick()
    refuse(1)
    refusals.tick()

    assert ["event.refused"] * (MOST_TOLD + 1) == [fact for fact, _ in heard]


def test_what_has_no_line_is_counted_with_the_rest(refusals: Refusals):
    """`monqbus doctor` tells the whole number."""
    before = telemetry.counted["event.refused"]
    refuse(100)

    assert 100 == telemetry.counted["event.refused"] - before


def test_other_facts_pass(refusals: Refusals, heard: Heard):
    for _ in range(100):
        emit("event.unhandled", event=None)

    assert 100 == len(heard)
