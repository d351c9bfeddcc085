"""The configuration's mistakes: each is one finished sentence, and none shows a secret."""

from __future__ import annotations

import os
import re
import traceback
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bus.config import Hook, load
from bus.config.setting import rows
from bus.errors import ConfigError
from bus.senders import SENDERS

from .inifile import ENVIRON, HOOK, faults, problems, read, write

pytestmark = pytest.mark.usefixtures("folder")

DURATION = "expected a duration from 1s to 36500d (unit ms, s, m, h or d), got"
HOOK_KEYS = ", ".join(row.key for row in rows(Hook))
ALONE = "expected [SECTION] alone on its line, got something else; write for example [monqbus]"
KEY_VALUE = "expected KEY = VALUE, got something else; indent the line if it goes on with the value above"
TOPIC_EXPECTED = "expected a topic of letters, digits and _ . : -, at most 128 characters"
KNOWN_PLACEHOLDERS = "{event}, {name}, {header:X}, {query:x}, {body:dotted.path} and {attribute:x}"
LISTEN_EXPECTED = "expected HOST:PORT or unix:/PATH, several separated by commas"
STORE_EXPECTED = "expected sqlite or mongodb://HOST:PORT/DATABASE (mongodb+srv:// too)"
STORE_EXAMPLE = "write for example mongodb://127.0.0.1:27017/monqbus"
ENCODE = "percent-encode : / ? # [ ] @ % in its user name and password"

