"""What may become a task, under which name, and what `.post()` makes of it."""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import gevent
import pytest
from bson import ObjectId

from bus.apps import registry
from bus.apps.calls import MOST_HELD, Batch, prepare
from bus.apps.events import g, post_event
from bus.apps.loading import load
from bus.apps.options import Options
from bus.apps.poster import bind, hold
from bus.apps.registry import Registry, Task, event_handler, task
from bus.clock import FrozenClock
from bus.errors import BadCall, BadDeclaration, ConfigError, NotBound, NotStorable
from bus.model import MonQTask, Receipt


class Clerk:
    """A poster that only writes down what it was asked for."""

    def __init__(self) -> None:
        self.posts: list[tuple[str, tuple[Any, ...], dict[str, Any], Options]] = []
        self.batches: list[Batch] = []

    def post(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], options: Options) -> MonQTask:
        self.posts.append((name, tuple(args), dict(kwargs), options))
        return prepare(FrozenClock(), name, args, kwargs, options, {})

    def publish(self, topic: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Receipt:
        self.posts.append((topic, tuple(args), dict(kwargs), Options()))
        return Receipt([], ObjectId())

    clock = FrozenClock()

    def store(self, batch: Batch) -> None:
        self.batches.append(batch)


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Registry:
    """An empty registry in place of the process's."""
    empty = Registry()
    monkeypatch.setattr(registry, "_registry", empty)
    return empty


@pytest.fixture
def clerk() -> Iterator[Clerk]:
    clerk = Clerk()
    bind(clerk)
    yield clerk
    bind(None)


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for modules of apps; they are forgotten after the test."""
    before = set(sys.modules)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # edits within a second must be seen
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith("app_"):
            del sys.modules[name]


def add(a: int, b: int = 0) -> int:
    """Adds."""
    return a + b


def other(a: int) -> int:
    return a


# declaring


def test_a_declared_function_is_still_that_function(fresh):
    """Called directly it runs here and now; name, module and docstring stay."""
    declared = task(add)

    assert 3 == declared(1, b=2)
    assert ("add", "Adds.", add.__module__) == (declared.__name__, declared.__doc__, declared.__module__)
    assert {f"{__name__}.add": declared} == fresh.tasks
    assert declared.where == f"{__file__}:{add.__code__.co_firstlineno}"


def test_options_of_a_declaration_become_its_defaults():
    declared = task(name="x", timeout=30, max_attempts=5, priority=20, delay=1.5, result_type="keep")(add)

    assert Options(20, 1.5, 5, 30, None, "keep") == declared.defaults


def test_a_static_method_is_a_task_on_either_side_of_the_decorator(fresh):
    """Allura declares them both ways."""

    class Artifact:
        @staticmethod
        @task(name="inner")
        def inner(n: int) -> int:
            return n + 1

        @task(name="outer")
        @staticmethod
        def outer(n: int) -> int:
            return n + 2

    assert [3, 4] == [Artifact.inner(2), Artifact.outer(2)]
    assert ["inner", "outer"] == list(fresh.tasks)


def test_a_task_of_a_class_is_named_after_it(app):
    """module.Class.function, Allura's name for it."""
    (app / "app_class.py").write_text(
        "from monqbus import task\nclass Feed:\n    @staticmethod\n    @task\n    def update(): pass\n"
    )

    assert ["app_class.Feed.update"] == list(load(["app_class"], [app]).tasks)


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (lambda: None, "cannot be found again after a restart; move the function to the top of its module"),
        (3, "expected a function, got 3"),
        (dict, "expected a function, got <class 'dict'>"),
        (partial(add, 1), "cannot be found again"),
        ([].append, "expected a function, got <built-in method append"),
    ],
)
def test_what_has_no_name_to_be_found_by_is_refused(function, sentence):
    with pytest.raises(BadDeclaration) as caught:
        registry._declare(function, None, Options())

    assert sentence in str(caught.value)


def test_a_function_inside_a_function_needs_a_name_of_its_own(fresh):
    def local() -> None: ...

    with pytest.raises(BadDeclaration, match=r"<locals>.*@task\(name='my.task'\)"):
        task(local)
    task(name="my.task")(local)

    assert ["my.task"] == list(fresh.tasks)


@pytest.mark.parametrize("name", ["1st", "a b", "ä", "a" * 129, "a\n"])
def test_a_name_has_letters_digits_and_a_few_signs(name):
    with pytest.raises(BadDeclaration, match=r"cannot be found again|expected a name of ASCII"):
        task(name=name)(add)


