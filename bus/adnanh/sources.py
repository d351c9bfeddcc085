"""Where values of a request come from: their parameters as placeholders and as names of a rule. Pure."""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

from ..senders.kept import is_kept, is_kept_parameter
from .lost import Lost, plain

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_HEADER = re.compile(r"[A-Za-z0-9-]{1,64}")
_PARAMETER = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
_STEP = re.compile(r"[^{}\[\].|\s;\"'\\]{1,128}")
_PAYLOADS: Final = ("entire-payload", "raw-request-body")
_UNFIT: Final[dict[str, str]] = {
    "entire-headers": "read the headers of the JSON on the command's standard input: jq .headers",
    "entire-query": "read the query of the JSON on the command's standard input: jq .query",
    "context": "do in a Python handler what pre-hook-command did",
}


class Parameter(NamedTuple):
    """One of their parameters, by its kind: body, header, query, method, ip, string or payload."""

    kind: str
    name: str = ""


def parameter_of(given: Any, what: str, *, unpacks_payload: bool = False) -> Parameter:
    """The parameter that *given* is. Raises Lost, which says *what* it is for.

    *unpacks_payload*: the JSON in the field ``payload`` of a form is the body, as it always is for us.
    """
    if not isinstance(given, dict):
        raise Lost(f"{what}: expected an object with source and name, got something else", "correct it")
    source = plain(given.get("source", ""), f"{what}: source")
    name = plain(given.get("name", ""), f"{what}: name")
    if source == "payload":
        return Parameter("body", name.removeprefix("payload.") if unpacks_payload else name)
    if source == "header":
        return _kept("header", name, what)
    if source in ("url", "query"):
        return _kept("query", name, what)
    if source == "string":
        return Parameter("string", name)
    if source in _PAYLOADS:
        return Parameter("payload")
    if source == "request" and name.lower() in ("method", "remote-addr"):
        return Parameter("method" if name.lower() == "method" else "ip")
    raise Lost(f"{what}: the source {source!r} is not known here", _UNFIT.get(source, "correct it"))


def _kept(kind: str, name: str, what: str) -> Parameter:
    pattern = _HEADER if kind == "header" else _PARAMETER
    if not pattern.fullmatch(name):
        raise Lost(f"{what}: {kind} {name!r} is no name that can be written here", "name another one")
    return Parameter(kind, name)


def is_secret(parameter: Parameter) -> bool:
    """Whether its name says that it may hold a secret: it is never stored, and only proves the sender."""
    if parameter.kind == "header":
        return not is_kept(parameter.name.lower())
    if parameter.kind == "body":
        return not is_kept_parameter(parameter.name.rpartition(".")[2])
    return parameter.kind == "query" and not is_kept_parameter(parameter.name)


def _steps(parameter: Parameter, what: str) -> list[str]:
    """The steps of a path into the body. A list is under ``root`` there, and itself here."""
    steps = parameter.name.split(".")
    if len(steps) > 1 and steps[0] == "root" and steps[1].isdigit():
        steps = steps[1:]
    for step in steps:
        if not _STEP.fullmatch(step):
            raise Lost(f"{what}: the path {parameter.name!r} cannot be written here", "read it in a script")
    # an attribute of XML is "-name" there
    return [f"@{step[1:]}" if step.startswith("-") and len(step) > 1 else step for step in steps]


def rule_name(parameter: Parameter, what: str) -> str:
    """The name that a rule has for *parameter*. Raises Lost."""
    if parameter.kind == "body":
        return "body" + "".join(
            f".{step}" if _NAME.fullmatch(step) or step.isdigit() else f'["{step}"]'
            for step in _steps(parameter, what)
        )
    if parameter.kind in ("header", "query"):
        if is_secret(parameter):
            raise Lost(
                f"{what}: {parameter.kind} {parameter.name} may hold a secret and is never stored",
                "prove the sender by it, with verify = token",
            )
        return f"{parameter.kind}.{parameter.name}"
    if parameter.kind == "method":
        return "method"
    remedy = "write allow_ips" if parameter.kind == "ip" else "name what stands in the body"
    raise Lost(f"{what}: a rule cannot look at it", remedy)


def placeholder(parameter: Parameter, what: str) -> str:
    """The placeholder that a command has for *parameter*: empty where there is no value. Raises Lost."""
    if parameter.kind == "body":
        return f"{{body:{'.'.join(_steps(parameter, what))}|}}"
    if parameter.kind in ("header", "query") and not is_secret(parameter):
        return f"{{{parameter.kind}:{parameter.name}|}}"
    raise Lost(
        f"{what}: {parameter.kind} {parameter.name} is not given to commands", "leave the argument out"
    )
