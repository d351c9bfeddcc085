"""Prints the commented sample configuration and the reference from the table of settings."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Final

from .section_kinds import Live, SectionKind
from .sections import KINDS
from .setting import Setting

WIDTH: Final = 100

_HEAD: Final = """\
; Settings of monqbus. Remove the ; in front of a setting to change it; each stands with its default.
; Durations: 500ms 30s 5m 2h 7d. Sizes: 1000 64KiB 1MiB. Relative paths start at this file's folder.
; Secrets may stand elsewhere: env:NAME, file:PATH, credential:NAME (systemd).
; Check what you wrote with: monqbus check --config FILE
"""

_REFERENCE_HEAD: Final = """\
# Configuration

This page is printed from the tables of settings in `bus/config/settings.py` and
`bus/config/section_settings.py`; a test keeps it equal.

`monqbus run --config FILE` reads one INI file. `monqbus config` prints a sample with every setting,
`monqbus init` writes one to start from, `monqbus check` names every mistake with its file and line
before it can hurt. A section or key that is not on this page is a mistake, never ignored.

The file, its folder, the folders in `path` and the apps in them must be such that nobody but root and the
user who runs monqbus can write them. Otherwise each command ends with exit code 78; their owner, when he
is not root, is warned.

## How values are written

- **Lines.** `key = value`, keys in lower case. A comment starts with `;` or `#` on a line of its own,
  or with ` ;` behind a value. A value goes on in the next line when that is indented.
- **Literally.** Quotes, `#` behind a value, `$X` and `${X}` are parts of a value; `check` and `run` warn of
  them. A command is no shell's line either: `>`, `|`, `*` and `~` are warned about.
- **Durations** are a whole number with a unit: `500ms`, `30s`, `5m`, `2h`, `7d`; at most `36500d`.
- **Sizes** are bytes, or a whole number with a binary unit: `1000`, `64KiB`, `1MiB`, `1GiB`.
- **Addresses** are `HOST:PORT`, an IPv6 address in brackets: `[::1]:8080`; or `unix:/PATH`.
- **Lists** are separated by commas.
- **Paths** that are relative start at the folder of the configuration file. `~` is not expanded.
- **Secrets** (`secret`, and `store` for the password in a URI) may stand elsewhere:

| written | means |
|---|---|
| `env:NAME` | the environment variable NAME |
| `file:PATH` | the content of a file; one that others than its owner can reach is warned about |
| `credential:NAME` | the file NAME in `$CREDENTIALS_DIRECTORY`, where systemd's `LoadCredential=` puts it |

There each line is a secret, unless it begins with `#`.

A secret that is missing or empty is a mistake: a hook never opens because its secret is gone. So is one of
less than 16 bytes, unless the hook says `weak_secret = yes`. A secret with ` ;` in it, or one that starts
with `;`, has to stand elsewhere; none starts with `#`. To comment out one that has several lines, comment
out each of them: what is left would go on with the value above, and is refused. Secrets are never
printed: not in messages, not in logs, not in a `repr`; a MongoDB address is shown without its user,
password and options.
"""


def hello(folder: str) -> Live:
    """The live lines that run the example app in *folder* behind a hook without verification."""
    return {
        "monqbus": {"apps": "hello", "path": folder},
        "hook:hello": {"verify": "none", "topic": "hello.greeted"},
    }


def sample(live: Live) -> str:
    """A complete file: every setting with its help, commented out unless it is in *live*."""
    parts = [_HEAD]
    for kind in KINDS:
        parts.append(f"\n[{kind.title}]\n" if not kind.example_name else f"\n; [{kind.title}]: ")
        parts.extend(_named(kind, live) if kind.example_name else _alone(kind, live.get(kind.name, {})))
    return "".join(parts)


def _alone(kind: SectionKind, live: Mapping[str, str]) -> Iterator[str]:
    yield f"; {kind.purpose}\n"
    yield from (_sample_row(row, live) for row in kind.rows)


def _named(kind: SectionKind, live: Live) -> Iterator[str]:
    yield f"{kind.purpose}\n"
    yield from (f"{_comment(_told(row))}\n" for row in kind.rows)
    yield from (_block(name, live[name], "") for name in live if kind.has(name))
    yield from (_block(name, keys, ";") for name, keys in kind.examples.items())


def _sample_row(row: Setting, live: Mapping[str, str]) -> str:
    line = f"{row.key} = {live[row.key]}" if row.key in live else f";{row.key} = {row.default}".rstrip()
    return f"\n{_comment(row.does)}\n{_comment(f'Takes {row.kind.expected}.')}\n{line}\n"


def _told(row: Setting) -> str:
    default = "Required." if row.default is None else f"Default: {row.default or 'none'}."
    return f"{row.key}: {row.does} Takes {row.kind.expected}. {default}"


def _comment(text: str) -> str:
    return textwrap.fill(text, WIDTH, initial_indent="; ", subsequent_indent="; ", break_on_hyphens=False)


def _block(name: str, keys: Mapping[str, str], mark: str) -> str:
    lines = [f"[{name}]", *(line for key, value in keys.items() for line in f"{key} = {value}".split("\n"))]
    return "\n" + "".join(f"{mark}{line}\n" for line in lines)


def reference() -> str:
    """The text of docs/configuration.md."""
    parts = [_REFERENCE_HEAD]
    for kind in KINDS:
        about = f"{kind.about}\n" if kind.about else "\n"
        parts.append(f"\n## [{kind.title}]\n\n{kind.purpose}\n{about}{_markdown(kind)}")
    return "".join(parts)


def _markdown(kind: SectionKind) -> str:
    return "".join(f"| {' | '.join(cells)} |\n" for cells in _cells(kind))


def _cells(kind: SectionKind) -> Iterator[tuple[str, str, str, str]]:
    yield "name", "default", "takes", "what it does"
    yield "---", "---", "---", "---"
    for row in kind.rows:
        default = "required" if row.default is None else f"`{row.default}`" if row.default else "none"
        yield f"`{row.key}`", default, row.kind.expected, row.does.replace("|", "\\|")
