"""The documents say what the code does: no setting, command, fact, state or error is left out."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

import monqbus
from bus import __version__, errors, telemetry
from bus.apps.options import Options
from bus.cli import entry
from bus.cli.parser import build_parser
from bus.config import load
from bus.config.secrets import SHORTEST
from bus.config.sections import KINDS
from bus.config.settings import RENAMED
from bus.daemon import RELOADED
from bus.model import LEGAL_MOVES, STATES
from bus.retry import backoff
from bus.senders import SENDERS
from bus.store import documents
from bus.store.mongo import schema
from bus.store.mongo.migration import SCHEMA
from bus.testing import Bench
from tests import generate, markdown
from tests.markdown import DOCS, ROOT
from tests.tls import make_pair

PAGES = markdown.pages()
FACTS = telemetry.FACTS
KEYS = {kind.title: [row.key for row in kind.rows] for kind in KINDS}
TLS = "/etc/monqbus/tls"
SIGNING_KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def blocks(*languages: str) -> list[markdown.Block]:
    return [block for page in PAGES for block in markdown.blocks(page, *languages)]


def source(*rooms: str) -> str:
    """The code of *rooms* of the bus, or of all of it."""
    folders = [ROOT / "bus" / room for room in rooms] or [ROOT / "bus"]
    return "\n".join(path.read_text() for folder in folders for path in sorted(folder.rglob("*.py")))


# what is there is told


@pytest.mark.parametrize("page", generate.PAGES, ids=markdown.name_of)
def test_a_generated_page_is_what_the_code_prints(page):
    """Word for word; argparse breaks lines otherwise in other versions. Write it anew: make docs."""
    by_hand = generate.kept(page) if page.suffix == ".md" else ""
    printed = page.read_text().removeprefix(by_hand if generate.MARK in by_hand else "")

    assert generate.PAGES[page]().split() == printed.split()


@pytest.mark.parametrize("command", generate.commands())
def test_every_command_has_its_section(command):
    """In cli.md, with its help."""
    assert f"\n## monqbus {command}\n" in (DOCS / "cli.md").read_text()


@pytest.mark.parametrize("name", KEYS)
def test_every_setting_is_in_the_reference(name):
    """As a row of its section's table."""
    listed = [row[0] for row in markdown.table(DOCS / "configuration.md", f"[{name}]")]

    assert KEYS[name] == listed


def test_every_renamed_setting_is_told():
    """Old and new name stand side by side in UPGRADING.md, and the new one is a setting."""
    told = {(row[0], row[1]) for row in markdown.table(ROOT / "UPGRADING.md", "Settings")}

    assert {(f"[{section}] {old}", new) for (section, old), new in RENAMED.items()} == told
    assert all(new in KEYS[section] for (section, _), new in RENAMED.items())


def test_every_fact_is_in_the_table():
    """The catalogue and facts.md name the same facts."""
    assert list(FACTS) == [row[0] for row in markdown.table(DOCS / "facts.md", "Facts")]


def test_every_fact_is_said_somewhere():
    """A row of the catalogue that no code emits would be a promise."""
    catalogue = inspect.getsource(telemetry)
    said = set(re.findall(r'"([a-z_]+\.[a-z_]+)"', source().replace(catalogue, "")))

    assert set() == set(FACTS) - said


def test_the_lifecycle_has_every_state_and_exactly_the_legal_moves():
    """`LEGAL_MOVES` is the only list."""
    page = DOCS / "lifecycle.md"
    moves = {(row[0], row[1]) for row in markdown.table(page, "Moves")}

    assert list(STATES) == [row[0] for row in markdown.table(page, "States")]
    assert {(one, other) for one, others in LEGAL_MOVES.items() for other in others} == moves


def test_the_pauses_between_attempts_are_those_of_the_code():
    """Without jitter."""
    pauses = [f"{backoff(n, 0.0):g}" for n in range(1, 8)]

    assert f"{', '.join(pauses[:-1])} and {pauses[-1]} s" in (DOCS / "lifecycle.md").read_text()


def _error_classes() -> list[str]:
    return [
        name
        for name, value in vars(errors).items()
        if inspect.isclass(value) and value.__module__ == "bus.errors"
    ]


@pytest.mark.parametrize("name", _error_classes())
def test_every_error_class_is_explained(name):
    """In the operator's page, which leads to the others."""
    assert name in " ".join(markdown.spans(DOCS / "operations.md")).replace(",", " ").split()


def test_every_exit_code_is_told():
    """The table has the codes of the door and no others; error classes stand beside theirs."""
    page = DOCS / "operations.md"
    codes = {value for name, value in vars(entry).items() if name.startswith("EX_")}
    classes = {row[0]: row[1] for row in markdown.table(page, "Exit codes")}

    assert codes == {int(code) for code in classes}
    assert {kind.__name__: str(code) for kind, code in entry._CODES}.items() <= _error_codes().items()


