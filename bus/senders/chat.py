"""The rows of services in which people talk, share and publish."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from .sender import Handshake, Proof, Sender

_TOKEN: Final = re.compile(r"[A-Za-z0-9_.+/-]{1,256}={0,2}")
"""No letter that JSON or a signed string begins with: what is signed here proves no delivery."""
_META: Final = Proof("hmac", "header:x-hub-signature-256", prefix="sha256=")
_SUBSCRIBE: Final = Handshake(
    "GET",
    given=(("query:hub.mode", "subscribe"),),
    echo="query:hub.challenge",
    verified=False,
    token="query:hub.verify_token",  # noqa: S106
)

CHAT: Final[Mapping[str, Sender]] = {
    "slack": Sender(
        title="Slack",
        proof="`X-Slack-Signature`: HMAC-SHA256 of `v0:timestamp:body`, in hex after `v0=`",
        ways=(
            Proof(
                "hmac",
                "header:x-slack-signature",
                prefix="v0=",
                signed="v0:{timestamp}:{body}",
                timestamp="header:x-slack-request-timestamp",
            ),
        ),
        delivery=("body:event_id",),
        event=("body:event.type", "body:type"),
        topic="slack.{event}",
        handshakes=(Handshake(given=(("body:type", "url_verification"),), echo="body:challenge"),),
        link="https://docs.slack.dev/authentication/verifying-requests-from-slack",
    ),
    "discord": Sender(
        title="Discord",
        proof="`X-Signature-Ed25519`: Ed25519 of time and body, in hex; the secret is the "
        "application's public key",
        ways=(
            Proof(
                "ed25519",
                "header:x-signature-ed25519",
                key="ed25519",
                signed="{timestamp}{body}",
                timestamp="header:x-signature-timestamp",
            ),
        ),
        delivery=("body:id",),
        event=("body:event.type", "body:type"),
        topic="discord.{event}",
        handshakes=(
            # type 1 is the ping of interactions, and any event of webhook events, whose ping is type 0
            Handshake(given=(("body:type", "1"),), absent=("body:event.type",), fields=(("type", 1),)),
            Handshake(given=(("body:type", "0"),)),
        ),
        link="https://docs.discord.com/developers/interactions/overview",
    ),
    "zoom": Sender(
        title="Zoom",
        proof="`x-zm-signature`: HMAC-SHA256 of `v0:timestamp:body`, in hex after `v0=`",
        ways=(
            Proof(
                "hmac",
                "header:x-zm-signature",
                prefix="v0=",
                signed="v0:{timestamp}:{body}",
                timestamp="header:x-zm-request-timestamp",
            ),
        ),
        event=("body:event",),
        topic="zoom.{event}",
        handshakes=(
            Handshake(
                given=(("body:event", "endpoint.url_validation"),),
                echo="body:payload.plainToken",
                value=_TOKEN,
                fields=(("plainToken", "{value}"), ("encryptedToken", "{mac}")),
            ),
        ),
        link="https://developers.zoom.us/docs/api/webhooks/",
    ),
    "twitch": Sender(
        title="Twitch EventSub",
        proof="`Twitch-Eventsub-Message-Signature`: HMAC-SHA256 of id, time and body, in hex after `sha256=`",
        ways=(
            Proof(
                "hmac",
                "header:twitch-eventsub-message-signature",
                prefix="sha256=",
                signed="{id}{timestamp}{body}",
                timestamp="header:twitch-eventsub-message-timestamp",
                unit="rfc3339",
                tolerance=600.0,
                id="header:twitch-eventsub-message-id",
            ),
        ),
        delivery=("header:twitch-eventsub-message-id",),
        event=("header:twitch-eventsub-subscription-type",),
        topic="twitch.{event}",
        handshakes=(
            Handshake(
                given=(("header:twitch-eventsub-message-type", "webhook_callback_verification"),),
                echo="body:challenge",
            ),
        ),
        link="https://dev.twitch.tv/docs/eventsub/handling-webhook-events/",
    ),
    "meta": Sender(
        title="Meta: Facebook, Instagram, Messenger",
        proof="`X-Hub-Signature-256`: HMAC-SHA256 of the body by the app's secret, in hex after `sha256=`",
        ways=(_META,),
        event=("body:object",),
        topic="meta.{event}",
        required=("verify_token",),
        handshakes=(_SUBSCRIBE,),
        link="https://developers.facebook.com/docs/graph-api/webhooks/getting-started",
    ),
    "whatsapp": Sender(
        title="WhatsApp",
        proof="`X-Hub-Signature-256`: HMAC-SHA256 of the body by the app's secret, in hex after `sha256=`",
        ways=(_META,),
        event=("body:entry.0.changes.0.field", "body:object"),
        topic="whatsapp.{event}",
        required=("verify_token",),
        handshakes=(_SUBSCRIBE,),
        link="https://developers.facebook.com/docs/graph-api/webhooks/getting-started",
    ),
    "x": Sender(
        title="X, account activity",
        proof="`X-Twitter-Webhooks-Signature`: HMAC-SHA256 of the body, in base64 after `sha256=`",
        ways=(Proof("hmac", "header:x-twitter-webhooks-signature", prefix="sha256=", encoding="base64"),),
        handshakes=(
            Handshake(
                "GET",
                given=(("query:crc_token", ""),),
                echo="query:crc_token",
                value=_TOKEN,
                fields=(("response_token", "sha256={mac}"),),
                encoding="base64",
                verified=False,
            ),
        ),
        link="https://docs.x.com/x-api/webhooks/introduction",
    ),
    "dropbox": Sender(
        title="Dropbox",
        proof="`X-Dropbox-Signature`: HMAC-SHA256 of the body, in hex",
        ways=(Proof("hmac", "header:x-dropbox-signature"),),
        handshakes=(
            Handshake("GET", given=(("query:challenge", ""),), echo="query:challenge", verified=False),
        ),
        link="https://www.dropbox.com/developers/reference/webhooks",
    ),
    "elevenlabs": Sender(
        title="ElevenLabs",
        proof="`ElevenLabs-Signature`: HMAC-SHA256 of `timestamp.body`, in hex after `v0=`",
        ways=(
            Proof(
                "hmac",
                "header:elevenlabs-signature",
                prefix="v0=",
                separator=",",
                signed="{timestamp}.{body}",
                timestamp="item:t=",
                tolerance=1800.0,
            ),
        ),
        event=("body:type",),
        topic="elevenlabs.{event}",
        link="https://elevenlabs.io/docs/overview/administration/webhooks",
    ),
    "ms-graph": Sender(
        title="Microsoft Graph, change notifications",
        proof="`clientState` of each notification in the body: the secret alone",
        ways=(Proof("token", "body:value.*.clientState"),),
        event=("body:value.0.changeType",),
        topic="ms-graph.{event}",
        handshakes=(
            Handshake(
                given=(("query:validationToken", ""),),
                echo="query:validationToken",
                verified=False,
                empty=True,
            ),
        ),
        link="https://learn.microsoft.com/en-us/graph/change-notifications-delivery-webhooks",
    ),
}