# (what is written, what is said after "monqbus.ini:")
MISTAKES = [
    # how the file is written
    (
        "listen = x\n[http]\n",
        "1: expected a [section] first, got a line outside of any; write [monqbus] above it",
    ),
    ("[http\n[worker]\n", f"1: {ALONE}"),
    ("[worker]\n[http\n", f"2: {ALONE}"),
    ("[http] listen = localhost:1\n[worker]\n", f"1: {ALONE}"),
    ("[worker]\n[http] listen = localhost:1\n", f"2: {ALONE}"),
    ("[http]\njust words\n", f"2: {KEY_VALUE}"),
    ("[http]\n= value\n", f"2: {KEY_VALUE}"),
    ("[http]\n[worker]\n[http]\n", "3: expected [http] once, got it at line 1 too; join them"),
    (
        "[http]\nconnections = 1\n\nconnections = 2\n",
        "4: [http]: expected a key once, got it at line 2 too; remove one",
    ),
    (
        "[http]\nlisten = localhost:1\n  max_body = 1\n",
        "2: [http] listen: expected max_body at the start of a line, got it indented; unindent it",
    ),
    (
        "[worker]\nlease = 1m\n  [http]\nmax_attempts = 3\n",
        "2: [worker] lease: expected [http] at the start of a line, got it indented; unindent it",
    ),
    (
        "[monqbus]\napps = hello\n;secret = old\n  c\n",
        "4: expected a comment as well, because secret above it is one, got a line that goes on with what is "
        "before; put ; in front of it",
    ),
    ("[http]\nlisten = a\0b\n", "2: expected text, got control character U+0000; remove it"),
    # what is unknown
    ("[htpp]\n", "1: expected a known section, got '[htpp]'; did you mean [http]?"),
    ("[hooks:a]\n", "1: expected a known section, got '[hooks:a]'; did you mean [hook:a]?"),
    (
        "[DEFAULT]\n",
        "1: expected a known section, got '[DEFAULT]'; known are [monqbus], [worker], [http], [admin], "
        "[hook:NAME], [handler:NAME], [schedule:NAME]",
    ),
    (
        "[admin]\nlisten = 127.0.0.1:8081, 10.0.0.1:8081\n",
        "2: [admin] listen: expected an address that this machine alone reaches, got 10.0.0.1:8081; "
        "passwords would cross the network in plain text; write 127.0.0.1 or unix:/PATH, or put a proxy with "
        "https in front and name it in trusted_proxies",
    ),
    (
        "[admin]\nlisten = 127.0.0.1:8081\nauth = header:X-Forwarded-User\n",
        "3: [admin] auth: expected trusted_proxies with it, got none: everybody could send X-Forwarded-User; "
        "name the proxies that set it",
    ),
    (
        "[admin]\nauth = header:Host\n",
        "2: [admin] auth: expected users, or header:NAME with the name of a header, got 'header:Host'; write "
        "for example header:X-Forwarded-User",
    ),
    (
        "[admin]\nauth = none\n",
        "2: [admin] auth: expected users, or header:NAME with the name of a header, got 'none'; write for "
        "example header:X-Forwarded-User",
    ),
    ("[http]\nmax_waiting = 9\n", "2: [http] max_waiting: is called max_inflight now; rename it"),
    (
        "[monqbus]\nmax_body = 1MiB\n",
        "2: [monqbus]: expected a known key, got 'max_body'; it belongs into [http]",
    ),
    (
        "[worker]\ndata_dir = x\n",
        "2: [worker]: expected a known key, got 'data_dir'; it belongs into [monqbus]",
    ),
    (f"{HOOK}cron = a\n", "4: [hook:x]: expected a known key, got 'cron'; it belongs into [schedule:NAME]"),
    ("[http]\nlistn = a\n", "2: [http]: expected a known key, got 'listn'; did you mean listen?"),
    ("[http]\nLISTEN = a\n", "2: [http]: expected a known key, got 'LISTEN'; did you mean listen?"),
    (
        "[worker]\ncpu = 2\n",
        "2: [worker]: expected a known key, got 'cpu'; "
        "known are greenlets, cpu_workers, max_tasks_per_worker, max_memory_per_worker, "
        "lease, drain, max_attempts, timeout",
    ),
    (f"{HOOK}zzz = b\n", f"4: [hook:x]: expected a known key, got another one; known are {HOOK_KEYS}"),
    # values
    (
        "[http]\nlisten = abc\n",
        f"2: [http] listen: {LISTEN_EXPECTED}, got 'abc'; write for example 127.0.0.1:8080",
    ),
    (
        "[http]\nlisten =\n",
        f"2: [http] listen: {LISTEN_EXPECTED}, got nothing; write for example 127.0.0.1:8080",
    ),
    (
        "[http]\nlisten = ::1:80\n",
        f"2: [http] listen: {LISTEN_EXPECTED}, got '::1:80'; write for example 127.0.0.1:8080",
    ),
    (
        "[http]\nlisten = *:8080\n",
        f"2: [http] listen: {LISTEN_EXPECTED}, got '*:8080'; "
        "write 0.0.0.0:8080 for all IPv4 addresses, or [::]:8080 for IPv6 too",
    ),
    (
        "[http]\nlisten = :8080\n",
        f"2: [http] listen: {LISTEN_EXPECTED}, got ':8080'; "
        "write 0.0.0.0:8080 for all IPv4 addresses, or [::]:8080 for IPv6 too",
    ),
    (
        "[http]\nlisten = 8080\n",
        f"2: [http] listen: {LISTEN_EXPECTED}, got '8080'; "
        "write 127.0.0.1:8080 for this machine alone, or 0.0.0.0:8080 for all addresses",
    ),
    (
        "[http]\nlisten = 127.0.0.256:80\n",
        f"2: [http] listen: {LISTEN_EXPECTED}, got '127.0.0.256:80'; write for example 127.0.0.1:8080",
    ),
    (
        "[http]\nlisten = localhost:65536\n",
        f"2: [http] listen: {LISTEN_EXPECTED}, got 'localhost:65536'; write for example 127.0.0.1:8080",
    ),
    (
        "[http]\nmax_body = 26MiB\n",
        "2: [http] max_body: expected a size from 1 to 25MiB (bytes, KiB, MiB or GiB), got '26MiB'; "
        "write for example 25MiB",
    ),
    (
        "[http]\nmax_body = 1MB\n",
        "2: [http] max_body: expected a size from 1 to 25MiB (bytes, KiB, MiB or GiB), got '1MB'; "
        "write for example 25MiB",
    ),
    (
        "[http]\nmax_body_memory = 1KiB\nmax_body = 2KiB\n",
        "2: [http] max_body_memory: expected at least max_body, 2048 bytes, got 1024; raise it",
    ),
    (
        f"[http]\nmax_body = 2MiB\nmax_body_memory = 5MiB\n{HOOK}accept_gzip = yes\n",
        "3: [http] max_body_memory: expected at least three times max_body, 6291456 bytes, got 5242880; "
        "raise it, because [hook:x] inflates what it takes",
    ),
    (
        f"{HOOK}format = json\n",
        "4: [hook:x] format: expected one of plain, cloudevents, got 'json'; write for example plain",
    ),
    (
        f"{HOOK}content_type = json\n",
        "4: [hook:x] content_type: expected a media type, got 'json'; write for example application/json",
    ),
    (
        f"{HOOK}topic = {{event}}.{{attribute:subject}}\n",
        "4: [hook:x] topic: expected {attribute:subject} with format = cloudevents only; write that too, or "
        "another placeholder",
    ),
    (
        "[http]\nspool = 1KiB\n",
        "2: [http] spool: expected at least max_body, 1048576 bytes, got 1024; raise it",
    ),
    (
        "[http]\ntrusted_proxies = 10.0.0.1, 10.0.0.1/8\n",
        "2: [http] trusted_proxies: expected addresses or networks, separated by commas, got '10.0.0.1/8'; "
        "write 10.0.0.0/8",
    ),
    (
        "[http]\ntrusted_proxies = proxy.local\n",
        "2: [http] trusted_proxies: expected addresses or networks, separated by commas, got 'proxy.local'; "
        "write for example 10.0.0.0/8, 2001:db8::/32",
    ),
    (
        "[worker]\ngreenlets = 0\n",
        "2: [worker] greenlets: expected a whole number from 1 to 10000, got '0'; write for example 10",
    ),
    (
        "[worker]\ngreenlets = ١٢\n",
        "2: [worker] greenlets: expected a whole number from 1 to 10000, got '١٢'; write for example 10",
    ),
    (
        "[worker]\nlease = 9999ms\n",
        "2: [worker] lease: expected a duration from 10s to 1d (unit ms, s, m, h or d), got '9999ms'; "
        "write for example 30s",
    ),
    ("[monqbus]\nkeep_failed = 30\n", f"2: [monqbus] keep_failed: {DURATION} '30'; write for example 30s"),
    (
        "[monqbus]\nkeep_failed = 36501d\n",
        f"2: [monqbus] keep_failed: {DURATION} '36501d'; write for example 30s",
    ),
    (
        "[monqbus]\nlog_level = warn\n",
        "2: [monqbus] log_level: expected one of debug, info, warning, error, got 'warn'; "
        "write for example warning",
    ),
    (
        "[monqbus]\napps = hello, my-team.billing\n",
        "2: [monqbus] apps: expected dotted module names, separated by commas, got 'my-team.billing'; "
        "write for example hello, myteam.billing",
    ),
    (
        "[monqbus]\ndata_dir = ~/data\n",
        "2: [monqbus] data_dir: expected a folder, absolute or relative to this file, got '~/data'; "
        "write the home folder out",
    ),
    (
        "[monqbus]\npath = /nowhere\n",
        "2: [monqbus] path: expected a folder, got /nowhere; create or correct it",
    ),
    (
        "[monqbus]\ndata_dir = /dev/null\n",
        "2: [monqbus] data_dir: expected a folder, got the file /dev/null; name another place",
    ),
    # stores and secrets
    (
        "[monqbus]\nstore = sqlit\n",
        f"2: [monqbus] store: {STORE_EXPECTED}, got 'sqlit'; write for example sqlite",
    ),
    (
        "[monqbus]\nstore = pass-word\n",
        f"2: [monqbus] store: {STORE_EXPECTED}, got '***'; {STORE_EXAMPLE}",
    ),
    (
        "[monqbus]\nstore = pass://word\n",
        f"2: [monqbus] store: {STORE_EXPECTED}, got '***://***'; {STORE_EXAMPLE}",
    ),
    (
        "[monqbus]\nstore = mongodb://bob:p@ss/wd@h/db\n",
        f"2: [monqbus] store: {STORE_EXPECTED}, got 'mongodb://***'; {ENCODE}",
    ),
    (
        "[monqbus]\nstore = postgres://bob\n",
        f"2: [monqbus] store: {STORE_EXPECTED}, got 'postgres://***'; {STORE_EXAMPLE}",
    ),
    (
        "[monqbus]\nstore =\n  sqlite\n  x\n",
        f"2: [monqbus] store: {STORE_EXPECTED}, got several lines; write for example sqlite",
    ),
    (
        "[hook:x]\nverify = github\nsecret = env:\n",
        "3: [hook:x] secret: expected env:NAME, file:PATH or credential:NAME, got 'env:…'; "
        "write for example env:GITHUB_WEBHOOK_SECRET",
    ),
    (
        "[hook:x]\nverify = github\nsecret = env:GOOD, env:OTHER\n",
        "3: [hook:x] secret: expected env:NAME, file:PATH or credential:NAME, got several behind 'env:'; "
        "several stand one a line, each but the first on an indented line",
    ),
    (
        "[hook:x]\nverify = github\nsecret = file:/a,file:/b\n",
        "3: [hook:x] secret: expected env:NAME, file:PATH or credential:NAME, got several behind 'file:'; "
        "several stand one a line, each but the first on an indented line",
    ),
    (
        "[handler:x]\ntopic = t\ncommand = ls ${HOME}/x\n",
        "3: [handler:x] command: expected a known placeholder, got '${HOME}'; a variable is not filled in "
        "here: write out what it stands for; placeholders are {topic}, {id}, {hook}, {delivery}, {header:X}, "
        "{query:x}, {body:dotted.path}, {attribute:x}, {args:0} and {kwargs:name}",
    ),
    (
        "[hook:x]\nverify = none\ntopic = a.${USER}\n",
        "3: [hook:x] topic: expected a known placeholder, got '${USER}'; a variable is not filled in here: "
        "write out what it stands for; placeholders are {event}, {name}, {header:X}, {query:x}, "
        "{body:dotted.path} and {attribute:x}",
    ),
    (
        "[hook:x]\nverify = github\nsecret = a\n",
        "3: [hook:x] secret: expected at least 16 bytes, got fewer; take a longer one, such as "
        "`openssl rand -hex 32` prints, or write weak_secret = yes",
    ),
    # hooks
    (
        "[hook:x]\nverify = none\nweak_secret = yes\n",
        "3: [hook:x] weak_secret: expected none with verify = none, got one; remove it",
    ),
    (
        "[hook:a b]\nverify = none\n",
        "1: [hook:NAME]: expected a name of 1 to 64 letters, digits, _ and - behind hook:, got 'a b'; "
        "write for example [hook:github]",
    ),
    (
        "[hook:x]\ntopic = a\n",
        "1: [hook:x]: expected the key verify, got none; write for example verify = github",
    ),
    (
        "[hook:x]\nverify = none\ntopic = a.{header:X-Gitlab-Token}\n",
        "3: [hook:x] topic: expected a header that is kept, got '{header:X-Gitlab-Token}'; name another one: "
        "those that may hold a secret are never stored, nor are odd names",
    ),
    (
        "[hook:x]\nverify = none\ntopic = a.{query:token}\n",
        "3: [hook:x] topic: expected a query parameter that is kept, got '{query:token}'; name another one: "
        "those that may hold a secret are never stored, nor are odd names",
    ),
    (
        f"[hook:x]\nverify = token\nsecret = {'x' * 16}\nheader = X-Hello\ntopic = a.{{header:x-hello}}\n",
        "5: [hook:x] topic: expected a header that is kept, got x-hello, which carries the proof; "
        "name another one",
    ),
    (
        f"[hook:x]\nverify = token\nsecret = {'x' * 16}\nheader = X-Hello\n"
        "delivery_id = {header:x-hello}\n",
        "5: [hook:x] delivery_id: expected a header that is kept, got x-hello, which carries the proof; "
        "name another one",
    ),
    (
        "[hook:x]\nverify = none\ndelivery_id = id\n",
        "3: [hook:x] delivery_id: expected a placeholder such as {header:X} or {body:id}, or nothing, got "
        "'id'; write for example {header:X-Delivery-Id}",
    ),
    (
        "[hook:x]\nverify = none\ndelivery_id = {event}\n",
        "3: [hook:x] delivery_id: expected a known placeholder, got '{event}'; known are {header:X}, "
        "{query:x} and {body:dotted.path}",
    ),
    (
        "[hook:x]\nverify = none\non_duplicate = drop\n",
        "3: [hook:x] on_duplicate: expected one of retry_failed, ignore, accept, got 'drop'; write for "
        "example retry_failed",
    ),
    (
        "[http]\nredact = (\n",
        "2: [http] redact: expected a regular expression (missing ): (), got '('; write for example "
        "^x-internal-",
    ),
    (
        "[hook:x]\nverify = none\ntopic_fallback = {event}\n",
        "3: [hook:x] topic_fallback: expected a known placeholder, got '{event}'; known are {name}",
    ),
    (
        "[handler:x]\ntopic = a\ncommand = /bin/true {header:Authorization}\n",
        "3: [handler:x] command: expected a header that is kept, got '{header:Authorization}'; name another "
        "one: those that may hold a secret are never stored, nor are odd names",
    ),
    (
        "[hook:x]\nverify = githb\n",
        f"2: [hook:x] verify: expected one of {', '.join(SENDERS)}, got 'githb'; write for example github",
    ),
    (
        "[hook:x]\nverify = github\n",
        "1: [hook:x]: expected a secret for verify = github, got none; "
        "write for example secret = env:GITHUB_WEBHOOK_SECRET",
    ),
    (
        "[hook:x]\nverify = none\nsecret = a\n",
        "3: [hook:x] secret: expected none with verify = none, got one; remove it, or write verify = token",
    ),
    (
        "[hook:x]\nverify = standard\nsecret = whsec_c2hvcnQ=\n",
        "3: [hook:x] secret: expected whsec_ and the base64 of 24 to 64 bytes or whpk_ and the base64 of "
        "32 bytes, got something else; "
        "copy it from the sender",
    ),
    (
        "[hook:x]\nverify = github\nsecret = plain-of-16-byte\nheader = X-Token\n",
        "4: [hook:x] header: expected it with verify = token, hmac, grafana, okta or event-grid only, "
        "got it with verify = github; remove it",
    ),
    (
        f"{HOOK}tolerance = 1m\n",
        "4: [hook:x] tolerance: expected it with verify = hmac, standard, svix, gitlab, webflow, "
        "stripe, paddle, sendgrid, mailgun, slack, discord, zoom, twitch, elevenlabs, grafana or scalr only, "
        "got it with verify = token; "
        "remove it",
    ),
    (
        f"{HOOK}header = X Token\n",
        "4: [hook:x] header: expected the name of an HTTP header, got 'X Token'; "
        "write for example X-Gitlab-Token",
    ),
    (
        f"{HOOK}topic = a.{{evnt}}\n",
        "4: [hook:x] topic: expected a known placeholder, got '{evnt}'; did you mean {event}?",
    ),
    (
        f"{HOOK}topic = a.{{cookie:x}}\n",
        "4: [hook:x] topic: expected a known placeholder, got '{cookie:x}'; "
        f"known are {KNOWN_PLACEHOLDERS}",
    ),
    (
        f"{HOOK}topic = a.{{body:commits[0].id}}\n",
        "4: [hook:x] topic: expected names and numbers with dots between them in {body:dotted.path}, "
        "got '{body:commits[0].id}'; write for example {body:commits.0.id}",
    ),
    (
        f"{HOOK}topic = a.{{body:action|no ne}}\n",
        "4: [hook:x] topic: expected another default behind | in {body:action}, "
        "got '{body:action|no ne}'; write for example {body:action|none}",
    ),
    (
        f"{HOOK}topic = a.{{event\n",
        "4: [hook:x] topic: expected a closing brace for every opening one, got 'a.{event'; "
        f"placeholders are {KNOWN_PLACEHOLDERS}",
    ),
    (
        f"{HOOK}topic = a b\n",
        f"4: [hook:x] topic: {TOPIC_EXPECTED}, got 'a b'; write for example github.{{event}}",
    ),
    (
        f"{HOOK}topic = {'a' * 129}\n",
        f"4: [hook:x] topic: {TOPIC_EXPECTED}, got '{'a' * 59}…'; write for example github.{{event}}",
    ),
    (
        f"{HOOK}topic =\n",
        f"4: [hook:x] topic: {TOPIC_EXPECTED}, got nothing; write for example github.{{event}}",
    ),
]


