"""Hooks with `serial_by`, over real sockets: which key the tasks of a delivery have, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from bus.apps.options import Options
from bus.apps.registry import Registry, Task
from bus.clock import FrozenClock
from bus.daemon.url_maps import public_urls
from bus.http import Server
from bus.model import Filter
from bus.posting import PostOffice
from bus.rules import OF_AN_EVENT, key_path
from bus.store import Store, open_memory_store

from .stranger import ask, post, serving
from .test_webhook import JSON, MAX_BODY, NOW, hook

ID = key_path("body.repository.id", OF_AN_EVENT)


@pytest.fixture
def store() -> Iterator[Store]:
    store = open_memory_store()
    yield store
    store.close()


@pytest.fixture
def server(store: Store) -> Iterator[Server]:
    registry = Registry()
    task: Task[..., Any] = Task(print, "deploy", Options())
    registry.add(task)
    registry.subscribe(task, ["push"])
    hooks = {
        one.name: one
        for one in (
            hook("own", "none", topic="push", serial_by=ID),
            hook("strict", "none", topic="push", serial_by=ID, missing="refuse"),
        )
    }
    office = PostOffice(store, lambda: registry, FrozenClock(NOW), hooks=lambda: hooks)
    urls = public_urls(
        hooks=lambda: hooks, publish=office.deliver, ready=lambda: None, clock=FrozenClock(NOW),
        max_body=MAX_BODY,
    )  # fmt: skip
    with serving(urls) as server:
        yield server


def keys(store: Store) -> list[str | None]:
    return [task.serial for task in store.find(Filter(), 9)]


def test_a_delivery_gives_its_tasks_the_key_of_its_hook(server, store):
    """By what stands in its body."""
    answer = ask(server.address, post("/hooks/strict", b'{"repository": {"id": 7}}', JSON))

    assert 202 == answer.status
    assert ["deploy hook:strict 7"] == keys(store)


def test_one_without_the_value_is_accepted_by_default(server, store):
    """Its task waits for nobody; also one that is no JSON at all."""
    answers = [ask(server.address, post("/hooks/own", body, JSON)) for body in (b"{}", b"nope")]

    assert [202, 202] == [answer.status for answer in answers]
    assert [None, None] == keys(store)


def test_one_without_the_value_is_refused_where_the_hook_says_so(server, store):
    """Before anything is stored, with the path that was expected."""
    answer = ask(server.address, post("/hooks/strict", b'{"repository": {}}', JSON))

    assert (422, "no_serial_key") == (answer.status, answer.json["code"])
    assert "body.repository.id" in answer.json["detail"]
    assert ([], []) == (keys(store), store.events(9))
