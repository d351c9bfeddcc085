"""A renewed certificate is taken over by itself, and a bad one never."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from bus.clock import FrozenClock
from bus.config.settings import Http
from bus.errors import ConfigError
from bus.maintenance.certificate_monitor import LOOK_SECONDS, CertificateMonitor
from tests.tls import Pair, make_pair

NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)


def monitor_of(pair: Pair, clock: FrozenClock | None = None) -> CertificateMonitor:
    return CertificateMonitor(pair.cert, pair.key, clock or FrozenClock(NOW), lambda look: look())


def test_what_has_not_changed_is_left_alone(tmp_path, facts):
    """Looking costs no handshake its session."""
    monitor = monitor_of(make_pair(tmp_path))
    context = monitor.tls.context

    assert LOOK_SECONDS == monitor.tick()
    assert context is monitor.tls.context
    assert [] == facts.of("certificate.reloaded")


def test_changed_contents_are_taken_over(tmp_path, facts):
    """By what is in the files: certbot exchanges links, and times may be those of a backup."""
    pair = make_pair(tmp_path)
    monitor = monitor_of(pair)
    context = monitor.tls.context
    make_pair(tmp_path, ends=NOW + timedelta(days=400))
    monitor.tick()
    monitor.tick()

    assert context is not monitor.tls.context
    assert [(str(pair.cert), "2027-02-05 00:00:00Z")] == [
        (told["cert"], told["expires"]) for told in facts.of("certificate.reloaded")
    ]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda pair: pair.key.write_bytes(make_pair(pair.key.parent / "other").key.read_bytes()),
        lambda pair: pair.cert.write_text("-----BEGIN CERTIFICATE-----\n"),
        lambda pair: pair.key.unlink(),
        lambda pair: pair.key.write_bytes(b""),
    ],
)
def test_what_cannot_be_used_is_told_once_and_the_one_before_is_kept(tmp_path, facts, spoil):
    """A renewal that went wrong must not close the door; when it is mended that one is taken."""
    (tmp_path / "other").mkdir()
    monitor = monitor_of(pair := make_pair(tmp_path))
    context = monitor.tls.context
    spoil(pair)
    monitor.tick()
    monitor.tick()
    kept = monitor.tls.context
    make_pair(tmp_path)
    monitor.tick()

    assert context is kept
    assert 1 == len(facts.of("certificate.refused"))
    assert 1 == len(facts.of("certificate.reloaded"))
    assert kept is not monitor.tls.context


def test_a_certificate_that_ends_soon_is_told_each_day(tmp_path, facts):
    """Whoever renews it has 30 days."""
    clock = FrozenClock(NOW)
    monitor = monitor_of(make_pair(tmp_path, ends=NOW + timedelta(days=31)), clock)
    for hours in (0, 24, 12, 12):
        clock.advance(hours * 3600)
        monitor.tick()
        monitor.tick()
    clock.advance(40 * 86400)
    monitor.tick()

    told = [one["reason"] for one in facts.of("certificate.expiring")]
    assert ["in 30 days", "in 29 days"] == [one.split(", ")[1].split(";")[0] for one in told[:-1]]
    assert told[-1].startswith("expired at 2026-02-01 00:00:00Z")


def test_a_reload_may_name_other_files(tmp_path, facts):
    """They are looked at soon after it, without waiting for the minute."""
    monitor = monitor_of(make_pair(tmp_path))
    (tmp_path / "new").mkdir()
    other = make_pair(tmp_path / "new")
    monitor.use(Http(tls_cert=other.cert, tls_key=other.key))
    is_woken = monitor.loop.is_woken
    monitor.tick()

    assert is_woken
    assert [str(other.cert)] == [told["cert"] for told in facts.of("certificate.reloaded")]


def test_a_first_pair_that_cannot_be_used_is_a_mistake_of_the_configuration(tmp_path):
    """There is nothing to keep."""
    with pytest.raises(ConfigError, match="tls_key: expected a readable file"):
        monitor_of(Pair(make_pair(tmp_path).cert, Path("/nowhere/key.pem")))
