"""Which callables a task can be: those whose work is done when they return.

What is judged is the callable itself, not what its decorators wrap: a plain function around a coroutine
function may well run it to its end.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from functools import partial
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any, Final

from ..errors import BadDeclaration
from ..safe_text import shown

RUN_IT: Final = (
    "make it a plain function that calls asyncio.run(...), with cpu=True: greenlets share a thread, "
    "which has one event loop"
)
LOOP_IN_IT: Final = "loop inside a plain function, or let one return list(...)"
_LAZY: Final[tuple[tuple[type, str, str], ...]] = (
    (CoroutineType, "a coroutine", RUN_IT),
    (AsyncGeneratorType, "an async generator", RUN_IT),
    (GeneratorType, "a generator", LOOP_IN_IT),
    (map, "a map object", LOOP_IN_IT),
    (filter, "a filter object", LOOP_IN_IT),
)
_DONE: Final = frozenset({type(None), bool, int, float, str, bytes, dict, list, tuple})
MOST_WRAPPERS: Final = 100
_RECEIVERS: Final = ("self", "cls")


def runnable(given: Any) -> Callable[..., Any]:
    """*given* as a task can call it, a static method as its function.

    Raises BadDeclaration for what cannot be called, or would not have run when it returns.
    """
    function = given.__func__ if isinstance(given, staticmethod) else given
    if isinstance(function, classmethod):
        raise BadDeclaration(
            f"@task: expected a function, got the class method {name_of(function.__func__)}; "
            "make it a static method"
        )
    if isinstance(function, type):
        raise BadDeclaration(
            f"@task: expected a function, got {shown(function, 80)}; declare a function that makes the object"
        )
    if isinstance(function, str):
        raise BadDeclaration(
            f"@task: expected a function, got the text {shown(function, 80)}; "
            "a name is an option: @task(name='my.task')"
        )
    if not callable(function) or not isinstance(getattr(function, "__module__", None), str):
        raise BadDeclaration(
            f"@task: expected a function, got {shown(function, 80)}; declare one that calls it"
        )
    _refuse_lazy(function)
    if not isinstance(given, staticmethod) and (receiver := _receiver(function)):
        raise BadDeclaration(
            f"@task: expected a function, got the method {name_of(function)}, whose {receiver!r} no post "
            "can give; leave it out and write @staticmethod above @task, or move it out of the class"
        )
    return function


def written(function: Any) -> Any:
    """The function as it stands in the source, below the decorators that say what they wrap, and partials."""
    for _ in range(MOST_WRAPPERS):
        inner = function.func if isinstance(function, partial) else getattr(function, "__wrapped__", None)
        if inner is None:
            break
        function = inner
    return function


def execution_of(function: Any) -> object:
    """What is another one whenever the module that declares *function* is executed again; None if unknown."""
    inner = written(function)
    names = getattr(inner, "__globals__", None)
    if names is None:
        names = vars(sys.modules.get(getattr(inner, "__module__", ""), object))
    return names.get("__spec__")


def unfinished(value: object) -> str | None:
    """What is wrong with a handler that has returned *value*, when that is work which has not run.

    A coroutine is closed, so that Python does not complain that nobody has awaited it.
    """
    if type(value) in _DONE:
        return None
    for kind, words, remedy in _LAZY:
        if isinstance(value, kind):
            if inspect.iscoroutine(value) and inspect.getcoroutinestate(value) == inspect.CORO_CREATED:
                value.close()
            return f"it returned {words}, whose work has not run; {remedy}"
    if inspect.isawaitable(value):
        return f"it returned an awaitable {type(value).__name__}, whose work may not have run; {RUN_IT}"
    return None


def _refuse_lazy(function: Callable[..., Any]) -> None:
    for one in (function, type(function).__call__):
        for is_lazy, words, remedy in (
            (inspect.iscoroutinefunction, "coroutine function", RUN_IT),
            (inspect.isasyncgenfunction, "async generator function", RUN_IT),
            (inspect.isgeneratorfunction, "generator function", LOOP_IN_IT),
        ):
            if is_lazy(one):
                raise BadDeclaration(
                    "@task: expected a function whose work is done when it returns, "
                    f"got the {words} {name_of(function)}; {remedy}"
                )


def _receiver(function: Any) -> str | None:
    """The name under which *function*, written in the body of a class, wants its object."""
    code = getattr(function, "__code__", None)
    if code is None or inspect.ismethod(function) or not code.co_argcount:
        return None
    parts = function.__qualname__.split(".")
    is_of_a_class = len(parts) > 1 and parts[-2] != "<locals>"
    first: str = code.co_varnames[0]
    return first if is_of_a_class and first in _RECEIVERS else None


def name_of(function: Any) -> str:
    """What a message calls *function*."""
    return getattr(function, "__qualname__", None) or shown(function, 80)
