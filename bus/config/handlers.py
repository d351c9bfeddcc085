"""Declares the section `[handler:NAME]`, a command for a topic.

Whether its program, folder and user are there is not looked at here: they may come later.
"""

from __future__ import annotations

import os
import pwd
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from .ini import Section
from .section_kinds import Live, SectionKind, Values
from .section_settings import Handler

_EXAMPLES: Final[Live] = {
    "handler:announce": {
        "topic": "github.push, github.release",
        "command": "/bin/echo {topic} in {body:repository.full_name}",
        "when": 'body.ref == "refs/heads/main"',
        "timeout": "2m",
        "max_attempts": "3",
        "max_concurrent": "1",
        "open_after": "10 failures in 1m",
        "probe": "30s",
        "priority": "20",
        "working_dir": ".",
        "environment": "DEPLOY_KEY",
    },
    "handler:welcome": {
        "topic": "github.member",
        "task": "mail.send_mail",
        "args": '["{body:member.email|nobody@example.org}", 3]',
        "kwargs": '{"subject": "Welcome, {body:member.login}"}',
    },
}

_OWN: Final[Mapping[str, tuple[str, ...]]] = {
    "command": ("working_dir", "user", "environment"),
    "task": ("args", "kwargs"),
}
"""Settings that do something for one of them only."""

_ABOUT: Final = """\

Each handler is a section of its own; NAME has 1 to 64 letters, digits, `_` and `-`. Its tasks are called
`handler:NAME`. What the command is given and what its exit code means: [commands.md](commands.md).
"""


def _demands(section: Section, values: Values, _: Path) -> list[tuple[int, str]]:
    """Exactly one of command and task, and nothing that does something for the other one only."""
    subject = f"[{section.name}]"
    command, task = values.read.get("command"), values.read.get("task")
    if ("command" in values.given and command is None) or ("task" in values.given and task is None):
        return []  # it was wrong, and that has been said
    if not command and not task:
        remedy = "write for example command = /bin/echo {topic}"
        return [(section.line, f"{subject}: expected the key command or task, got neither; {remedy}")]
    if command and task:
        line = section.entries["task"].line
        return [(line, f"{subject} task: expected a command or a task, got both; remove one")]
    own = "command" if command else "task"
    idle = []
    if "probe" in section.entries and not values.read.get("open_after") and "open_after" not in values.given:
        sentence = "expected with open_after only, got it without; remove it"
        idle.append((section.entries["probe"].line, f"{subject} probe: {sentence}"))
    return idle + [
        (section.entries[key].line, f"{subject} {key}: expected with {other} only, got {own}; remove it")
        for other, keys in _OWN.items()
        for key in keys
        if other != own and key in section.entries
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


HANDLER: Final = SectionKind(
    "handler",
    "handlers",
    Handler,
    "A command that is run for each event of a topic; no Python needed.",
    "deploy",
    _demands,
    about=_ABOUT,
    examples=_EXAMPLES,
)
