"""Makes a [hook:NAME] and a [handler:NAME] of each hook, and says what is to be told. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple

from ..config.commands import COMMAND
from ..config.conditions import HOOK_RULE
from ..config.proofs import METHODS
from ..config.secrets import SHORTEST
from ..config.value_types import FOLDER_OR_NONE, MEDIA_TYPE, NETWORKS, Unfit, ValueType
from ..rules import OF_A_DELIVERY, compiled
from ..senders import SENDERS
from . import answers
from .commands import command_of
from .lost import Lost, in_ini, listed, plain
from .reading import CLOSED, OPENED
from .triggers import Sender, Trigger, trigger_of

_UNFIT = re.compile(r"[^A-Za-z0-9_-]+")
_VARIABLE = re.compile(r"[^A-Z0-9]+")
_LONGEST_NAME: Final = 64
_LONGEST_SECRET: Final = 1024
_REMARKS: Final[dict[str, str]] = {
    "trigger-rule-mismatch-http-response-code": "a delivery for which `when` does not hold is answered 202",
    "include-command-output-in-response-on-error": "of a command that failed it is 500 without what it "
    "printed; `monqbus show TASK` has it",
    "trigger-signature-soft-failures": "write several secrets, each is tried; nothing else is let in",
    "keep-file-environment": "files are removed when the run ends; let the command copy them",
}
"""Properties that are not carried over, and what there is in their place."""
_KNOWN: Final = (
    frozenset(
        {
            *("id", "execute-command", "command-working-directory", "pass-arguments-to-command"),
            *("pass-environment-to-command", "pass-file-to-command", "trigger-rule", "http-methods"),
            *("incoming-payload-content-type", "parse-parameters-as-json", "pre-hook-command"),
        }
    )
    | answers.KEYS
)
_HEAD: Final = """\
[monqbus]
data_dir = ./data

[http]
listen = 127.0.0.1:9000
"""


class Conversion(NamedTuple):
    """The INI *text*; the *secrets* by the name that it has for their place; *remarks*, a sentence each.

    *left_out* is how many hooks are not in it.
    """

    text: str
    secrets: dict[str, tuple[str, ...]]
    remarks: list[str]
    left_out: int


def converted(hooks: Sequence[dict[str, Any]], place: Callable[[str], str]) -> Conversion:
    """The configuration of *hooks*; *place* refers to a hook's secrets, ``file:…`` or ``env:…``."""
    result = Conversion("", {}, [], 0)
    sections, left_out, taken = [_HEAD], 0, set[str]()
    for number, hook in enumerate(hooks, 1):
        given = str(hook.get("id") or "") if isinstance(hook.get("id"), (str, int)) else ""
        subject = f"hook {_shown(given) or number}"
        try:
            name = _name(given, taken)
            text, secrets = _section(hook, name, place, result.remarks, subject)
        except Lost as lost:
            left_out += 1
            result.remarks.append(f"{subject}: left out: {lost}")
            sections.append(f"; {subject} is left out: {_shown(str(lost))}\n")
            continue
        taken.add(name)
        result.secrets.update(secrets)
        if name != given:
            result.remarks.append(f"{subject}: id: it is /hooks/{name} now; give the sender this URL")
        sections.append(text)
    return Conversion("\n".join(sections), result.secrets, result.remarks, left_out)


def _shown(text: str) -> str:
    """*text* in a comment of the file: printable, and not long."""
    return "".join(char if char.isprintable() and char not in OPENED + CLOSED else "?" for char in text)[:200]


def _name(given: str, taken: Iterable[str]) -> str:
    if not given:
        raise Lost("id: expected a text, got none", "write one")
    base = _UNFIT.sub("-", given).strip("-")[:_LONGEST_NAME]
    if not base:
        raise Lost("id: expected letters or digits, got none", "choose another one")
    number, name = 1, base
    while name in taken:
        number += 1
        name = f"{base[: _LONGEST_NAME - 5]}-{number}"
    return name


