"""One delivery of every sender, in its shape and with nothing of anybody in it, and what the hook needs.

`tests.unit.test_senders` verifies them by the table, `tests.acceptance.test_senders` posts them to a daemon.
"""

from __future__ import annotations

import base64
from json import dumps
from typing import Any, Final, NamedTuple

KEY: Final = "a-secret-of-24-bytes-000"
OTHER_KEY: Final = "another-one-of-24-bytes0"
WHSEC: Final = "whsec_" + base64.b64encode(KEY.encode()).decode()
OTHER_WHSEC: Final = "whsec_" + base64.b64encode(OTHER_KEY.encode()).decode()
FORM: Final = "application/x-www-form-urlencoded"
URL: Final = "https://hooks.example.org/hooks/a"

# RFC 8032 section 7.1, tests 1 and 2
SEED: Final = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"
PUBLIC: Final = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
OTHER_SEED: Final = "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"
OTHER_PUBLIC: Final = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"


class Delivery(NamedTuple):
    """A request before it is signed.

    `secret` is the hook's, `signs` the sender's where that is another one, `settings` are further ones of the
    hook. `event` is what `{event}` becomes, "" for the hook's name.
    """

    content: Any
    headers: dict[str, str] = {}  # noqa: RUF012
    secret: str = KEY
    other: str = OTHER_KEY
    signs: str = ""
    settings: dict[str, str] = {}  # noqa: RUF012
    event: str = ""

    @property
    def body(self) -> bytes:
        """What is sent; what is not text as JSON."""
        return self.content.encode() if isinstance(self.content, str) else dumps(self.content).encode()

    @property
    def type(self) -> dict[str, str]:
        """Its Content-Type, among its headers."""
        return {"content-type": "application/json", **self.headers}


def _coded(**headers: str) -> dict[str, str]:
    return {f"x-{name.replace('_', '-')}": value for name, value in headers.items()}


def _pushed(**more: Any) -> dict[str, Any]:
    return {
        "ref": "refs/heads/main",
        "after": "0" * 40,
        "repository": {"id": 1, "name": "boat", "full_name": "crew/boat"},
        "commits": [{"id": "0" * 40, "message": "Mend the mast", "author": {"name": "Ada"}}],
        **more,
    }


_ID = "5e7c9b1a-0000-4000-8000-000000000001"