def _error_codes() -> Mapping[str, str]:
    """The second table of exit codes: class → code."""
    rows = (DOCS / "operations.md").read_text().partition("| error class |")[2].partition("\n\n")[0]
    found = re.findall(r"^\| (`[^|]+`) \|([^|]*)\|", rows, re.MULTILINE)
    return {name: code.strip() for names, code in found for name in re.findall(r"`(\w+)`", names)}


def test_what_a_reload_takes_over_is_told():
    """The settings that HUP changes in a running daemon."""
    paragraph = re.search(r"^HUP takes over.*?[^`]\. ", (DOCS / "operations.md").read_text(), re.M | re.S)

    assert paragraph is not None
    assert set(RELOADED) == set(re.findall(r"`(\w+)`", paragraph[0]))


def test_every_refusal_is_in_the_table_of_webhook_errors():
    """Status and code of each `Refused` of the two rooms that face strangers."""
    listed = {(row[0], row[1]) for row in markdown.table(DOCS / "webhooks.md", "Errors")}
    raised = set(re.findall(r'Refused\(\s*(\d{3}),\s*"(\w+)"', source("http", "webhook")))
    given_by_flask = {("400", "bad_request"), ("404", "not_found")}

    assert raised | given_by_flask == listed


def test_every_sender_is_told():
    """In the table of senders, with the topic of its row."""
    listed = {row[0]: row[-1].removesuffix(" |") for row in markdown.table(DOCS / "senders.md", "Senders")}

    assert {name: sender.topic for name, sender in SENDERS.items()} == listed


def test_every_option_of_a_task_is_told():
    """In the table of options."""
    listed = {row[0] for row in markdown.table(DOCS / "handlers.md", "Options")}

    assert {field.name for field in dataclasses.fields(Options)} == listed


def test_every_field_of_the_document_is_told():
    """Allura's thirteen in the table, ours in the sentence below it."""
    page = DOCS / "mongodb.md"
    theirs = {row[0] for row in markdown.table(page, "Documents of Allura")}

    assert {"_id", *documents.PLAIN} == theirs
    assert set(documents.OURS) <= markdown.spans(page)


def test_every_collection_and_index_is_told():
    """By its name in the database."""
    page = DOCS / "mongodb.md"
    rows = markdown.table(page, "What is stored")
    made = [("monq_task", index) for index in schema._TASK_INDEXES]
    made += [("monq_event", index) for index in schema._EVENT_INDEXES]
    made += [("monq_delivery", index) for index in schema._DELIVERY_INDEXES]
    text = page.read_text()

    assert [
        *(schema.TASKS, schema.EVENTS, schema.BODIES, schema.DELIVERIES, schema.WORKERS),
        *(SCHEMA, schema.RECORDS, schema.FEED),
    ] == [row[0] for row in rows]
    for collection, index in made:
        assert f"| `{collection}` | `{index.document['name']}` (" in text


@pytest.mark.parametrize("name", [name for name in monqbus.__all__ if not name.startswith("_")])
def test_every_public_name_is_told(name):
    """Somewhere in the README or the docs, as code."""
    code = [block.text for block in blocks("python")]
    code += [span for page in PAGES for span in markdown.spans(page)]

    assert re.search(rf"\b{name}\b", " ".join(code))


def test_the_page_about_dependencies_names_all_of_them():
    """Those of setup.py, at run time and for tests."""
    page = (DOCS / "decisions" / "0008-dependencies.md").read_text().lower()
    required = re.findall(r'^ +"([A-Za-z0-9-]+)[><=]=', (ROOT / "setup.py").read_text(), re.MULTILINE)
    installed = re.findall(r'"([A-Za-z0-9-]+)>=[\d.]+"', (ROOT / "setup.py").read_text())

    for package in {*required, *installed} - {"pyinstaller"}:
        assert package.lower() in page


def test_the_changelog_has_the_present_version():
    """As a section of Keep a Changelog, below what is not released."""
    sections = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)

    assert ["Unreleased", __version__] == sections[:2]


# what is told is there


def test_secrets_that_documents_set_are_taken():
    """A short one is refused, and whoever follows the page stops there."""
    pages = [*PAGES, *(ROOT / "examples").rglob("*.ini")]
    given = [value for page in pages for value in re.findall(r"SECRET='([^']*)'", page.read_text())]

    assert given
    assert [] == [value for value in given if len(value) < SHORTEST]


@pytest.mark.parametrize("page", PAGES, ids=markdown.name_of)
def test_links_between_documents_lead_somewhere(page):
    """To a file that exists and, behind #, to a heading of it."""
    for link in markdown.links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page

        assert target.exists(), link
        assert not anchor or anchor in markdown.anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=markdown.name_of)
def test_files_that_a_page_names_are_there(page):
    """Each path from the root of the checkout; ``*`` stands for any name."""
    named = re.findall(r"(?<![\w./-])(?:bus|docs|examples|stubs|tests)/[\w./*-]*[\w/*]", page.read_text())

    assert [] == [path for path in named if not list(ROOT.glob(path.rstrip("/")))]


