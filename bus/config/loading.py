"""Loads a checked Config from a file: all mistakes at once, then the warnings."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl

from .. import networks
from ..errors import ConfigError
from . import tls
from .environment import OURS, misfit, packages_of
from .findings import Findings
from .handlers import program_of, uid_of
from .ini import Section, read
from .secrets import SHORTEST, is_weak
from .section_settings import Hook
from .sections import KINDS, Reader, kind_of, unknown_section
from .settings import CONTROL_SOCKET, Config, Http
from .topics import PLACEHOLDERS
from .trust import check_apps, check_program
from .value_types import LONGEST_SOCKET_PATH, is_loopback, listen_text

LONGEST_RETRIES_SECONDS: Final = 76 * 3_600.0
"""Standard Webhooks 1.0.0: the schedule it proposes to senders ends after 75 h 35 min."""

LEAST_POOL: Final = 10
"""Claims, ends, leases, the feed and deliveries hold a connection each while they are under way."""

Lines = Mapping[tuple[str, str], int]
"""Where each (section, key) stands."""


def load(path: Path | None, environ: Mapping[str, str]) -> Config:
    """The configuration in the file *path*, or the defaults when there is none.

    Relative paths in it start at the file's folder, without a file at the working directory. Blocks
    for the file and the secret files it names. Raises ConfigError with one finished sentence for
    each mistake, in the order of the file; no sentence ever holds a secret.
    """
    if path is None:
        config = _anchored(Config(), Path.cwd())
        if problem := _long_path(config):
            raise ConfigError(f"data_dir: {problem}")
        return config
    findings = Findings(str(path))
    written = read(path, findings)
    file = path.absolute()
    reader = Reader(findings, file, environ, written.mode)
    config, lines = _assemble(file, written.sections, reader)
    _check_folders(config, lines, findings)
    check_apps(config.monqbus.apps, config.monqbus.path, lines.get(("monqbus", "path"), 0), findings)
    _check_sizes(config, lines, findings)
    tls.check(config.http, lines, findings)
    if findings.problems:
        raise ConfigError(*findings.problems_and_absences)
    _warn(config, lines, findings)
    return replace(config, warnings=findings.warnings)


def _assemble(file: Path, sections: tuple[Section, ...], reader: Reader) -> tuple[Config, Lines]:
    parts: dict[str, Any] = {kind.attribute: {} for kind in KINDS if kind.example_name}
    lines: dict[tuple[str, str], int] = {}
    for section in sections:
        lines.update({(section.name, key): entry.line for key, entry in section.entries.items()})
        kind = kind_of(section)
        if kind is None:
            reader.findings.problem(section.line, unknown_section(section.name))
        elif (part := reader.read(section, kind)) is not None:
            if kind.example_name:
                parts[kind.attribute][part.name] = part
            else:
                parts[kind.attribute] = part
    config = Config(file, **parts)
    if _is_a_descriptor(file):
        _require_absolute(config, lines, reader.findings)
    return _anchored(config, file.parent), lines


def _is_a_descriptor(file: Path) -> bool:
    """Whether *file* is a name for what a process has open: /dev/stdin, /dev/fd/3, /proc/self/fd/0."""
    return str(file.parent) in ("/dev", "/dev/fd") or file.parts[1:2] == ("proc",)


def _require_absolute(config: Config, lines: Lines, findings: Findings) -> None:
    """Refuse what would start in /dev, which is memory: nobody's folder, and gone at a reboot."""
    main = config.monqbus
    named = [(("monqbus", "data_dir"), main.data_dir), *((("monqbus", "path"), one) for one in main.path)]
    named += [(("http", key), path) for key, path in tls.files(config.http)]
    named += [
        ((f"handler:{one.name}", "working_dir"), one.working_dir or Path())
        for one in config.handlers.values()
        if one.working_dir or (one.command and "/" in one.command[0] and not one.command[0].startswith("/"))
    ]
    for (section, key), path in named:
        if not path.is_absolute():
            sentence = (
                f"expected an absolute path, got {path}: a relative one starts at the folder of the file"
            )
            remedy = f"but this one is read from {findings.file}; write the whole path"
            findings.problem(lines.get((section, key), 0), f"[{section}] {key}: {sentence}, {remedy}")


def _anchored(config: Config, folder: Path) -> Config:
    """*config* with its relative paths starting at *folder*."""
    data_dir = folder / config.monqbus.data_dir
    path = tuple(packages_of(folder / one) for one in config.monqbus.path)
    handlers = {
        name: replace(handler, working_dir=folder / (handler.working_dir or ""))
        for name, handler in config.handlers.items()
    }
    main = replace(config.monqbus, data_dir=data_dir, path=path)
    return replace(config, monqbus=main, http=tls.anchored(config.http, folder), handlers=handlers)


