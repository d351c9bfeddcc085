"""Random steps on tasks with serial keys, and a model: who holds a key, in which order others follow."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

import pytest
from bson import ObjectId

from bus.model import BUSY, COMPLETE, ENDED, ERROR, READY, SKIPPED, Claim, Report, fresh_start, ready_again
from bus.store.contract import Store

from .samples import NAME, NOW, ONE, a_task, later, post

STEPS = 120
KEYS = ("a", "b", None)


@dataclass
class Model:
    """Tasks by id in the order of storing: key, state, generation, and whether they are delayed."""

    keys: dict[ObjectId, str | None] = field(default_factory=dict)
    states: dict[ObjectId, str] = field(default_factory=dict)
    generations: dict[ObjectId, int] = field(default_factory=dict)
    delayed: set[ObjectId] = field(default_factory=set)
    holders: dict[str, ObjectId] = field(default_factory=dict)

    def settle(self) -> None:
        """Let the first task of each key that nobody holds hold it."""
        for key in {key for key in self.keys.values() if key}:
            holder = self.holders.get(key)
            if holder is not None and self.states.get(holder) in (READY, BUSY):
                continue
            line = [one for one, own in self.keys.items() if own == key and self.states[one] == READY]
            self.holders.pop(key, None)
            if line:
                self.holders[key] = line[0]

    @property
    def may_run(self) -> set[ObjectId]:
        """The ids of those that a claim without a limit takes."""
        return {
            one
            for one, state in self.states.items()
            if state == READY
            and one not in self.delayed
            and (self.keys[one] is None or self.holders[self.keys[one]] == one)
        }

    def some(self, random: Random, *states: str) -> ObjectId | None:
        found = [one for one, state in self.states.items() if state in states]
        return random.choice(found) if found else None


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_whatever_happens_the_next_one_in_line_runs_and_no_other(store: Store, seed: int) -> None:
    """Posts, claims, ends, retries, releases, cancels, deletions, an operator's retries, in any order."""
    random, model = Random(seed), Model()
    for number in range(STEPS):
        step = random.choice(["post", "post", "claim", "claim", "end", "end", "later", "give back", "move"])
        if step == "post":
            for task in post(store, a_task(args=[number], serial=random.choice(KEYS))):
                model.keys[task.id], model.states[task.id] = task.serial, READY
                model.generations[task.id] = 0
        elif step == "claim":
            expected = model.may_run
            claimed = {task.id for task in store.claim(ONE, {NAME}, 999, NOW).tasks}

            assert expected == claimed, f"step {number}"
            for one in claimed:
                model.states[one] = BUSY
                model.generations[one] += 1
        else:
            change(store, model, random, step)
        model.settle()

    assert model.may_run == {task.id for task in store.claim(ONE, {NAME}, 999, NOW).tasks}


def change(store: Store, model: Model, random: Random, step: str) -> None:
    """One change of one task, there and in the model."""
    if step == "move":
        step = random.choice(["cancel", "delete", "retry"])
        one = model.some(random, *((READY, BUSY) if step != "retry" else tuple(ENDED)))
    else:
        one = model.some(random, BUSY)
    if one is None:
        return
    claim = Claim(one, ONE.id, model.generations[one])
    model.delayed.discard(one)
    if step == "end":
        model.states[one] = random.choice([COMPLETE, ERROR])
        store.report([Report(claim, {"state": model.states[one]}, serial=model.keys[one])])
    elif step in {"later", "give back"}:
        model.states[one] = READY
        fields = ready_again(1, time_queue=later(60)) if step == "later" else ready_again(0)
        store.report([Report(claim, fields)])
        if step == "later":
            model.delayed.add(one)
    elif step == "cancel":
        store.move([one], (READY, BUSY), {"state": SKIPPED})
        model.states[one] = SKIPPED
    elif step == "delete":
        store.delete([one], (READY, BUSY))
        del model.states[one], model.keys[one]
    else:
        store.move([one], tuple(ENDED), fresh_start(NOW))
        model.states[one] = READY
