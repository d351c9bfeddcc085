"""The house keeps its floors: imports go down, walls stand, files and functions stay small."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.floors import FLOOR_OF

ROOT = Path(__file__).parents[1]
# the codec names nouns
SAME_FLOOR = {("codec", "model")}
MODULES = sorted(
    path for path in (ROOT / "bus").rglob("*.py") if path.parent != ROOT / "bus" or path.stem != "__init__"
)
LONGEST_FILE = 500
LONGEST_FUNCTION = 50

# who may import what; the names are rooms, "cli" and others are kept out by not being listed
WALLS = {
    "flask": {"api"},
    "werkzeug": {"api"},
    "sqlite3": {"store"},
    "pymongo": {"store"},
    "re2": {"regex"},
    "prometheus_client": {"metrics"},
    "jinja2": {"dashboard"},
    "markupsafe": {"dashboard"},
    "gevent": {"store", "http", "cpu", "engine", "maintenance", "daemon", "testing"},
}


def room_of(path: Path) -> str:
    """The room a module is in: its folder below bus/, or itself."""
    parts = path.relative_to(ROOT / "bus").with_suffix("").parts
    return parts[0]


def imports_of(path: Path) -> Iterator[tuple[str, bool]]:
    """What *path* imports: (room, True) for our own, (top-level name, False) for others."""
    depth = len(path.relative_to(ROOT / "bus").parts)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name.split(".")[0], False) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield str(node.module).split(".")[0], False
        elif isinstance(node, ast.ImportFrom) and node.level == depth:
            names = [node.module.split(".")[0]] if node.module else [alias.name for alias in node.names]
            yield from ((name, True) for name in names if name in FLOOR_OF)


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_imports_point_down(path):
    """Outside its own room, a module imports only from floors below."""
    room = room_of(path)
    wrong = {
        other
        for other, is_ours in imports_of(path)
        if is_ours and other != room and FLOOR_OF[other] >= FLOOR_OF[room] and (room, other) not in SAME_FLOOR
    }

    assert set() == wrong


def modules_named_in(path: Path) -> Iterator[Path]:
    """The modules of ours that *path* imports, also for types alone."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            folder = path.parents[node.level - 1].joinpath(*(node.module or "").split("."))
            for alias in node.names:
                inside = (folder / f"{alias.name}.py", folder / alias.name / "__init__.py")
                nearest = (*inside, folder.with_suffix(".py"), folder / "__init__.py")
                yield from [one for one in nearest if one.exists()][:1]


def test_no_two_modules_need_each_other():
    """Neither directly nor by way of others: one of them can be read without the other."""
    left = {path: set(modules_named_in(path)) - {path} for path in MODULES}
    while leaves := [path for path, needs in left.items() if not needs & left.keys()]:
        for path in leaves:
            del left[path]

    assert [] == [relative(path) for path in left]


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_walls_stand(path):
    """Drivers stay in their adapter, flask in the faces, the engine away from the faces."""
    room = room_of(path)
    names = {name for name, is_ours in imports_of(path) if not is_ours}
    broken = {name for name in names & WALLS.keys() if room not in WALLS[name]}
    faces_know_the_engine = (
        FLOOR_OF[room] == FLOOR_OF["api"]
        and room != "testing"
        and not {("engine", True), ("maintenance", True)}.isdisjoint(imports_of(path))
    )

    assert set() == broken
    assert not faces_know_the_engine


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_only_the_entry_patches(path):
    """gevent.monkey is named in monqbus.py and nowhere in bus."""
    assert "monkey" not in path.read_text()


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_an_adapter_is_named_only_at_its_door(path):
    """Nobody but store/__init__ knows that there is a sqlite or a mongo module."""
    if room_of(path) == "store":
        pytest.skip("the room itself")
    text = path.read_text()

    assert "store.sqlite" not in text
    assert "store.mongo" not in text


@pytest.mark.parametrize("path", sorted((ROOT / "bus" / "engine").glob("*.py")), ids=relative)
def test_the_path_of_a_task_asks_for_a_part_of_the_store(path):
    """Its groups are in bus/store/contract.py; who asks for all of it may do anything to it."""
    names = {name.id for name in ast.walk(ast.parse(path.read_text())) if isinstance(name, ast.Name)}

    assert "Store" not in names


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_files_and_functions_stay_small(path):
    """A file fits a sitting, a function fits a screen."""
    text = path.read_text()
    long_functions = [
        node.name
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno >= LONGEST_FUNCTION
    ]

    assert text.count("\n") <= LONGEST_FILE
    assert [] == long_functions


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_telemetry_is_only_watched(path):
    """How often a fact was told is shown by the API and the dashboard, and computed with nowhere."""
    names = {
        alias.name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module == "telemetry"
        for alias in node.names
    }

    assert "counted" not in names or room_of(path) in ("api", "dashboard")


def test_the_allow_list_of_dead_code_names_what_is_there():
    """Each name of vulture's list stands in bus, with the reason why it is not dead."""
    listed = re.search(r"^ignore_names = \[\n(.*?)^\]", (ROOT / "pyproject.toml").read_text(), re.M | re.S)[1]
    allowed = dict(re.findall(r'^ +"(\w+)", +# (.+)$', listed, re.M))
    written = set(re.findall(r"\w+", "\n".join(path.read_text() for path in MODULES)))

    assert listed.count("\n") == len(allowed)
    assert set() == allowed.keys() - written


@pytest.mark.parametrize("tool", ["tests.bench.__main__", "tests.chaos.__main__", "tests.fuzz.__main__"])
def test_a_tool_that_is_run_by_hand_can_be_imported(tool):
    """`make bench`, `make chaos` and `make fuzz`: a name that was changed elsewhere would be missed late."""
    assert importlib.import_module(tool)


def test_every_room_has_a_floor():
    """A new room says where it belongs."""
    assert set() == {room_of(path) for path in MODULES} - FLOOR_OF.keys() - {"__init__"}


@pytest.mark.parametrize(
    "word", ["import pickle", "import marshal", "import shelve", "eval(", "exec(", "shell=True", "yaml.load"]
)
def test_nothing_that_turns_text_into_code(word):
    """No byte from a store, a socket or a file is ever run."""
    guilty = [relative(path) for path in MODULES for line in path.read_text().splitlines() if word in line]

    assert [] == guilty


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_patterns_of_re_are_written_in_the_source(path):
    """`re` may take years for a pattern, so one from outside goes to `regex` alone."""
    calls = [
        node
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "re"
        and node.func.attr != "escape"
    ]

    written = (ast.Constant, ast.JoinedStr, ast.BinOp)
    assert [] == [call.lineno for call in calls if not isinstance(call.args[0], written)]


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_what_apps_replace_is_taken_before_they_are_imported(path):
    """An app may put another `json.dumps` in the place of Python's; ours is bound when we are imported."""
    assert "json.dumps(" not in path.read_text() or room_of(path) in {"cli", "testing"}


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_a_named_tuple_has_no_other_base(path):
    """Python 3.10, which is promised, cannot make one: the daemon did not start there."""
    classes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ClassDef)]
    bases = [[ast.unparse(base) for base in node.bases] for node in classes]

    assert [] == [names for names in bases if "NamedTuple" in names and len(names) > 1]
