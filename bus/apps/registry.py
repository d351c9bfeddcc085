"""What may run: `@task`, `@event_handler`, and the registry that they and `@schedule` fill.

A decorator only records. `.post()` goes to the poster that the process binds: the daemon binds its
own store, a web application binds one with ``monqbus.connect()``. A task name read from a store is
a key into the registry and nothing else: no stored text is ever imported or looked up as attribute.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, NoReturn, ParamSpec, TypeVar, overload

from ..breaker import DEFAULT_PROBE
from ..codec import storable
from ..errors import BadCall, BadDeclaration
from ..model import TASK_NAME, TOPIC, MonQTask
from ..rules import Rule
from ..safe_text import shown
from ..schedules import Schedule
from .callables import execution_of, name_of, runnable, written
from .calls import held, prepare, require_one_block
from .context import capture
from .options import Options, for_one_post, without_controls
from .poster import hold, off_loop, poster
from .signature import Parameters, called_with

P = ParamSpec("P")
R = TypeVar("R")

PROGRAM = frozenset({"__main__", "__mp_main__"})
"""What Python calls the program that was started, whatever its file is called."""
_ELSEWHERE = {
    "delay": ".post(...)",
    "apply_async": ".options(delay=60).post(...)",
    "schedule": ".options(delay=60).post(...)",
    "enqueue": ".post(...)",
    "send": ".post(...)",
    "send_with_options": ".options(delay=60).post(...)",
    "retry": "`raise Retry(...)` in the handler",
    "request": "`c.task` in the handler",
}
"""What tasks of Celery, RQ, Huey and Dramatiq have, and how it is written here."""


class Task(Generic[P, R]):
    """A registered callable. Calling it runs it here and now; `.post()` stores a MonQTask."""

    def __init__(self, function: Callable[P, R], name: str, options: Options) -> None:
        self.function = function
        self.name = name
        self.defaults = options
        self.topics: tuple[str, ...] = ()
        self.rules: dict[str, Rule] = {}
        """By topic: of an event for which it does not hold, this gets no task."""
        self.execution = execution_of(function)
        self._parameters: Parameters | None = None
        self.__name__ = getattr(function, "__name__", name)
        self.__doc__ = function.__doc__
        self.__module__ = function.__module__
        self.__wrapped__ = function

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run it here and now, as the plain function it is."""
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<task {self.name}>"

    if not TYPE_CHECKING:  # a type checker would take every name for one that is there

        def __getattr__(self, name: str) -> Any:
            """Raise AttributeError; of another queue's word it says ours."""
            hint = f"; it is {_ELSEWHERE[name]} here" if name in _ELSEWHERE else ""
            raise AttributeError(f"a task has no {name!r}{hint}", name=name, obj=self)

    @property
    def where(self) -> str:
        """``file:line`` of the declaration."""
        code = getattr(written(self.function), "__code__", None)
        if code is None:
            return getattr(self.function, "where", self.__module__)
        return f"{code.co_filename}:{code.co_firstlineno}"

    @property
    def parameters(self) -> Parameters:
        """What the function takes."""
        if self._parameters is None:
            self._parameters = Parameters(self.function)
        return self._parameters

    def misfit(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str | None:
        """The sentence about a call that the function does not take, None for one that it does."""
        if (fault := self.parameters.misfit(args, kwargs)) is None:
            return None
        asked = called_with(args, kwargs)
        return f"task {self.name}: {fault}; it is declared as {self.parameters} and called with {asked}"

    def expect(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Raise BadCall unless the function takes this call."""
        if (fault := self.misfit(args, kwargs)) is not None:
            raise BadCall(fault)

    def post(self, *args: P.args, **kwargs: P.kwargs) -> MonQTask:
        """Store this call as a MonQTask; it is durable when this returns. Blocks on the store.

        Allura's ``__task_delay=60`` and the like are taken as options. Raises BadCall, a TypeError, for
        arguments that the function does not take, NotStorable, NotBound, StoreUnavailable.
        """
        return self._post(self.defaults, args, kwargs)

    def post_many(self, calls: Iterable[tuple[Any, ...]]) -> list[MonQTask]:
        """Store one task for each tuple of arguments, in their order and in one write; see `hold`."""
        return self._post_many(self.defaults, calls)

    async def post_async(self, *args: P.args, **kwargs: P.kwargs) -> MonQTask:
        """As `post`, for asyncio: the loop turns meanwhile; see `write_off_loop` for a cancellation.

        Raises MonqbusError in a process whose threads are greenlets, such as the daemon.
        """
        return await _post_async(self.post, args, kwargs)

    async def post_many_async(self, calls: Iterable[tuple[Any, ...]]) -> list[MonQTask]:
        """As `post_many`, for asyncio; the arguments must not change meanwhile."""
        given = list(calls)
        return await off_loop(lambda: self.post_many(given), _all_stored)

    def options(self, **changes: Any) -> Prepared[P]:
        """The same task with other options for one post: delay, priority, key, max_attempts, timeout, …

        A *session* of the application's own pymongo client makes its posts a part of the transaction that
        runs in it: they are stored if and only if that commits.
        """
        session = changes.pop("session", None)
        return Prepared(self, for_one_post(self.defaults, changes), session)

    def _post(
        self, options: Options, args: tuple[Any, ...], kwargs: Mapping[str, Any], session: Any = None
    ) -> MonQTask:
        if session is not None:
            with hold(session):
                return self._post(options, args, kwargs)
        chosen, plain = without_controls(options, kwargs)
        self.expect(args, plain)
        if (batch := held()) is None:
            return poster().post(self.name, args, plain, chosen)
        batch.require_room()
        task = prepare(poster().clock, self.name, args, plain, chosen, capture())
        batch.tasks.append(task)
        return task

    def _post_many(
        self, options: Options, calls: Iterable[tuple[Any, ...]], session: Any = None
    ) -> list[MonQTask]:
        require_one_block(self.name, calls)
        with hold(session):
            return [self._post(options, _arguments(self.name, args), {}) for args in calls]


def _arguments(name: str, given: object) -> tuple[Any, ...]:
    if not isinstance(given, (tuple, list)):  # a text would be taken for its characters
        raise BadCall(
            f"task {name}: post_many: expected a tuple of arguments for each call, got {shown(given, 80)}; "
            "write [(1,), (2,)]"
        )
    return tuple(given)


@dataclass(frozen=True, slots=True)
class Prepared(Generic[P]):
    """A task with options, ready to be posted."""

    task: Task[P, Any]
    chosen: Options
    session: Any = None

    def post(self, *args: P.args, **kwargs: P.kwargs) -> MonQTask:
        """As Task.post."""
        return self.task._post(self.chosen, args, kwargs, self.session)

    def post_many(self, calls: Iterable[tuple[Any, ...]]) -> list[MonQTask]:
        """As Task.post_many."""
        return self.task._post_many(self.chosen, calls, self.session)

    async def post_async(self, *args: P.args, **kwargs: P.kwargs) -> MonQTask:
        """As Task.post_async."""
        return await _post_async(self.post, args, kwargs)

    async def post_many_async(self, calls: Iterable[tuple[Any, ...]]) -> list[MonQTask]:
        """As Task.post_many_async."""
        given = list(calls)
        return await off_loop(lambda: self.post_many(given), _all_stored)


async def _post_async(
    post: Callable[..., MonQTask], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> MonQTask:
    kept = storable(list(args), dict(kwargs), {})  # the loop may change the arguments before they are posted
    return await off_loop(lambda: post(*kept.args, **kept.kwargs), lambda task: f"task {task.id} is stored")


def _all_stored(tasks: Sequence[MonQTask]) -> str:
    return f"all {len(tasks)} tasks are stored"


class Registry:
    """Every task by name, every handler by topic, every schedule by name."""

    def __init__(self) -> None:
        self.tasks: dict[str, Task[..., Any]] = {}
        self.schedules: dict[str, Schedule] = {}
        self._handlers: dict[str, list[Task[..., Any]]] = {}

    def add(self, task: Task[..., Any]) -> None:
        """Register *task*; two functions under one name are refused."""
        known = self.tasks.get(task.name)
        if known is not None and not _is_again(known, task):
            raise BadDeclaration(
                f"task {task.name}: declared at {known.where} and again at {task.where}; "
                "give one of them a name of its own: @task(name='my.task')"
            )
        self.tasks[task.name] = task

    def subscribe(self, task: Task[..., Any], topics: Iterable[str], when: Rule | None = None) -> None:
        """Let *task* handle *topics*, those events for which *when* holds; in the order of declaration."""
        for topic in topics:
            handlers = self._handlers.setdefault(topic, [])
            handlers[:] = [other for other in handlers if other.name != task.name] + [task]
            task.topics = (*task.topics, topic)
            task.rules.pop(topic, None)
            if when is not None:
                task.rules[topic] = when

    def plan(self, schedule: Schedule) -> None:
        """Add *schedule*; two of one name are refused."""
        known = self.schedules.get(schedule.name)
        if known is not None and (known.where, known.moments.text) != (schedule.where, schedule.moments.text):
            raise BadDeclaration(
                f"schedule {schedule.name}: declared at {known.where} and again at {schedule.where}; "
                "give one of them a name of its own"
            )
        self.schedules[schedule.name] = schedule

    def unsubscribe(self, task: Task[..., Any]) -> None:
        """Let *task* handle nothing."""
        for topic in task.topics:
            self._handlers[topic].remove(task)
        task.topics = ()
        task.rules.clear()

    def handlers_of(self, topic: str) -> list[Task[..., Any]]:
        """The tasks that handle *topic*."""
        return self._handlers.get(topic, [])

    @property
    def topics(self) -> list[str]:
        """Every topic that has a handler."""
        return sorted(topic for topic, handlers in self._handlers.items() if handlers)

    @property
    def handlers(self) -> dict[str, list[str]]:
        """The names of the handlers of each topic that has some."""
        return {topic: [task.name for task in self._handlers[topic]] for topic in self.topics}


def _is_again(known: Task[..., Any], task: Task[..., Any]) -> bool:
    """Whether *task* is *known* once more: the same function, or its module was executed again.

    Outside of the import of apps also a function in a function that was called again, as in a test's fixture.
    """
    if known.function is task.function:
        return True
    if known.where != task.where:
        return False
    if hasattr(task.function, "where"):  # a command: its place in the configuration
        return True
    if known.execution is not task.execution or task.execution is None:
        return True
    return _filling.get() is None and "<locals>" in getattr(written(task.function), "__qualname__", "")


_registry = Registry()
# While apps are imported anew, what is in use must not change: an import may wait, and others go on
_filling: ContextVar[Registry | None] = ContextVar("monqbus_filling", default=None)


def registry() -> Registry:
    """The registry in use: what may run, and what handles which topic."""
    return _registry


def take(new: Registry) -> None:
    """Let *new* be the registry in use."""
    global _registry  # noqa: PLW0603 - see bind
    _registry = new


@contextmanager
def filling(new: Registry) -> Iterator[None]:
    """Let decorators fill *new*, in this greenlet."""
    token = _filling.set(new)
    try:
        yield
    finally:
        _filling.reset(token)


def being_filled() -> Registry:
    """The registry that decorators fill, in this greenlet."""
    return _filling.get() or _registry


def _declare(given: Any, name: str | None, options: Options) -> Any:
    if isinstance(given, staticmethod) and isinstance(given.__func__, Task):
        given = given.__func__
    if isinstance(given, Task):
        return given
    function = runnable(given)
    full = name or f"{function.__module__}.{getattr(function, '__qualname__', function)}"
    if not full.isascii():
        raise BadDeclaration(
            f"@task: expected a name of ASCII letters, digits and _.:-, got {full!r:.150}; "
            "give it one: @task(name='my.task')"
        )
    if TASK_NAME.fullmatch(full) is None:
        raise BadDeclaration(
            f"@task: {full!r:.150} cannot be found again after a restart; move the function to the top of "
            "its module, or give it a name: @task(name='my.task')"
        )
    task: Task[..., Any] = Task(function, full, options)
    being_filled().add(task)
    return task


@overload
def task(function: Callable[P, R], /) -> Task[P, R]: ...


@overload
def task(
    *,
    name: str | None = None,
    priority: int | None = None,
    delay: float = 0.0,
    max_attempts: int | None = None,
    timeout: float | None = None,
    result_type: str = "forget",
    cpu: bool = False,
    open_after: str = "",
    probe: float = DEFAULT_PROBE,
) -> Callable[[Callable[P, R]], Task[P, R]]: ...


def task(function: Any = None, /, *, name: str | None = None, **options: Any) -> Any:
    """Register a function as a task, plain or with options.

    *timeout* and *delay* in seconds. Works on a static method too, on either side of
    ``@staticmethod``. Raises BadDeclaration.
    """
    chosen = Options().but(options)
    if function is None:
        return lambda function: _declare(function, name, chosen)
    return _declare(function, name, chosen)


def event_handler(
    *topics: str,
    when: str | Rule | None = None,
    name: str | None = None,
    priority: int | None = None,
    delay: float = 0.0,
    max_attempts: int | None = None,
    timeout: float | None = None,
    result_type: str = "forget",
    cpu: bool = False,
    open_after: str = "",
    probe: float = DEFAULT_PROBE,
    **unknown: NoReturn,
) -> Callable[[Callable[P, R]], Task[P, R]]:
    """Register a function for *topics*; every event becomes one MonQTask for each handler.

    *when* is a rule, such as ``body.action == "opened"``: of an event for which it does not hold this handler
    gets no task. Takes the options of `@task`. Raises BadDeclaration.
    """
    _require_topics(topics)
    rule = _rule(when)
    chosen = Options(
        priority=priority,
        delay=delay,
        max_attempts=max_attempts,
        timeout=timeout,
        result_type=result_type,
        cpu=cpu,
        open_after=open_after,
        probe=probe,
    ).but(unknown)

    def declare(function: Callable[P, R]) -> Task[P, R]:
        declared: Task[P, R] = _declare(function, name, chosen)
        if not declared.parameters.takes_a_topic:
            raise BadDeclaration(
                f"@event_handler: {declared.name}{declared.parameters} takes no topic; write it as "
                "(topic, event) for deliveries of a hook, as (topic, *args, **kwargs) for published events"
            )
        being_filled().subscribe(declared, topics, rule)
        return declared

    return declare


def _rule(when: str | Rule | None) -> Rule | None:
    if when is None or isinstance(when, Rule):
        return when
    if not isinstance(when, str):
        raise BadDeclaration(f"@event_handler when: expected a rule in quotes, got {shown(when, 80)}")
    from ..config.conditions import HANDLER_RULE  # only whoever has rules needs the configuration
    from ..config.value_types import Unfit

    try:
        return HANDLER_RULE.read(when)
    except Unfit as error:
        raise BadDeclaration(f"@event_handler when: {HANDLER_RULE.complaint(when, error)}") from None


def _require_topics(topics: tuple[object, ...]) -> None:
    if not topics:
        raise BadDeclaration(
            "@event_handler: expected at least one topic, got none; write @event_handler('shop.sold')"
        )
    for topic in topics:
        if callable(topic):  # written without parentheses, it is given the function itself
            raise BadDeclaration(
                f"@event_handler: expected topics in parentheses, got the function {name_of(topic)}; write "
                "@event_handler('shop.sold') above it"
            )
        if not isinstance(topic, str) or TOPIC.fullmatch(topic) is None:
            raise BadDeclaration(
                "@event_handler: expected topics of letters, digits and _.:- in quotes, "
                f"got {shown(topic, 80)}{_remedy(topic)}"
            )


def _remedy(topic: object) -> str:
    if isinstance(topic, (list, tuple, set)):
        return "; write each as an argument of its own: @event_handler('shop.sold', 'shop.lent')"
    return "; there are no wildcards, name each topic" if isinstance(topic, str) and "*" in topic else ""
