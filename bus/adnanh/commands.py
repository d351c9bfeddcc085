"""Turns execute-command with its arguments, environment and files into a handler's `command`. Pure.

Variables are set by ``env``, and what holds the whole body by a fixed line of ``sh`` that reads the file of
the event: no text of a sender becomes a part of that line.
"""

from __future__ import annotations

import re
import shlex
from typing import Any, Final

from .lost import Lost, listed, plain
from .sources import Parameter, parameter_of, placeholder

ENV: Final = "/usr/bin/env"
SHELL: Final = "/bin/sh"
MOST_NUMBERED: Final = 9
"""Arguments beside the body: a shell's $10 needs braces, which a command has for placeholders."""

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_COMMENT = re.compile(r"(\s);")
_BODY: Final = '"$(cat "$MONQBUS_BODY_FILE")"'


def command_of(hook: dict[str, Any], *, unpacks_payload: bool = False) -> str:
    """The value of `command`. Raises Lost."""
    program = plain(hook.get("execute-command", ""), "execute-command")
    if not program:
        raise Lost("execute-command: expected a program, got none", "write a [handler:NAME] for the topic")
    _require_fixed(program, "execute-command")
    arguments = [
        _parameter(one, "pass-arguments-to-command", unpacks_payload)
        for one in listed(hook, "pass-arguments-to-command")
    ]
    variables, files = _variables(hook, unpacks_payload), _files(hook)
    whole = [name for name, value in variables if value.kind == "payload"]
    words = [
        f"{name}={_word(value, 'pass-environment-to-command')}"
        for name, value in variables
        if name not in whole
    ]
    command = [ENV, *words] if words else []
    if files or whole or any(one.kind == "payload" for one in arguments):
        command += [SHELL, "-c", _line(arguments, files, whole)]
    command += [
        program,
        *(_word(one, "pass-arguments-to-command") for one in arguments if one.kind != "payload"),
    ]
    return " ".join(map(_quoted, command))


def _parameter(given: Any, what: str, unpacks: bool) -> Parameter:
    if isinstance(given, dict) and (given.get("base64decode") or given.get("keep-file")):
        raise Lost(f"{what}: base64decode is not known here", "decode it in the script")
    return parameter_of(given, what, unpacks_payload=unpacks)


def _variables(hook: dict[str, Any], unpacks: bool) -> list[tuple[str, Parameter]]:
    what = "pass-environment-to-command"
    return [(_variable(one, what), _parameter(one, what, unpacks)) for one in listed(hook, what)]


def _files(hook: dict[str, Any]) -> list[str]:
    """The variables with the path of the body's file. Raises Lost for another file."""
    what = "pass-file-to-command"
    found = []
    for one in listed(hook, what):
        if _parameter(one, what, unpacks=False).kind != "payload":
            remedy = "read it from the JSON in $MONQBUS_EVENT_FILE: jq -r .body.name"
            raise Lost(f"{what}: a file of a part of the request is not known here", remedy)
        found.append(_variable(one, what))
    return found


def _variable(one: dict[str, Any], what: str) -> str:
    name = plain(one.get("envname") or f"HOOK_{plain(one.get('name', ''), what)}", what)
    if not _VARIABLE.fullmatch(name):
        raise Lost(f"{what}: {name!r} is no name of a variable", "write envname, of letters, digits and _")
    return name


def _line(arguments: list[Parameter], files: list[str], whole: list[str]) -> str:
    """The shell's line: it names what it was given by numbers alone."""
    numbered = [one for one in arguments if one.kind != "payload"]
    if len(numbered) > MOST_NUMBERED:
        remedy = "let the script read $MONQBUS_BODY_FILE or standard input"
        raise Lost(f"pass-arguments-to-command: more than {MOST_NUMBERED} beside the whole body", remedy)
    number, words = 0, []
    for one in arguments:
        number += one.kind != "payload"
        words.append(_BODY if one.kind == "payload" else f'"${number}"')
    settings = [f'{name}="$MONQBUS_BODY_FILE"' for name in files] + [f"{name}={_BODY}" for name in whole]
    exported = f"export {' '.join(settings)} && " if settings else ""
    return f'{exported}exec "$0" {" ".join(words)}'.rstrip()


def _word(parameter: Parameter, what: str) -> str:
    if parameter.kind == "string":
        _require_fixed(parameter.name, what)
        return parameter.name
    return placeholder(parameter, what)


def _require_fixed(text: str, what: str) -> None:
    if "{" in text or "}" in text:
        raise Lost(f"{what}: braces begin a placeholder here", "put them into a script")


def _quoted(word: str) -> str:
    """*word* as `command` reads it; a space and ; would begin a comment of the file."""
    quoted = shlex.quote(word)
    return _COMMENT.sub(r"\1'';", quoted) if quoted.startswith("'") else quoted
