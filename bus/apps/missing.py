"""Why an app, or a module that it imports, is not there, and what to do about it."""

from __future__ import annotations

import pkgutil
import sys
from collections.abc import Iterable

from ..spelling import nearest


def missing_module(app: str, error: ModuleNotFoundError) -> str:
    """The sentence about *error*, which importing *app* has raised. Lists the folders of modules."""
    missing = error.name or ""
    parent, _, last = missing.rpartition(".")
    if parent in sys.modules and not hasattr(sys.modules[parent], "__path__"):
        fault = f"no module named {missing!r}; {parent} is a single file, which has no modules in it"
        return f"{fault}; write {parent}" if last == "py" else fault
    is_own = app == missing or app.startswith(f"{missing}.")
    if parent in sys.modules:
        there = sorted(_modules_in(sys.modules[parent].__path__))
        near = nearest(last, there)
        remedy = (
            f"did you mean {parent}.{near}?" if near else f"{parent} has {', '.join(there[:10]) or 'none'}"
        )
    elif is_own:
        there = sorted(
            name for name in set(_modules_in(sys.path)) - sys.stdlib_module_names if not name.startswith("_")
        )
        near = nearest(last, there)
        remedy = "add its folder to [monqbus] path" + (f", or did you mean {near}?" if near else "")
    else:
        remedy = "install it"
    return f"no module named {missing!r}; {remedy}"


def _modules_in(places: Iterable[str]) -> list[str]:
    return [module.name for module in pkgutil.iter_modules(list(places))]
