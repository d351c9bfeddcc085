"""What an app is: the module of `path` that is meant, under one name, with functions of its own."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from bus import connecting
from bus.apps import registry
from bus.apps.events import post_event
from bus.apps.loading import idle, load
from bus.apps.poster import bind, hold
from bus.apps.registry import Registry, event_handler, task
from bus.clock import FrozenClock
from bus.errors import BadDeclaration, ConfigError
from bus.posting import PostOffice
from bus.store import open_memory_store

LOGGED = """\
import functools
from monqbus import task
def logged(function):
    @functools.wraps(function)
    def wrapper(*args): return function(*args)
    return wrapper
"""


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Registry:
    """An empty registry in place of the process's."""
    empty = Registry()
    monkeypatch.setattr(registry, "_registry", empty)
    return empty


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for modules of apps; they are forgotten after the test."""
    before = set(sys.modules)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith("app_"):
            del sys.modules[name]


@pytest.mark.parametrize(
    "text",
    [
        '@task(name="x")\n@logged\ndef a(): return "a"\n@task(name="x")\n@logged\ndef b(): return "b"\n',
        'for n in (1, 2):\n    @task(name="x")\n    def a(): return n\n',
        'def plain(function):\n    def wrapper(): return function()\n    return wrapper\n'
        '@task(name="x")\n@plain\ndef a(): return "a"\n@task(name="x")\n@plain\ndef b(): return "b"\n',
        'def make(n):\n    def made(): return n\n    task(name="x")(made)\nmake(1)\nmake(2)\n',
        'task(name="x")(functools.partial(pow, 1))\ntask(name="x")(functools.partial(pow, 2))\n',
        'class C:\n    def __call__(self): ...\ntask(name="x")(C())\ntask(name="x")(C())\n',
        '@task\ndef a(): return 1\n@task\ndef a(): return 2\n',
    ],
    ids=["wrapped", "loop", "wrapper", "factory", "partial", "object", "pasted"],
)  # fmt: skip
@pytest.mark.parametrize("is_afresh", [False, True])
def test_two_functions_of_an_app_under_one_name_are_refused(app, text, is_afresh):
    """They were compared by the place of their code, which a decorator or a loop shares: one never ran."""
    (app / "app_two.py").write_text(LOGGED + text)

    with pytest.raises(
        ConfigError, match=r"app_two.py:\d+: task [\w.]+: declared at .* and again at .*; give"
    ):
        load(["app_two"], [app], afresh=is_afresh)


def test_a_decorated_task_is_where_its_function_is(app):
    """Not where the decorator is."""
    (app / "app_where.py").write_text(f"{LOGGED}@task\n@logged\ndef a(): ...\n")

    assert f"{app}/app_where.py:7" == load(["app_where"], [app]).tasks["app_where.a"].where


def test_a_module_that_is_executed_again_declares_the_same_tasks(app):
    """Its functions are new objects, but nobody has two of them."""
    (app / "app_again.py").write_text(f"{LOGGED}@task(name='x')\n@logged\ndef a(): ...\n")
    load(["app_again"], [app])
    del sys.modules["app_again"]

    assert ["x"] == list(load(["app_again"], [app]).tasks)


def test_a_function_of_a_fixture_is_declared_by_every_test(fresh):
    """Outside of the import of apps the last one counts."""

    def fixture(n):
        @task(name="x")
        def declared():
            return n

    fixture(1)
    fixture(2)

    assert 2 == fresh.tasks["x"]()


def test_the_same_partial_may_be_declared_again(fresh):
    event_handler("a", name="x")(print)
    event_handler("b", name="x")(print)

    assert ["x"] == list(fresh.tasks)


@pytest.mark.parametrize("name", ["email", "queue", "site", "json.decoder", "flask", "bus", "sys", "xml"])
@pytest.mark.parametrize("is_afresh", [False, True])
def test_a_module_of_the_same_name_from_elsewhere_is_no_app(app, name, is_afresh):
    """`check` said ok, and nothing was declared."""
    top = name.partition(".")[0]
    (app / f"{top}.py").write_text("from monqbus import task\n@task\ndef a(): ...\n")
    with pytest.raises(ConfigError) as caught:
        load([name], [app], afresh=is_afresh)

    assert f"app {name}: expected {app}/{top}.py, but the module that is imported is " in str(caught.value)
    assert str(caught.value).endswith("which comes first; give the app another name")


@pytest.mark.parametrize("name", ["email", "sys", "bus", "flask"])
@pytest.mark.parametrize("is_afresh", [False, True])
def test_a_module_from_elsewhere_that_declares_nothing_is_no_app(app, name, is_afresh):
    """The folder of the app that is meant is missing in path; one of other data is not it."""
    (app / name).mkdir()
    before = dict(sys.modules)

    with pytest.raises(ConfigError, match=rf"app {name}: expected a module of \[monqbus\] path that"):
        load([name], [app], afresh=is_afresh)

    assert before == {name: sys.modules[name] for name in before}


def test_an_installed_module_that_declares_tasks_is_an_app(app, monkeypatch):
    """It needs no folder in path."""
    (app / "app_elsewhere.py").write_text("from monqbus import task\n@task\ndef a(): ...\n")
    monkeypatch.setattr(sys, "path", [*sys.path, str(app)])

    assert ["app_elsewhere.a"] == list(load(["app_elsewhere"], []).tasks)
    assert ["app_elsewhere.a"] == list(load(["app_elsewhere"], []).tasks)


def test_a_link_to_a_folder_of_apps_is_that_folder(app):
    (app / "real").mkdir()
    (app / "real" / "app_linked.py").write_text("from monqbus import task\n@task\ndef a(): ...\n")
    (app / "link").symlink_to(app / "real")
    load(["app_linked"], [app / "real"])

    assert ["app_linked.a"] == list(load(["app_linked"], [app / "link"]).tasks)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("a.post()", "expected no post while the app is imported, got one; post in a function that is"),
        ("monqbus.post_event('x.y')", "expected no post while the app is imported, got one"),
        ("a.delay()", "AttributeError: a task has no 'delay'"),
        ("a.post_many([()])", "expected no post while"),
        ("monqbus.connect('nope.ini')", "ConfigError: nope.ini: expected a configuration file"),
    ],
)
def test_what_an_app_does_wrong_is_at_its_own_line(app, line, sentence):
    """Not at that of ours which found it; the remedy is one for a module of an app."""
    (app / "app_eager.py").write_text(f"import monqbus\n@monqbus.task\ndef a(): ...\n{line}\n")
    with pytest.raises(ConfigError) as caught:
        load(["app_eager"], [app])

    assert f"app app_eager: {app}/app_eager.py:4: {sentence}" in str(caught.value)


def test_a_missing_app_is_compared_with_names_that_people_write(app):
    """`hello` was answered with Python's own __hello__."""
    with pytest.raises(ConfigError) as caught:
        load(["hello"], [app])

    assert "app hello: no module named 'hello'; add its folder to [monqbus] path" == str(caught.value)