def _check_folders(config: Config, lines: Lines, findings: Findings) -> None:
    line = lines.get(("monqbus", "path"), 0)
    for folder in config.monqbus.path:
        mode = _mode(folder)
        if mode is None or not stat.S_ISDIR(mode):
            findings.problem(line, f"[monqbus] path: expected a folder, got {folder}; create or correct it")
        elif other := misfit(folder):
            sentence = f"expected packages for Python {OURS}, got {folder} for Python {other}"
            remedy = f"make that environment anew with python{OURS} -m venv"
            findings.problem(line, f"[monqbus] path: {sentence}; {remedy}")
    if problem := _long_path(config):
        findings.problem(lines.get(("monqbus", "data_dir"), 0), f"[monqbus] data_dir: {problem}")
    mode = _mode(config.monqbus.data_dir)
    if mode is not None and not stat.S_ISDIR(mode):
        line = lines.get(("monqbus", "data_dir"), 0)
        sentence = f"expected a folder, got the file {config.monqbus.data_dir}; name another place"
        findings.problem(line, f"[monqbus] data_dir: {sentence}")
    elif mode is not None and mode & (stat.S_IWGRP | stat.S_IWOTH):
        line = lines.get(("monqbus", "data_dir"), 0)
        found = f"{config.monqbus.data_dir} with mode {mode & 0o777:04o}"
        sentence = f"expected a folder that only its owner can write to, got {found}"
        findings.problem(line, f"[monqbus] data_dir: {sentence}; run: chmod 700 {config.monqbus.data_dir}")


def _long_path(config: Config) -> str:
    """The sentence about a folder in which no control socket can be made; "" where one can."""
    path = os.fspath(config.monqbus.data_dir / CONTROL_SOCKET)
    size = len(os.fsencode(path))
    if size <= LONGEST_SOCKET_PATH:
        return ""
    expected = f"expected at most {LONGEST_SOCKET_PATH} bytes, the longest path of a Unix socket"
    return f"{expected}, got {size} with {path}; name a folder with a shorter path, such as /var/lib/monqbus"


def _check_sizes(config: Config, lines: Lines, findings: Findings) -> None:
    http = config.http
    if http.max_body_memory < http.max_body:
        line = lines.get(("http", "max_body_memory")) or lines.get(("http", "max_body"), 0)
        sentence = f"expected at least max_body, {http.max_body} bytes, got {http.max_body_memory}; raise it"
        findings.problem(line, f"[http] max_body_memory: {sentence}")
    packed = [hook for hook in config.hooks.values() if hook.accept_gzip]
    if packed and http.max_body <= http.max_body_memory < 3 * http.max_body:
        line = lines.get(("http", "max_body_memory")) or lines.get(("http", "max_body"), 0)
        sentence = (
            f"expected at least three times max_body, {3 * http.max_body} bytes, got {http.max_body_memory}; "
            f"raise it, because [hook:{packed[0].name}] inflates what it takes"
        )
        findings.problem(line, f"[http] max_body_memory: {sentence}")
    if 0 < http.spool < http.max_body:
        sentence = f"expected at least max_body, {http.max_body} bytes, got {http.spool}; raise it"
        findings.problem(lines["http", "spool"], f"[http] spool: {sentence}")


def _mode(path: Path) -> int | None:
    try:
        return path.stat().st_mode
    except (OSError, ValueError):
        return None


def _warn(config: Config, lines: Lines, findings: Findings) -> None:
    """Note what works and is probably not meant."""
    main = config.monqbus
    mode = _mode(main.data_dir)
    if mode is not None and mode & 0o077 and not mode & 0o022:
        sentence = f"expected a folder for its owner only, got {main.data_dir} with mode {mode & 0o777:04o}"
        line = lines.get(("monqbus", "data_dir"), 0)
        findings.warning(line, f"[monqbus] data_dir: {sentence}; run: chmod 700 {main.data_dir}")
    if main.keep_events < LONGEST_RETRIES_SECONDS:
        sentence = "expected 76h or more, got less; a redelivery that comes later runs its handlers again"
        findings.warning(lines["monqbus", "keep_events"], f"[monqbus] keep_events: {sentence}")
    if main.keep_events < main.keep_failed:
        name = "keep_events" if ("monqbus", "keep_events") in lines else "keep_failed"
        sentence = "shorter than keep_failed; the events of failed tasks are kept for as long as these are"
        findings.warning(lines["monqbus", name], f"[monqbus] keep_events: {sentence}")
    if config.http.spool and main.store.reveal() == "sqlite":
        sentence = "expected store = mongodb://..., got sqlite, which is never away; it has no effect"
        findings.warning(lines["http", "spool"], f"[http] spool: {sentence}, remove it")
    for option in _careless_options(main.store.reveal()):
        sentence = f"{option} in the address {_what_it_does(option)}; remove it"
        findings.warning(lines["monqbus", "store"], f"[monqbus] store: {sentence}")
    if (pool := _small_pool(main.store.reveal())) is not None:
        sentence = f"expected maxPoolSize={LEAST_POOL} or more, got {pool}: calls wait for each other"
        findings.warning(lines["monqbus", "store"], f"[monqbus] store: {sentence}; remove it")
    for handler in config.handlers.values():
        if not handler.command:
            continue
        line = lines[f"handler:{handler.name}", "command"]
        check_program(
            program_of(handler), uid_of(handler), f"[handler:{handler.name}] command", line, findings
        )
    _warn_of_hooks(config, lines, findings)


