"""The door: one command a function; they translate words into calls and answers into lines."""

from .door import main

__all__ = ["main"]
