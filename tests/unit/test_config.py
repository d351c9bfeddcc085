"""The configuration that works: what it becomes, what it warns about, what it never shows."""

from __future__ import annotations

import copy
import pickle
from ipaddress import ip_network
from pathlib import Path

import pytest

from bus.config import Config, Hook, Http, Monqbus, Secret, Worker, is_loopback, load
from bus.errors import ConfigError

from .inifile import ENVIRON, HOOK, SIGNING_KEY, faults, problems, read, write

pytestmark = pytest.mark.usefixtures("folder")


def test_every_kind_of_value_becomes_its_type(folder):
    """Seconds, bytes, address, absolute paths, tuples."""
    (folder / "apps").mkdir()

    config = read(
        "[monqbus]\ndata_dir = var\napps = hello, my.billing ; the two\npath = ./apps, /\n"
        "keep_complete = 2h\n[worker]\n  drain = 500ms\n  greenlets = 7\n"
        "[http]\nlisten = [::1]:0\nmax_body = 64KiB\ntrusted_proxies = 10.0.0.0/8, ::1\n# end\n"
    )

    assert (folder / "monqbus.ini", folder / "var") == (config.path, config.monqbus.data_dir)
    assert ("hello", "my.billing") == config.monqbus.apps
    assert (folder / "apps", Path("/")) == config.monqbus.path
    assert (7200.0, 0.5, 7) == (config.monqbus.keep_complete, config.worker.drain, config.worker.greenlets)
    assert ((("::1", 0),), 65536) == (config.http.listen, config.http.max_body)
    assert (ip_network("10.0.0.0/8"), ip_network("::1")) == config.http.trusted_proxies
    assert () == config.warnings


def test_without_a_file_every_setting_has_its_default(folder):
    """Paths start at the working directory then."""
    config = load(None, {})

    assert Config(None, Monqbus(data_dir=folder / "data"), Worker(), Http()) == config
    assert (604_800.0, 60.0, (("127.0.0.1", 8080),)) == (
        config.monqbus.keep_complete,
        config.worker.lease,
        config.http.listen,
    )


def test_a_hook_is_read_with_its_place_and_defaults():
    """The topic is the hook's name unless it is said otherwise."""
    hook = read("\n" + HOOK).hooks["x"]

    expected = Hook("x", "token", (Secret("plain-of-16-byte"),), where="monqbus.ini:2")
    assert expected == hook
    assert ("", "{name}", 0.0, False) == (
        hook.header, hook.topic, hook.tolerance, hook.weak_secret,
    )  # fmt: skip


def test_secrets_come_from_the_file_the_environment_and_credentials(folder):
    """One a line, comments between them allowed; a file may hold several."""
    write(
        "two.txt",
        b"# made by hand\r\nfirst-of-two-in-file\r\n\n  #second-of-two-old\nsecond-of-two-in-file\n",
    )
    write("gh", b"of-systemd-credentials\n# the next\n", mode=0o440)

    config = read(
        "[hook:x]\nverify = token\nsecret = plain-of-16-byte\n  ; the next one\n  env:GOOD\n\n"
        "  file:two.txt\n  credential:gh\n",
        {**ENVIRON, "CREDENTIALS_DIRECTORY": str(folder)},
    )

    assert [
        "plain-of-16-byte",
        "s3cret-of-environ",
        "first-of-two-in-file",
        "second-of-two-in-file",
        "of-systemd-credentials",
    ] == [secret.reveal() for secret in config.hooks["x"].secrets]
    assert () == config.warnings


@pytest.mark.parametrize("reference", ["file:key", "env:KEY", "credential:key"])
def test_a_comment_is_no_secret(folder, reference):
    """A file that was prepared and not filled in does not let in who has read it."""
    content = "# put the secret of the sender here\n#and the next one below\n"
    write("key", content.encode())
    environ = {"KEY": content, "CREDENTIALS_DIRECTORY": str(folder)}

    (sentence,) = faults(f"[hook:x]\nverify = token\nsecret = {reference}\n", environ)

    assert "got nothing but comments, which begin with #" in sentence


