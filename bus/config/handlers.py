"""Checks a `[handler:NAME]` section: a command for a topic."""

from __future__ import annotations

import os
import pwd
import re
import shutil
from pathlib import Path

from .ini import Section
from .sections import Reader, Values
from .settings import Handler
from .value_types import shown

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


def read_handler(section: Section, reader: Reader) -> Handler | None:
    """The handler that *section* describes, or None when its mistakes leave none.

    Whether its program, folder and user are there is not looked at: they may come later.
    """
    name = section.name.removeprefix("handler:")
    values = reader.values(section, Handler)
    problems = [*_name_problems(section, name), *_missing(section, values)]
    for line, sentence in problems:
        reader.findings.problem(line, sentence)
    if problems or not {"topics", "command"} <= values.read.keys():
        return None
    return Handler(name=name, **values.read, where=reader.findings.place(section.line))


def _name_problems(section: Section, name: str) -> list[tuple[int, str]]:
    if _NAME.fullmatch(name):
        return []
    expected = "expected a name of 1 to 64 letters, digits, _ and - behind handler:"
    return [
        (section.line, f"[handler:NAME]: {expected}, got {shown(name)}; write for example [handler:deploy]")
    ]


def _missing(section: Section, values: Values) -> list[tuple[int, str]]:
    examples = {"topic": "topic = github.push", "command": "command = /usr/local/bin/deploy.sh"}
    return [
        (
            section.line,
            f"[{section.name}]: expected the key {key}, got none; write for example {examples[key]}",
        )
        for key in examples
        if key not in values.given
    ]


def program_of(handler: Handler) -> Path:
    """The file that is run for *handler*, whose `working_dir` is absolute."""
    program = handler.command[0]
    found = program if "/" in program else shutil.which(program) or program
    return (handler.working_dir or Path()) / found


def uid_of(handler: Handler) -> int:
    """The user that the command runs as; ourselves when it is not there."""
    try:
        return pwd.getpwnam(handler.user).pw_uid if handler.user else os.geteuid()
    except KeyError:
        return os.geteuid()