def test_two_functions_under_one_name_are_refused_with_both_places():
    """One of them would never run, and nobody would notice."""
    task(name="x")(add)

    with pytest.raises(BadDeclaration, match=r"task x: declared at .*test_registry.py:\d+ and again at"):
        task(name="x")(other)


def test_the_same_function_may_be_declared_twice(fresh):
    """A module that is imported under the same name again is no mistake."""
    task(name="x")(add)
    task(name="x")(add)

    assert ["x"] == list(fresh.tasks)


@pytest.mark.parametrize(
    "options",
    [
        {"priority": "high"}, {"priority": True}, {"delay": -1}, {"delay": float("nan")}, {"delay": 1e12},
        {"delay": "5"}, {"max_attempts": 0}, {"max_attempts": 1.5}, {"timeout": 0}, {"timeout": float("inf")},
        {"key": 7}, {"result_type": "other"},
    ],
)  # fmt: skip
def test_an_option_out_of_its_range_is_refused_by_name(options):
    """At the declaration, at `.options()` and as __task_ keyword alike."""
    (name,) = options
    declared = task(add)

    for act in (
        lambda: task(name="x", **options),
        lambda: declared.options(**options),
        lambda: declared.post(1, **{f"__task_{name}": options[name]}),
    ):
        with pytest.raises(BadDeclaration, match=f"task option {name}: expected .*, got"):
            bind(Clerk())
            act()
    bind(None)


@pytest.mark.parametrize(
    ("word", "meant"),
    [("delay", r".post(...)"), ("apply_async", r".options(delay=60).post(...)"), ("request", "`c.task`")],
)
def test_a_word_of_another_queue_is_answered_with_ours(word: str, meant: str):
    """An attribute that is nowhere is missed as always."""
    declared = task(add)
    with pytest.raises(AttributeError) as caught:
        getattr(declared, word)

    assert f"a task has no '{word}'; it is {meant}" in str(caught.value)
    assert not hasattr(declared, "delayed")


def test_an_unknown_option_is_refused_with_the_known_ones():
    with pytest.raises(BadDeclaration, match="task option retries: expected one of cpu, delay, key"):
        task(name="x", retries=3)  # type: ignore[call-overload]


# events


def test_every_handler_of_a_topic_is_found_in_order_of_declaration(fresh):
    first = event_handler("a", "b", name="one")(add)
    second = event_handler("b", name="two")(other)

    assert [[first], [first, second], []] == [fresh.handlers_of(topic) for topic in "abc"]
    assert (["a", "b"], ("a", "b")) == (fresh.topics, first.topics)


def test_a_handler_may_be_a_task_already(fresh):
    """@event_handler on top of @task is one task with a topic, and its options stay."""
    declared = event_handler("a")(task(name="x", timeout=7)(add))

    assert ([declared], {"x": declared}) == (fresh.handlers_of("a"), fresh.tasks)
    assert 7 == declared.defaults.timeout


def test_handlers_may_be_stacked(fresh):
    declared = event_handler("a", name="x")(event_handler("b", name="x")(add))

    assert [[declared], [declared]] == [fresh.handlers_of("a"), fresh.handlers_of("b")]


@pytest.mark.parametrize("topics", [(), ("",), ("a b",), ("*",), (add,), (b"a",), ("x" * 129,)])
def test_a_topic_is_a_plain_word(topics):
    """Also where the decorator was written without parentheses."""
    with pytest.raises(BadDeclaration, match=r"@event_handler: expected (topics|at least one topic)"):
        event_handler(*topics)