@pytest.mark.parametrize(("written", "said"), MISTAKES, ids=[said for _, said in MISTAKES])
def test_a_mistake_is_one_sentence_with_its_place_and_remedy(written, said):
    """File and line, subject, expectation, value, remedy; nothing else is reported beside it."""
    assert [f"monqbus.ini:{said}"] == problems(written)


CLOSED = [
    (
        "[hook:x]\nverify = github\nsecret = env:MISSING\n",
        "3: [hook:x] secret: expected a secret in the environment variable MISSING, got none: it is not set; "
        "set it before the start, or write file:PATH",
    ),
    (
        "[hook:x]\nverify = github\nsecret = env:EMPTY\n",
        "3: [hook:x] secret: expected a secret in the environment variable EMPTY, got nothing: it is empty; "
        "set it before the start, or write file:PATH",
    ),
    (
        "[hook:x]\nverify = github\nsecret = file:/nowhere\n",
        "3: [hook:x] secret: expected a secret in the file /nowhere, got none: No such file or directory; "
        "create it with mode 0600, or correct the path",
    ),
    (
        "[hook:x]\nverify = github\nsecret = credential:gh\n",
        "3: [hook:x] secret: expected the credential gh, got none: $CREDENTIALS_DIRECTORY is not set; "
        "write LoadCredential=gh:PATH into the systemd unit, or file:PATH here",
    ),
    (
        "[hook:x]\nverify = github\nsecret =\n",
        "3: [hook:x] secret: expected one or several secrets, one a line, got nothing; "
        "write for example env:GITHUB_WEBHOOK_SECRET",
    ),
]


