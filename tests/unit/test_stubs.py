"""stubs/__init__.pyi, which type checkers read in place of monqbus.py."""

from __future__ import annotations

import ast

import monqbus
from tests.program import ROOT

STUB = ast.parse((ROOT / "stubs" / "__init__.pyi").read_text()).body
MODULE = ast.parse((ROOT / "monqbus.py").read_text()).body


def _imported(body: list[ast.stmt]) -> dict[str, str | None]:
    """Which public name comes from where."""
    return {
        alias.asname or alias.name: node.module
        for node in body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if (alias.asname or alias.name) in monqbus.__all__
    }


def _defined(body: list[ast.stmt]) -> dict[str, str]:
    """Which public function takes what and returns what."""
    return {
        node.name: f"{ast.unparse(node.args)} -> {node.returns and ast.unparse(node.returns)}"
        for node in body
        if isinstance(node, ast.FunctionDef) and node.name in monqbus.__all__
    }


def test_the_stub_has_every_public_name_as_the_module_has_it():
    """Taken from the same place, called with the same arguments."""
    assert _imported(MODULE) == _imported(STUB)
    assert _defined(MODULE) == _defined(STUB)
    assert set(monqbus.__all__) == _imported(STUB).keys() | _defined(STUB).keys()