@pytest.mark.parametrize(
    ("decorator", "sentence"),
    [
        ("event_handler", "@event_handler: expected topics in parentheses, got the function sold; write "
         "@event_handler('shop.sold') above it"),
        ("event_handler()", "@event_handler: expected at least one topic, got none; write @event_handler("),
        ("event_handler(['a', 'b'])", "@event_handler: expected topics of letters, digits and _.:- in "
         "quotes, got ['a', 'b']; write each as an argument of its own: @event_handler('shop.sold', 'shop."),
        ("event_handler('github.*')", "@event_handler: expected topics of letters, digits and _.:- in "
         "quotes, got 'github.*'; there are no wildcards, name each topic"),
        ("task(open_after='10 in 1m')", "task option open_after: expected 1 to 1000 failures in 1s to 1d, "
         "such as 10 failures in 1m, got '10 in 1m'"),
        ("task(probe=0)", "task option probe: expected 1 second or more, got 0"),
        ("task(cpu='yes')", "task option cpu: expected True or False, got 'yes'"),
        ("event_handler('a', max_attempt=3)", "task option max_attempt: expected one of cpu, delay, key, "
         "max_attempts, open_after, priority, probe, result_type, timeout, got an unknown option, did you "
         "mean max_attempts?"),
        ("task(timeuot=3)", "task option timeuot: expected one of cpu, delay, key, max_attempts, "
         "open_after, priority, probe, result_type, timeout, got an unknown option, did you mean timeout?"),
        ("task(bind=True)", "task option bind: expected one of cpu, delay, key, max_attempts, open_after, "
         "priority, probe, result_type, timeout, got an unknown option, did you mean c.task, which every "
         "handler has?"),
        ("task(soft_time_limit=3)", "task option soft_time_limit: expected one of cpu, delay, key, "
         "max_attempts, open_after, priority, probe, result_type, timeout, got an unknown option, did you "
         "mean timeout?"),
        ("task('my.name')", "@task: expected a function, got the text 'my.name'; a name is an option"),
    ],
)  # fmt: skip
def test_a_decorator_written_wrongly_names_its_line_and_the_remedy(app, decorator, sentence):
    """Parentheses, topics and options are what a first handler lacks."""
    text = f"from monqbus import event_handler, task\n\n@{decorator}\ndef sold(topic): ...\n"
    (app / "app_wrong.py").write_text(text)

    with pytest.raises(ConfigError) as caught:
        load(["app_wrong"], [app])

    assert f"app app_wrong: {app}/app_wrong.py:3: {sentence}" in str(caught.value)


# posting


def test_a_post_hands_name_arguments_and_options_to_the_poster(clerk):
    declared = task(name="x", priority=3)(add)
    declared.post(1, b=2)
    declared.options(delay=60, key="k").post(1)

    assert [
        ("x", (1,), {"b": 2}, Options(priority=3)),
        ("x", (1,), {}, Options(priority=3, delay=60, key="k")),
    ] == clerk.posts


def test_alluras_keywords_are_options(clerk):
    """__task_delay never reaches the function."""
    task(name="x")(add).post(1, __task_delay=60, __task_priority=5, __task_flush_immediately=True)

    assert [("x", (1,), {}, Options(priority=5, delay=60))] == clerk.posts


def test_alluras_keywords_work_inside_a_class(clerk):
    """Python mangles names with two underscores there, but not the keywords of a call (3.10 to 3.13)."""
    declared = task(name="x")(add)

    class Forum:
        def save(self) -> None:
            declared.post(1, __task_delay=60)

    Forum().save()

    assert [("x", (1,), {}, Options(delay=60))] == clerk.posts


def test_a_keyword_that_only_looks_like_alluras_reaches_the_function(clerk):
    task(name="x")(lambda n, **more: None).post(1, _Forum__task_delay=60, task_delay=1)

    assert [("x", (1,), {"_Forum__task_delay": 60, "task_delay": 1}, Options())] == clerk.posts


def test_a_post_cannot_wait_for_the_end_of_the_request():
    with pytest.raises(BadDeclaration, match="a post is always stored at once"):
        task(add).post(1, __task_flush_immediately=False)


def test_an_unbound_process_says_how_to_bind_it():
    for act in (lambda: task(add).post(1), lambda: post_event("a")):
        with pytest.raises(NotBound, match=r"monqbus.connect\('monqbus.ini'\)"):
            act()


def test_g_posts_events_as_the_function_does(clerk):
    ids = [g.post_event("a", 1, x=2), post_event("a", 1, x=2)]

    assert [ObjectId, ObjectId] == [type(event_id) for event_id in ids]
    assert [("a", (1,), {"x": 2}, Options())] * 2 == clerk.posts


# loading and reloading


def test_the_reload_of_good_apps_replaces_everything_they_declared(app):
    """Functions that went are gone, sub-modules are imported anew."""
    (app / "app_good.py").write_text(
        "from monqbus import task\nimport app_part\n@task\ndef one(): return app_part.VALUE\n"
    )
    (app / "app_part.py").write_text("VALUE = 1\n")
    before = load(["app_good"], [app])
    assert 1 == before.tasks["app_good.one"]()

    (app / "app_good.py").write_text(
        "from monqbus import task\nimport app_part\n@task\ndef two(): return app_part.VALUE\n"
    )
    (app / "app_part.py").write_text("VALUE = 2\n")
    after = load(["app_good"], [app], afresh=True)

    assert (["app_good.one"], ["app_good.two"]) == (list(before.tasks), list(after.tasks))
    assert 2 == after.tasks["app_good.two"]()
    assert after is registry.registry()