def test_a_comment_in_place_of_a_secret_is_none():
    """In the file itself, behind the key."""
    (sentence,) = faults("[hook:x]\nverify = github\nsecret = # put the secret of the sender here\n")

    assert "expected one or several secrets, one a line, got nothing" in sentence


@pytest.mark.parametrize("verify", ["token", "github"])
@pytest.mark.parametrize("secret", ["a", "fifteen-bytes!!", "sévénteen".rjust(13, "x"), "env:WEAK"])
def test_a_weak_secret_is_refused_unless_it_is_allowed(verify, secret):
    """16 bytes are 128 bits at best; one weak secret of several is enough to be let in."""
    text = f"[hook:x]\nverify = {verify}\nsecret = plain-of-16-byte\n  {secret}\n"
    environ = {"WEAK": "word"}
    with pytest.raises(ConfigError) as caught:
        read(text, environ)
    allowed = read(f"{text}weak_secret = yes\n", environ)

    (said,) = caught.value.problems
    assert said.startswith(
        "monqbus.ini:3: [hook:x] secret: expected at least 16 bytes, got fewer; take a longer"
    )
    assert 2 == len(allowed.hooks["x"].secrets)
    assert ["monqbus.ini:5: [hook:x] weak_secret: a secret of less than 16 bytes"] == [
        sentence.partition(" can be guessed")[0] for sentence in allowed.warnings
    ]


@pytest.mark.parametrize("content", [b"\xff\xfe", b"a\0b", b"x" * 70_000], ids=repr)
def test_a_secret_file_with_anything_else_is_refused_without_its_content(content):
    """Binary and huge files are not secrets."""
    write("key", content)

    (sentence,) = problems("[hook:x]\nverify = token\nsecret = file:key\n")

    assert sentence.startswith("monqbus.ini:3: [hook:x] secret: expected a secret in the file /")
    assert "xxx" not in sentence


def test_the_store_may_be_kept_outside_of_the_file():
    """The URI is whole inside and masked outside."""
    store = read("[monqbus]\nstore = env:MONGO\n").monqbus.store

    assert (ENVIRON["MONGO"], "mongodb://***@db.example/tasks") == (store.reveal(), str(store))


@pytest.mark.parametrize(
    "uri",
    [
        "mongodb://h",
        "mongodb://h:27017,i:27018/db?replicaSet=rs&w=majority",
        "mongodb+srv://bob:p%40ss@cluster.example/db",
        "mongodb://[::1]:27017/?directConnection=true",
        "mongodb://%2Ftmp%2Fmongodb-27017.sock/db",
    ],
)
def test_a_mongodb_address_is_kept_as_it_is(uri):
    """The driver gets exactly what was written."""
    assert uri == read(f"[monqbus]\nstore = {uri}\n").monqbus.store.reveal()


def test_a_signing_key_of_standard_webhooks_is_accepted():
    """24 bytes, the shortest of the specification."""
    assert read(f"[hook:x]\nverify = standard\nsecret = {SIGNING_KEY}\n").hooks["x"].secrets


