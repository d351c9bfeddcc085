"""A path alone, and the text of what stands there: by it tasks are kept in order. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from json import dumps
from typing import Any, Final

from .parser import path_alone
from .paths import Getter, Names
from .subject import Subject

LONGEST_KEY: Final = 200
"""Characters of a value that are kept as they are; of a longer one its SHA-256."""


@dataclass(frozen=True)
class KeyPath:
    """A path such as ``body.repository.id``. `body_paths`, `headers` and `parameters` as those of a rule."""

    text: str
    get: Getter = field(compare=False, repr=False)
    root: str = ""
    body_paths: tuple[str, ...] = ()
    headers: frozenset[str] = frozenset()
    parameters: frozenset[str] = frozenset()

    def key(self, subject: Subject) -> str | None:
        """The text of the value of *subject* at the path; None where there is none. It never raises."""
        return text_of(self.get(subject))


def key_path(text: str, names: Names) -> KeyPath:
    """The path that *text* is, in which *names* are known. Raises BadRule for the first mistake in it."""
    get, root, rule = path_alone(text, names)
    return KeyPath(text, get, root, rule.body_paths, rule.headers, rule.parameters)


def text_of(value: Any) -> str | None:
    """*value* as a text that equal values share: 1 and "1" are two. None for none."""
    if value is None:
        return None
    text = dumps(value, sort_keys=True, default=repr, skipkeys=True)
    return text if len(text) <= LONGEST_KEY else f"sha256:{sha256(text.encode()).hexdigest()}"
