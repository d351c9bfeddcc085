"""Reads the certificate of a TLS server and its private key, and says what is wrong with them.

No cryptography of our own: OpenSSL decides whether they fit. Of a certificate only its validity is read
here, RFC 5280 section 4.1: Python's `ssl` gives that of a peer, not of the server itself.
"""

from __future__ import annotations

import hashlib
import ssl
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Final, Literal

from ..files import regular_file

LARGEST_FILE: Final = 256 * 1024
EXPIRES_SOON: Final = timedelta(days=30)
"""Certificates of 90 days are renewed 30 days before their end: a later one was missed."""
OTHERS: Final = 0o007
"""Bits of a key's mode that let everybody in; a group that holds it, as Debian's ssl-cert, is meant so."""

_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
_SEQUENCE: Final = 0x30
_VERSION: Final = 0xA0
_UTC_TIME: Final = 0x17

Which = Literal["tls_cert", "tls_key"]


class Unusable(ValueError):
    """A certificate and its key cannot be used; *which* of the two files is to be corrected."""

    def __init__(self, which: Which, sentence: str) -> None:
        super().__init__(f"[http] {which}: {sentence}")
        self.which = which
        self.sentence = sentence


@dataclass(frozen=True)
class KeyPair:
    """A certificate with its key, ready to serve.

    *expires* in UTC, *digest* of both files' contents, *mode* of the key's file.
    """

    context: ssl.SSLContext
    expires: datetime
    digest: bytes
    mode: int

    def expiry(self, now: datetime) -> str:
        """A sentence about its end when that is near or past at *now*, else ""."""
        if self.expires - now > EXPIRES_SOON:
            return ""
        moment = f"{self.expires:%Y-%m-%d %H:%M:%SZ}"
        if self.expires <= now:
            return f"expired at {moment}: senders that check it refuse to connect; renew it"
        return f"expires at {moment}, in {(self.expires - now).days} days; renew it"


def digest(cert: Path, key: Path) -> bytes:
    """Of the contents of both. Blocks for the disk; raises Unusable."""
    return _digest(_read("tls_cert", cert)[0], _read("tls_key", key)[0])


def load(cert: Path, key: Path) -> KeyPair:
    """Read and join both. Blocks for the disk; raises Unusable."""
    chain, _ = _read("tls_cert", cert)
    private, mode = _read("tls_key", key)
    expires = _expires(chain, cert)
    if b"PRIVATE KEY-----" not in private:
        raise Unusable("tls_key", f"expected a private key in PEM, got {key} without one; name its file")
    if b"ENCRYPTED" in private:
        remedy = f"write it without: openssl pkey -in {key} -out FILE"
        raise Unusable("tls_key", f"expected a key without a passphrase, got {key} with one; {remedy}")
    return KeyPair(_context(cert, key), expires, _digest(chain, private), mode)


def _read(which: Which, path: Path) -> tuple[bytes, int]:
    try:
        content, status = regular_file.read(path, LARGEST_FILE + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a path"
        remedy = "correct the path, or let the daemon's user read it and pass its folders"
        raise Unusable(which, f"expected a readable file, got {path}: {reason}; {remedy}") from error
    if len(content) > LARGEST_FILE:
        sentence = f"expected at most {LARGEST_FILE // 1024} KiB, got {path} with more; name the PEM file"
        raise Unusable(which, sentence)
    return content, status.st_mode & 0o777


def _digest(chain: bytes, private: bytes) -> bytes:
    return hashlib.sha256(hashlib.sha256(chain).digest() + hashlib.sha256(private).digest()).digest()


def _context(cert: Path, key: Path) -> ssl.SSLContext:
    """TLS 1.2 and 1.3 with Python's ciphers, which all keep forward secrecy. Nobody renegotiates."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(cert, key, password=lambda: b"")  # without one OpenSSL would ask the terminal
    except (ssl.SSLError, OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or str(error)
        if "MISMATCH" in reason:
            sentence = f"expected the key of {cert}, got {key} of another certificate"
            remedy = "name the key that belongs to it; in tls_cert the server's own certificate stands first"
            raise Unusable("tls_key", f"{sentence}; {remedy}") from error
        sentence = f"expected a certificate and its key in PEM, got {cert} and {key} ({reason})"
        remedy = f"see openssl x509 -in {cert} and openssl pkey -in {key} -noout"
        raise Unusable("tls_cert", f"{sentence}; {remedy}") from error
    return context


def _expires(chain: bytes, path: Path) -> datetime:
    """When the first certificate of *chain* ends."""
    text = chain.decode("ascii", "replace")
    first = text.partition(_BEGIN)[2].partition(_END)[0]
    try:
        return _not_after(ssl.PEM_cert_to_DER_cert(f"{_BEGIN}{first}{_END}"))
    except (ValueError, IndexError) as error:
        sentence = f"expected certificates in PEM, got {path} without one that can be read"
        raise Unusable("tls_cert", f"{sentence}; name the file fullchain.pem or what corresponds") from error


def _not_after(der: bytes) -> datetime:
    """TBSCertificate: perhaps a version, then serial number, signature, issuer, and the validity."""
    certificate = _Der(der).enter(_SEQUENCE).enter(_SEQUENCE)
    if certificate.tag == _VERSION:
        certificate.skip()
    for _ in range(3):
        certificate.skip()
    validity = certificate.enter(_SEQUENCE)
    validity.skip()
    form = "%y%m%d%H%M%SZ" if validity.tag == _UTC_TIME else "%Y%m%d%H%M%SZ"
    # of two digits 50 and more are of the last century, RFC 5280 4.1.2.5.1; strptime draws the line at 69
    end = datetime.strptime(validity.value.decode("ascii"), form).replace(tzinfo=timezone.utc)
    return end.replace(year=end.year - 100) if form[1] == "y" and end.year >= 2050 else end


class _Der:
    """A place in DER, X.690: *tag* and *value* of the element that begins there."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    @property
    def tag(self) -> int:
        return self._data[0]

    @property
    def value(self) -> bytes:
        start, end = self._bounds()
        return self._data[start:end]

    def enter(self, tag: int) -> _Der:
        if self.tag != tag:
            raise ValueError
        return _Der(self.value)

    def skip(self) -> None:
        self._data = self._data[self._bounds()[1] :]

    def _bounds(self) -> tuple[int, int]:
        size, start = self._data[1], 2
        if size & 0x80:
            start += size & 0x7F
            size = int.from_bytes(self._data[2:start], "big")
        if start + size > len(self._data):
            raise ValueError
        return start, start + size
