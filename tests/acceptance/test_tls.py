"""A daemon with a certificate of its own: deliveries, renewal, refusal."""

from __future__ import annotations

import http.client
import signal
import ssl
from pathlib import Path

import pytest

from tests.tls import Pair, make_pair

from .activation import give, listening
from .conftest import CONFIG, New
from .daemons import Daemon

TEXT = CONFIG.replace("[http]\n", "[http]\ntls_cert = cert.pem\ntls_key = key.pem\naccess_log = yes\n")
SECRET_QUERY = "token=a-secret-of-the-sender"


def port_of(daemon: Daemon) -> int:
    return int(daemon.wait_for("daemon.started").split("listen=https://127.0.0.1:")[1].split()[0])


def deliver(port: int, client: ssl.SSLContext) -> int:
    """The status of one delivery."""
    connection = http.client.HTTPSConnection("localhost", port, timeout=20, context=client)
    connection.request("POST", f"/hooks/open?{SECRET_QUERY}", b"{}", {"X-Kind": "tick"})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return make_pair(tmp_path)


def test_a_renewed_certificate_is_taken_over_at_a_reload(new_daemon: New, pair: Pair) -> None:
    """What is configured next to it, too; a bad one is refused with the whole reload, and changes nothing."""
    daemon = new_daemon(text=TEXT).start()
    port = port_of(daemon)
    first = deliver(port, pair.client())
    make_pair(pair.cert.parent)
    daemon.signal(signal.SIGHUP)
    daemon.wait_for("certificate.reloaded")
    renewed = pair.client()
    second = deliver(port, renewed)
    pair.key.write_text("no key")
    daemon.signal(signal.SIGHUP)
    refused = daemon.wait_for("config.refused")

    assert [202, 202] == [first, second]
    assert "tls_key: expected a private key in PEM" in refused
    assert 202 == deliver(port, renewed)
    assert 0 == daemon.stop()


def test_a_daemon_with_the_wrong_key_does_not_start_and_says_why(
    new_daemon: New, pair: Pair, tmp_path: Path
) -> None:
    """And `check` says the same before."""
    (tmp_path / "other").mkdir()
    pair.key.write_bytes(make_pair(tmp_path / "other").key.read_bytes())
    daemon = new_daemon(text=TEXT)
    daemon.launch()

    assert 78 == daemon.wait()
    assert "tls_key: expected the key of" in "\n".join(daemon.lines)
    assert "tls_key: expected the key of" in daemon.monqbus("check").stderr


def test_a_socket_of_the_service_manager_is_served_with_tls(new_daemon: New, pair: Pair) -> None:
    with listening() as kept:
        port = kept.getsockname()[1]
        daemon = give(new_daemon(text=TEXT.replace("127.0.0.1:0", f"127.0.0.1:{port}")), [kept]).start()

        assert 202 == deliver(port, pair.client())
        assert 0 == daemon.stop()


def test_each_request_is_one_line_of_the_access_log_without_its_query(new_daemon: New, pair: Pair) -> None:
    daemon = new_daemon(text=TEXT).start()
    deliver(port_of(daemon), pair.client())
    line = daemon.wait_for("http.answered")

    assert all(
        word in line for word in ("status=202", "method=POST", "path=/hooks/open", "peer=127.0.0.1", "ms=")
    )
    assert SECRET_QUERY not in "\n".join(daemon.lines)


def test_going_to_plain_http_needs_a_restart(new_daemon: New, pair: Pair) -> None:
    """A reload does not change what is spoken at an address."""
    daemon = new_daemon(text=TEXT).start()
    port = port_of(daemon)
    daemon.config.write_text(
        daemon.config.read_text().replace("tls_cert = cert.pem\ntls_key = key.pem\n", "")
    )
    daemon.signal(signal.SIGHUP)
    line = daemon.wait_for("config.reloaded")

    assert "needs_restart=http.tls_cert,http.tls_key" in line
    assert 202 == deliver(port, pair.client())
