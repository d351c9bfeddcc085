"""The rows that are no service: open hooks, secrets, Standard Webhooks, and what a hook describes itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from .sender import Proof, Sender

BEARER: Final = Proof("token", "header:authorization", prefix="Bearer ")
SIGNED_BY_ID: Final = Proof(
    "hmac",
    "header:webhook-signature",
    prefix="v1,",
    separator=" ",
    encoding="base64",
    key="whsec",
    signed="{id}.{timestamp}.{body}",
    timestamp="header:webhook-timestamp",
    id="header:webhook-id",
)
_SVIX: Final = replace(
    SIGNED_BY_ID, place="header:svix-signature", timestamp="header:svix-timestamp", id="header:svix-id"
)


def _also_public(way: Proof) -> tuple[Proof, Proof]:
    """*way*, and the same with a pair of keys: version 1a."""
    return way, replace(way, scheme="ed25519", prefix="v1a,", key="whpk")


GENERIC: Final[Mapping[str, Sender]] = {
    "none": Sender(title="anybody", proof="none: whoever reaches the address may send"),
    "token": Sender(
        title="any with a token",
        proof="`Authorization: Bearer SECRET`, another word of `scheme`, the secret alone in the header that "
        "`header` names, or in the parameter that `query` names",
        ways=(BEARER,),
        settings=("header", "scheme", "query"),
    ),
    "basic": Sender(
        title="any with user and password",
        proof="`Authorization: Basic`, with `user` and the secret as the password",
        ways=(Proof("token", "header:authorization", prefix="Basic ", key="basic"),),
        required=("user",),
        link="https://www.rfc-editor.org/rfc/rfc7617",
    ),
    "hmac": Sender(
        title="any that signs with HMAC",
        proof="what `header`, `prefix`, `algorithm`, `encoding`, `signed` and `timestamp` say",
        ways=(Proof("hmac", "header:x-signature"),),
        required=("header",),
        settings=(
            "prefix",
            "separator",
            "algorithm",
            "encoding",
            "key",
            "signed",
            "timestamp",
            "time_format",
            "tolerance",
            "public_url",
        ),
    ),
    "standard": Sender(
        title="Standard Webhooks 1.0.0",
        proof="`webhook-signature`: HMAC-SHA256 of `id.timestamp.body`, in base64 after `v1,`, where the "
        "secret is `whsec_…`; Ed25519 of the same, after `v1a,`, where it is `whpk_…`",
        ways=_also_public(SIGNED_BY_ID),
        delivery=("header:webhook-id",),
        event=("body:type",),
        topic="{name}.{event}",
        link="https://www.standardwebhooks.com",
    ),
    "svix": Sender(
        title="Svix",
        proof="`svix-signature`: as `standard`, under headers of its own",
        ways=_also_public(_SVIX),
        delivery=("header:svix-id",),
        event=("body:type",),
        topic="{name}.{event}",
        link="https://docs.svix.com/receiving/verifying-payloads/how-manual",
    ),
}
