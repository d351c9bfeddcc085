"""A delivery of every sender at a real door: a true one is stored under its topic, a forged one is not."""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import time
from pathlib import Path

from bus.senders import SENDERS, adapted
from bus.webhook.request import Request
from bus.webhook.sign import sign
from tests import deliveries
from tests.deliveries import URL, Delivery
from tests.program import PROGRAM

from .conftest import New
from .daemons import Daemon

_ALL = {name: deliveries.of(name) for name in SENDERS}


def _config() -> str:
    """One hook for each sender, under the topic of its row and with `{event}` behind it."""
    lines = ["[monqbus]", "data_dir = ./data", "store = {store}", "[http]", "listen = 127.0.0.1:0"]
    for name, one in _ALL.items():
        topic = "got.{event}" if SENDERS[name].event else "got.{name}"
        settings = {"verify": name, "topic": topic, "secret": one.secret, **one.settings}
        lines.append(f"[hook:{name}]")
        lines += [f"{key} = {value}" for key, value in settings.items() if value]
    text = "\n".join(lines) + "\n"
    return text.replace("{", "{{").replace("}", "}}").replace("{{store}}", "{store}")


def _signed(name: str, one: Delivery) -> Request:
    request = Request("POST", URL, one.type, one.body, time.time())
    return sign(adapted(name, **one.settings), one.signs or one.secret, request)


def _post(daemon: Daemon, name: str, request: Request, body: bytes) -> tuple[int, str]:
    connection = http.client.HTTPConnection(*daemon.address, timeout=10)
    path = f"/hooks/{name}?{request.url.partition('?')[2]}".rstrip("?")
    connection.request(request.method, path, body, dict(request.headers))
    answer = connection.getresponse()
    status, said = answer.status, answer.read().decode()
    connection.close()
    return status, said


def test_every_senders_delivery_is_accepted_and_a_forged_one_is_not(new_daemon: New, tmp_path: Path) -> None:
    """202 for each word of `verify`, with its event's topic; 401 once a byte is another one."""
    daemon = new_daemon(text=_config())
    daemon.config.touch(mode=0o600)
    daemon.start()
    accepted, refused = {}, {}
    for name, one in _ALL.items():
        request = _signed(name, one)
        accepted[name] = _post(daemon, name, request, request.body)[0]
        if SENDERS[name].ways:
            header = adapted(name, **one.settings).header
            worse = {
                key: value[:-4] + "AAAA" if key == header else value for key, value in request.headers.items()
            }
            body = request.body.replace(b"signature", b"signaturE").replace(b"clientState", b"clientstate")
            forged = request._replace(headers=worse, url=re.sub("(secret|token)=", r"\1=x", request.url))
            refused[name] = _post(daemon, name, forged, body)[0]
    listed = subprocess.run(
        [*PROGRAM, "events", "list", "--json", "--limit", "100", "--config", str(daemon.config)],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    ).stdout
    topics = {event["hook"]: event["topic"] for event in map(json.loads, listed.splitlines())}

    assert dict.fromkeys(_ALL, 202) == accepted
    assert dict.fromkeys(refused, 401) == refused
    assert {name: f"got.{(one.event or name).replace('/', '_')}" for name, one in _ALL.items()} == topics
