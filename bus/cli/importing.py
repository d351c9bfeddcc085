"""`import`: the configuration of another program as ours, and what it could not carry over."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from ..adnanh import converted, hooks_of
from ..adnanh.conversion import variable_of
from ..errors import ConfigError, UsageError
from . import terminal
from .files import content_of, write_new

LARGEST: Final = 256 * 1024
"""Bytes that a configuration may have."""
_OTHERWISE: Final = (
    "commands are given PATH, HOME, USER, LOGNAME, SHELL, LANG, TZ and TMPDIR, more by environment; they "
    "have an hour by timeout, and are tried once by max_attempts"
)


def import_hooks(options: argparse.Namespace) -> int:
    """Print the configuration, or write it with its secrets into new files; 1 where a hook is left out."""
    name = "standard input" if options.file == "-" else options.file
    hooks = hooks_of(content_of("FILE", options.file), name)
    out = Path(options.out) if options.out else None
    result = converted(hooks, _beside(out) if out else lambda hook: f"env:{variable_of(hook)}")
    if len(result.text.encode()) > LARGEST:
        raise ConfigError(
            f"{name}: expected hooks for a configuration of 256 KiB, got more; import it in parts"
        )
    if out is None:
        terminal.text(result.text)
    else:
        _write(out, result.text, result.secrets)
    for remark in result.remarks:
        terminal.note(remark)
    if out is None:
        for place in result.secrets:
            terminal.note(f"secret: set {place.removeprefix('env:')} to that of the hook, or use --out FILE")
    terminal.note(f"{len(hooks) - result.left_out} of {len(hooks)} hooks; {_OTHERWISE}")
    return 1 if result.left_out else 0


def _beside(out: Path) -> Callable[[str], str]:
    return lambda hook: f"file:{out.stem}.{hook}.secret"


def _write(out: Path, text: str, secrets: dict[str, tuple[str, ...]]) -> None:
    """Make *out* and a file for the secrets of each hook, of mode 0600; nothing is written over."""
    files = {
        out.parent / place.removeprefix("file:"): "\n".join(texts) + "\n" for place, texts in secrets.items()
    }
    if taken := [str(path) for path in (*files, out) if os.path.lexists(path)]:
        raise UsageError(f"--out: {', '.join(taken)}: exists already; choose another name or move it away")
    for path, content in {**files, out: text}.items():
        write_new("--out", path, content.encode())
        terminal.line(f"wrote {path}")
