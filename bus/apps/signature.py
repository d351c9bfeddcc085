"""Whether a call fits the function that is declared for it: what Python would say, before it is stored.

The signature is that of the callable itself. A decorator's wrapper that takes everything takes everything:
what it hands on to the function inside is its own affair.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from inspect import Parameter, Signature
from typing import Any, Final

_POSITIONAL: Final = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)


class Parameters:
    """What a callable takes. Read once: at its first use, because it costs some ten microseconds."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._signature = _signature(function)

    def misfit(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str | None:
        """Why a call with *args* and *kwargs* cannot be made, None when it can or nobody can tell."""
        if self._signature is None:
            return None
        try:
            self._signature.bind(*args, **kwargs)
        except TypeError as error:
            return str(error)
        return None

    @property
    def takes_a_topic(self) -> bool:
        """Whether some event could be handed over: its topic comes first, by position."""
        if self._signature is None:
            return True
        kinds = {parameter.kind for parameter in self._signature.parameters.values()}
        return not kinds.isdisjoint((*_POSITIONAL, Parameter.VAR_POSITIONAL))

    def __str__(self) -> str:
        """The parameters as a ``def`` has them; a default is only said to be there: it may be a secret."""
        return f"({', '.join(_written(self._signature))})" if self._signature else "(...)"


def called_with(args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """How many arguments a call has, and the names of its keywords; their values may be secrets."""
    count = f"{len(args)} positional argument{'' if len(args) == 1 else 's'}"
    return f"{count} and {', '.join(f'{name}=' for name in sorted(kwargs))}" if kwargs else count


def _signature(function: Callable[..., Any]) -> Signature | None:
    try:
        return inspect.signature(function, follow_wrapped=False)
    except Exception:  # noqa: BLE001 - one of a compiled function may not be there, one of a user's may raise
        return None


def _written(signature: Signature) -> Iterable[str]:
    before = None
    has_star = False
    for parameter in signature.parameters.values():
        kind = parameter.kind
        if before is Parameter.POSITIONAL_ONLY is not kind:
            yield "/"
        if kind is Parameter.KEYWORD_ONLY and not has_star:
            yield "*"
            has_star = True
        if kind is Parameter.VAR_POSITIONAL:
            has_star = True
            yield f"*{parameter.name}"
        elif kind is Parameter.VAR_KEYWORD:
            yield f"**{parameter.name}"
        else:
            yield parameter.name if parameter.default is Parameter.empty else f"{parameter.name}=…"
        before = kind
    if before is Parameter.POSITIONAL_ONLY:
        yield "/"
