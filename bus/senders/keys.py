"""What a secret is as a key, by the form its sender gives it in. Pure.

Public keys need the package cryptography, which is imported when the first of them is read.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

from .sender import KeyForm, Proof, Sender

SYMMETRIC_BYTES: Final = range(24, 65)
"""Standard Webhooks 1.0.0: a symmetric key has 24 to 64 bytes."""
EXPECTED: Final[Mapping[KeyForm, str]] = {
    "raw": "a secret",
    "basic": "a password",
    "hex": "a key in hex",
    "base64": "a key in base64",
    "whsec": "whsec_ and the base64 of 24 to 64 bytes",
    "whpk": "whpk_ and the base64 of 32 bytes",
    "ed25519": "a public key, 64 hex digits",
    "p256": "a public key of P-256, the base64 of its DER",
}
"""What a secret of each form looks like, for people."""

Ring = tuple[tuple[Proof, tuple[Any, ...]], ...]
"""The ways of a sender for which there are keys, each with them."""


def has_cryptography() -> bool:
    """Whether public keys can be used."""
    try:
        from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: F401
    except ImportError:  # not installed, or not whole
        return False
    return True


def fits(form: KeyForm, secret: str) -> bool:
    """Whether *secret* has the form, as far as its letters say so."""
    if form in ("raw", "basic"):
        return bool(secret)
    return bool(_DECODERS[form](secret))


def way_of(sender: Sender, secret: str) -> Proof | None:
    """The first way of *sender* whose form *secret* has; None when it has none's."""
    if secret.startswith("whsec_") and any(way.key == "whsec" for way in sender.ways):
        return next((way for way in sender.ways if way.key == "whsec" and fits("whsec", secret)), None)
    return next((way for way in sender.ways if fits(way.key, secret)), None)


@lru_cache(maxsize=1024)
def ring(sender: Sender, secrets: tuple[str, ...]) -> Ring:
    """The ways of *sender* with the keys that *secrets* are; empty when none of them is one."""
    forms = [(secret, way.key) for secret in secrets if (way := way_of(sender, secret))]
    found = []
    for way in sender.ways:
        keys = [key_of(way, secret) for secret, form in forms if form == way.key]
        if known := tuple(key for key in keys if key is not None):
            found.append((way, known))
    return tuple(found)


def key_of(way: Proof, secret: str) -> Any | None:
    """The key that verifies: bytes, or a public key; None when *secret* is none."""
    if way.key == "raw":
        return secret.encode("utf-8", "surrogatepass") or None
    if way.key == "basic":
        pair = f"{way.user}:{secret}".encode("utf-8", "surrogatepass")
        return base64.b64encode(pair) if secret else None
    decoded = _DECODERS[way.key](secret)
    if not decoded or not way.is_asymmetric:
        return decoded or None
    return _public(way, decoded)


def _public(way: Proof, decoded: bytes) -> Any | None:
    if not has_cryptography():
        return None
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    try:
        if way.scheme == "ed25519":
            return Ed25519PublicKey.from_public_bytes(decoded)
        key = load_der_public_key(decoded)
    except (ValueError, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, EllipticCurvePublicKey) and key.curve.name == "secp256r1" else None


def private_key(way: Proof, secret: str) -> Any | None:
    """The key that signs what `key_of` verifies; None when *secret* is none, or cryptography is missing.

    For a public key it is its private one: ``whsk_`` and base64, 64 hex digits, the base64 of a PKCS 8 DER.
    """
    if not way.is_asymmetric:
        return key_of(way, secret)
    decoded = _from_hex(secret) if way.key == "ed25519" else _from_base64(secret.removeprefix("whsk_"))
    if not decoded or not has_cryptography():
        return None
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_der_private_key

    try:
        if way.scheme == "ed25519":
            return Ed25519PrivateKey.from_private_bytes(decoded[:32])
        return load_der_private_key(decoded, None)
    except ValueError:
        return None


def _from_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error):
        return b""


def _from_hex(text: str) -> bytes:
    try:
        return bytes.fromhex(text) if text.isalnum() else b""
    except ValueError:
        return b""


def _prefixed(prefix: str, lengths: range) -> Callable[[str], bytes]:
    def decode(text: str) -> bytes:
        decoded = _from_base64(text.removeprefix(prefix)) if text.startswith(prefix) else b""
        return decoded if len(decoded) in lengths else b""

    return decode


def _ed25519(text: str) -> bytes:
    decoded = _from_hex(text)
    return decoded if len(decoded) == 32 else b""


def _p256(text: str) -> bytes:
    decoded = _from_base64(text)
    return decoded if len(decoded) == 91 else b""


_DECODERS: Final[Mapping[KeyForm, Callable[[str], bytes]]] = {
    "hex": _from_hex,
    "base64": _from_base64,
    "whsec": _prefixed("whsec_", SYMMETRIC_BYTES),
    "whpk": _prefixed("whpk_", range(32, 33)),
    "ed25519": _ed25519,
    "p256": _p256,
}
