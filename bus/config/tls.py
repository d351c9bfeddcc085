"""Judges the certificate and the key that `[http]` names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from ..clock import Clock
from .findings import Findings
from .settings import Http


def files(http: Http) -> Iterator[tuple[str, Path]]:
    """Those that are named, with the keys of their settings."""
    if http.tls_cert is not None:
        yield "tls_cert", http.tls_cert
    if http.tls_key is not None:
        yield "tls_key", http.tls_key


def anchored(http: Http, folder: Path) -> Http:
    """*http* with relative paths of these files starting at *folder*."""
    named = {key: folder / path for key, path in files(http)}
    return replace(http, tls_cert=named.get("tls_cert"), tls_key=named.get("tls_key"))


def check(http: Http, lines: Mapping[tuple[str, str], int], findings: Findings) -> None:
    """Note what keeps them from being served, and what is probably not meant. Blocks for the disk."""
    named = dict(files(http))
    if not named:
        return
    if len(named) == 1:
        given = next(iter(named))
        other = "tls_key" if given == "tls_cert" else "tls_cert"
        sentence = f"[http] {other}: expected with {given}, got nothing; name both, or none for plain HTTP"
        findings.problem(lines.get(("http", given), 0), sentence)
        return
    _check_pair(named["tls_cert"], named["tls_key"], lines, findings)
    if all(isinstance(one, Path) for one in http.listen):
        sentence = "expected a TCP address in listen, got Unix sockets alone, which stay plain; remove it"
        findings.warning(lines.get(("http", "tls_cert"), 0), f"[http] tls_cert: {sentence}")


def _check_pair(cert: Path, key: Path, lines: Mapping[tuple[str, str], int], findings: Findings) -> None:
    from ..process import key_pair  # here: it imports ssl, 10 ms of each command that has no use for it

    try:
        found = key_pair.load(cert, key)
    except key_pair.Unusable as unusable:
        findings.problem(lines.get(("http", unusable.which), 0), str(unusable))
        return
    if found.mode & key_pair.OTHERS:
        sentence = f"expected a file for its owner and group only, got {key}"
        remedy = f"with mode {found.mode:04o}; run: chmod o= {key}"
        findings.warning(lines.get(("http", "tls_key"), 0), f"[http] tls_key: {sentence} {remedy}")
    if sentence := found.expiry(Clock().wall()):
        findings.warning(lines.get(("http", "tls_cert"), 0), f"[http] tls_cert: {cert} {sentence}")