@pytest.mark.parametrize(("text", "said"), CLOSED, ids=[said for _, said in CLOSED])
def test_a_missing_secret_closes_its_hook_with_one_sentence_and_its_remedy(text, said):
    """It is no mistake of the file: the other hooks work, and so does this one once the secret is there."""
    assert [f"monqbus.ini:{said}"] == faults(f"{text}[hook:other]\nverify = none\n")


@pytest.mark.parametrize("mode", [0o770, 0o702, 0o1777])
def test_a_data_folder_that_others_can_write_to_is_a_mistake(folder, mode):
    """They could exchange what is acknowledged, and what root opens there."""
    (folder / "shared").mkdir()
    (folder / "shared").chmod(mode)

    assert [
        f"monqbus.ini:2: [monqbus] data_dir: expected a folder that only its owner can write to, got "
        f"{folder}/shared with mode {mode & 0o777:04o}; run: chmod 700 {folder}/shared"
    ] == problems("[monqbus]\ndata_dir = shared\n")


def test_a_folder_too_deep_for_the_control_socket_is_a_mistake(folder):
    """A check was ok, and everything else failed with another remedy: a Unix socket's path has 107 bytes."""
    fits = "d" * (107 - len(os.fsencode(folder / "control.sock")) - 1)
    path = folder / f"{fits}d" / "control.sock"

    assert folder / fits == read(f"[monqbus]\ndata_dir = {fits}\n").monqbus.data_dir
    assert [
        "monqbus.ini:2: [monqbus] data_dir: expected at most 107 bytes, the longest path of a Unix socket, "
        f"got 108 with {path}; name a folder with a shorter path, such as /var/lib/monqbus"
    ] == problems(f"[monqbus]\ndata_dir = {fits}d\n")