def _what_it_does(option: str) -> str:
    members = option.partition("=")[2]
    if members.isdecimal() and int(members) > 1:
        return f"fails every write where less than {members} members are up, and is no majority of many"
    return "acknowledges what a failover or a crash may lose"


def _small_pool(address: str) -> int | None:
    """The maxPoolSize of a MongoDB address, when it is too small; 0 there means no limit."""
    for name, value in parse_qsl(address.partition("?")[2], separator="&"):
        if name.lower() == "maxpoolsize" and value.isdecimal() and 0 < int(value) < LEAST_POOL:
            return int(value)
    return None


def _careless_options(address: str) -> list[str]:
    """What in a MongoDB address weakens "majority, in the journal", which is how everything is written."""
    options = parse_qsl(address.partition("?")[2], separator="&", keep_blank_values=True)
    return [
        f"{name}={value}"
        for name, value in options
        if (name.lower() == "w" and value != "majority")
        or (name.lower() in ("j", "journal") and value.lower() != "true")
    ]


def _nobody_let_in(http: Http, hook: Hook) -> str:
    """Why *hook* lets nobody in at listeners that only this machine reaches; "" when it does."""
    hosts = [
        "127.0.0.1" if one[0] == "localhost" else one[0] for one in http.listen if isinstance(one, tuple)
    ]
    names_clients = http.trusted_proxies or len(hosts) < len(
        http.listen
    )  # through a Unix socket proxies come
    if names_clients or any(networks.is_within(networks.address(one), hook.allow_ips) for one in hosts):
        return ""
    everybody = f"everybody comes from {hosts[0]} here, unless [http] trusted_proxies names the proxy"
    return f"{everybody}; name it there"


def _warn_of_hooks(config: Config, lines: Lines, findings: Findings) -> None:
    reached = next((listen_text(one) for one in config.http.listen if not is_loopback(one)), None)
    for hook in config.hooks.values():
        name = f"hook:{hook.name}"
        first = PLACEHOLDERS.compile(hook.topic).parts[0]
        if not isinstance(first, str) and first.kind != "name":
            sentence = "lets its sender choose any topic, those of other hooks too"
            remedy = f"begin with fixed text, {hook.name}.{hook.topic} for example"
            findings.warning(lines[name, "topic"], f"[{name}] topic: {sentence}; {remedy}")
        if hook.allow_ips and reached is None and (sentence := _nobody_let_in(config.http, hook)):
            findings.warning(lines[name, "allow_ips"], f"[{name}] allow_ips: {sentence}")
        if hook.weak_secret and any(map(is_weak, hook.secrets)):
            sentence = f"a secret of less than {SHORTEST} bytes can be guessed; take a longer one"
            findings.warning(lines[name, "weak_secret"], f"[{name}] weak_secret: {sentence}")
        if hook.verify == "none" and reached is not None:
            sentence = f"none lets everyone in who reaches {reached}; write verify = token and a secret"
            findings.warning(lines[name, "verify"], f"[{name}] verify: {sentence}")
        for key, sentence in _careless_proofs(hook):
            line = lines.get((name, key)) or lines[name, "verify"]
            findings.warning(line, f"[{name}] {key}: {sentence}")


def _careless_proofs(hook: Hook) -> Iterator[tuple[str, str]]:
    if hook.sender.parameter:
        yield "query", "a secret in the URL stands in the logs of proxies; use a header if the sender can"
    if hook.verify == "hmac" and not any(one in hook.signed for one in ("{body}", "{form}", "{payload}")):
        sentence = "the body is not signed: who captured a delivery can send another body with its signature"
        yield "signed", f"{sentence}; add {{body}} if it is"
