"""Words for the page of each sender: where its side is set up, and what comes. Printed in docs/senders.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

GUIDES: Final[Mapping[str, str]] = {
    "none": """\
For a hook that only this machine reaches, and for trying one. A page in a browser is refused.
""",
    "token": """\
Give the sender the URL `https://HOST/hooks/NAME` and the header `Authorization: Bearer SECRET`. A sender
that writes another word before its token needs `scheme = Token`; one that has a header of its own `header =
X-Its-Header`. A sender that can set no header at all takes the URL `https://HOST/hooks/NAME?token=SECRET`
with `query = token`; `check` warns of it, because URLs stand in the logs of proxies. The parameter is not
stored with the event.
""",
    "basic": """\
`user` is the name, `secret` the password. Many senders take them in the URL,
`https://USER:PASSWORD@HOST/hooks/NAME`, and send them as a header.
""",
    "hmac": """\
For a service that has no row. `header` carries the signature; `prefix` stands before it, `algorithm` and
`encoding` say how it is made, `signed` of what. Of its documentation you need one sentence: what is signed,
in which order. For `t=1700000000,v1=0a1b…` write `prefix = v1=`, `separator = ,`, `timestamp = item:t=` and
`signed = {timestamp}.{body}`. A time without `{timestamp}` in `signed` is refused, and a `signed` without
the body is warned of.
""",
    "standard": """\
The sender shows a secret, `whsec_…` for a common key or `whpk_…` for the public one of a pair; copy it
whole. Clerk, Resend, OpenAI and Replicate sign in this way too, some of them under the headers of `svix`.
`type` in the body is the event, `data` what it is about.
""",
    "svix": "Copy the signing secret of the endpoint, `whsec_…`. Otherwise as `standard`.",
    "github": """\
In the repository, organisation or app: *Settings*, *Webhooks*, *Add webhook*.

- *Payload URL*: `https://HOST/hooks/NAME`
- *Content type*: `application/json`; a form works too.
- *Secret*: what `openssl rand -hex 32` prints, the same as `secret`
- *Which events*: those that you have handlers for.

GitHub sends a `ping` at once; it is told as `hook.tried`. With `topic = github.{event}` the topics are
`github.push`, `github.pull_request`, `github.issues`, `github.release`, `github.workflow_run` and so on;
what happened is in `{body:action}`, so `github.{event}.{body:action|none}` tells opened from closed. Of use
in the body are `repository.full_name`, `sender.login`, `ref` and `after` of a push, `number` and
`pull_request` of a pull request.

GitHub waits for 10 s and never sends again by itself. *Recent Deliveries*, *Redeliver* does, under the same
id. Event and id are headers and not signed.
""",
    "gitlab": """\
In the project or group: *Settings*, *Webhooks*, *Add new webhook*.

- *URL*: `https://HOST/hooks/NAME`
- *Secret token*: what `openssl rand -hex 32` prints, the same as `secret`; it is sent as it is. From
  version 19 a *signing token* is better: copy the `whsec_…` that GitLab shows, and the body is signed, with
  id and time.
- *Trigger*: the events that you have handlers for.

While you go from one to the other, both stand in `secret`, one a line. The topics are `gitlab.push`,
`gitlab.merge_request`, `gitlab.note`, `gitlab.pipeline`, `gitlab.tag_push` and so on, by `object_kind`. Of
use are `project.path_with_namespace`, `ref`, `user_username`, and `object_attributes` with `action` and
`state`.

GitLab waits for 10 s and disables a hook that fails again and again. *Test* sends one of each kind.
""",
    "gitea": """\
*Settings*, *Webhooks*, *Add webhook*, *Gitea*; the secret is the same as `secret`. Both content types work.
""",
    "forgejo": "*Settings*, *Webhooks*, *Add webhook*, *Forgejo*; the secret is the same as `secret`.",
    "gogs": "*Settings*, *Webhooks*, *Add webhook*, *Gogs*; the secret is the same as `secret`.",
    "bitbucket": """\
*Repository settings*, *Webhooks*, *Add webhook*, with a secret. Topics are such as `bitbucket.repo:push`.
""",
    "jira": """\
*System*, *WebHooks*, *Create a WebHook*, with a secret. Topics are such as `jira.jira:issue_created`.
""",
    "trello": """\
Webhooks are made by its API; the secret is the *OAuth1.0 secret* of the app's *API Key* page, `public_url`
the `callbackURL` letter by letter. Trello asks by HEAD first, which is answered. Its documentation has two
readings of text that is not ASCII, its UTF-8 and the lower bytes of its UTF-16: either is taken.
""",
    "vercel": """\
