"""Imports the apps, whose declarations fill the registry, and imports them afresh for a reload."""

from __future__ import annotations

import importlib
import site
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import BadDeclaration, ConfigError
from .missing import missing_module
from .registry import Registry, filling, registry, use

# compiled modules cannot be imported twice in one process (numpy says so), so these stay loaded
_INSTALLED = frozenset({"site-packages", "dist-packages"})


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
    if not afresh:
        _import_all(apps)
        also()
        return registry()
    with _clean_slate(apps, folders) as new:
        _import_all(apps)
        also()
    use(new)
    return new


def _import_all(apps: Sequence[str]) -> None:
    """Import each of *apps*, leaving no bytecode behind.

    Python takes bytecode for that of a source by its time in whole seconds and its size: an edit in the
    second of the last import would not be seen.
    """
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        for app in apps:
            _import(app)
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
        raise ConfigError(f"app {app}: {error}") from error
    except ModuleNotFoundError as error:
        raise ConfigError(f"app {app}: {missing_module(app, error)}") from error
    except (Exception, SystemExit) as error:  # an app may do anything while it is imported
        raise ConfigError(f"app {app}: {_last_place(error)}{type(error).__name__}: {error}") from error


def _last_place(error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}: "
    step = error.__traceback__
    while step and step.tb_next:
        step = step.tb_next
    return f"{step.tb_frame.f_code.co_filename}:{step.tb_lineno}: " if step else ""


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