WARNINGS = [
    (
        "[http]\nlisten = 0.0.0.0:80\n[hook:x]\nverify = none\n",
        "4: [hook:x] verify: none lets everyone in who reaches 0.0.0.0:80; write verify = token and a secret",
    ),
    (
        "[hook:x]\nverify = none\ntopic = {header:X-Kind}\n",
        "3: [hook:x] topic: lets its sender choose any topic, those of other hooks too; "
        "begin with fixed text, x.{header:X-Kind} for example",
    ),
    (
        "[monqbus]\nkeep_events = 75h\nkeep_failed = 1h\n",
        "2: [monqbus] keep_events: expected 76h or more, got less; "
        "a redelivery that comes later runs its handlers again",
    ),
    (
        "[monqbus]\nkeep_events = 20d\n",
        "2: [monqbus] keep_events: shorter than keep_failed; "
        "the events of failed tasks are kept for as long as these are",
    ),
    (
        "[monqbus]\nkeep_failed = 31d\n",
        "2: [monqbus] keep_events: shorter than keep_failed; "
        "the events of failed tasks are kept for as long as these are",
    ),
    (
        "[http]\nspool = 1GiB\n",
        "2: [http] spool: expected store = mongodb://..., got sqlite, which is never away; it has no effect, "
        "remove it",
    ),
    (
        "[monqbus]\nstore = mongodb://h/d?w=1&retryWrites=true\n",
        "2: [monqbus] store: w=1 in the address acknowledges what a failover or a crash may lose; remove it",
    ),
    (
        "[monqbus]\nstore = mongodb://h/d?w=2\n",
        "2: [monqbus] store: w=2 in the address fails every write where less than 2 members are up, and is "
        "no majority of many; remove it",
    ),
    (
        "[monqbus]\nstore = mongodb://h/d?maxPoolSize=1\n",
        "2: [monqbus] store: expected maxPoolSize=10 or more, got 1: calls wait for each other; remove it",
    ),
    (
        "[monqbus]\nstore = mongodb://h/d?w=majority&journal=false\n",
        "2: [monqbus] store: journal=false in the address acknowledges what a failover or a crash may lose; "
        "remove it",
    ),
    (
        "[monqbus]\ndata_dir = wide\n",
        "2: [monqbus] data_dir: expected a folder for its owner only, got HERE/wide with mode 0755; "
        "run: chmod 700 HERE/wide",
    ),
    (
        "[hook:x]\nverify = token\nsecret = file:open\n",
        "3: [hook:x] secret: expected a file for its owner only, got HERE/open with mode 0640; "
        "run: chmod 600 HERE/open",
    ),
    (
        "[hook:x]\nverify = token\nsecret = word\nweak_secret = yes\n",
        "4: [hook:x] weak_secret: a secret of less than 16 bytes can be guessed; take a longer one",
    ),
]


@pytest.mark.parametrize(("written", "said"), WARNINGS, ids=[said for _, said in WARNINGS])
def test_what_works_and_is_probably_not_meant_is_a_warning(folder, written, said):
    """The configuration is usable; `monqbus check` and the start show the sentence."""
    (folder / "wide").mkdir(mode=0o755)
    write("open", b"plain-of-16-byte\n", mode=0o640)

    assert (f"monqbus.ini:{said.replace('HERE', str(folder))}",) == read(written).warnings


def test_a_secret_in_a_file_that_everyone_may_read_is_a_warning(folder):
    """A reference to it is not."""
    text = f"{HOOK}[hook:y]\nverify = github\nsecret = env:GOOD\n[monqbus]\nstore = {ENVIRON['MONGO']}\n"
    write("monqbus.ini", text.encode(), mode=0o644)

    warnings = load(Path("monqbus.ini"), ENVIRON).warnings

    assert ["monqbus.ini:3: [hook:x] secret", "monqbus.ini:8: [monqbus] store"] == [
        sentence.partition(": expected")[0] for sentence in warnings
    ]


def test_an_open_hook_on_this_machine_is_no_warning():
    """Trying things out is what it is for."""
    assert () == read("[hook:x]\nverify = none\n[http]\nlisten = localhost:80\n").warnings


@pytest.mark.parametrize(
    ("host", "expected"), [("127.8.0.1", True), ("::1", True), ("::", False), ("h", False)]
)
def test_loopback_is_what_only_this_machine_reaches(host, expected):
    assert expected == is_loopback((host, 80))


def test_a_configuration_shows_no_secret():
    """repr, str, format, percent and copies: only reveal() gives it away; it is not pickled."""
    config = read(
        "[monqbus]\nstore = mongodb+srv://bob:hunter2@h/db?tlsCertificateKeyFilePassword=hunter2\n"
        "[hook:x]\nverify = token\nsecret = hunter2\nweak_secret = yes\n"
    )
    secret = config.hooks["x"].secrets[0]

    assert "hunter2" not in f"{config!r} {config} {secret} {[secret]} {copy.copy(config)} %s %r" % (
        secret,
        secret,
    )
    assert "mongodb+srv://***@h/db" == str(config.monqbus.store)
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(secret)