def test_an_app_that_declares_nothing_is_named(app):
    """Itself, in its package, or in a module that it holds: another app may have imported that before."""
    text = "from monqbus import task\n@task\ndef a(): ...\n"
    (app / "app_idle.py").write_text("import os\n")
    (app / "app_part.py").write_text(text)
    (app / "app_holder.py").write_text("import app_part\n")
    (app / "app_taker.py").write_text("from app_part import a\n")
    (app / "app_pack").mkdir()
    (app / "app_pack" / "__init__.py").write_text("from . import tasks as _\ndel _\n")
    (app / "app_pack" / "tasks.py").write_text(text)
    apps = ["app_idle", "app_part", "app_holder", "app_taker", "app_pack"]
    load(apps, [app])

    assert ["app_idle"] == idle(apps)


@pytest.mark.parametrize("is_afresh", [False, True])
def test_a_module_under_two_names_is_refused(app, is_afresh):
    """Each event would run its handlers twice."""
    (app / "app_shop").mkdir()
    (app / "app_shop" / "app_tasks.py").write_text(
        "from monqbus import event_handler\n@event_handler('t')\ndef a(topic): ...\n"
    )

    with pytest.raises(ConfigError) as caught:
        load(["app_shop.app_tasks", "app_tasks"], [app, app / "app_shop"], afresh=is_afresh)

    assert (
        f"{app}/app_shop/app_tasks.py: expected one name, but it is imported as app_shop.app_tasks and as "
        "app_tasks, and its handlers would run once for each"
    ) in str(caught.value)


# the program that was started


class Office:
    """Where a process is connected to; it takes everything."""

    def post(self, *_):
        raise AssertionError("it would park for ever")


def test_a_task_of_the_started_program_is_not_posted(app):
    """No daemon imports it under that name: it parked for ever."""
    (app / "app_script.py").write_text("from monqbus import task\n@task\ndef a(): ...\n")
    declared = runpy.run_path(str(app / "app_script.py"), run_name="__main__")["a"]
    bind(connecting.ForkSafe(Office))  # type: ignore[arg-type]

    with pytest.raises(BadDeclaration, match=r"task __main__.a: .* no daemon imports as __main__; import a"):
        declared.post()
    bind(None)


def test_a_program_that_is_an_app_too_leaves_its_events_to_the_app(app, fresh):
    """With MongoDB a connected process finds the handlers itself: its own copies parked for ever."""
    (app / "app_script.py").write_text(
        "from monqbus import event_handler\n@event_handler('t')\ndef a(topic): ...\n"
        "if __name__ == '__main__':\n    @event_handler('t')\n    def b(topic): ...\n"
    )
    runpy.run_path(str(app / "app_script.py"), run_name="__main__")
    load(["app_script"], [app])

    connecting._let_apps_handle()

    assert ["__main__.b", "app_script.a"] == [handler.name for handler in fresh.handlers_of("t")]


@pytest.mark.parametrize("is_held", [False, True])
def test_an_event_that_only_the_started_program_handles_is_not_published(app, fresh, is_held):
    """In a block that is held as outside of one."""
    (app / "app_script.py").write_text(
        "from monqbus import event_handler\n@event_handler('t')\ndef a(topic): ...\n"
    )
    runpy.run_path(str(app / "app_script.py"), run_name="__main__")
    store = open_memory_store()
    bind(connecting.ForkSafe(lambda: PostOffice(store, lambda: fresh, FrozenClock())))

    with (
        pytest.raises(BadDeclaration, match=r"task __main__.a: .* no daemon imports as __main__"),
        hold() if is_held else nullcontext(),
    ):
        post_event("t")
    bind(None)
    assert [] == store.events(10)
    store.close()
