"""The rows of services that keep, build and show code and pages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from .generic import SIGNED_BY_ID
from .sender import Handshake, Proof, Sender


def _gitea(title: str, link: str) -> Sender:
    """One of the family of Gitea, by its *title* in its headers."""
    word = title.lower()
    return Sender(
        title=title,
        proof=f"`X-{title}-Signature`: HMAC-SHA256 of the body, of a form its field `payload`, in hex",
        ways=(Proof("hmac", f"header:x-{word}-signature", signed="{payload}"),),
        delivery=(f"header:x-{word}-delivery",),
        event=(f"header:x-{word}-event",),
        topic=f"{word}.{{event}}",
        link=link,
    )


_ATLASSIAN: Final = Proof("hmac", "header:x-hub-signature", prefix="sha256=")

CODE: Final[Mapping[str, Sender]] = {
    "github": Sender(
        title="GitHub",
        proof="`X-Hub-Signature-256`: HMAC-SHA256 of the body, in hex after `sha256=`",
        ways=(Proof("hmac", "header:x-hub-signature-256", prefix="sha256="),),
        delivery=("header:x-github-delivery",),
        event=("header:x-github-event",),
        topic="github.{event}",
        tests=("ping",),
        link="https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries",
    ),
    "gitlab": Sender(
        title="GitLab",
        proof="`X-Gitlab-Token`: the secret alone; where the secret is a signing token, `whsec_…`, "
        "`webhook-signature` as with `standard`",
        # the first has to be that of the token: a header of this name is never stored
        ways=(Proof("token", "header:x-gitlab-token"), SIGNED_BY_ID),
        # not X-Gitlab-Event-UUID: hooks that were set off by another hook share it
        delivery=("header:webhook-id",),
        event=("body:object_kind", "body:event_name", "header:x-gitlab-event"),
        topic="gitlab.{event}",
        link="https://docs.gitlab.com/user/project/integrations/webhooks/",
    ),
    "gitea": _gitea("Gitea", "https://docs.gitea.com/usage/webhooks"),
    "forgejo": _gitea("Forgejo", "https://forgejo.org/docs/latest/user/webhooks/"),
    "gogs": _gitea("Gogs", "https://gogs.io/docs/features/webhook"),
    "bitbucket": Sender(
        title="Bitbucket, Cloud and Data Center",
        proof="`X-Hub-Signature`: HMAC-SHA256 of the body, in hex after `sha256=`",
        ways=(_ATLASSIAN,),
        delivery=("header:x-request-uuid", "header:x-request-id"),
        event=("header:x-event-key",),
        topic="bitbucket.{event}",
        tests=("diagnostics:ping",),
        link="https://support.atlassian.com/bitbucket-cloud/docs/manage-webhooks/",
    ),
    "jira": Sender(
        title="Jira Cloud",
        proof="`X-Hub-Signature`: HMAC-SHA256 of the body, in hex after `sha256=`",
        ways=(replace(_ATLASSIAN),),
        delivery=("header:x-atlassian-webhook-identifier",),
        event=("body:webhookEvent",),
        topic="jira.{event}",
        link="https://developer.atlassian.com/cloud/jira/platform/webhooks/",
    ),
    "trello": Sender(
        title="Trello",
        proof="`X-Trello-Webhook`: HMAC-SHA1 of the body and the hook's URL, in base64; of text that is not "
        "ASCII the lower bytes of its UTF-16",
        ways=(
            Proof(
                "hmac", "header:x-trello-webhook", algorithm="sha1", encoding="base64", signed="{body}{url}"
            ),
            Proof(
                "hmac", "header:x-trello-webhook", algorithm="sha1", encoding="base64", signed="{binary}{url}"
            ),
        ),
        delivery=("body:action.id",),
        event=("body:action.type",),
        topic="trello.{event}",
        required=("public_url",),
        handshakes=(Handshake("HEAD", verified=False),),
        link="https://developer.atlassian.com/cloud/trello/guides/rest-api/webhooks/",
    ),
    "vercel": Sender(
        title="Vercel",
        proof="`x-vercel-signature`: HMAC-SHA1 of the body, in hex",
        ways=(Proof("hmac", "header:x-vercel-signature", algorithm="sha1"),),
        delivery=("body:id",),
        event=("body:type",),
        topic="vercel.{event}",
        link="https://vercel.com/docs/webhooks/webhooks-api",
    ),
    "webflow": Sender(
        title="Webflow",
        proof="`x-webflow-signature`: HMAC-SHA256 of `timestamp:body`, in hex, the time in milliseconds",
        ways=(
            Proof(
                "hmac",
                "header:x-webflow-signature",
                signed="{timestamp}:{body}",
                timestamp="header:x-webflow-timestamp",
                unit="ms",
            ),
        ),
        event=("body:triggerType",),
        topic="webflow.{event}",
        link="https://developers.webflow.com/data/docs/working-with-webhooks",
    ),
}
