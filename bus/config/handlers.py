"""Declares the section `[handler:NAME]`, a command for a topic.

Whether its program, folder and user are there is not looked at here: they may come later.
"""

from __future__ import annotations

import os
import pwd
import shutil
from pathlib import Path
from typing import Final

from .section_kinds import Live, SectionKind
from .settings import Handler

_EXAMPLES: Final[Live] = {
    "handler:announce": {
        "topic": "github.push, github.release",
        "command": "/bin/echo {topic} in {body:repository.full_name}",
        "when": 'body.ref == "refs/heads/main"',
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
    about=_ABOUT,
    examples=_EXAMPLES,
)
