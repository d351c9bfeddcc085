"""The command line: one command a function; words into calls, answers into lines."""

from .entry import main

__all__ = ["main"]
