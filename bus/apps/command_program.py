"""What keeps a command from being started: its folder, its program, the interpreter of a script, its user.

Nothing of that is a mistake of the configuration: a disk is mounted late, a deployment puts a script in
another's place. So it is looked at when a command is to run, by `check` and `doctor`, and now and then by the
daemon, and never by whoever only reads the configuration.
"""

from __future__ import annotations

import os
import pwd
import shutil
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from ..config import Handler
from ..files import regular_file

FIRST_BYTES: Final = 256
"""How much of a script's first line Linux reads: BINPRM_BUF_SIZE of binfmts.h."""

_ANY_EXECUTE: Final = stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH


def faults_of(handlers: Iterable[Handler]) -> Mapping[str, str]:
    """The names of those *handlers* whose command could not be started now, each with the sentence.

    Their `working_dir` is absolute. Looks at the disk, and blocks for as long as that takes.
    """
    found = {
        one.name: fault(one.command[0], one.working_dir or Path.cwd(), one.user, os.environ.get("PATH"))
        for one in handlers
        if one.command
    }
    return {name: sentence for name, sentence in found.items() if sentence}


def fault(program: str, folder: Path, user: str, search: str | None) -> str:
    """What keeps *program* from being started in *folder* as *user*, a sentence; "" when nothing is seen.

    A program without a slash is looked for in the folders of *search*, as $PATH has them. Looks at the disk.
    """
    return fault_of_user(user) or _folder_fault(folder) or _program_fault(program, folder, search)


def fault_of_user(user: str) -> str:
    """As `fault`, of its *user* alone."""
    if not user:
        return ""
    try:
        wanted = pwd.getpwnam(user)
    except KeyError:
        return f"user: expected a user of this machine, got {user!r}; create it with: useradd"
    if os.geteuid() not in (0, wanted.pw_uid):
        return f"user: expected none, got {user!r}: only root may run commands as somebody else; remove it"
    return ""


def _folder_fault(folder: Path) -> str:
    subject = f"working_dir: expected a folder, got {folder}"
    try:
        if not stat.S_ISDIR(folder.stat().st_mode):
            return f"{subject}, which is none; correct it"
    except FileNotFoundError:
        return f"{subject}, which is not there; create it, mount its disk, or correct it"
    except OSError as error:
        return f"{subject}: {error.strerror}; correct it, or let this user get at it"
    if not os.access(folder, os.X_OK):
        return f"{subject}, which this user may not enter; run: chmod +x {folder}"
    return ""


def _program_fault(program: str, folder: Path, search: str | None) -> str:
    if "/" not in program:
        found = shutil.which(program, path=search)
        if found is None:
            got = f"got {program!r}, which is in none of {search}"
            return f"command: expected a program of $PATH, {got}; install it, or write its whole path"
        return _script_fault(Path(found))
    path = folder / program
    return _file_fault("command: expected a program", path) or _script_fault(path)


def _file_fault(expected: str, path: Path) -> str:
    """Why *path* is no file that this user may run."""
    subject = f"{expected}, got {path}"
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        what = "a link to nothing" if path.is_symlink() else "which is not there"
        return f"{subject}, {what}; put it back, mount its disk, or correct the path"
    except OSError as error:
        return f"{subject}: {error.strerror}; correct the path, or let this user get at it"
    if not stat.S_ISREG(mode):
        return f"{subject}, which is {'a folder' if stat.S_ISDIR(mode) else 'no file'}; correct the path"
    if not mode & _ANY_EXECUTE:
        return f"{subject}, which is not executable; run: chmod +x {path}"
    if not os.access(path, os.X_OK):
        return f"{subject}, which this user may not run; see its mode, and whether its disk is mounted noexec"
    return ""


def _script_fault(path: Path) -> str:
    """Why the kernel could not start the file *path*, as far as its first line shows."""
    try:
        start = regular_file.read(path, FIRST_BYTES).data
    except (OSError, ValueError):
        return ""  # a program need not be readable
    line, _, _ = start.partition(b"\n")
    if not line.startswith(b"#!"):
        if start and (not start.isascii() or b"\0" in start):
            return ""
        return (
            f"command: expected a program, got {path}, a text that names no interpreter; "
            "let its first line be #!/bin/sh, or what it is written for"
        )
    if line.endswith(b"\r"):
        return (
            f"command: expected a script, got {path} with \\r at the end of its first line, which then "
            f"belongs to the interpreter's name; give it the line ends of Unix: sed -i 's/\\r$//' {path}"
        )
    words = os.fsdecode(line[2:]).split()
    if not words:
        return f"command: expected an interpreter behind #! of {path}, got none; let it begin with #!/bin/sh"
    expected = f"command: expected the interpreter that {path} names in its first line"
    if sentence := _file_fault(expected, Path(words[0])):
        return sentence
    named = words[1] if len(words) > 1 else ""
    is_named = Path(words[0]).name == "env" and named[:1] not in ("", "-") and "=" not in named
    if is_named and shutil.which(named) is None:
        return f"{expected}, got {named!r}, which is not in $PATH; install it or correct that line"
    return ""