def _written() -> dict[str, str]:
    """Everything written for programs: the code, and what is started beside it."""
    code = [path for room in ("bus", "examples", "stubs", "tests") for path in (ROOT / room).rglob("*.py*")]
    others = [ROOT / name for name in ("Makefile", "build.spec", "monqbus.py", "pyproject.toml", "setup.py")]
    return {markdown.name_of(path): path.read_text() for path in [*code, *others] if path.suffix != ".pyc"}


def test_code_cites_documents_that_are_there():
    """A page by its name; sections only of documents that anybody can get, such as RFCs."""
    pages = {name for page in PAGES for name in (page.name, markdown.name_of(page))}
    nowhere = []
    for place, text in _written().items():
        named = re.findall(r"(?<![\w./*-])([\w/-]+\.md)\b", text)
        nowhere += [(place, name) for name in named if name not in pages]
        sections = re.findall(r"(.{,20})((?:\bsections?\s|§ ?)\d[\d.]*)", text)
        nowhere += [(place, at) for before, at in sections if not re.search(r"(RFC \d+|\.org),? $", before)]

    assert [] == nowhere


@pytest.mark.parametrize("block", blocks("python"), ids=lambda block: block.where)
def test_python_blocks_compile_and_import_what_is_there(block):
    """Every name taken from monqbus is public."""
    tree = ast.parse(block.text)
    taken = [
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "monqbus"
        for alias in node.names
    ]

    assert set(taken) <= set(monqbus.__all__)


@pytest.mark.parametrize("block", blocks("ini"), ids=lambda block: block.where)
def test_ini_blocks_are_read_without_a_mistake(block, tmp_path):
    """As parts of a monqbus.ini, with the secrets they name set."""
    variables = dict.fromkeys(re.findall(r"env:(\w+)", block.text), SIGNING_KEY)
    variables |= {"MONQBUS_STORE": "mongodb://127.0.0.1/shop"}
    path = tmp_path / "monqbus.ini"
    path.write_text(block.text.replace(TLS, str(tmp_path)))
    if TLS in block.text:
        cert, key = make_pair(tmp_path)
        cert.rename(tmp_path / "fullchain.pem")
        key.rename(tmp_path / "privkey.pem")
    for folders in re.findall(r"^path = (.+)$", block.text, re.MULTILINE):
        for folder in folders.split(", "):
            (tmp_path / folder).mkdir()
    for name in re.findall(r"file:(\S+)", block.text):
        (tmp_path / name).write_text(SIGNING_KEY)

    assert path == load(path, variables).path


@pytest.mark.parametrize("page", PAGES, ids=markdown.name_of)
def test_command_lines_name_commands_and_options_that_exist(page):
    """Each is understood by the parser as it stands."""
    for words in markdown.calls(page):
        try:
            build_parser().parse_args(words)
        except SystemExit as stop:
            assert words[-1] in ("--help", "--version"), f"monqbus {' '.join(words)}: exit {stop.code}"


def _decisions() -> list[Path]:
    return sorted((DOCS / "decisions").glob("0*.md"))


@pytest.mark.parametrize("page", _decisions(), ids=markdown.name_of)
def test_a_decision_is_one_page_of_four_parts(page):
    """Context, choice, consequences, what would change our mind."""
    text = page.read_text()
    parts = re.findall(r"^\*\*(.+?)\.\*\*", text, re.MULTILINE)

    assert ["Context", "Choice", "Consequences", "What would change our mind"] == parts
    assert len(text.split()) <= 400
    assert f"({page.name})" in (DOCS / "decisions" / "README.md").read_text()


def test_the_handler_of_the_readme_runs(capsys: pytest.CaptureFixture[str]):
    """What a newcomer copies first."""
    (code,) = [
        block for block in markdown.blocks(ROOT / "README.md", "python") if "github.push" in block.text
    ]
    body = b'{"repository": {"full_name": "shop/web"}}'
    with Bench() as bench:
        exec(compile(code.text, "README.md", "exec"), {"__name__": "readme"})  # noqa: S102 - our own page
        bench.deliver("github.push", body)
        (task,) = bench.run_ready()

    assert "complete" == task.state
    assert "shop/web" in capsys.readouterr().out + (task.output or "")


def test_the_handler_that_retries_some_errors_only_does_so():
    """An error that may go away is tried again, another one ends the task with its reason."""
    (code,) = [
        block for block in markdown.blocks(DOCS / "handlers.md", "python") if "def charge" in block.text
    ]
    raised = [ConnectionError("away"), KeyError("no such order")]
    with Bench() as bench:
        names = {"__name__": "shop"}
        exec(compile(code.text, "handlers.md", "exec"), names)  # noqa: S102 - our own page
        names["pay"] = lambda order: (_ for _ in ()).throw(raised.pop(0))  # type: ignore[assignment]
        for number in range(2):
            names["charge"].post(number)  # type: ignore[attr-defined]
        tasks = bench.run_ready()

    assert [("ready", 1), ("skipped", 1)] == [(task.state, task.attempt) for task in tasks]
    assert "KeyError: 'no such order'" == tasks[1].result
