"""Imports the modules of the apps, anew at a reload, and gives back the registry that they fill."""

from __future__ import annotations

import importlib
import os
import site
import sys
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import contextmanager
from importlib.machinery import PathFinder
from itertools import pairwise
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

from ..errors import BadDeclaration, ConfigError, NotBound
from .missing import missing_module
from .registry import PROGRAM, Registry, Task, being_filled, filling, registry, take

# compiled modules cannot be imported twice in one process (numpy says so), so these stay loaded
_INSTALLED = frozenset({"site-packages", "dist-packages"})
OURS = frozenset({"bus", "monqbus"})


def load(
    apps: Sequence[str],
    folders: Sequence[Path],
    *,
    afresh: bool = False,
    also: Callable[[], None] = lambda: None,
) -> Registry:
    """Import *apps* from *folders* and return the registry of what they, and *also*, declare.

    With *afresh* the modules are imported anew and what they declare takes the place of all that was
    declared before; when one of them fails, everything stays as it was. Raises ConfigError with the
    place of the failure.
    """
    for folder in folders:
        if str(folder) not in sys.path:
            _search(folder)
    importlib.invalidate_caches()
    for app in apps:
        _refuse_stranger(app, folders)
    if not afresh:
        with filling(registry()):
            _import_all(apps, folders)
            also()
        _refuse_twins(registry())
        return registry()
    with _clean_slate(apps, folders) as new:
        _import_all(apps, folders)
        also()
        _refuse_twins(new)
    take(new)
    return new


def _import_all(apps: Sequence[str], folders: Sequence[Path]) -> None:
    """Import each of *apps*, leaving no bytecode behind.

    Python takes bytecode for that of a source by its time in whole seconds and its size: an edit in the
    second of the last import would not be seen.
    """
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        for app in apps:
            _import(app)
            _refuse_idle_stranger(app, folders)
    finally:
        sys.dont_write_bytecode = before


def _search(folder: Path) -> None:
    """Look for modules in *folder* too, last: what the program brings along wins."""
    if folder.name in _INSTALLED:
        site.addsitedir(str(folder))  # its .pth files count: editable installs are nothing else
    else:
        sys.path.append(str(folder))


def _import(app: str) -> None:
    try:
        importlib.import_module(app)
    except BadDeclaration as error:
        raise ConfigError(f"app {app}: {_declared_at(error)}{error}") from error
    except NotBound as error:
        sentence = (
            "expected no post while the app is imported, got one; post in a function that is called later"
        )
        raise ConfigError(f"app {app}: {_declared_at(error)}{sentence}") from error
    except ModuleNotFoundError as error:
        raise ConfigError(f"app {app}: {missing_module(app, error)}") from error
    except (Exception, SystemExit) as error:  # an app may do anything while it is imported
        raise ConfigError(f"app {app}: {_last_place(error)}{type(error).__name__}: {error}") from error


def idle(apps: Sequence[str]) -> list[str]:
    """Those of *apps*, imported before, that declare no task: neither they nor a module that they hold."""
    modules = {task.__module__ for task in being_filled().tasks.values()}
    return [app for app in apps if not _declares(app, modules)]


def _declares(app: str, modules: Set[str]) -> bool:
    if any(name == app or name.startswith(f"{app}.") for name in modules):
        return True
    held = vars(sys.modules[app]).values() if app in sys.modules else ()
    return any(  # by type: a proxy of the user's may raise when it is asked for anything
        issubclass(type(value), Task) or (type(value) is ModuleType and value.__name__ in modules)
        for value in held
    )


def _refuse_stranger(app: str, folders: Sequence[Path]) -> None:
    """Raise ConfigError when *app* would be another module than that of *folders*, or one of Python or ours.

    Before it is imported: an import anew begins with forgetting it, and nobody can do without `sys`.
    """
    top = app.partition(".")[0]
    meant, found = _origin(top, folders), _found(top)
    if meant is not None and not _is_same(meant, found):
        raise ConfigError(
            f"app {app}: expected {meant}, but the module that is imported is {found}, which comes first; "
            "give the app another name"
        )
    if meant is None and (top in sys.stdlib_module_names or top in OURS):
        raise ConfigError(_not_of_path(app, found))


