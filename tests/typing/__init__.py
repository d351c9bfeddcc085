"""Checked by mypy, never run: what a type checker must accept, and what it must refuse."""
