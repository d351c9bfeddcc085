"""docs/deploy.md: what rots when nobody tries it, tried with the programs that it is written for."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from bus.cli.systemd_unit import unit
from bus.config.settings import Http
from tests import markdown
from tests.markdown import DOCS

PAGE = DOCS / "deploy.md"
PLACE = Path("/srv/monqbus")
PROGRAM = Path("/usr/local/bin/monqbus")


def _block(language: str) -> str:
    (block,) = markdown.blocks(PAGE, language)
    return block.text


def _program(name: str) -> str:
    path = shutil.which(name, path="/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin")
    return path or pytest.skip(f"{name} is not installed")


def _certificate(folder: Path) -> None:
    subprocess.run(
        [
            _program("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj",
            "/CN=hooks.example.org", "-keyout", folder / "privkey.pem", "-out", folder / "fullchain.pem",
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip


def test_nginx_takes_its_configuration(tmp_path: Path):
    """As it stands, but for the place of the certificate."""
    nginx = _program("nginx")
    _certificate(tmp_path)
    site = _block("nginx").replace("/etc/letsencrypt/live/hooks.example.org", str(tmp_path))
    config = tmp_path / "nginx.conf"
    paths = "".join(
        f"{kind}_temp_path {tmp_path}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config.write_text(
        f"pid {tmp_path}/pid;\nerror_log stderr;\nevents {{}}\n"
        f"http {{\naccess_log off;\n{paths}{site.replace('listen 80', 'listen 127.0.0.1:18080')}\n}}\n"
    )

    done = subprocess.run([nginx, "-t", "-c", config], capture_output=True, text=True, check=False)

    assert "syntax is ok" in done.stderr
    assert "warn" not in done.stderr
    assert 0 == done.returncode or "bind() to" in done.stderr  # only root may try port 443


def test_caddy_takes_its_configuration(tmp_path: Path):
    """Without a warning about its form either."""
    caddy = _program("caddy")
    config = tmp_path / "Caddyfile"
    config.write_text(_block("caddyfile"))
    words = [caddy, "adapt", "--config", config, "--adapter", "caddyfile", "--pretty"]

    done = subprocess.run(words, capture_output=True, text=True, check=False)

    assert 0 == done.returncode, done.stderr
    assert "not formatted" not in done.stderr
    assert '"dial": "127.0.0.1:8080"' in done.stdout


def test_the_unit_is_installed_as_its_own_first_lines_say():
    """The same commands in the page and in the unit, and the same paths."""
    written = unit(PROGRAM, PLACE, PLACE / "data")
    page = PAGE.read_text()
    commands = re.findall(r"^#   ((?:useradd|chown|cp) .*)$", written, re.MULTILINE)

    assert 3 == len(commands)
    for command in commands:
        assert f"\n{command}\n" in page
    assert f"ExecStart={PROGRAM} run --config {PLACE}/monqbus.ini\n" in written


def test_the_place_is_what_init_writes():
    """Each file and folder has its row."""
    rows = {row[0] for row in markdown.table(PAGE, "A place and a unit")}

    assert {"monqbus.ini", "apps/", "data/", "monqbus.service", "monqbus.socket"} == rows


def test_the_proxies_serve_hooks_over_tls_only():
    """A redirect would hide that a sender has sent its secret in the clear."""
    nginx, caddy = _block("nginx"), _block("caddyfile")
    plain = nginx[nginx.index("listen 80;") : nginx.index("listen 443 ssl;")]

    assert "location /hooks/ { return 404; }" in plain
    assert re.search(r"http://hooks\.example\.org \{\s+handle /hooks/\* \{\s+respond 404\s+\}", caddy)
    assert 2 == (nginx + caddy).count("Strict-Transport-Security")


def test_the_proxies_are_in_step_with_the_daemon():
    """They keep connections for a shorter time, and take bodies as large as it does."""
    nginx, caddy = _block("nginx"), _block("caddyfile")
    kept = [*re.findall(r"keepalive_timeout (\d+)s", nginx), *re.findall(r"keepalive (\d+)s", caddy)]

    assert 2 == len(kept)
    assert all(int(seconds) < Http().idle_timeout for seconds in kept)
    assert Http().max_body == 1024**2
    assert "client_max_body_size 1m;" in nginx
    assert "max_size 1MiB" in caddy