*Settings*, *Webhooks*; copy the secret that is shown once. Topics are such as `vercel.deployment.created`.
""",
    "webflow": """\
Webhooks are made by its API; the secret is that of the app, or the one the answer holds.
""",
    "stripe": """\
*Developers*, *Webhooks*, *Add destination*.

- *Endpoint URL*: `https://HOST/hooks/NAME`
- *Events*: those that you have handlers for.
- *Signing secret*: reveal it and copy it whole, `whsec_` too. `stripe listen` prints another one.

The topics are `stripe.charge.succeeded`, `stripe.checkout.session.completed`, `stripe.invoice.paid`,
`stripe.customer.subscription.deleted` and so on, by `type`. What it is about is in `data.object`;
`livemode` tells tests from earnest, `account` which connected account it was. While a secret is rolled,
Stripe signs with both.

Stripe sends again for up to three days after anything but 2xx, under the same `id`, and does not keep an
order: of an object that you need, fetch the newest state. Its time is checked both ways by `tolerance`.
""",
    "paddle": "*Developer tools*, *Notifications*; copy the secret key of the destination.",
    "shopify": """\
In the shop: *Settings*, *Notifications*, *Webhooks*, *Create webhook*; of an app its configuration or its
API.

- *Event*: one each, such as *Order creation*
- *Format*: JSON
- *URL*: `https://HOST/hooks/NAME`
- The secret stands below the list, "Your webhooks will be signed with …"; of an app it is the client
  secret.

The topics are `shopify.orders_create`, `shopify.orders_paid`, `shopify.products_update`,
`shopify.app_uninstalled` and so on: `X-Shopify-Topic`, in which `/` becomes `_`. The body is the order or
product itself; the shop is in `{header:X-Shopify-Shop-Domain}`.

Shopify waits for 5 s, sends again 8 times in 4 h and then removes the subscription. Its review of apps asks
for 401 to a wrong signature, which is what it gets. Topic and id are headers and not signed.
""",
    "woocommerce": """\
*WooCommerce*, *Settings*, *Advanced*, *Webhooks*; the secret is the same as `secret`.
""",
    "twilio": """\
The secret is the *Auth Token* of the account, `public_url` the URL as it is written at Twilio, without what
follows `?`. Where Twilio is told to use GET, `methods = GET`.
""",
    "sendgrid": """\
*Settings*, *Mail Settings*, *Event Webhook*, *Signed Event Webhook*; the secret is the verification key
that is shown. A delivery is a list of events. Needs the package cryptography.
""",
    "mailgun": """\
*Sending*, *Webhooks*; the secret is the *HTTP webhook signing key*. Only a token and the time are signed,
and a token counts for one event: TLS has to reach up to here, or somebody in between sends another body
with it.
""",
    "mailchimp": """\
*Audience*, *Settings*, *Webhooks*; the URL is `https://HOST/hooks/NAME?secret=SECRET`. It is asked for by
GET first, which is answered. Deliveries are forms: the topics are `mailchimp.subscribe`,
`mailchimp.unsubscribe`, `mailchimp.profile`, `mailchimp.upemail`, `mailchimp.cleaned` and
`mailchimp.campaign`; fields have names such as `data[email]`. A delivery has no id.
""",
    "slack": """\
At api.slack.com/apps: make an app, then

- *Basic Information*, *App Credentials*: copy the *Signing Secret*
- *Event Subscriptions*: *Request URL* is `https://HOST/hooks/NAME`; Slack tries it at once, and it is
  answered. Then *Subscribe to bot events*, and install the app.
- *Slash Commands* and *Interactivity* take the same URL.

The topics are `slack.app_mention`, `slack.message`, `slack.reaction_added` and so on, by `event.type`;
interactive messages come as `slack.block_actions` or what their `type` is. A command is a form and has no
JSON: its topic is `topic_fallback`. Of use are `team_id`, `event.channel`, `event.user` and `event.text`.

Slack waits for 3 s and sends again three times, under the same `event_id`.
""",
    "discord": """\
*General Information*: the secret is the *Public Key*, and `https://HOST/hooks/NAME` the *Interactions
Endpoint URL* or the URL of *Webhooks*. Discord tries it at once, with a wrong signature too. An interaction
wants its answer at once, which it does not get from here; events do not. Needs the package cryptography.
""",
    "zoom": """\
*Feature*, *Event Subscriptions*; the secret is the *Secret Token*. *Validate* is answered, and again each
72 h.
""",
    "twitch": """\
