"""One setting: a field of a typed group, with its key, its default, its kind and its description.

A field made by `setting` is one row. The file's reader, the sample, the reference and the checks all
walk the same rows, so adding a setting is adding one field.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field, fields
from typing import Any, NamedTuple, TypeVar, cast

from .value_types import ValueType

T = TypeVar("T")


class Setting(NamedTuple):
    """One row: the *key* of the file, its *default* as written there (None: required), its kind."""

    key: str
    attribute: str
    default: str | None
    kind: ValueType[Any]
    does: str


def setting(default: str | None, kind: ValueType[T], does: str, *, key: str = "") -> T:
    """A field of a group that is read from the file; *does* is its help, one or two sentences."""
    metadata = {"default": default, "kind": kind, "does": does, "key": key}
    if default is None:
        return cast("T", field(metadata=metadata))
    value = kind.read(default)
    if isinstance(value, dict):  # dataclasses take no mutable default
        return field(default_factory=lambda: kind.read(default), metadata=metadata)
    return field(default=value, metadata=metadata)


def rows(group: type[Any]) -> Iterator[Setting]:
    """The settings of *group* in the order of the file."""
    for one in fields(group):
        if one.metadata:
            data = one.metadata
            yield Setting(data["key"] or one.name, one.name, data["default"], data["kind"], data["does"])