def test_an_edit_in_the_second_of_the_last_import_is_seen(app):
    """Python would take the old bytecode for that of the new source: same second, same size."""
    file = app / "app_good.py"
    values = []
    for number in (1, 2):
        file.write_text(f"from monqbus import task\n@task\ndef one(): return {number}\n")
        os.utime(file, (1e9, 1e9))
        values.append(load(["app_good"], [app], afresh=number > 1).tasks["app_good.one"]())

    assert [1, 2] == values


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("def broken(:\n", r"app_bad.py:1: SyntaxError"),
        ("from monqbus import task\n\n1 / 0\n", r"app_bad.py:3: ZeroDivisionError: division by zero"),
        ("import sys\nsys.exit(3)\n", r"app_bad.py:2: SystemExit: 3"),
        ("import app_missing\n", r"no module named 'app_missing'; install it"),
        (
            "from monqbus import task\n@task\ndef one(): pass\ntask(lambda: 1)\n",
            r"app_bad: .*app_bad.py:4: @task: .*<lambda>",
        ),
    ],
)
def test_the_reload_of_bad_apps_keeps_the_old_ones(app, text, sentence):
    """Registry and modules, down to their identity; the message names the place."""
    (app / "app_bad.py").write_text("from monqbus import task\nimport app_side\n@task\ndef one(): return 1\n")
    (app / "app_side.py").write_text("VALUE = 1\n")
    before = load(["app_bad"], [app])
    modules = {name: sys.modules[name] for name in ("app_bad", "app_side")}
    (app / "app_bad.py").write_text(text)

    with pytest.raises(ConfigError, match=sentence):
        load(["app_bad"], [app], afresh=True)

    assert before is registry.registry()
    assert ["app_bad.one"] == list(before.tasks)
    assert modules == {name: sys.modules[name] for name in modules}


def test_an_app_that_is_not_there_is_refused_with_the_remedy(app):
    with pytest.raises(ConfigError, match=r"no module named 'app_gone'; add its folder to \[monqbus\] path"):
        load(["app_gone"], [app])


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("app_shop.taks", "no module named 'app_shop.taks'; did you mean app_shop.tasks?"),
        ("app_shop.xyz", "no module named 'app_shop.xyz'; app_shop has mails, tasks"),
        ("app_shop.tasks.more", "app_shop.tasks is a single file, which has no modules in it"),
        (
            "app_shop.tasks.py",
            "app_shop.tasks is a single file, which has no modules in it; write app_shop.tasks",
        ),
        ("app_shpo", "add its folder to [monqbus] path, or did you mean app_shop?"),
    ],
)
def test_a_module_that_is_not_there_is_compared_with_those_that_are(app, name, sentence):
    """A missing module of a package was to be installed, whatever its name resembled."""
    (app / "app_shop").mkdir()
    for file in ("__init__", "tasks", "mails"):
        (app / "app_shop" / f"{file}.py").write_text("")

    with pytest.raises(ConfigError) as caught:
        load([name], [app])

    assert str(caught.value).endswith(sentence)


def test_a_function_whose_name_is_not_ascii_needs_another_one():
    """It was said to be not at the top of its module, where it is."""

    def size() -> None: ...

    size.__qualname__ = "größe"
    with pytest.raises(
        BadDeclaration, match=r"ASCII.* got '[\w.]*größe'; give it one: @task\(name='my.task'\)"
    ):
        registry._declare(size, None, Options())


def test_a_folder_of_apps_never_hides_an_installed_module(app):
    """It comes last on the path."""
    load([], [app, app])

    assert [str(app)] == sys.path[-1:]
    assert 1 == sys.path.count(str(app))


# trust


def test_a_name_from_a_store_is_only_ever_a_key(fresh):
    """`os.system` in a document is not a task, whatever can be imported."""
    task(name="x")(add)

    assert not {"os.system", f"{__name__}.other", "x.__globals__"} & set(fresh.tasks)


def test_only_the_load_of_the_configured_apps_imports_by_name():
    """No other line turns text into code, but the command line's own table of commands."""
    bus = Path(registry.__file__).parents[1]
    found = []
    for file in sorted(bus.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_bytes())):
            name = getattr(node, "attr", getattr(node, "id", ""))
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if name in ("import_module", "__import__", "eval", "exec", "run_path") or "pickle" in modules:
                found.append((file.name, name))

    assert [("loading.py", "import_module"), ("entry.py", "import_module")] == found


def test_a_task_shows_its_name_and_nothing_else():
    assert "<task x>" == repr(task(name="x")(add))
    assert isinstance(task(name="x")(add), Task)


