"""Makes the answer of a hook: its status, text and headers, and the output of its command. Pure.

An answer lets nobody in and runs nothing, so what cannot be said here is left out with a remark, and the hook
is carried over nevertheless.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from ..config.answer_demands import MOST_HEADERS
from ..config.answers import (
    ANSWER_HEADER,
    ANSWER_TEXT,
    BODILESS,
    CONTENT_TYPE,
    STATUS,
    is_json,
    is_json_when_filled,
    template_of,
)
from ..config.value_types import Unfit, ValueType
from .lost import Lost, in_ini, listed, plain

_WAIT: Final = "5m"
"""How long an answer may wait here at most; there it waits for as long as the command runs."""
_OUTPUT: Final = "include-command-output-in-response"
_STATUS: Final = "success-http-response-code"
_MESSAGE: Final = "response-message"
_HEADERS: Final = "response-headers"

KEYS: Final = frozenset({_OUTPUT, _STATUS, _MESSAGE, _HEADERS})
"""The properties that are read here."""


class HookAnswer(NamedTuple):
    """The *lines* of a hook's section, and *remarks* on what they do not say."""

    lines: list[tuple[str, str]]
    remarks: list[str]


def answer_of(hook: dict[str, Any]) -> HookAnswer:
    """What *hook* answers once its event is stored."""
    answer = HookAnswer([], [])
    status = _status(hook, answer)
    text = "" if hook.get(_OUTPUT) else _message(hook, status, answer)
    if hook.get(_OUTPUT):
        answer.lines.extend([("wait", _WAIT), ("output", "yes")])
        answer.remarks.append(
            f"{_OUTPUT}: the answer waits for {_WAIT} at most and is 202 then, with no output over 64 Ki "
            "characters; of a command that failed it is 500 without the output, `monqbus show TASK` has it"
        )
        if status not in (None, 200):
            answer.remarks.append(
                _lost(_STATUS, "an answer with the output is 200", "let the sender take 200")
            )
    elif status is not None:
        answer.lines.append(("status", str(status)))
    if text:
        answer.lines.append(("body", text))
    _add_headers(hook, text, answer)
    return answer


def _lost(key: str, what: str, remedy: str) -> str:
    return f"{key}: not carried over: {what}; {remedy}"


def _status(hook: dict[str, Any], answer: HookAnswer) -> int | None:
    given = hook.get(_STATUS)
    if not given:
        return None
    try:
        return STATUS.read(plain(given, "status"))
    except (Unfit, Lost):
        remedy = "an answer to what is stored is one of 200 to 299"
        answer.remarks.append(_lost(_STATUS, "it would tell the sender to come again", remedy))
        return None


def _message(hook: dict[str, Any], status: int | None, answer: HookAnswer) -> str:
    if not hook.get(_MESSAGE):
        return ""
    try:
        if status in BODILESS:
            raise Lost(f"an answer with {status} has no content", "write another status and body")
        text: str = _read(ANSWER_TEXT, in_ini(plain(hook[_MESSAGE], "text"), "text"))
        if template_of(text).placeholders:
            raise Lost("a word in braces is a placeholder here", "write body without braces")
    except Lost as lost:
        answer.remarks.append(f"{_MESSAGE}: not carried over: {lost}")
        return ""
    return text


def _add_headers(hook: dict[str, Any], text: str, answer: HookAnswer) -> None:
    taken: set[str] = set()
    try:
        given = listed(hook, _HEADERS)
    except Lost as lost:
        answer.remarks.append(f"{_HEADERS}: not carried over: {lost}")
        return
    for one in given:
        try:
            name, value = _header(one, text)
            if name.lower() in taken:
                raise Lost(f"{name} comes twice", "write one header with both values")
            if len(taken) == MOST_HEADERS:
                raise Lost(f"{name} is one too many", f"keep {MOST_HEADERS}")
        except Lost as lost:
            answer.remarks.append(f"{_HEADERS}: not carried over: {lost}")
            continue
        taken.add(name.lower())
        answer.lines.append((f"header.{name}", value))


def _header(given: dict[str, Any], text: str) -> tuple[str, str]:
    """Name and value of one header beside *text*. Raises Lost."""
    name, value = plain(given.get("name", ""), "name"), plain(given.get("value", ""), "value")
    found = _read(ANSWER_HEADER, f"{name}: {in_ini(value, name)}")
    if not found:
        raise Lost(f"{name} has no value", "write one")
    name, value = found[0]
    if name.lower() == CONTENT_TYPE and not text:
        raise Lost(f"{name} stands beside no text of one's own", "write body, or leave it out")
    if name.lower() == CONTENT_TYPE and is_json(value) and not is_json_when_filled(text):
        raise Lost("the text is not JSON", "write body in JSON")
    return name, value


def _read(kind: ValueType[Any], text: str) -> Any:
    """What our configuration makes of *text*. Raises Lost where it does not take it."""
    try:
        return kind.read(text)
    except Unfit as unfit:
        said, _, remedy = kind.complaint(text, unfit).partition("\n")[0].rpartition("; ")
        raise Lost(said, remedy) from None