def test_the_folder_without_a_file_is_measured_too(folder, monkeypatch):
    """Then it is below the working directory."""
    deep = folder / ("d" * 100)
    deep.mkdir()
    monkeypatch.chdir(deep)

    with pytest.raises(ConfigError, match=r"^data_dir: expected at most 107 bytes"):
        load(None, {})


def test_all_mistakes_are_reported_at_once_in_the_order_of_the_file():
    """Mistakes of spelling, of value and of meaning come together."""
    found = problems(
        "a = 1\n[htpp]\n[http]\nlisten = x\nnot a pair\nmax_body = y\nmax_body = z\n"
        "[hook:x]\nverify = token\nsecret = env:ONE\n  env:TWO\n[http]\nlisten = w\n[worker]\nlease = 1s\n"
    )

    assert [1, 2, 4, 5, 6, 7, 10, 10, 12, 15] == [int(sentence.split(":")[1]) for sentence in found]


def test_any_number_of_mistakes_is_told_in_one_reading():
    """A file was read again after each key that came twice, twenty times at most; the rest was not said."""
    found = problems("".join(f"[hook:h{one}]\nverify = none\nverify = none\n" for one in range(50)))

    assert [3 * one + 3 for one in range(50)] == [int(sentence.split(":")[1]) for sentence in found]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: None, "expected a configuration file, got nothing; write one with: monqbus init"),
        (lambda path: path.mkdir(), "expected a configuration file, got a folder; name the file in it"),
        (
            lambda path: path.symlink_to(path.name),
            "expected a readable file, got: Too many levels of symbolic links; "
            "correct its path or its permissions",
        ),
        (
            lambda path: path.write_bytes(b"#" * (256 * 1024 + 1)),
            "expected at most 256 KiB, got more; name a configuration file",
        ),
    ],
    ids=["missing", "folder", "loop", "large"],
)
def test_a_file_that_cannot_be_read_is_one_sentence(make, said):
    """No line is named, because there is none."""
    make(Path("monqbus.ini"))

    with pytest.raises(ConfigError) as caught:
        load(Path("monqbus.ini"), {})

    assert (f"monqbus.ini: {said}",) == caught.value.problems


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_without_permission_is_one_sentence():
    """The operator learns that it is the permission."""
    write("monqbus.ini", b"", mode=0)

    with pytest.raises(
        ConfigError, match=r"^monqbus\.ini: expected a readable file, got: Permission denied; "
    ):
        load(Path("monqbus.ini"), {})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[http]\n\n; caf\xe9\n", "3: expected UTF-8, got byte 0xe9; save the file as UTF-8"),
        (
            b"\xef\xbb\xbf[http]\n",
            "1: expected UTF-8 without a byte order mark, got one; save the file without it",
        ),
    ],
    ids=["latin-1", "byte order mark"],
)
def test_bytes_that_are_not_plain_utf8_are_named_with_their_line(content, said):
    """An editor's wrong encoding is found before anything is half read."""
    write("monqbus.ini", content)

    with pytest.raises(ConfigError) as caught:
        load(Path("monqbus.ini"), {})

    assert (f"monqbus.ini:{said}",) == caught.value.problems


