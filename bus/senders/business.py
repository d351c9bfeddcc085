"""The rows of services for shops, payments and mail."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from .sender import Handshake, Proof, Sender

BUSINESS: Final[Mapping[str, Sender]] = {
    "stripe": Sender(
        title="Stripe",
        proof="`Stripe-Signature`: HMAC-SHA256 of `timestamp.body`, in hex after `v1=`",
        ways=(
            Proof(
                "hmac",
                "header:stripe-signature",
                prefix="v1=",
                separator=",",
                signed="{timestamp}.{body}",
                timestamp="item:t=",
            ),
        ),
        delivery=("body:id",),
        event=("body:type",),
        topic="stripe.{event}",
        link="https://docs.stripe.com/webhooks/signature",
    ),
    "paddle": Sender(
        title="Paddle Billing",
        proof="`Paddle-Signature`: HMAC-SHA256 of `timestamp:body`, in hex after `h1=`",
        ways=(
            Proof(
                "hmac",
                "header:paddle-signature",
                prefix="h1=",
                separator=";",
                signed="{timestamp}:{body}",
                timestamp="item:ts=",
            ),
        ),
        delivery=("body:event_id",),
        event=("body:event_type",),
        topic="paddle.{event}",
        link="https://developer.paddle.com/webhooks/signature-verification",
    ),
    "shopify": Sender(
        title="Shopify",
        proof="`X-Shopify-Hmac-SHA256`: HMAC-SHA256 of the body, in base64",
        ways=(Proof("hmac", "header:x-shopify-hmac-sha256", encoding="base64"),),
        # not X-Shopify-Event-Id: what one action sets off shares it, under several topics
        delivery=("header:x-shopify-webhook-id",),
        event=("header:x-shopify-topic",),
        topic="shopify.{event}",
        link="https://shopify.dev/docs/apps/build/webhooks/subscribe/https",
    ),
    "woocommerce": Sender(
        title="WooCommerce",
        proof="`X-WC-Webhook-Signature`: HMAC-SHA256 of the body, in base64",
        ways=(Proof("hmac", "header:x-wc-webhook-signature", encoding="base64"),),
        # not X-WC-Webhook-Delivery-ID: it is made of the second, and two deliveries of one second share it
        event=("header:x-wc-webhook-topic",),
        topic="woocommerce.{event}",
        link="https://developer.woocommerce.com/docs/best-practices/urls-and-routing/webhooks/",
    ),
    "twilio": Sender(
        title="Twilio",
        proof="`X-Twilio-Signature`: HMAC-SHA1 of the URL and the sorted fields of the form, in base64; of "
        "JSON the URL alone, whose `bodySHA256` is the body's",
        ways=(
            Proof(
                "hmac",
                "header:x-twilio-signature",
                algorithm="sha1",
                encoding="base64",
                signed="{url}",
                digest="query:bodySHA256",
            ),
            Proof(
                "hmac",
                "header:x-twilio-signature",
                algorithm="sha1",
                encoding="base64",
                signed="{url}{form}",
                unless="query:bodySHA256",
            ),
        ),
        delivery=("header:i-twilio-idempotency-token",),
        required=("public_url",),
        link="https://www.twilio.com/docs/usage/webhooks/webhooks-security",
    ),
    "sendgrid": Sender(
        title="SendGrid, signed event webhook",
        proof="`X-Twilio-Email-Event-Webhook-Signature`: ECDSA by P-256 of time and body, in base64; the "
        "secret is the public key that SendGrid shows",
        ways=(
            Proof(
                "ecdsa",
                "header:x-twilio-email-event-webhook-signature",
                encoding="base64",
                key="p256",
                signed="{timestamp}{body}",
                timestamp="header:x-twilio-email-event-webhook-timestamp",
            ),
        ),
        # no id: a list of events, whose ids are those of each
        event=("body:0.event",),
        link="https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/"
        "getting-started-event-webhook-security-features",
    ),
    "mailgun": Sender(
        title="Mailgun",
        proof="`signature` in the body: HMAC-SHA256 of its `timestamp` and `token`, in hex; the rest of "
        "the body is not signed",
        ways=(
            Proof(
                "hmac",
                "body:signature.signature",
                signed="{timestamp}{json:signature.token}",
                timestamp="body:signature.timestamp",
            ),
        ),
        once="body:signature.token",
        delivery=("body:event-data.id",),
        event=("body:event-data.event",),
        topic="mailgun.{event}",
        link="https://documentation.mailgun.com/docs/mailgun/user-manual/webhooks/securing-webhooks",
    ),
    "mailchimp": Sender(
        title="Mailchimp",
        proof="the secret in the parameter `secret` of the URL, or in the one that `query` names",
        ways=(Proof("token", "query:secret"),),
        settings=("query",),
        event=("body:type",),
        topic="mailchimp.{event}",
        handshakes=(Handshake("GET"),),
        link="https://mailchimp.com/developer/marketing/guides/sync-audience-data-webhooks/",
    ),
}