DELIVERIES: Final[dict[str, Delivery]] = {
    "none": Delivery({"greeting": "hello"}, secret="", other=""),
    "token": Delivery({"job": "deploy", "to": "staging"}),
    "basic": Delivery({"job": "deploy", "to": "staging"}, settings={"user": "ship"}),
    "hmac": Delivery(
        {"parcel": 7, "state": "at sea"},
        settings={
            "header": "X-Parcel-Signature",
            "prefix": "v1=",
            "algorithm": "sha512",
            "encoding": "base64",
            "signed": "{method}:{timestamp}:{body}",
            "timestamp": "header:X-Parcel-Time",
            "time_format": "ms",
        },
    ),
    "standard": Delivery(
        {"type": "invoice.paid", "timestamp": "2026-01-01T00:00:00Z", "data": {"id": "in_1"}},
        {"webhook-id": "msg_1"},
        WHSEC,
        OTHER_WHSEC,
        event="invoice.paid",
    ),
    "svix": Delivery(
        {"type": "user.created", "data": {"id": "user_1"}},
        {"svix-id": "msg_1"},
        "whpk_" + base64.b64encode(bytes.fromhex(PUBLIC)).decode(),
        "whpk_" + base64.b64encode(bytes.fromhex(OTHER_PUBLIC)).decode(),
        "whsk_" + base64.b64encode(bytes.fromhex(SEED + PUBLIC)).decode(),
        event="user.created",
    ),
    "github": Delivery(
        _pushed(pusher={"name": "ada"}, forced=False, sender={"login": "ada", "id": 2}),
        _coded(github_event="push", github_delivery=_ID, github_hook_id="3"),
        event="push",
    ),
    "gitlab": Delivery(
        _pushed(object_kind="push", event_name="push", project={"id": 1, "path_with_namespace": "crew/boat"}),
        {"x-gitlab-event": "Push Hook", "idempotency-key": _ID},
        event="push",
    ),
    "gitea": Delivery(
        _pushed(pusher={"login": "ada"}), _coded(gitea_event="push", gitea_delivery=_ID), event="push"
    ),
    "forgejo": Delivery(
        _pushed(pusher={"login": "ada"}), _coded(forgejo_event="push", forgejo_delivery=_ID), event="push"
    ),
    "gogs": Delivery(
        "payload=%7B%22ref%22%3A+%22refs%2Fheads%2Fmain%22%7D",
        {"content-type": FORM, **_coded(gogs_event="push", gogs_delivery=_ID)},
        event="push",
    ),
    "bitbucket": Delivery(
        {"push": {"changes": [{"new": {"type": "branch", "name": "main"}}]}, "repository": {"name": "boat"}},
        _coded(event_key="repo:push", request_uuid=_ID),
        event="repo:push",
    ),
    "jira": Delivery(
        {"webhookEvent": "jira:issue_created", "timestamp": 1, "issue": {"key": "BOAT-1", "fields": {}}},
        {"x-atlassian-webhook-identifier": _ID},
        event="jira:issue_created",
    ),
    "trello": Delivery(
        {"action": {"id": "5e7c9b1a", "type": "createCard", "data": {"card": {"name": "Mast"}}}, "model": {}},
        settings={"public_url": URL},
        event="createCard",
    ),
    "vercel": Delivery(
        {"id": "evt_1", "type": "deployment.created", "createdAt": 1, "payload": {"deployment": {"id": "d"}}},
        event="deployment.created",
    ),
    "webflow": Delivery(
        {"triggerType": "form_submission", "payload": {"name": "Contact"}}, event="form_submission"
    ),
    "stripe": Delivery(
        {"id": "evt_1", "object": "event", "type": "charge.succeeded", "data": {"object": {"id": "ch_1"}}},
        secret="whsec_as-it-is-written-here",
        event="charge.succeeded",
    ),
    "paddle": Delivery(
        {"event_id": "evt_1", "event_type": "transaction.paid", "data": {"id": "txn_1"}},
        event="transaction.paid",
    ),
    "shopify": Delivery(
        {
            "id": 1,
            "email": "ada@example.org",
            "total_price": "10.00",
            "line_items": [{"id": 2, "quantity": 1}],
        },
        _coded(shopify_topic="orders/create", shopify_webhook_id=_ID, shopify_shop_domain="a.example.org"),
        event="orders/create",
    ),
    "woocommerce": Delivery(
        {"id": 1, "status": "processing", "total": "10.00"},
        _coded(wc_webhook_topic="order.created", wc_webhook_delivery_id="1"),
        event="order.created",
    ),
    "twilio": Delivery(
        "Body=Ahoy&From=%2B15550001&MessageSid=SM1&To=%2B15550002",
        {"content-type": FORM},
        settings={"public_url": URL},
    ),
    "sendgrid": Delivery(
        [{"email": "ada@example.org", "event": "delivered", "sg_event_id": "1", "timestamp": 1}],
        event="delivered",
    ),
    "mailgun": Delivery(
        {"signature": {}, "event-data": {"id": "m-1", "event": "delivered", "recipient": "ada@example.org"}},
        event="delivered",
    ),
    "mailchimp": Delivery(
        "type=subscribe&data%5Bemail%5D=ada%40example.org", {"content-type": FORM}, event="subscribe"
    ),
    "slack": Delivery(
        {
            "type": "event_callback",
            "event_id": "Ev1",
            "team_id": "T1",
            "event": {"type": "app_mention", "user": "U1", "text": "ahoy"},
        },
        event="app_mention",
    ),
    "discord": Delivery(
        {"id": "1", "application_id": "2", "type": 2, "data": {"id": "3", "name": "ahoy"}},
        secret=PUBLIC,
        other=OTHER_PUBLIC,
        signs=SEED,
        event="2",
    ),
    "zoom": Delivery(
        {"event": "meeting.started", "event_ts": 1, "payload": {"object": {"id": "1", "topic": "Crew"}}},
        event="meeting.started",
    ),
    "twitch": Delivery(
        {"subscription": {"id": "1", "type": "channel.follow"}, "event": {"user_login": "ada"}},
        {
            "twitch-eventsub-message-id": _ID,
            "twitch-eventsub-message-type": "notification",
            "twitch-eventsub-subscription-type": "channel.follow",
        },
        event="channel.follow",
    ),
    "meta": Delivery(
        {"object": "page", "entry": [{"id": "1", "time": 1, "changes": [{"field": "feed", "value": {}}]}]},
        settings={"verify_token": "a-word-of-our-own"},
        event="page",
    ),
    "whatsapp": Delivery(
        {
            "object": "whatsapp_business_account",
            "entry": [{"id": "1", "changes": [{"field": "messages", "value": {"messages": [{"id": "w1"}]}}]}],
        },
        settings={"verify_token": "a-word-of-our-own"},
        event="messages",
    ),
    "x": Delivery({"for_user_id": "1", "tweet_create_events": [{"id_str": "2", "text": "ahoy"}]}),
    "dropbox": Delivery({"list_folder": {"accounts": ["dbid:1"]}, "delta": {"users": [1]}}),
    "elevenlabs": Delivery(
        {"type": "post_call_transcription", "event_timestamp": 1, "data": {"agent_id": "1"}},
        event="post_call_transcription",
    ),
    "ms-graph": Delivery(
        {
            "value": [
                {"subscriptionId": "1", "changeType": "created", "resource": "users/1/messages/1"},
                {"subscriptionId": "1", "changeType": "updated", "resource": "users/1/messages/2"},
            ]
        },
        event="created",
    ),
    "alertmanager": Delivery(
        {
            "version": "4",
            "status": "firing",
            "receiver": "monqbus",
            "groupKey": '{}:{alertname="Leak"}',
            "alerts": [{"status": "firing", "labels": {"alertname": "Leak"}, "fingerprint": "0"}],
        },
        settings={"user": "alertmanager"},
        event="firing",
    ),
    "grafana": Delivery(
        {"status": "resolved", "receiver": "monqbus", "groupKey": "g", "alerts": [{"status": "resolved"}]},
        settings={"timestamp": "header:X-Grafana-Alerting-Timestamp"},
        event="resolved",
    ),
    "pagerduty": Delivery(
        {"event": {"id": "01", "event_type": "incident.triggered", "data": {"id": "PD1", "title": "Leak"}}},
        event="incident.triggered",
    ),
    "hookdeck": Delivery({"any": "thing"}, {"x-hookdeck-eventid": "evt_1"}),
    "scalr": Delivery({"eventName": "run:completed", "payload": {"run": {"id": "run-1"}}}),
    "okta": Delivery(
        {
            "eventType": "com.okta.event_hook",
            "eventId": _ID,
            "data": {"events": [{"eventType": "user.lifecycle.create"}]},
        },
        event="user.lifecycle.create",
    ),
    "asana": Delivery(
        {
            "events": [
                {"action": "changed", "resource": {"gid": "1", "resource_type": "task"}, "parent": None}
            ]
        },
        event="changed",
    ),
    "sns": Delivery(
        {
            "Type": "Notification",
            "MessageId": _ID,
            "TopicArn": "arn:aws:sns:eu-west-1:1:boats",
            "Message": "{}",
        },
        {
            "x-amz-sns-message-type": "Notification",
            "x-amz-sns-message-id": _ID,
            "content-type": "text/plain; charset=UTF-8",
        },
        event="Notification",
    ),
    "event-grid": Delivery(
        [{"id": "1", "eventType": "Blob.Created", "subject": "/a", "data": {}, "dataVersion": ""}],
        {"aeg-event-type": "Notification"},
        event="Blob.Created",
    ),
}
"""By the word of `verify`. The keys of `sendgrid` are made by who needs them."""


def p256_pair() -> tuple[str, str]:
    """A new pair of keys of P-256 as SendGrid writes them: the public and the private one."""
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
        PublicFormat,
    )

    key = generate_private_key(SECP256R1())
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    private = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return base64.b64encode(public).decode(), base64.b64encode(private).decode()


def of(name: str) -> Delivery:
    """The delivery of the sender *name* with all its keys."""
    delivery = DELIVERIES[name]
    if name != "sendgrid":
        return delivery
    (public, private), (other, _) = p256_pair(), p256_pair()
    return delivery._replace(secret=public, other=other, signs=private)
