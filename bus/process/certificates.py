"""The certificates of authorities, where the executable runs on another distribution than its own.

OpenSSL looks where its builder has them: the executable's is Debian's. Fedora, RHEL, Alpine and SUSE have
them elsewhere, and without any no server can be trusted.
"""

from __future__ import annotations

import _ssl  # not ssl: every command pays for what is imported here
import os
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Final

KNOWN: Final = (
    Path("/etc/ssl/certs/ca-certificates.crt"),  # Debian, Ubuntu, Arch, Gentoo
    Path("/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem"),  # Fedora, RHEL
    Path("/etc/pki/tls/certs/ca-bundle.crt"),  # older ones of these
    Path("/etc/ssl/ca-bundle.pem"),  # SUSE
    Path("/var/lib/ca-certificates/ca-bundle.pem"),
    Path("/etc/ssl/cert.pem"),  # Alpine
    Path("/etc/pki/tls/cert.pem"),
)
"""As Go's crypto/x509 has them, root_linux.go."""


def settle(environ: MutableMapping[str, str]) -> None:
    """Let OpenSSL find the machine's certificates by a variable in *environ* where its places are empty.

    What the operator has set stays. Children inherit it.
    """
    variable, file, folder_variable, folder = _ssl.get_default_verify_paths()
    if (
        environ.get(variable)
        or environ.get(folder_variable)
        or _is_there(Path(file))
        or _has_any(Path(folder))
    ):
        return
    found = next((one for one in KNOWN if _is_there(one)), None)
    if found is not None:
        environ[variable] = str(found)


def in_use(environ: Mapping[str, str]) -> str:
    """The file or folder from which OpenSSL takes them; "" when there is none."""
    variable, file, folder_variable, folder = _ssl.get_default_verify_paths()
    places = (environ.get(variable) or file, environ.get(folder_variable) or folder)
    if _is_there(Path(places[0])):
        return places[0]
    return places[1] if _has_any(Path(places[1])) else ""


def _is_there(file: Path) -> bool:
    try:
        return file.is_file() and os.access(file, os.R_OK)
    except OSError:
        return False


def _has_any(folder: Path) -> bool:
    try:
        with os.scandir(folder) as entries:
            return any(True for _ in entries)
    except OSError:
        return False
