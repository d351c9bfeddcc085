"""Declares the section `[handler:NAME]`, a command for a topic: what fails at every run, and its pages."""

from __future__ import annotations

import os
import pwd
import shutil
from pathlib import Path
from typing import Final

from .ini import Section
from .section_kinds import Live, SectionKind, Values
from .settings import Handler
from .value_types import shown

_EXAMPLES: Final[Live] = {
    "handler:announce": {
        "topic": "github.push, github.release",
        "command": "/bin/echo {topic} in {body:repository.full_name}",
        "timeout": "2m",
        "max_attempts": "3",
        "max_concurrent": "1",
        "priority": "20",
        "working_dir": ".",
        "environment": "DEPLOY_KEY",
    },
}

_ABOUT: Final = """\

Each handler is a section of its own; NAME has 1 to 64 letters, digits, `_` and `-`. Its tasks are called
`handler:NAME`. What the command is given and what its exit code means: [commands.md](commands.md).
"""


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


HANDLER: Final = SectionKind(
    "handler",
    "handlers",
    Handler,
    "A command that is run for each event of a topic; no Python needed.",
    "deploy",
    _unusable,
    _ABOUT,
    _EXAMPLES,
)
