"""The certificate and its key are looked at before anybody connects."""

from __future__ import annotations

import os
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from tests.tls import make_pair

from .inifile import problems, read, write

pytestmark = pytest.mark.usefixtures("folder")

BOTH = "[http]\ntls_cert = cert.pem\ntls_key = ./key.pem\n"


def test_relative_files_start_at_the_folder_of_the_configuration(folder: Path) -> None:
    """As all paths in it do."""
    make_pair(folder)

    http = read(BOTH).http

    assert (folder / "cert.pem", folder / "key.pem") == (http.tls_cert, http.tls_key)
    assert () == tuple(read(BOTH).warnings)


@pytest.mark.parametrize(("given", "missing"), [("tls_cert", "tls_key"), ("tls_key", "tls_cert")])
def test_one_without_the_other_is_a_mistake(given: str, missing: str) -> None:
    """Half of it would be plain HTTP, which nobody meant who names one."""
    assert [
        f"monqbus.ini:2: [http] {missing}: expected with {given}, got nothing; "
        "name both, or none for plain HTTP"
    ] == problems(f"[http]\n{given} = x.pem\n")


def test_a_key_of_another_certificate_is_refused(folder: Path) -> None:
    """With what is probably wrong."""
    (folder / "other").mkdir()
    (folder / "key.pem").unlink(missing_ok=True)
    make_pair(folder)
    write("key.pem", make_pair(folder / "other").key.read_bytes())

    assert [
        f"monqbus.ini:3: [http] tls_key: expected the key of {folder}/cert.pem, got {folder}/key.pem of "
        "another certificate; name the key that belongs to it; "
        "in tls_cert the server's own certificate stands first"
    ] == problems(BOTH)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("key.pem", None, "[http] tls_key: expected a readable file, got {}: No such file"),
        ("cert.pem", None, "[http] tls_cert: expected a readable file, got {}: No such file"),
        ("key.pem", b"", "[http] tls_key: expected a private key in PEM, got {} without one"),
        (
            "key.pem",
            b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n",
            "[http] tls_key: expected a key without a passphrase, got {} with one; write it without: ",
        ),
        (
            "key.pem",
            b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
            "[http] tls_cert: expected a certificate and its key in PEM, got ",
        ),
        (
            "cert.pem",
            b"",
            "[http] tls_cert: expected certificates in PEM, got {} without one that can be read",
        ),
        (
            "cert.pem",
            b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
            "[http] tls_cert: expected certificates in PEM, got {} without one that can be read",
        ),
        ("cert.pem", b"x" * 300_000, "[http] tls_cert: expected at most 256 KiB, got {} with more"),
    ],
)
def test_what_is_no_certificate_or_key_is_refused(
    folder: Path, name: str, content: bytes | None, sentence: str
) -> None:
    """The file is named, and never what is in it; nobody is asked for a passphrase."""
    make_pair(folder)
    if content is None:
        (folder / name).unlink()
    else:
        write(name, content)

    (found,) = problems(BOTH)

    assert sentence.format(folder / name) in found


def test_a_pipe_in_place_of_a_file_is_refused(folder: Path) -> None:
    """Opening it would wait for its other end."""
    make_pair(folder).key.unlink()
    os.mkfifo(folder / "key.pem")

    assert "it is a pipe, not a file" in problems(BOTH)[0]


@pytest.mark.parametrize(
    ("mode", "is_warned"), [(0o600, False), (0o640, False), (0o644, True), (0o604, True)]
)
def test_a_key_that_everybody_can_read_is_warned_of(folder: Path, mode: int, is_warned: bool) -> None:
    """A group that holds keys, as on Debian, is meant so."""
    make_pair(folder).key.chmod(mode)

    warnings = [one for one in read(BOTH).warnings if "tls_key" in one]

    assert is_warned == bool(warnings)
    assert all(f"mode 0{mode:o}; run: chmod o= {folder}/key.pem" in one for one in warnings)


@pytest.mark.parametrize(
    ("days", "said"), [(31.5, None), (29.5, "expires at"), (-1.0, "expired at"), (-9000.0, "expired at")]
)
def test_a_certificate_near_its_end_is_warned_of(folder: Path, days: float, said: str | None) -> None:
    """30 days before, which is when it should have been renewed."""
    make_pair(folder, ends=datetime.now(timezone.utc) + timedelta(days=days))

    warnings = [one for one in read(BOTH).warnings if "tls_cert" in one]

    assert [said] == [said for one in warnings if said and said in one] or not (said or warnings)


def test_tls_for_unix_sockets_alone_is_warned_of(folder: Path) -> None:
    """They stay plain."""
    make_pair(folder)

    (warning,) = read(f"{BOTH}listen = unix:/run/x.sock\n").warnings

    assert "got Unix sockets alone, which stay plain; remove it" in warning
