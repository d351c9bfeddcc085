"""The arguments of a task are checked wherever it is called: directly, by `.post` and its relatives.

`tests/unit/test_types.py` lets mypy read it as an application's file.
"""

from __future__ import annotations

from typing import Any

from bson import ObjectId
from typing_extensions import assert_type

from monqbus import (
    Event,
    MonQTask,
    Task,
    event_handler,
    g,
    hold,
    hold_async,
    post_event,
    post_event_async,
    task,
)


@task
def plain(to: str, subject: str = "", *, copies: int = 1) -> int:
    return copies


@task(timeout=30, max_attempts=5, priority=20, delay=1.5, name="with.options", result_type="keep")
def chosen(number: int) -> str:
    return str(number)


class Artifact:
    @staticmethod
    @task
    def index(number: int) -> str:
        return str(number)


@task(cpu=True, timeout=30)
def heavy(number: int) -> float:
    return number / 2


@event_handler("project.updated", when="args.0 > 100", timeout=5, cpu=True)
def on_update(topic: str, project: int) -> None: ...


@event_handler("github.push")
def on_push(topic: str, event: Event) -> Any:
    return event.json


def right_calls_are_accepted() -> None:
    assert_type(plain("a@b"), int)
    assert_type(plain.post("a@b", "hi", copies=2), MonQTask)
    assert_type(plain.options(delay=60, key="k").post("a@b", subject="hi"), MonQTask)
    assert_type(chosen(1), str)
    assert_type(chosen.options(priority=1).post(number=1), MonQTask)
    assert_type(heavy(1), float)
    assert_type(heavy.post(1), MonQTask)
    assert_type(Artifact.index(1), str)
    assert_type(Artifact.index.post(1), MonQTask)
    assert_type(on_update("project.updated", 1), None)
    assert_type(on_update.post("project.updated", project=1), MonQTask)


def wrong_posts_are_errors() -> None:
    plain.post()  # type: ignore[call-arg]
    plain.post(1)  # type: ignore[arg-type]
    plain.post("a@b", "hi", 3)  # type: ignore[call-arg]
    plain.post("a@b", text="hi")  # type: ignore[call-arg]
    plain.post("a@b", copies="2")  # type: ignore[arg-type]
    chosen.post("1")  # type: ignore[arg-type]
    Artifact.index.post("1")  # type: ignore[arg-type]
    on_update.post("project.updated")  # type: ignore[call-arg]


def wrong_posts_with_options_are_errors() -> None:
    plain.options(delay=60).post()  # type: ignore[call-arg]
    plain.options(delay=60).post("a@b", copies="2")  # type: ignore[arg-type]
    chosen.options(key="k").post("1")  # type: ignore[arg-type]
    Artifact.index.options(delay=1).post(nummer=1)  # type: ignore[call-arg]


async def right_calls_from_asyncio_are_accepted() -> None:
    assert_type(await plain.post_async("a@b", "hi", copies=2), MonQTask)
    assert_type(await plain.options(delay=60).post_async("a@b", subject="hi"), MonQTask)
    assert_type(await Artifact.index.post_async(1), MonQTask)
    assert_type(await on_update.post_async("project.updated", project=1), MonQTask)
    assert_type(await plain.post_many_async([("a@b",), ("c@d", "ho")]), list[MonQTask])
    assert_type(await post_event_async("project.updated", 1, note="hi"), ObjectId)
    assert_type(await (await chosen.post_async(1)).join_async(10), Any)
    async with hold_async():
        chosen.post(1)


async def wrong_calls_from_asyncio_are_errors() -> None:
    await plain.post_async()  # type: ignore[call-arg]
    await plain.post_async(1)  # type: ignore[arg-type]
    await plain.post_async("a@b", text="hi")  # type: ignore[call-arg]
    await plain.options(delay=60).post_async("a@b", copies="2")  # type: ignore[arg-type]
    await Artifact.index.options(delay=1).post_async(nummer=1)  # type: ignore[call-arg]
    await heavy.post_async("1")  # type: ignore[arg-type]
    await on_update.post_async("project.updated")  # type: ignore[call-arg]
    await plain.post_many_async([1])  # type: ignore[list-item]
    await post_event_async(1)  # type: ignore[arg-type]
    await plain.post("a@b")  # type: ignore[misc]
    await (await chosen.post_async(1)).join_async("10")  # type: ignore[arg-type]
    plain.post_async("a@b")  # type: ignore[unused-coroutine]


def many_are_tuples_of_arguments() -> None:
    assert_type(plain.post_many([("a@b", "hi"), ("c@d",)]), list[MonQTask])
    assert_type(plain.options(priority=1).post_many((name,) for name in "ab"), list[MonQTask])
    with hold():
        chosen.post(1)
    plain.post_many([1, 2])  # type: ignore[list-item]
    plain.post_many("a@b")  # type: ignore[arg-type]
    plain.options(priority=1).post_many(["a@b"])  # type: ignore[list-item]
    plain.post_many()  # type: ignore[call-arg]


def wrong_direct_calls_are_errors() -> None:
    plain(1)  # type: ignore[arg-type]
    chosen()  # type: ignore[call-arg]
    on_update("project.updated", "1")  # type: ignore[arg-type]
    number: int = chosen(1)  # type: ignore[assignment]
    del number


def wrong_declarations_are_errors() -> None:
    @task(retries=3)  # type: ignore[call-overload, untyped-decorator]
    def one() -> None: ...

    @task(timeout="30s")  # type: ignore[call-overload, untyped-decorator]
    def two() -> None: ...

    @task(cpu="yes")  # type: ignore[call-overload, untyped-decorator]
    def four() -> None: ...

    @event_handler("a", cpu=1)  # type: ignore[arg-type]
    def five(topic: str) -> None: ...

    @event_handler(7)  # type: ignore[arg-type]
    def six(topic: str) -> None: ...

    @event_handler("a", retries=3)  # type: ignore[arg-type]
    def seven(topic: str) -> None: ...

    @event_handler("a", when=1)  # type: ignore[arg-type]
    def eight(topic: str) -> None: ...

    @event_handler("a", max_attempts="3")  # type: ignore[arg-type]
    def three(topic: str) -> None: ...


def a_task_may_be_passed_on_with_its_arguments(declared: Task[[int], str]) -> None:
    declared.post(1)
    declared.post("1")  # type: ignore[arg-type]
    a_task_may_be_passed_on_with_its_arguments(chosen)
    a_task_may_be_passed_on_with_its_arguments(plain)  # type: ignore[arg-type]


def events_take_anything_after_their_topic() -> None:
    post_event("project.updated", 1, {"x": 2}, note="hi")
    g.post_event("project.updated", 1)
    post_event(1)  # type: ignore[arg-type]


def an_unknown_option_is_an_error() -> None:
    event_handler("order.paid", retries=3)  # type: ignore[arg-type]
    task(retries=3)  # type: ignore[call-overload]
