"""Where certificates of authorities are found, on whatever distribution the executable runs."""

from __future__ import annotations

import _ssl
from pathlib import Path

import pytest

from bus.process import certificates


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine on which OpenSSL's own places are empty, and two others are known."""
    monkeypatch.setattr(
        _ssl,
        "get_default_verify_paths",
        lambda: ("SSL_CERT_FILE", f"{tmp_path}/cert.pem", "SSL_CERT_DIR", f"{tmp_path}/certs"),
    )
    monkeypatch.setattr(certificates, "KNOWN", (tmp_path / "debian.crt", tmp_path / "fedora.pem"))
    return tmp_path


def test_a_known_bundle_is_named_where_the_builders_places_are_empty(places: Path):
    """For this process and whatever it starts."""
    (places / "fedora.pem").touch()
    environ: dict[str, str] = {}
    certificates.settle(environ)

    assert {"SSL_CERT_FILE": f"{places}/fedora.pem"} == environ
    assert f"{places}/fedora.pem" == certificates.in_use(environ)


@pytest.mark.parametrize("there", ["cert.pem", "certs/0123abcd.0"])
def test_where_openssl_finds_some_nothing_is_set(places: Path, there: str):
    (places / there).parent.mkdir(exist_ok=True)
    (places / there).touch()
    (places / "fedora.pem").touch()
    environ: dict[str, str] = {}
    certificates.settle(environ)

    assert {} == environ
    assert str(places / there.partition("/")[0]) == certificates.in_use(environ)


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_what_the_operator_has_set_stays(places: Path, name: str):
    (places / "fedora.pem").touch()
    environ = {name: "/of/the/operator"}
    certificates.settle(environ)

    assert {name: "/of/the/operator"} == environ


def test_that_there_are_none_is_said(places: Path):
    environ: dict[str, str] = {}
    certificates.settle(environ)

    assert ({}, "") == (environ, certificates.in_use(environ))
