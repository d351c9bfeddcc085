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
from tests.markdown import DOCS, ROOT

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


def _commands(title: str) -> list[str]:
    """The lines of the shell's blocks below the heading *title*."""
    section = PAGE.read_text().partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    return "".join(re.findall(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)).splitlines()


def test_what_is_installed_is_removed_again(tmp_path: Path):
    """What this page, the unit and init put on the disk: by its own commands, tried below a folder."""
    written = unit(PROGRAM, PLACE, PLACE / "data")
    cache = re.search(r"^CacheDirectory=(.*)$", written, re.MULTILINE)
    assert cache is not None
    made = [
        PROGRAM, Path(f"{PROGRAM}.old"), Path("/etc/monqbus/github"),
        PLACE / "monqbus.ini", PLACE / "data" / "monqbus.db",
        Path("/etc/systemd/system/monqbus.service"), Path("/etc/systemd/system/monqbus.socket"),
        Path("/etc/systemd/system/monqbus.service.d/override.conf"), Path("/etc/cron.d/monqbus"),
        Path("/var/cache") / cache[1] / "_MEI1" / "x",
    ]  # fmt: skip
    for path in made:
        file = tmp_path / path.relative_to("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    for line in _commands("Removing it"):
        if line.startswith("rm "):
            subprocess.run(["sh", "-c", line.replace(" /", f" {tmp_path}/")], check=True)

    assert [] == [path for path in tmp_path.rglob("*") if path.is_file()]
    assert "userdel monqbus" in _commands("Removing it")
    assert "systemctl disable --now monqbus.socket monqbus.service" in _commands("Removing it")


def test_what_is_left_on_mongodb_is_named_whole():
    """Every collection that a daemon makes, as the page about MongoDB has them; three had been forgotten."""
    (removing,) = [block.text for block in markdown.blocks(PAGE, "js") if ".drop()" in block.text]
    stored = [row[0] for row in markdown.table(DOCS / "mongodb.md", "What is stored")]

    assert sorted(stored) == sorted(re.findall(r'"([\w.]+)"', removing))


def test_every_way_of_upgrading_checks_while_nothing_runs_or_offline():
    """Each makes a backup where the unit's daemon may write one, and targets of make that are there."""
    targets = set(
        re.findall(r"^([\w./-]+):", (ROOT / "Makefile").read_text().replace("$(VENV)", ".venv"), re.M)
    )
    commands = _commands("Upgrading")
    made = [line.split()[1] for line in commands if line.startswith("make ")]

    assert {".venv/.ready"} == set(made)
    assert set(made) <= targets
    assert 3 == sum("monqbus" in line and " check " in line for line in commands)
    assert 3 == sum("monqbus backup /srv/monqbus/data/" in line for line in commands)
    assert commands.count("systemctl stop monqbus") == commands.count("systemctl start monqbus") == 2