Subscriptions are made by its API with a secret of 10 to 100 characters; the challenge is answered.
""",
    "meta": """\
*Webhooks* of the app: `https://HOST/hooks/NAME` as *Callback URL* and the word of `verify_token` as *Verify
token*; it is asked for by GET, which is answered. `secret` is the *App Secret* of *Settings*, *Basic*.
""",
    "whatsapp": "*WhatsApp*, *Configuration*: as `meta`. Subscribe the field `messages`.",
    "x": """\
The secret is the *API secret key* of the app. The challenge response check is answered whenever it comes.
""",
    "dropbox": """\
*App Console*, *Webhooks*; the secret is the *App secret*. A delivery says who changed something, not what.
""",
    "elevenlabs": "*Settings*, *Webhooks*; copy the secret. A signature counts for half an hour.",
    "ms-graph": """\
Subscriptions are made by its API: `notificationUrl` is `https://HOST/hooks/NAME`, `clientState` the secret,
up to 128 characters. The validation is answered. The secret stands in each body, and so in each stored
event.
""",
    "alertmanager": """\
In `alertmanager.yml`:

```yaml
receivers:
  - name: monqbus
    webhook_configs:
      - url: https://HOST/hooks/NAME
        http_config:
          authorization:
            credentials_file: /etc/alertmanager/monqbus.token
```

The file holds the secret. With `basic_auth` in place of `authorization` the hook names its `user`. The
topics are `alertmanager.firing` and `alertmanager.resolved`; `alerts` has each with `labels`,
`annotations`, `startsAt` and `fingerprint`, `commonLabels` what they share, `groupKey` the group.

A group that still fires comes again each `repeat_interval` and is a new event each time. Alertmanager sends
again after 5xx and connection errors only.
""",
    "grafana": """\
*Alerting*, *Contact points*, *Webhook*, *HMAC Signature*; the secret is the same as `secret`. Fill in
*Timestamp header* there, and name it here, so that a captured alert wears out. Where *Signature header* is
another one, `header`.
""",
    "pagerduty": """\
*Integrations*, *Generic Webhooks (v3)*; the secret is shown once. Topics: `pagerduty.incident.triggered`.
""",
    "hookdeck": "*Settings*, *Secrets*: the signing secret of the project.",
    "scalr": "*Integrations*, *Webhooks*; the secret is the endpoint's.",
    "okta": """\
*Workflow*, *Event Hooks*; *Authentication field* `authorization`, or the name that `header` has, and the
secret. *Verify* is answered. One delivery may hold several events, in `data.events`; the topic is that of the
first.
""",
    "asana": """\
Webhooks are made by its API (`POST /webhooks` with `resource` and `target`), and Asana makes the secret:

- Write the hook with `secret = file:asana.secret` before there is such a file, and start the daemon or send
  HUP: the hook is closed, `hook.disabled` says so.
- Make the webhook. Asana asks the target with `X-Hook-Secret`, which is answered with the same header also
  while the hook is closed; nothing of it is kept or printed.
- The answer of the API has the secret, `X-Hook-Secret`: write it into the file, with mode 0600, and send HUP.
  What Asana has sent meanwhile got 503, and comes again for 24 hours.

Whoever asks in Asana's place learns nothing, and what they send is refused: the secret is the file's. Topics
are `asana.added`, `asana.changed` and so on, by the first of `events`; a heartbeat has none and comes under
`topic_fallback`.
""",
    "sns": """\
*Create subscription*, protocol HTTPS, endpoint `https://HOST/hooks/NAME?token=SECRET`; or
`https://USER:SECRET@HOST/hooks/NAME` with `user`, which keeps the secret out of the logs of proxies.

- SNS asks first, with a message whose topic is `sns.SubscriptionConfirmation`. It is stored as any event, and
  `subscription.offered` in the log has the URL that confirms the subscription, if it is one of
  `sns.REGION.amazonaws.com`: look whether the `TopicArn` is yours (`monqbus events show`), then open it. The
  daemon opens no URL that somebody sent.
- Messages come as `sns.Notification`: of use are `Message`, which is text and often JSON, `Subject` and
  `TopicArn`. They are JSON that says it is text, which `event.json` and `{body:…}` read.
- The signatures of SNS are not verified, because the certificates would have to be fetched: the secret proves
  the sender.
""",
    "event-grid": """\
For subscriptions with the *Event Grid Schema*. Add the header `Authorization` with `Bearer SECRET` under
*Delivery Properties*. The validation is answered. One delivery is a list of events.
""",
}
"""By the word of `verify`, in Markdown."""
