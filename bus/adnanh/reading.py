"""Reads a file of hooks, JSON or YAML, with the templates of ``webhook -template`` in it. Pure."""

from __future__ import annotations

import re
from typing import Any, Final

from .. import strict_json
from ..errors import ConfigError

MOST_HOOKS: Final = 1000
DEEPEST: Final = 64
OPENED, CLOSED = "\ue000", "\ue001"
"""Around a reference that stood in a template; characters that no file of hooks has."""

_TEMPLATE = re.compile(
    r"\{\{-?\s*(getenv|cat|credential)\s+(?:\\?\"([^\"\\\n]+)\\?\"|`([^`\n]+)`)\s*(?:\|\s*\w+\s*)*-?\}\}"
)
_REFERENCES: Final = {"getenv": "env", "cat": "file", "credential": "credential"}
_NO_LIST: Final = "expected a list of hooks, got something else; name the file given to webhook with -hooks"


def hooks_of(content: bytes, name: str) -> list[dict[str, Any]]:
    """The hooks in *content*; *name* is that of its file. Raises ConfigError.

    A value that a template takes from a variable, file or credential stands between OPENED and CLOSED.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{name}: expected UTF-8, got byte {content[error.start]:#04x}; save it so"
        ) from None
    if OPENED in text or CLOSED in text:
        raise ConfigError(f"{name}: expected text, got a character for private use, U+E000; remove it")
    text = _TEMPLATE.sub(_reference, text)
    is_yaml = name.lower().endswith((".yaml", ".yml")) or not text.lstrip().startswith(("[", "{"))
    found = _yaml(text, name) if is_yaml else _json(text, name)
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise ConfigError(f"{name}: {_NO_LIST}")
    if len(found) > MOST_HOOKS:
        raise ConfigError(
            f"{name}: expected at most {MOST_HOOKS} hooks, got {len(found)}; import it in parts"
        )
    return found


def _reference(match: re.Match[str]) -> str:
    return f"{OPENED}{_REFERENCES[match[1]]}:{match[2] or match[3]}{CLOSED}"


def _json(text: str, name: str) -> Any:
    try:
        return strict_json.parse(text.encode())
    except strict_json.BadJson as error:
        said = str(error).removeprefix("body: ")
        remedy = "of templates getenv, cat and credential are understood; write the others out"
        raise ConfigError(f"{name}: {said}{f'; {remedy}' if '{{' in text else ''}") from None


def _yaml(text: str, name: str) -> Any:
    try:
        import yaml
    except ImportError:
        raise ConfigError(
            f"{name}: expected the package PyYAML, which YAML needs, got none; install it: "
            "pip install 'monqbus[yaml]', or convert the file: yq -o json"
        ) from None

    try:
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, yaml.SafeLoader)):
            raise ConfigError(f"{name}: expected no aliases (*name), which multiply, got one; write it out")
        return _checked(yaml.safe_load(text), name, 0)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" at line {mark.line + 1}" if mark else ""
        raise ConfigError(
            f"{name}: expected YAML of plain values, got something else{place}; correct it"
        ) from None
    except (ValueError, OverflowError, RecursionError, TypeError, AttributeError):
        raise ConfigError(f"{name}: expected YAML of plain values, got others; correct it") from None


def _checked(value: Any, name: str, depth: int) -> Any:
    """*value* where it is such as JSON can have it. Raises ConfigError."""
    if depth > DEEPEST:
        raise ConfigError(f"{name}: expected at most {DEEPEST} levels, got more; import it in parts")
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise ConfigError(f"{name}: expected texts as keys, got others; put them in quotes")
        return {key: _checked(one, name, depth + 1) for key, one in value.items()}
    if isinstance(value, list):
        return [_checked(one, name, depth + 1) for one in value]
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    raise ConfigError(f"{name}: expected plain values, got {type(value).__name__}; put it in quotes")
