"""How the call of a declared function ended, as the engine and a CPU worker decide it alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..retry import Ending, Raised, Returned, Unrunnable
from .callables import unfinished
from .registry import Task


def returned(declared: Task[..., Any], value: object) -> Ending:
    """The ending of a call that has returned *value*: work that has not run yet is none."""
    if (fault := unfinished(value)) is not None:
        return Unrunnable(f"TypeError: task {declared.name}: {fault}")
    return Returned(value)


def raised(
    declared: Task[..., Any],
    error: BaseException,
    traceback: str,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
) -> Ending:
    """The ending of a call that has raised *error*, caught in the function that made the call.

    One that the function does not take fails in the same way at every attempt. A TypeError that was raised
    inside of it is an error like any other: its traceback has a further frame.
    """
    is_of_the_call = (
        type(error) is TypeError and error.__traceback__ is not None and error.__traceback__.tb_next is None
    )
    if is_of_the_call and (fault := declared.misfit(args, kwargs)) is not None:
        return Unrunnable(f"TypeError: {fault}")
    return Raised(error, traceback)
