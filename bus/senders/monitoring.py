"""The rows of services that watch, call and run machines."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from .generic import BEARER
from .sender import Handshake, Proof, Sender

_OF_SNS: Final = re.compile(r"https://sns\.[a-z0-9-]{1,32}\.amazonaws\.com(?:\.cn)?/[\x21-\x7e]{1,1024}")
_HOOK_SECRET: Final = re.compile(r"[A-Za-z0-9_-]{16,128}")

MONITORING: Final[Mapping[str, Sender]] = {
    "alertmanager": Sender(
        title="Prometheus Alertmanager",
        proof="`Authorization: Bearer SECRET`, or `Basic` where the hook names a `user`",
        ways=(BEARER,),
        settings=("user",),
        # no id: groupKey repeats by design
        event=("body:status",),
        topic="alertmanager.{event}",
        link="https://prometheus.io/docs/alerting/latest/configuration/#webhook_config",
    ),
    "grafana": Sender(
        title="Grafana Alerting",
        proof="`X-Grafana-Alerting-Signature`: HMAC-SHA256 of the body, in hex; of `timestamp:body` where "
        "the hook names the header of the time, `timestamp = header:X-Grafana-Alerting-Timestamp`",
        ways=(Proof("hmac", "header:x-grafana-alerting-signature", timed="{timestamp}:{body}"),),
        settings=("header", "timestamp", "tolerance"),
        event=("body:status",),
        topic="grafana.{event}",
        link="https://grafana.com/docs/grafana/latest/alerting/configure-notifications/"
        "manage-contact-points/integrations/webhook-notifier/",
    ),
    "pagerduty": Sender(
        title="PagerDuty, version 3",
        proof="`X-PagerDuty-Signature`: HMAC-SHA256 of the body, in hex after `v1=`",
        ways=(Proof("hmac", "header:x-pagerduty-signature", prefix="v1=", separator=","),),
        delivery=("body:event.id",),
        event=("body:event.event_type",),
        topic="pagerduty.{event}",
        tests=("pagey.ping",),
        link="https://developer.pagerduty.com/docs/verifying-webhook-signatures",
    ),
    "hookdeck": Sender(
        title="Hookdeck",
        proof="`x-hookdeck-signature`: HMAC-SHA256 of the body, in base64",
        ways=(Proof("hmac", "header:x-hookdeck-signature", encoding="base64"),),
        delivery=("header:x-hookdeck-eventid",),
        link="https://hookdeck.com/docs/authentication",
    ),
    "scalr": Sender(
        title="Scalr",
        proof="`X-Signature`: HMAC-SHA1 of the body and the header `Date`, in hex",
        ways=(
            Proof(
                "hmac",
                "header:x-signature",
                algorithm="sha1",
                signed="{body}{timestamp}",
                timestamp="header:date",
                unit="http",
            ),
        ),
        link="https://docs.scalr.io/docs/webhooks",
    ),
    "okta": Sender(
        title="Okta event hooks",
        proof="`Authorization`: the secret alone, or in the header that `header` names",
        ways=(Proof("token", "header:authorization"),),
        settings=("header",),
        delivery=("body:eventId",),
        event=("body:data.events.0.eventType",),
        topic="okta.{event}",
        handshakes=(
            Handshake(
                "GET",
                given=(("header:x-okta-verification-challenge", ""),),
                echo="header:x-okta-verification-challenge",
                fields=(("verification", "{value}"),),
                verified=False,
            ),
        ),
        link="https://developer.okta.com/docs/concepts/event-hooks/",
    ),
    "asana": Sender(
        title="Asana",
        proof="`X-Hook-Signature`: HMAC-SHA256 of the body, in hex",
        ways=(Proof("hmac", "header:x-hook-signature"),),
        # no id; an empty list of events is a heartbeat, and has no event
        event=("body:events.0.action",),
        topic="asana.{event}",
        handshakes=(
            Handshake(
                given=(("header:x-hook-secret", ""),),
                absent=("header:x-hook-signature",),
                echo="header:x-hook-secret",
                value=_HOOK_SECRET,
                header="X-Hook-Secret",
                verified=False,
                precedes_secret=True,
            ),
        ),
        link="https://developers.asana.com/docs/webhooks-guide",
    ),
    "sns": Sender(
        title="Amazon SNS",
        proof="the secret in the parameter `token` of the URL, or in the one that `query` names; "
        "`Authorization: Basic` where the hook names a `user`",
        ways=(Proof("token", "query:token"),),
        settings=("query", "user"),
        delivery=("header:x-amz-sns-message-id",),
        event=("header:x-amz-sns-message-type",),
        topic="sns.{event}",
        offered="body:SubscribeURL",
        offers="SubscriptionConfirmation",
        offered_at=_OF_SNS,
        link="https://docs.aws.amazon.com/sns/latest/dg/sns-http-https-endpoint-as-subscriber.html",
    ),
    "event-grid": Sender(
        title="Azure Event Grid, its own schema",
        proof="`Authorization: Bearer SECRET`, the secret alone in the header that `header` names, or in the "
        "parameter that `query` names",
        ways=(BEARER,),
        settings=("header", "scheme", "query"),
        event=("body:0.eventType",),
        topic="event-grid.{event}",
        handshakes=(
            Handshake(
                given=(("header:aeg-event-type", "SubscriptionValidation"),),
                echo="body:0.data.validationCode",
                fields=(("validationResponse", "{value}"),),
            ),
        ),
        link="https://learn.microsoft.com/en-us/azure/event-grid/end-point-validation-event-grid-events-schema",
    ),
}
