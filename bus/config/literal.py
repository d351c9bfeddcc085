"""What a value holds that other programs' files give a meaning, and that is taken as it stands here.

It works, and is probably not meant: a warning says how the meant thing is written. No sentence quotes more of
a value than a name or a sign, because a secret may be in it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Any, Final

from .commands import COMMAND
from .ini import Entry
from .secrets import SECRET, SHORTEST, WRITTEN
from .value_types import LONGEST_SHOWN, ValueType

_VARIABLE = re.compile(r"\$(?:[A-Za-z_][A-Za-z0-9_]*|\{[^{}]*\}|\([^()]*\))|`[^`]*`")
_REFERENCE = re.compile(r"(?:env|environ|environment|file|credential|secret)\s*(?::|=)\s*\S.*", re.IGNORECASE)
_QUOTED = re.compile(r"\"[^\"]*\"|'[^']*'")
_COMMENT = re.compile(r"\s#")
_BRACED = re.compile(r"\{[^{}]*\}")
_SINGLE = re.compile(r"'[^']*'|\\.")

HASH: Final = "what stands behind # is a part of it; a comment behind a value begins with ;"
QUOTES: Final = "the quotes are a part of it; remove them"
SECRETS_IN_A_ROW: Final = (
    "a comma is a part of it; several secrets stand one a line, each but the first on an indented line"
)
CUT: Final = "it ends before a ;, where a comment begins"


def mended(kind: ValueType[Any], text: str) -> str:
    """*text* without quotes around it and what stands behind #, where that is of its *kind*; else ""."""
    bare = _COMMENT.split(text, maxsplit=1)[0].rstrip()
    bare = bare[1:-1] if _QUOTED.fullmatch(bare) else bare
    if bare == text or len(bare) > LONGEST_SHOWN:
        return ""
    try:
        kind.read(bare)
    except ValueError:
        return ""
    return bare


def literal(kind: ValueType[Any], entry: Entry) -> Iterator[str]:
    """A sentence about each thing in *entry* that is taken as it stands though another program would not."""
    if kind.is_language:
        return
    if kind is COMMAND:
        yield from _in_command(entry)
        return
    lines = entry.text.split("\n") if kind.secret else entry.text.split("\n")[:1]
    yield from dict.fromkeys(sentence for line in lines for sentence in _in_line(kind, line))
    if kind is SECRET and entry.is_cut and not all(map(_is_reference, lines)):
        yield f"{CUT}; a secret with a space and ; in it has to stand elsewhere: write file:PATH"


def _is_reference(line: str) -> bool:
    return not line or line.startswith(("env:", "file:", "credential:"))


def _in_line(kind: ValueType[Any], line: str) -> Iterator[str]:
    if kind.secret and (_is_reference(line) or line.startswith("#")):
        return
    if _QUOTED.fullmatch(line):
        yield QUOTES
    if _COMMENT.search(line):
        yield HASH
    if kind is SECRET:
        if _has_several(line):
            yield SECRETS_IN_A_ROW
        if _VARIABLE.fullmatch(line):
            yield "a variable is not filled in here; write env:NAME"
        elif _REFERENCE.fullmatch(line):
            yield f"it is taken for the secret itself; write {WRITTEN}, in lower case and without spaces"
    elif found := _VARIABLE.search(line):
        if kind.secret:
            yield "a variable is not filled in here; write the whole address into one, and env:NAME here"
        else:
            yield f"{_sign(found)} is not filled in here; write out what it stands for"


def _has_several(line: str) -> bool:
    """Whether *line* has probably several secrets with commas between: a blank behind one, or parts alike."""
    parts = [part.strip() for part in line.split(",")]
    if len(parts) < 2 or not all(parts):
        return False
    is_spaced = any(part.startswith(" ") for part in line.split(",")[1:])
    is_referred = any(_is_reference(part) for part in parts)
    return is_spaced or is_referred or (len({len(part) for part in parts}) == 1 and len(parts[0]) >= SHORTEST)


def _sign(found: re.Match[str]) -> str:
    return found[0] if len(found[0]) <= 16 else f"{found[0][:2]}…"


def _in_command(entry: Entry) -> Iterator[str]:
    """A command is no shell's line, unless its program is a shell."""
    if not entry.text:
        return
    text = _BRACED.sub("_", entry.text)
    if entry.is_cut:
        yield f"{CUT}; a second command has no place behind it: put both into a script and name that"
    if shlex.split(text)[0].endswith("sh"):
        return
    if _glued(text) or _COMMENT.search(_QUOTED.sub("_", text)):
        yield (
            "no shell reads this line, so that < > | && and # are arguments or parts of them; put it into a "
            "script and name that, or write /bin/sh -c '…'"
        )
    bare = _SINGLE.sub("_", text)
    if _VARIABLE.search(bare):
        yield "a variable is not filled in here; write {body:…} for a value of the event, or use a script"
    if any(word.startswith("~/") or word == "~" for word in bare.split()):
        yield "~ is not expanded here; write the home folder out"
    if "*" in _QUOTED.sub("_", bare):
        yield "* finds no files here; put the command into a script and name that"


def _glued(text: str) -> bool:
    """Whether an operator of a shell stands unquoted in a word."""
    words = shlex.shlex(text, posix=True, punctuation_chars="<>|")
    words.whitespace_split, words.commenters = True, ""
    return list(words) != shlex.split(text) or "&&" in _QUOTED.sub("_", text)
