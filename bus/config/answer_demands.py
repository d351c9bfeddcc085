"""What the settings of a hook's answer demand of each other."""

from __future__ import annotations

from typing import Any, Final

from .answers import ACCEPTED, BODILESS, CONTENT_TYPE, is_json, is_json_when_filled, paths_in, type_of
from .ini import Section
from .section_kinds import Values
from .value_types import quoted

MOST_HEADERS: Final = 32


def clashes(section: Section, values: Values) -> list[tuple[int, str]]:
    """What the settings of an answer demand of each other: (line, sentence)."""
    return [
        *_unfit_text(section, values.read),
        *_unfit_headers(section, values.read),
        *_idle_output(section, values),
    ]


def _idle_output(section: Section, values: Values) -> list[tuple[int, str]]:
    is_idle = "wait" not in values.given or values.read.get("wait") == 0.0
    if not (values.read.get("output") and is_idle):
        return []
    sentence = "expected it with wait, got it alone; write for example wait = 5s"
    return [(section.entries["output"].line, f"[{section.name}] output: {sentence}")]


def _unfit_text(section: Section, read: dict[str, Any]) -> list[tuple[int, str]]:
    text, status = read.get("body", ""), read.get("status", ACCEPTED)
    if not text:
        return []
    content_type = type_of(read.get("answer_headers", ()))
    sentence = ""
    if status in BODILESS:
        sentence = f"expected none with status = {status}, which has no content, got one; write status = 200"
    elif is_json(content_type) and not is_json_when_filled(text):
        sentence = (
            f"expected JSON for header.Content-Type = {content_type}, got something else; write placeholders "
            'in quotes, for example {"event": "{id}"}'
        )
    elif paths_in(text) and not (is_json(content_type) or _is_plain(content_type)):
        sentence = (
            f"expected no {{body:…}} in an answer of the type {quoted(content_type)}, got one; write "
            "header.Content-Type = text/plain or application/json, as a browser runs what others may hold"
        )
    return [(section.entries["body"].line, f"[{section.name}] body: {sentence}")] if sentence else []


def _is_plain(content_type: str) -> bool:
    return content_type.partition(";")[0].strip().lower() == "text/plain"


def _unfit_headers(section: Section, read: dict[str, Any]) -> list[tuple[int, str]]:
    found: list[tuple[int, str]] = []
    seen: set[str] = set()
    for key, entry in section.entries.items():
        if not key.startswith("header."):
            continue
        name = key.partition(".")[2].lower()
        subject = f"[{section.name}] {key}"
        if name in seen:
            found.append((entry.line, f"{subject}: expected a header once, got it twice; remove one"))
        elif len(seen) == MOST_HEADERS:
            found.append((entry.line, f"{subject}: expected at most {MOST_HEADERS}, got more; remove some"))
        elif name == CONTENT_TYPE and not read.get("body"):
            found.append((entry.line, f"{subject}: expected it with body, got it alone; write body = TEXT"))
        seen.add(name)
    return found