LEAKING = {"HUNTER": "hunter2"}
LEAKS = [
    "[hook:x]\nverify = token\n;secret = old\n    hunter2\n",
    "[hook:x]\nverify = token\n#secret = old\n\n    hunter2\ntopic = x\n",
    "[hook:x]\nverify = token\n    hunter2\n",
    "[hook:x]\nheader = X-Token\n    hunter2\n",
    "[hook:x]\ntopic = a\n    {hunter2}\n",
    "[monqbus]\nlog_level = info\n;store = mongodb://a:b@h\n    hunter2\n",
    "[monqbus]\napps = hello\n    hunter2-\n",
    "[worker]\nlease = 60s\n    hunter2\n",
    "[http]\ntrusted_proxies = ::1\n    hunter2\n",
    "[handler:a]\ntopic = x\n    hunter2!\n",
    "[handler:a]\ntopic = x\ncommand = /bin/true\n    {hunter2}\n",
    "[monqbus]\nstore = hunter2\n",
    "[monqbus]\nstore = hunter2://h\n",
    "[hook:x]\nverify = token\nsecret = env:MISSING\n  hunter2\nnope = 1\n",
    "[hook:x]\nverify = token\nsecret = other\nhunter2\n",
    "[hook:x]\nverify = token\nsecret = other\nhunter2=\n",
    "[hook:x]\nverify = token\nsecret = other\nhunter2=\nhunter2=\n",
    "[hook:x]\nverify = standard\nsecret = whsec_hunter2\n",
    "[hook:x]\nverify = none\nsecret = hunter2\n",
    "[hook:x]\nverify = token\nsecret = hunter2\n  topic = a\n",
    "[hook:x]\nverify = token\nsecret = a\ntopic = b\nsecret = hunter2\n  hunter2\n",
    "hunter2\n",
    "[monqbus]\nstore = mongodb:/bob:hunter2@h\n",
    "[monqbus]\nstore = mongodb://bob:hunter2\n",
    "[monqbus]\nstore = mongodb://bob:12/hunter2@h/db\n",
    "[monqbus]\nstore = sqlit\n  mongodb://bob:hunter2@h\n",
    "[monqbus]\nstore = \nmongodb://bob:hunter2@h/?w=1\n",
    "[monqbus]\nstore = env:HUNTER\n",
]


