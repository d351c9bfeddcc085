"""Files that commands read and make for the user; a new one never replaces an old one."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

from ..errors import UsageError
from ..files import regular_file

LARGEST: Final = 32 * 1024 * 1024
STANDARD_INPUT: Final = "-"


def content_of(option: str, name: str) -> bytes:
    """All of the file *name*, of standard input for ``-``. Blocks; raises UsageError that names *option*."""
    try:
        if name == STANDARD_INPUT:
            content = sys.stdin.buffer.read(LARGEST + 1)
        else:
            content = regular_file.read(Path(name), LARGEST + 1).data
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a path"
        raise UsageError(
            f"{option}: expected a readable file, got {name}: {reason}; correct the path"
        ) from None
    if len(content) > LARGEST:
        raise UsageError(f"{option}: expected at most 32 MiB, got more; name the right file")
    return content


def write_new(option: str, path: Path, content: bytes) -> None:
    """Make the file *path* with mode 0600. Blocks; raises UsageError where something is there already."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with open(descriptor, "wb") as file:  # noqa: PTH123 - of a descriptor, which has no path
            file.write(content)
    except FileExistsError:
        raise UsageError(
            f"{option}: expected a new file, got {path}, which exists; choose another name"
        ) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a path"
        raise UsageError(f"{option}: expected a file that can be made, got {path}: {reason}") from None
