"""What may run: `@task`, `@event_handler`, and the registry they fill.

A decorator only records. `.post()` goes to the poster that the process binds: the daemon binds its
own store, a web application binds one with ``monqbus.connect()``. A task name read from a store is
a key into the registry and nothing else: no stored text is ever imported or looked up as attribute.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Generic, ParamSpec, Protocol, TypeVar, overload

from bson import ObjectId

from ..clock import Clock
from ..errors import BadDeclaration, NotBound
from ..model import MonQTask, Receipt
from ..safe_text import shown
from .calls import Batch, announcement, held, holding, prepare
from .context import capture
from .options import Options

P = ParamSpec("P")
R = TypeVar("R")

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,127}")
TOPIC = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
_CONTROL = re.compile(r"__task_(\w+)")


class Poster(Protocol):
    """Where `.post()` and `post_event()` go. Both block until the store says durable."""

    def post(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], options: Options) -> MonQTask:
        """Store one task; raises NotStorable, StoreUnavailable."""

    def publish(self, topic: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Receipt:
        """Store one event with a task for each handler."""

    @property
    def clock(self) -> Clock:
        """The queue's time."""

    def store(self, batch: Batch) -> None:
        """Store all of *batch* in one write: all or none where the store can."""


class Task(Generic[P, R]):
    """A registered callable. Calling it runs it here and now; `.post()` stores a MonQTask."""

    def __init__(self, function: Callable[P, R], name: str, options: Options) -> None:
        self.function = function
        self.name = name
        self.defaults = options
        self.topics: tuple[str, ...] = ()
        self.__name__ = getattr(function, "__name__", name)
        self.__doc__ = function.__doc__
        self.__module__ = function.__module__
        self.__wrapped__ = function

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run it here and now, as the plain function it is."""
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<task {self.name}>"

    @property
    def where(self) -> str:
        """``file:line`` of the declaration."""
        code = getattr(self.function, "__code__", None)
        if code is None:
            return getattr(self.function, "where", self.__module__)
        return f"{code.co_filename}:{code.co_firstlineno}"

    def post(self, *args: P.args, **kwargs: P.kwargs) -> MonQTask:
        """Store this call as a MonQTask; it is durable when this returns. Blocks on the store.

        Allura's ``__task_delay=60`` and the like are taken as options. Raises NotStorable,
        NotBound, StoreUnavailable.
        """
        return self._post(self.defaults, args, kwargs)

    def post_many(self, calls: Iterable[tuple[Any, ...]]) -> list[MonQTask]:
        """Store one task for each tuple of arguments, in their order and in one write; see `hold`."""
        return self._post_many(self.defaults, calls)

    def options(self, **changes: Any) -> Prepared[P]:
        """The same task with other options for one post: delay, priority, key, max_attempts, timeout, …"""
        return Prepared(self, self.defaults.for_one_post(changes))

    def _post(self, options: Options, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> MonQTask:
        plain = {}
        controls = {}
        for name, value in kwargs.items():
            if control := _CONTROL.fullmatch(name):
                controls[control[1]] = value
            else:
                plain[name] = value
        # Allura's posts could wait for the end of the request; here a post is always durable at once
        if controls.pop("flush_immediately", True) is not True:
            raise BadDeclaration("__task_flush_immediately: expected True, a post is always stored at once")
        chosen = options.for_one_post(controls)
        if (batch := held()) is None:
            return poster().post(self.name, args, plain, chosen)
        batch.require_room()
        task = prepare(poster().clock, self.name, args, plain, chosen, capture())
        batch.tasks.append(task)
        return task

    def _post_many(self, options: Options, calls: Iterable[tuple[Any, ...]]) -> list[MonQTask]:
        with hold():
            return [self._post(options, args, {}) for args in calls]


@dataclass(frozen=True, slots=True)
class Prepared(Generic[P]):
    """A task with options, ready to be posted."""

    task: Task[P, Any]
    chosen: Options

    def post(self, *args: P.args, **kwargs: P.kwargs) -> MonQTask:
        """As Task.post."""
        return self.task._post(self.chosen, args, kwargs)

    def post_many(self, calls: Iterable[tuple[Any, ...]]) -> list[MonQTask]:
        """As Task.post_many."""
        return self.task._post_many(self.chosen, calls)


class Registry:
    """Every task by name, every handler by topic."""

    def __init__(self) -> None:
        self.tasks: dict[str, Task[..., Any]] = {}
        self._handlers: dict[str, list[Task[..., Any]]] = {}

    def add(self, task: Task[..., Any]) -> None:
        """Register *task*; two functions under one name are refused."""
        known = self.tasks.get(task.name)
        if known is not None and known.where != task.where:
            raise BadDeclaration(f"task {task.name}: declared at {known.where} and again at {task.where}")
        self.tasks[task.name] = task

    def subscribe(self, task: Task[..., Any], topics: Iterable[str]) -> None:
        """Let *task* handle *topics*; handlers of one topic keep the order of declaration."""
        for topic in topics:
            handlers = self._handlers.setdefault(topic, [])
            handlers[:] = [other for other in handlers if other.name != task.name] + [task]
            task.topics = (*task.topics, topic)

    def handlers_of(self, topic: str) -> list[Task[..., Any]]:
        """The tasks that handle *topic*."""
        return self._handlers.get(topic, [])

    @property
    def topics(self) -> list[str]:
        """Every topic that has a handler."""
        return sorted(self._handlers)


_registry = Registry()
# While apps are imported anew, what is in use must not change: an import may wait, and others go on
_filling: ContextVar[Registry | None] = ContextVar("monqbus_filling", default=None)
_poster: Poster | None = None


def registry() -> Registry:
    """The registry in use: what may run, and what handles which topic."""
    return _registry


def use(new: Registry) -> None:
    """Let *new* be the registry in use."""
    global _registry  # noqa: PLW0603 - see bind
    _registry = new


@contextmanager
def filling(new: Registry) -> Iterator[None]:
    """Let what is declared in this greenlet go to *new*, until the block ends."""
    token = _filling.set(new)
    try:
        yield
    finally:
        _filling.reset(token)


def _being_filled() -> Registry:
    """The registry that decorators fill, in this greenlet."""
    return _filling.get() or _registry


def bind(new: Poster | None) -> None:
    """Let every `.post()` of this process go to *new*."""
    global _poster  # noqa: PLW0603 - one process, one store: the only other global is the registry
    _poster = new


def poster() -> Poster:
    """The bound poster. Raises NotBound."""
    if _poster is None:
        raise NotBound
    return _poster


def _declare(function: Any, name: str | None, options: Options) -> Any:
    if isinstance(function, staticmethod):
        function = function.__func__
    if isinstance(function, Task):
        return function
    is_of_a_module = isinstance(getattr(function, "__module__", None), str)
    if not callable(function) or isinstance(function, type) or not is_of_a_module:
        raise BadDeclaration(f"@task: expected a function, got {function!r:.80}")
    full = name or f"{function.__module__}.{getattr(function, '__qualname__', function)}"
    if not full.isascii():
        raise BadDeclaration(
            f"@task: expected a name of ASCII letters, digits and _.:-, got {full!r:.150}; "
            "give it one: @task(name='my.task')"
        )
    if NAME.fullmatch(full) is None:
        raise BadDeclaration(
            f"@task: {full!r:.150} cannot be found again after a restart; move the function to the top of "
            "its module, or give it a name: @task(name='my.task')"
        )
    task: Task[..., Any] = Task(function, full, options)
    _being_filled().add(task)
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
    name: str | None = None,
    priority: int | None = None,
    delay: float = 0.0,
    max_attempts: int | None = None,
    timeout: float | None = None,
    result_type: str = "forget",
    cpu: bool = False,
) -> Callable[[Callable[P, R]], Task[P, R]]:
    """Register a function for *topics*; every event becomes one MonQTask for each handler.

    Takes the options of `@task`. Raises BadDeclaration.
    """
    for topic in topics or ("",):
        if not isinstance(topic, str) or TOPIC.fullmatch(topic) is None:
            raise BadDeclaration(
                "@event_handler: expected topics of letters, digits and _.:- in quotes, "
                f"got {shown(topic, 80)}"
            )
    chosen = Options(
        priority=priority,
        delay=delay,
        max_attempts=max_attempts,
        timeout=timeout,
        result_type=result_type,
        cpu=cpu,
    )

    def declare(function: Callable[P, R]) -> Task[P, R]:
        declared: Task[P, R] = _declare(function, name, chosen)
        _being_filled().subscribe(declared, topics)
        return declared

    return declare


def post_event(topic: str, *args: Any, **kwargs: Any) -> ObjectId:
    """Publish an event: one task for each handler of *topic*, stored in one step. Returns its id.

    Handlers are called with ``(topic, *args, **kwargs)``. Blocks on the store. Raises NotStorable,
    NotBound, StoreUnavailable, and BadDeclaration for a topic that no handler could have.
    """
    if not isinstance(topic, str) or TOPIC.fullmatch(topic) is None:
        raise BadDeclaration(
            f"post_event: expected a topic of letters, digits and _.:-, got {shown(topic, 80)}"
        )
    if (batch := held()) is not None:
        batch.require_room()
        batch.events.append(announcement(poster().clock, topic, args, kwargs, capture()))
        return batch.events[-1].event.id
    event_id = poster().publish(topic, args, kwargs).event_id
    assert event_id is not None  # noqa: S101 - an event's receipt always names it
    return event_id


@contextmanager
def hold() -> Iterator[None]:
    """Store what is posted and published in the block at its end, in one write; nothing when it raises.

    Ids are known in the block, `join` works after it. Another `hold` inside belongs to the outer one; what
    other threads post does not. At most 5,000 posts. Raises at the end as `.post()` does: all or nothing is
    stored then, except on MongoDB, where an outage may leave a part of it.
    """
    if held() is not None:
        yield
        return
    with holding() as batch:
        yield
    if len(batch):
        poster().store(batch)


class Globals:
    """Allura's `g`, as far as events go: ``g.post_event(topic, ...)``."""

    post_event = staticmethod(post_event)


g = Globals()