def _refuse_idle_stranger(app: str, folders: Sequence[Path]) -> None:
    """Raise ConfigError when *app*, imported from somewhere else than *folders*, declares nothing."""
    top = app.partition(".")[0]
    is_of_path = any(folder.joinpath(top).is_dir() for folder in folders) and not _file_of(top)
    if _origin(top, folders) is None and not is_of_path and idle([app]):
        raise ConfigError(_not_of_path(app, _file_of(top)))


def _not_of_path(app: str, found: str | None) -> str:
    return (
        f"app {app}: expected a module of [monqbus] path that declares tasks, but the module that is "
        f"imported is {found} and declares none; add the app's folder to path"
    )


def _origin(top: str, folders: Sequence[Path]) -> str | None:
    """The file of the module *top* in *folders*; a folder without one is None."""
    spec = PathFinder.find_spec(top, [str(folder) for folder in folders])
    return spec.origin if spec else None


def _found(top: str) -> str | None:
    """The file that `import` finds for *top*, or what it says of a part of Python."""
    for finder in sys.meta_path:
        find = getattr(finder, "find_spec", None)
        if find is not None and (spec := find(top, None)) is not None:
            return spec.origin if spec.has_location else f"part of Python ({spec.origin})"
    return None


def _file_of(top: str) -> str | None:
    return getattr(sys.modules.get(top), "__file__", None)


def _is_same(one: str, other: str | None) -> bool:
    return other is not None and os.path.realpath(one) == os.path.realpath(other)


def _refuse_twins(known: Registry) -> None:
    """Raise ConfigError when one file is imported under two names: each of its handlers would run twice."""
    names: dict[str, list[str]] = {}
    for module in sorted({task.__module__ for task in known.tasks.values()} - PROGRAM):
        if file := getattr(sys.modules.get(module), "__file__", None):
            names.setdefault(os.path.realpath(file), []).append(module)
    for file, twins in names.items():
        if len(twins) > 1:
            raise ConfigError(
                f"{file}: expected one name, but it is imported as {' and as '.join(twins)}, and its "
                "handlers would run once for each; use one name in [monqbus] apps and in imports"
            )


def _last_place(error: BaseException) -> str:
    """``file:line: `` of where *error* was raised; of one that we raised, where we were called."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}: "
    steps = _steps(error)
    if not steps:
        return ""
    return _declared_at(error) if _is_ours(steps[-1]) else _place(steps[-1])


def _declared_at(error: BaseException) -> str:
    """``file:line: `` of the line of the app that called us, for an *error* that we raised."""
    steps = _steps(error)
    theirs = [step for step in steps if not _is_ours(step)]
    for step, inner in pairwise(steps):
        if _is_ours(inner) and not _is_ours(step):
            return _place(step)
    return _place(theirs[-1]) if theirs else ""


def _steps(error: BaseException) -> list[TracebackType]:
    steps = []
    step = error.__traceback__
    while step:
        steps.append(step)
        step = step.tb_next
    return steps


def _is_ours(step: TracebackType) -> bool:
    return str(step.tb_frame.f_globals.get("__name__", "")).partition(".")[0] in OURS


def _place(step: TracebackType) -> str:
    return f"{step.tb_frame.f_code.co_filename}:{step.tb_lineno}: "


@contextmanager
def _clean_slate(apps: Sequence[str], folders: Sequence[Path]) -> Iterator[Registry]:
    """Import as if for the first time; on any error the old modules are back."""
    mine = {name: module for name, module in sys.modules.items() if _is_app(name, module, apps, folders)}
    for name in mine:
        del sys.modules[name]
    importlib.invalidate_caches()
    new = Registry()
    try:
        with filling(new):
            yield new
    except BaseException:
        for name, module in list(sys.modules.items()):
            if _is_app(name, module, apps, folders):
                del sys.modules[name]
        sys.modules.update(mine)
        raise


def _is_app(name: str, module: Any, apps: Sequence[str], folders: Sequence[Path]) -> bool:
    """Whether *module* is the user's own code: an app, or beside one; not what was installed for it."""
    if any(name == app or name.startswith(f"{app}.") for app in apps):
        return True
    file = getattr(module, "__file__", None)
    # a namespace package has no file, but it remembers its modules as attributes
    places = [Path(file)] if file else [Path(place) for place in getattr(module, "__path__", ())]
    return any(
        place.is_relative_to(folder) and not _INSTALLED & set(place.relative_to(folder).parts)
        for folder in folders
        if not _INSTALLED & set(folder.parts)
        for place in places
    )
