"""The contract itself: what it says of its size, and that every store has all of it."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from bus.store import contract
from bus.store.contract import Archive, Leases, Queue, Records, Store
from bus.store.mongo import MongoStore
from bus.store.sqlite.store import SqliteStore

ROOT = Path(__file__).parents[2]
WORDS = {
    2: "two",
    4: "four",
    5: "five",
    8: "eight",
    9: "nine",
    13: "thirteen",
    14: "fourteen",
    33: "thirty-three",
}


def verbs(group: type) -> set[str]:
    return {name for name, _ in inspect.getmembers(group, inspect.isfunction) if not name.startswith("_")}


GROUPS = (Queue, Leases, Archive, Records)
OF_GROUPS = set().union(*map(verbs, GROUPS))


def test_the_contract_counts_its_verbs_truly() -> None:
    """All of them and those of each group, in the words of its first lines."""
    said = " ".join((contract.__doc__ or "").split()).lower()
    own = verbs(Store) - OF_GROUPS
    all_, queue, leases, archive, records, life = (
        WORDS[len(group)] for group in (verbs(Store), *map(verbs, GROUPS), own)
    )

    assert (
        f"{all_} verbs: of the queue {queue}, of the leases {leases}, of the archive {archive}, of the "
        f"records {records}, and {life} of the store's own life" in said
    )


def test_a_verb_is_of_one_group() -> None:
    """What is in two has two owners."""
    assert len(OF_GROUPS) == sum(map(len, map(verbs, GROUPS)))


def test_nobody_else_counts_them_otherwise() -> None:
    """A number in the docs is the contract's."""
    pages = [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    counted = re.compile(r"([\w-]+)\s+verbs\b", re.IGNORECASE)
    numbers = {
        "twenty",
        "thirty",
        *(f"{ten}-{word}" for ten in ("twenty", "thirty") for word in WORDS.values()),
        *map(str, range(10, 99)),
    }
    said = {word.lower() for page in pages for word in counted.findall(page.read_text())}

    assert said & numbers <= {WORDS[len(verbs(Store))], str(len(verbs(Store)))}


@pytest.mark.parametrize("store", [SqliteStore, MongoStore])
def test_a_store_takes_what_the_contract_names(store: type) -> None:
    """Each verb with the same parameters, by the same names."""
    for name in sorted(verbs(Store)):
        expected = list(inspect.signature(getattr(Store, name)).parameters)
        actual = list(inspect.signature(getattr(store, name)).parameters)

        assert (name, expected) == (name, actual)
