"""What access decides by itself: pauses after failures, stored passwords, what is masked, the audit."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest

from bus.access.audit import EXTRA, MOST, Audit
from bus.access.masking import MASK, masked, masked_body
from bus.access.passwords import MOST_WAITING, Passwords
from bus.access.roles import Role, role_of
from bus.access.throttle import LONGEST_PAUSE_SECONDS, MOST_KEPT, Throttle
from bus.access.visitor import Visitor
from bus.clock import FrozenClock
from bus.errors import Refused, StoreUnavailable
from bus.model import Record
from bus.store import open_memory_store

VIEWER, ADMIN = Visitor("v", Role.VIEWER), Visitor("a", Role.ADMIN)


# the throttle


def test_the_pause_doubles_from_the_sixth_failure_to_a_quarter_of_an_hour() -> None:
    clock = FrozenClock()
    throttle = Throttle(clock.monotonic)
    pauses = [throttle.failed("a") for _ in range(16)]

    assert [0.0] * 5 + [2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 900.0, 900.0] == pauses
    assert LONGEST_PAUSE_SECONDS == throttle.pause("a")
    assert 0.0 == throttle.pause("b")


def test_an_hour_without_a_failure_is_a_new_beginning() -> None:
    clock = FrozenClock()
    throttle = Throttle(clock.monotonic)
    for _ in range(9):
        throttle.failed("a")
    clock.advance(3600)

    assert 0.0 == throttle.pause("a")
    assert 0.0 == throttle.failed("a")


def test_keys_of_strangers_fill_no_memory() -> None:
    """The one that failed longest ago is forgotten."""
    clock = FrozenClock()
    throttle = Throttle(clock.monotonic)
    for number in range(MOST_KEPT + 10):
        throttle.failed(number)

    assert MOST_KEPT == len(throttle._failures)
    assert MOST_KEPT + 9 in throttle._failures


# passwords


def cheap() -> Passwords:
    return Passwords(ln=4, r=1, p=1)


def test_what_is_stored_has_its_cost_and_another_salt_each_time() -> None:
    one, other = cheap().stored("a few words"), cheap().stored("a few words")

    assert one != other
    assert one.startswith("scrypt$ln=4,r=1,p=1$")
    assert cheap().fits("a few words", one)
    assert not cheap().fits("a few word", one)


def test_a_password_is_compared_by_the_cost_that_it_was_stored_with() -> None:
    """A later version may have another one."""
    stored = Passwords(ln=5, r=2, p=2).stored("a few words")

    assert cheap().fits("a few words", stored)


@pytest.mark.parametrize(
    "stored",
    [
        "",
        "a few words",
        "scrypt$ln=4,r=1,p=1$$",
        "scrypt$ln=4,r=1,p=1$=$=",
        "scrypt$ln=99,r=99,p=99$AAAA$AAAA",
        "scrypt$ln=20,r=64,p=1$AAAA$AAAA",
        "scrypt$ln=0,r=1,p=1$AAAA$AAAA",
        "scrypt$ln=4,r=0,p=1$AAAA$AAAA",
    ],
)
def test_what_nobody_can_have_stored_lets_nobody_in(stored: str) -> None:
    """Nor does it cost more memory than a machine has."""
    assert not cheap().fits("a few words", stored)


def test_when_too_many_wait_the_next_is_told_so() -> None:
    passwords = cheap()
    passwords._waiting = MOST_WAITING

    with pytest.raises(Refused) as caught:
        passwords.fits("a few words", "")
    assert 429 == caught.value.status


# roles and what they see


def test_each_role_includes_those_below_it() -> None:
    assert [Role.METRICS, Role.VIEWER, Role.OPERATOR, Role.ADMIN] == sorted(Role)
    assert [None, None, None] == [role_of(word) for word in ("root", "", 3)]


@pytest.mark.parametrize(
    "key",
    ["password", "PASSWD", "api_key", "X-Api-Key", "apikey", "Authorization", "session_id", "pin", "cvc"],
)
def test_a_viewer_sees_no_value_of_a_secret_looking_key(key: str) -> None:
    value = {"a": [{key: "abc", "n": 1}]}

    assert {"a": [{key: MASK, "n": 1}]} == masked(value, VIEWER)
    assert value == masked(value, ADMIN)


@pytest.mark.parametrize("key", ["name", "keyboard", "spinner", "passenger_count"])
def test_other_keys_are_shown(key: str) -> None:
    assert {key: "abc"} == masked({key: "abc"}, VIEWER)


def test_of_a_body_that_is_no_json_a_viewer_sees_nothing() -> None:
    """A form may have a password anywhere."""
    deep = b"[" * 60 + b"]" * 60

    assert [MASK, MASK, None] == [masked_body(body) for body in (b"password=abc", b"\xff", b"")]
    assert deep.decode() == masked_body(deep)


# the audit


def test_the_audit_keeps_the_last_entries() -> None:
    with closing(open_memory_store()) as store:
        store.keep_records(
            [Record("audit", f"{number:024x}", {"who": str(number)}) for number in range(MOST + 3)]
        )
        audit = Audit(store, FrozenClock())
        audit.note(ADMIN, "retry")
        names = [record.name for record in store.records("audit")]

    assert MOST == len(names)
    assert f"{4:024x}" == min(names)
    assert EXTRA < MOST


def test_pages_of_one_action_are_one_entry_and_others_are_not() -> None:
    with closing(open_memory_store()) as store:
        clock = FrozenClock()
        audit = Audit(store, clock)
        for who, about in [(ADMIN, "a"), (ADMIN, "a"), (ADMIN, "b"), (VIEWER, "b")]:
            audit.note(who, "retry", {"name": about}, 500, joins=True)
        clock.advance(61)
        audit.note(VIEWER, "retry", {"name": "b"}, 500, joins=True)
        audit.note(VIEWER, "retry", {"name": "b"}, 500)
        found = sorted((one.who, one.about["name"], one.number) for _, one in audit.entries(10))

    assert [("a", "a", 1000), ("a", "b", 500), ("v", "b", 500), ("v", "b", 500), ("v", "b", 500)] == found


def test_an_entry_that_cannot_be_stored_is_told_and_its_action_stands(
    facts: Any,
) -> None:
    class Away:
        def records(self, kind: str) -> list[Record]:
            raise StoreUnavailable("away")

        def keep_records(self, records: Any) -> list[bool]:
            raise StoreUnavailable("away")

    Audit(Away(), FrozenClock()).note(ADMIN, "retry")

    assert [{"action": "retry", "who": "a", "error": "away"}] == facts.of("audit.failed")


def test_an_entry_holds_no_long_value_and_no_half_character() -> None:
    with closing(open_memory_store()) as store:
        audit = Audit(store, FrozenClock())
        audit.note(
            ADMIN, "pause", {"reason": "x" * 5000, "name": "\ud800", "ids": list(range(50)), "until": None}
        )
        (entry,) = [one for _, one in audit.entries(10)]

    assert 300 == len(entry.about["reason"])
    assert "\\ud800" == entry.about["name"]
    assert "and 30 more" == entry.about["ids"][-1]
    assert "until" not in entry.about