def _section(
    hook: dict[str, Any], name: str, place: Callable[[str], str], remarks: list[str], subject: str
) -> tuple[str, dict[str, tuple[str, ...]]]:
    """The two sections of *hook*, and its secrets by their reference."""
    unpacks, told = _unpacked(hook), []
    rule = hook.get("trigger-rule")
    trigger = trigger_of(rule, unpacks_payload=unpacks) if rule is not None else Trigger()
    lines, secrets = _proof(trigger.sender, place(name))
    if trigger.sender is None:
        told.append("trigger-rule: nothing proves the sender, so anybody may send; write verify and secret")
    if any(len(one) < SHORTEST for one in secrets):
        lines.append(("weak_secret", "yes"))
        told.append(f"secret: it is shorter than {SHORTEST} characters and can be guessed; take a longer one")
    if trigger.when:
        lines.append(("when", _read(HOOK_RULE, trigger.when, "trigger-rule")))
    if trigger.networks:
        lines.append(("allow_ips", _read(NETWORKS, ", ".join(trigger.networks), "ip-range")))
    if methods := _methods(hook):
        lines.append(("methods", _read(METHODS, ", ".join(methods), "http-methods")))
    if kind := in_ini(plain(hook.get("incoming-payload-content-type") or "", "content type"), "content type"):
        lines.append(("content_type", _read(MEDIA_TYPE, kind, "incoming-payload-content-type")))
    _require_stored(trigger)
    answer = answers.answer_of(hook)
    lines += answer.lines
    handler = [
        ("topic", name),
        ("command", _read(COMMAND, command_of(hook, unpacks_payload=unpacks), "command")),
    ]
    if folder := in_ini(
        plain(hook.get("command-working-directory") or "", "command-working-directory"), "folder"
    ):
        handler.append(("working_dir", _read(FOLDER_OR_NONE, folder, "command-working-directory")))
    handler.append(("max_attempts", "1"))
    remarks += [
        f"{subject}: {one}" for one in (*trigger.remarks, *told, *answer.remarks, *_passed_over(hook))
    ]
    text = f"{_written(f'hook:{name}', lines)}\n{_written(f'handler:{name}', handler)}"
    return text, {place(name): secrets} if secrets else {}


def _unpacked(hook: dict[str, Any]) -> bool:
    """Whether a form's field ``payload`` is taken as the body. Raises Lost for another field, and for a hook
    that waits for a command.
    """
    given = listed(hook, "parse-parameters-as-json")
    ours = [one for one in given if (one.get("source"), one.get("name")) == ("payload", "payload")]
    if len(ours) < len(given):
        raise Lost("parse-parameters-as-json: only the field payload of a form is taken apart here",
                   "take the others apart in the script")  # fmt: skip
    if "pre-hook-command" in hook:
        raise Lost("pre-hook-command: nothing runs before a delivery is stored", "call it in the command")
    return bool(ours)


def _proof(sender: Sender | None, place: str) -> tuple[list[tuple[str, str]], tuple[str, ...]]:
    """The settings of the hook for *sender*, and the secrets that are to be written to *place*."""
    if sender is None:
        return [("verify", "none")], ()
    references = [one[1:-1] for one in sender.secrets if one.startswith(OPENED) and one.endswith(CLOSED)]
    own = tuple(one for one in sender.secrets if OPENED not in one)
    if len(references) + len(own) < len(sender.secrets):
        raise Lost("trigger-rule: a template is a part of a secret", "put the whole secret into the variable")
    for one in own:
        if len(one) > _LONGEST_SECRET or not one.isprintable() or one != one.strip() or one.startswith("#"):
            remedy = "choose one without spaces at its ends or # in front"
            raise Lost("trigger-rule: the secret is not one line that a file can hold", remedy)
    for one in references:
        in_ini(plain(one, "trigger-rule: template"), "trigger-rule: template")
    written = "\n    ".join([*([place] if own else []), *references])
    return [*sender.settings, ("secret", written)], own


def _require_stored(trigger: Trigger) -> None:
    """Raise Lost for a rule that reads the header which carries the proof: it is not stored."""
    rule = compiled(trigger.when, OF_A_DELIVERY) if trigger.when else None
    if rule is None or trigger.sender is None:
        return
    settings = dict(trigger.sender.settings)
    proof = settings.get("header", "").lower() or SENDERS[settings["verify"]].header
    if proof in rule.headers or settings.get("query") in rule.parameters:
        raise Lost("trigger-rule: it looks at what proves the sender a second time", "remove that part")


def _methods(hook: dict[str, Any]) -> list[str]:
    given = hook.get("http-methods") or []
    if not isinstance(given, list):
        raise Lost("http-methods: expected a list, got something else", "correct it")
    return list(dict.fromkeys(plain(one, "http-methods").strip().upper() for one in given))


def _read(kind: ValueType[Any], text: str, what: str) -> str:
    """*text*, which our configuration takes. Raises Lost where it does not."""
    try:
        kind.read(text)
    except Unfit as unfit:
        first, *_ = kind.complaint(text, unfit).split("\n")
        said, _, remedy = first.rpartition("; ")
        raise Lost(f"{what}: {said}", remedy) from None
    return text


def _passed_over(hook: dict[str, Any]) -> list[str]:
    found = [f"{key}: not carried over: {_REMARKS[key]}" for key in hook if key in _REMARKS and hook[key]]
    odd = sorted(_shown(key) for key in hook.keys() - _REMARKS.keys() - _KNOWN)
    return found + [f"{key}: not known to adnanh/webhook either; remove it" for key in odd]


def _written(name: str, lines: list[tuple[str, str]]) -> str:
    return "\n".join([f"[{name}]", *(f"{key} = {value}" for key, value in lines)]) + "\n"


def variable_of(name: str) -> str:
    """The environment variable for the secrets of the hook *name*."""
    return f"{_VARIABLE.sub('_', name.upper()).strip('_') or 'HOOK'}_SECRET"
