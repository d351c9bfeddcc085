"""The rules of hooks and handlers: which events have which tasks; the paths that keep these in order."""

from __future__ import annotations

from typing import Final

from ..rules import OF_A_DELIVERY, OF_AN_EVENT, BadRule, KeyPath, Names, Rule, compiled, key_path
from ..senders.kept import is_kept, is_kept_parameter
from .value_types import Unfit, ValueType


def _reader(names: Names) -> ValueType[Rule | None]:
    """The kind of a rule in which *names* are known; nothing is none."""

    def read(text: str) -> Rule | None:
        if not text:
            return None
        try:
            rule = compiled(text, names)
        except BadRule as error:
            place = f"line {error.line}, column {error.column}" if "\n" in text else f"column {error.column}"
            remedy = f"{error.remedy}\n{error.caret}"
            raise Unfit(error.got, expected=f"{error.expected} at {place}", remedy=remedy) from None
        _require_kept(rule)
        return rule

    example = 'body.ref == "refs/heads/main" and header.X-GitHub-Event in ("push", "release")'
    return ValueType("a rule", example, read, is_language=True)


def _read_key_path(text: str) -> KeyPath | None:
    if not text:
        return None
    try:
        path = key_path(text, OF_AN_EVENT)
    except BadRule as error:
        raise Unfit(
            error.got, expected=f"{error.expected} at column {error.column}", remedy=error.remedy
        ) from None
    _require_kept(path)
    return path


def _require_kept(rule: Rule | KeyPath) -> None:
    """Raise Unfit for a header or parameter that is never stored: no event would have it."""
    lost = [f"header.{name}" for name in sorted(rule.headers) if not is_kept(name)]
    lost += [f"query.{name}" for name in sorted(rule.parameters) if not is_kept_parameter(name)]
    if lost:
        remedy = "name another one: those that may hold a secret are never stored, nor are odd names"
        raise Unfit(lost[0], expected="a header or query parameter that is kept", remedy=remedy)


HOOK_RULE: Final = _reader(OF_A_DELIVERY)
HANDLER_RULE: Final = _reader(OF_AN_EVENT)
KEY_PATH: Final = ValueType("a path into the event", "body.repository.id", _read_key_path, is_language=True)