@pytest.mark.parametrize("text", LEAKS)
def test_no_error_shows_a_secret(text):
    """Not even one that lost its place in the file; neither in the sentence nor in the traceback."""
    with pytest.raises(ConfigError) as caught:
        read(text, LEAKING)

    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


MARKED = "hunter2hunter2hunter2"
GOOD = f"""\
[monqbus]
log_level = info
store = mongodb://bob:{MARKED}@h/db
keep_events = 30d
[worker]
lease = 60s
[http]
listen = 127.0.0.1:0
[hook:a]
verify = token
secret = {MARKED}-1
    {MARKED}-2
header = X-Token
[hook:b]
topic = a.b
verify = github
secret = {MARKED}-3=
    {MARKED}-4=
[handler:c]
topic = x
command = /bin/true
environment = A
"""
SPOILED = [
    str,
    lambda _: "",
    ";{}".format,
    "# {}".format,
    "    {}".format,
    str.lstrip,
    "{};".format,
    "[{}".format,
]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(how=st.lists(st.sampled_from(SPOILED), min_size=22, max_size=22))
def test_no_spoiled_line_brings_a_secret_to_light(how):
    """Whatever is commented out, deleted, indented: a secret that lost its place is in no sentence."""
    lines = [spoil(line) for spoil, line in zip(how, GOOD.splitlines(), strict=True)]
    try:
        said = "\n".join(read("\n".join(lines)).warnings)
    except ConfigError as error:
        said = "".join(traceback.format_exception(error))

    assert MARKED not in said


PIECES = [
    *"[]=;#{}:,@%19\n\t\r\u2028\x85\ufeffé",
    *(
        "[http]",
        "[hook:a]",
        "[monqbus]",
        "\n  ",
        "env:GOOD",
        "file:x",
        "file:",
        "credential:y",
        "mongodb://",
        "whsec_",
    ),
    *("\nverify=none", "\nsecret=", "\nstore=", "\nlisten=", "\npath=", "\ndata_dir=", "\nlisten=[::1]:0"),
]
CONTENTS = st.one_of(
    st.binary(), st.text().map(str.encode), st.lists(st.sampled_from(PIECES)).map("".join).map(str.encode)
)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=CONTENTS)
def test_any_file_is_a_configuration_or_a_config_error(content):
    """Nothing but ConfigError is ever raised, and every sentence is one line with the file's name."""
    write("monqbus.ini", content)
    try:
        load(Path("monqbus.ini"), {**ENVIRON, "CREDENTIALS_DIRECTORY": "."})
    except ConfigError as error:
        assert error.problems
        assert all(re.fullmatch(r"monqbus\.ini(:\d+)?: .+", sentence) for sentence in error.problems)