def test_while_apps_are_reloaded_the_old_declarations_serve(app):
    """An import that waits lets deliveries in: they must not meet a registry that is half filled."""
    text = "from monqbus import event_handler\n@event_handler('t')\ndef one(topic): return {number}\n"
    (app / "app_slow.py").write_text(text.format(number=1))
    before = load(["app_slow"], [app])
    (app / "app_slow.py").write_text(f"import gevent\ngevent.sleep(0.05)\n{text.format(number=2)}")

    reload = gevent.spawn(load, ["app_slow"], [app], afresh=True)
    gevent.sleep(0)
    meanwhile = registry.registry()
    after = reload.get(timeout=5)

    assert before is meanwhile
    assert [1, 2] == [known.tasks["app_slow.one"]("t") for known in (before, after)]


def test_a_reloaded_module_shares_nothing_with_the_old_one(app):
    """Not through a package without __init__ either, which remembers its modules as attributes."""
    (app / "space").mkdir()
    (app / "space" / "part.py").write_text("seen = []\n")
    text = "from monqbus import task\nfrom space import part\n@task\ndef look():\n    part.seen.append(1)\n"
    (app / "app_space.py").write_text(f"{text}    return len(part.seen)\n")
    before = load(["app_space"], [app])

    after = load(["app_space"], [app], afresh=True)

    assert [1, 2, 1] == [known.tasks["app_space.look"]() for known in (before, before, after)]


def test_what_was_installed_for_the_apps_stays_loaded(app):
    """Compiled packages cannot be imported twice in one process."""
    packages = app / "lib" / "site-packages"
    packages.mkdir(parents=True)
    (packages / "app_installed.py").write_text("import os\n")
    (app / "app_user.py").write_text("import app_installed\n")
    load(["app_user"], [app, packages])
    before = [sys.modules["app_user"], sys.modules["app_installed"]]

    load(["app_user"], [app, packages], afresh=True)
    after = [sys.modules["app_user"], sys.modules["app_installed"]]

    assert [False, True] == [old is new for old, new in zip(before, after, strict=True)]


def test_cpu_belongs_to_the_declaration(clerk):
    """Where a task runs is decided before it is posted: one post cannot ask for something else."""
    heavy = task(cpu=True)(add)

    assert heavy.defaults.cpu
    with pytest.raises(BadDeclaration, match=r"task option cpu: expected it in @task\(...\), where"):
        heavy.options(cpu=False)
    with pytest.raises(BadDeclaration, match="task option cpu: expected it in"):
        heavy.post(__task_cpu=True)
    with pytest.raises(BadDeclaration, match="task option cpu: expected True or False, got 1"):
        task(cpu=1)


# hold


def test_a_held_block_is_one_batch_in_the_order_of_its_posts(clerk: Clerk):
    declared = task(add)
    with hold():
        first = declared.post(1)
        event_id = post_event("sold", 2)
        with hold():
            rest = declared.options(priority=3).post_many([(3,), (4, 5)])
        assert [] == clerk.batches
    (batch,) = clerk.batches

    assert [first, *rest] == batch.tasks
    assert [[1], [3], [4, 5]] == [one.args for one in batch.tasks]
    assert [10, 3, 3] == [one.priority for one in batch.tasks]
    assert [(event_id, [2])] == [(one.event.id, one.event.args) for one in batch.events]
    assert [] == clerk.posts


def test_a_held_block_that_raises_stores_nothing(clerk: Clerk):
    with pytest.raises(ZeroDivisionError), hold():
        task(add).post(1)
        raise ZeroDivisionError

    assert [] == clerk.batches
    task(add).post(2)
    assert 1 == len(clerk.posts)


@pytest.mark.parametrize("call", [1, "ab", {"a": 1}])
def test_each_call_of_many_is_a_tuple(clerk: Clerk, call: object):
    """A text would be taken for its characters."""
    with pytest.raises(BadCall, match="post_many: expected a tuple of arguments for each call, got"):
        task(add).post_many([call])  # type: ignore[list-item]

    assert [] == clerk.batches


def test_an_empty_block_asks_nobody():
    with hold():
        pass


def test_more_calls_than_one_write_takes_are_counted_and_nothing_is_stored(clerk: Clerk):
    """The sentence spoke of a block that nobody had written, and of no number."""
    with pytest.raises(NotStorable, match=rf"post_many: .* at most {MOST_HELD} .*, got 10000; "):
        task(add).post_many([(n,) for n in range(10_000)])

    assert [] == clerk.batches


def test_a_block_takes_so_many_posts_and_says_so(clerk: Clerk):
    with pytest.raises(NotStorable, match=f"at most {MOST_HELD} posts in one block"):
        task(add).post_many((n,) for n in range(MOST_HELD + 1))

    assert [] == clerk.batches
    assert MOST_HELD == len(task(add).post_many((n,) for n in range(MOST_HELD)))
