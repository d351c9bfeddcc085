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
    """The handler that *section* describes, or None when its mistakes leave none. Looks at the disk."""
    name = section.name.removeprefix("handler:")
    values = reader.values(section, Handler)
    problems = [*_name_problems(section, name), *_missing(section, values)]
    if not problems:
        problems = _unusable(section, values, reader.file.parent)
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


def _unusable(section: Section, values: Values, folder: Path) -> list[tuple[int, str]]:
    """What would fail at every run: a program, a folder or a user that is not there."""
    found = []
    working_dir = folder / (values.read.get("working_dir") or "")
    if not working_dir.is_dir():
        found.append(("working_dir", f"expected a folder, got {working_dir}; create or correct it"))
    elif (program := values.read.get("command", ("",))[0]) and not _is_program(program, working_dir):
        got = f"got {shown(program)}; correct its path, or run: chmod +x"
        found.append(("command", f"expected a program that can be run, {got}"))
    if user := values.read.get("user"):
        found += [("user", problem) for problem in _user_problems(user)]
    return [(section.entries[key].line, f"[{section.name}] {key}: {problem}") for key, problem in found]


def program_of(handler: Handler) -> Path:
    """The file that is run for *handler*, whose `working_dir` is absolute."""
    program = handler.command[0]
    found = program if "/" in program else shutil.which(program) or program
    return (handler.working_dir or Path()) / found


def uid_of(handler: Handler) -> int:
    """The user that the command runs as."""
    return pwd.getpwnam(handler.user).pw_uid if handler.user else os.geteuid()


def _is_program(program: str, working_dir: Path) -> bool:
    if "/" not in program:
        return shutil.which(program) is not None
    path = working_dir / program
    return path.is_file() and os.access(path, os.X_OK)


def _user_problems(user: str) -> list[str]:
    try:
        wanted = pwd.getpwnam(user)
    except KeyError:
        return [f"expected a user of this machine, got {shown(user)}; create it with: useradd"]
    if os.geteuid() not in (0, wanted.pw_uid):
        return [f"expected none, got {shown(user)}: only root may run commands as somebody else; remove it"]
    return []
