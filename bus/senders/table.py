"""The table of senders, by the word that a hook's `verify` has for each.

A sender without a handshake is one row here and one vector in `tests/unit/test_senders.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Final

from .sender import Sender

_STANDARD: Final = Sender(
    title="Standard Webhooks 1.0.0",
    proof="`webhook-signature`: HMAC-SHA256 of `id.timestamp.body`, in base64 after `v1,`",
    scheme="hmac",
    signature="header:webhook-signature",
    prefix="v1,",
    separator=" ",
    encoding="base64",
    key="whsec",
    signed="{id}.{timestamp}.{body}",
    timestamp="header:webhook-timestamp",
    delivery=("header:webhook-id",),
    event=("body:type",),
    topic="{name}.{event}",
    link="https://www.standardwebhooks.com",
)
_GITEA: Final = Sender(
    title="Gitea",
    proof="`X-Gitea-Signature`: HMAC-SHA256 of the body, in hex",
    scheme="hmac",
    signature="header:x-gitea-signature",
    delivery=("header:x-gitea-delivery",),
    event=("header:x-gitea-event",),
    topic="gitea.{event}",
    link="https://docs.gitea.com/usage/webhooks",
)

SENDERS: Final[Mapping[str, Sender]] = {
    "none": Sender(
        title="anybody",
        proof="none: whoever reaches the address may send",
        scheme="none",
    ),
    "token": Sender(
        title="any with a token",
        proof="`Authorization: Bearer SECRET`, or the secret alone in the header that `header` names",
        scheme="token",
        signature="header:authorization",
        prefix="Bearer ",
        settings=("header",),
    ),
    "github": Sender(
        title="GitHub",
        proof="`X-Hub-Signature-256`: HMAC-SHA256 of the body, in hex after `sha256=`",
        scheme="hmac",
        signature="header:x-hub-signature-256",
        prefix="sha256=",
        delivery=("header:x-github-delivery",),
        event=("header:x-github-event",),
        topic="github.{event}",
        tests=("ping",),
        link="https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries",
    ),
    "standard": _STANDARD,
    "svix": replace(
        _STANDARD,
        title="Svix",
        proof="`svix-signature`: as `standard`, under headers of its own",
        signature="header:svix-signature",
        timestamp="header:svix-timestamp",
        delivery=("header:svix-id",),
        link="https://docs.svix.com/receiving/verifying-payloads/how-manual",
    ),
    "gitlab": Sender(
        title="GitLab",
        proof="`X-Gitlab-Token`: the secret alone",
        scheme="token",
        signature="header:x-gitlab-token",
        # not X-Gitlab-Event-UUID: hooks that were set off by another hook share it
        event=("body:object_kind", "body:event_name", "header:x-gitlab-event"),
        topic="gitlab.{event}",
        link="https://docs.gitlab.com/user/project/integrations/webhooks/",
    ),
    "gitea": _GITEA,
    "forgejo": replace(
        _GITEA,
        title="Forgejo",
        proof="`X-Forgejo-Signature`: HMAC-SHA256 of the body, in hex",
        signature="header:x-forgejo-signature",
        delivery=("header:x-forgejo-delivery",),
        event=("header:x-forgejo-event",),
        topic="forgejo.{event}",
        link="https://forgejo.org/docs/latest/user/webhooks/",
    ),
    "gogs": replace(
        _GITEA,
        title="Gogs",
        proof="`X-Gogs-Signature`: HMAC-SHA256 of the body, in hex",
        signature="header:x-gogs-signature",
        delivery=("header:x-gogs-delivery",),
        event=("header:x-gogs-event",),
        topic="gogs.{event}",
        link="https://gogs.io/docs/features/webhook",
    ),
    "bitbucket": Sender(
        title="Bitbucket, Cloud and Data Center",
        proof="`X-Hub-Signature`: HMAC-SHA256 of the body, in hex after `sha256=`",
        scheme="hmac",
        signature="header:x-hub-signature",
        prefix="sha256=",
        delivery=("header:x-request-uuid", "header:x-request-id"),
        event=("header:x-event-key",),
        topic="bitbucket.{event}",
        tests=("diagnostics:ping",),
        link="https://support.atlassian.com/bitbucket-cloud/docs/manage-webhooks/",
    ),
    "jira": Sender(
        title="Jira Cloud",
        proof="`X-Hub-Signature`: HMAC-SHA256 of the body, in hex after `sha256=`",
        scheme="hmac",
        signature="header:x-hub-signature",
        prefix="sha256=",
        delivery=("header:x-atlassian-webhook-identifier",),
        event=("body:webhookEvent",),
        topic="jira.{event}",
        link="https://developer.atlassian.com/cloud/jira/platform/webhooks/",
    ),
    "slack": Sender(
        title="Slack",
        proof="`X-Slack-Signature`: HMAC-SHA256 of `v0:timestamp:body`, in hex after `v0=`",
        scheme="hmac",
        signature="header:x-slack-signature",
        prefix="v0=",
        signed="v0:{timestamp}:{body}",
        timestamp="header:x-slack-request-timestamp",
        delivery=("body:event_id",),
        event=("body:event.type", "body:type"),
        topic="slack.{event}",
        link="https://docs.slack.dev/authentication/verifying-requests-from-slack",
    ),
    "stripe": Sender(
        title="Stripe",
        proof="`Stripe-Signature`: HMAC-SHA256 of `timestamp.body`, in hex after `v1=`",
        scheme="hmac",
        signature="header:stripe-signature",
        prefix="v1=",
        separator=",",
        signed="{timestamp}.{body}",
        timestamp="item:t=",
        delivery=("body:id",),
        event=("body:type",),
        topic="stripe.{event}",
        link="https://docs.stripe.com/webhooks/signature",
    ),
    "shopify": Sender(
        title="Shopify",
        proof="`X-Shopify-Hmac-SHA256`: HMAC-SHA256 of the body, in base64",
        scheme="hmac",
        signature="header:x-shopify-hmac-sha256",
        encoding="base64",
        # not X-Shopify-Event-Id: what one action sets off shares it, under several topics
        delivery=("header:x-shopify-webhook-id",),
        event=("header:x-shopify-topic",),
        topic="shopify.{event}",
        link="https://shopify.dev/docs/apps/build/webhooks/subscribe/https",
    ),
    "woocommerce": Sender(
        title="WooCommerce",
        proof="`X-WC-Webhook-Signature`: HMAC-SHA256 of the body, in base64",
        scheme="hmac",
        signature="header:x-wc-webhook-signature",
        encoding="base64",
        # not X-WC-Webhook-Delivery-ID: it is made of the second, and two deliveries of one second share it
        event=("header:x-wc-webhook-topic",),
        topic="woocommerce.{event}",
        link="https://developer.woocommerce.com/docs/best-practices/urls-and-routing/webhooks/",
    ),
    "pagerduty": Sender(
        title="PagerDuty, version 3",
        proof="`X-PagerDuty-Signature`: HMAC-SHA256 of the body, in hex after `v1=`",
        scheme="hmac",
        signature="header:x-pagerduty-signature",
        prefix="v1=",
        separator=",",
        delivery=("body:event.id",),
        event=("body:event.event_type",),
        topic="pagerduty.{event}",
        tests=("pagey.ping",),
        link="https://developer.pagerduty.com/docs/verifying-webhook-signatures",
    ),
    "vercel": Sender(
        title="Vercel",
        proof="`x-vercel-signature`: HMAC-SHA1 of the body, in hex",
        scheme="hmac",
        signature="header:x-vercel-signature",
        algorithm="sha1",
        delivery=("body:id",),
        event=("body:type",),
        topic="vercel.{event}",
        link="https://vercel.com/docs/webhooks/webhooks-api",
    ),
    "hookdeck": Sender(
        title="Hookdeck",
        proof="`x-hookdeck-signature`: HMAC-SHA256 of the body, in base64",
        scheme="hmac",
        signature="header:x-hookdeck-signature",
        encoding="base64",
        delivery=("header:x-hookdeck-eventid",),
        link="https://hookdeck.com/docs/authentication",
    ),
}


def names() -> tuple[str, ...]:
    """Every word that `verify` may be, in the order of the table."""
    return tuple(SENDERS)


def those(fits: Callable[[Sender], bool], joint: str = "and") -> str:
    """The senders that *fits* is true of, for a sentence: ``token, github and gitlab``."""
    return either([name for name, sender in SENDERS.items() if fits(sender)], joint)


def either(words: Sequence[str], joint: str = "or") -> str:
    """*words* for a sentence: ``a, b or c``."""
    return f" {joint} ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


@lru_cache(maxsize=256)
def adapted(name: str, header: str, tolerance: float) -> Sender:
    """The row *name* with a hook's own *header* and *tolerance* put in, as far as it takes them.

    Raises KeyError for a name that is not in the table, which a checked configuration never holds.
    """
    row = replace(SENDERS[name], tolerance=tolerance)
    place = f"header:{header.lower()}"
    if "header" in row.settings and place != row.signature:
        return replace(row, signature=place, prefix="")  # "Bearer" belongs to Authorization alone
    return row
