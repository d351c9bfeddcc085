"""The pages printed from the table of settings: sample, starter, example and reference."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bus.config import Http, Worker, hello, load, reference, sample
from bus.config.hooks import HOOK
from bus.config.sections import KINDS
from tests.generate import PAGES

from .inifile import SIGNING_KEY, read, write

pytestmark = pytest.mark.usefixtures("folder")
ROOT = Path(__file__).resolve().parents[2]
PRINTED = (ROOT / "config.example.ini", ROOT / "docs" / "configuration.md")
MACHINES_OWN = {"user"}  # an example could not be used as it is
TABLE = [(kind.title, row) for kind in KINDS for row in kind.rows]


@pytest.mark.parametrize(("section", "row"), TABLE, ids=[f"{name}-{row.key}" for name, row in TABLE])
def test_every_setting_is_explained_in_the_sample_and_the_reference(section, row):
    """Help is a sentence, the default is shown, and both pages have them."""
    default = "required" if row.default is None else f"`{row.default}`" if row.default else "none"
    page = reference().partition(f"## [{section}]")[2].partition("\n## ")[0]
    told = row.does.replace("|", "\\|")  # a bar ends a cell
    unwrapped = sample({}).replace("\n; ", " ")

    assert row.does.endswith(".")
    assert f"| `{row.key}` | {default} | {row.kind.expected} | {told} |" in page
    assert row.does in unwrapped
    assert f"\n;{row.key} =" in sample({}) or row.key in MACHINES_OWN


def test_the_sample_with_every_comment_mark_removed_is_the_defaults():
    """Removing ; in front of a setting changes nothing by itself."""
    text = re.sub(r"^;(?! )", "", sample({}).partition("; [hook:NAME]")[0], flags=re.MULTILINE)

    assert "\nlease = 60s\n" in text
    assert (load(None, {}).monqbus, Worker(), Http()) == (
        read(text).monqbus,
        read(text).worker,
        read(text).http,
    )


def test_the_hooks_of_the_sample_work_when_uncommented(folder):
    """Each of them, with every key that a hook has."""
    write("deploy.token", b"plain-of-16-byte\n")
    environ = dict.fromkeys(re.findall(r"env:(\w+)", str(HOOK.examples)), SIGNING_KEY)

    config = read(re.sub(r"^;(?=\[|\w| {4})", "", sample({}), flags=re.MULTILINE), environ)

    assert list(HOOK.examples) == [f"hook:{name}" for name in config.hooks]
    assert 2 == len(config.hooks["billing"].secrets)
    (warning,) = config.warnings
    assert "[hook:newsletter] query: a secret in the URL stands in the logs of proxies" in warning
    assert ["announce", "welcome"] == list(config.handlers)


def test_a_starter_runs_the_hello_app_from_its_folder(folder):
    """What `monqbus init` writes."""
    (folder / "apps").mkdir()

    config = read(sample(hello("./apps")))

    assert (("hello",), (folder / "apps",)) == (config.monqbus.apps, config.monqbus.path)
    assert ["hello.greeted"] == [hook.topic for hook in config.hooks.values()]


def test_the_example_runs_as_it_is_from_the_projects_root():
    """config.example.ini is what `make run` starts."""
    config = load(ROOT / "config.example.ini", {})

    assert (("hello",), (ROOT / "examples" / "hello",)) == (config.monqbus.apps, config.monqbus.path)
    assert ["none"] == [hook.verify for hook in config.hooks.values()]


@pytest.mark.parametrize("path", PRINTED, ids=lambda path: path.name)
def test_a_generated_file_is_what_the_code_prints(path):
    """`make docs` writes them anew."""
    assert PAGES[path]() == path.read_text()
