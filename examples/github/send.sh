#!/bin/sh
# Sends a sample payload signed as GitHub signs it: send.sh push|pull_request|release [delivery id]
set -eu
: "${GITHUB_WEBHOOK_SECRET:?export the secret of the hook first}"
event=${1:?push, pull_request or release}
delivery=${2:-$(date +%s%N)}
payload=$(dirname "$0")/payloads/$event.json
[ -r "$payload" ] || { echo "$0: no sample payload $payload" >&2; exit 1; }
signature=$(openssl dgst -sha256 -hmac "$GITHUB_WEBHOOK_SECRET" -r "$payload" | cut -d' ' -f1)
curl -sS --fail-with-body -X POST "${MONQBUS_URL:-http://127.0.0.1:8080}/hooks/github" \
    -H 'Content-Type: application/json' \
    -H "X-GitHub-Event: $event" \
    -H "X-GitHub-Delivery: $delivery" \
    -H "X-Hub-Signature-256: sha256=$signature" \
    --data-binary "@$payload"
