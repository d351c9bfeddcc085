"""The one error of the language."""

from __future__ import annotations


class BadRule(ValueError):
    """A text is no rule: what was *expected* at *place*, what was *got* there, and the *remedy*.

    `place` counts characters of the whole text from 0; `line` and `column` count from 1.
    """

    def __init__(self, text: str, place: int, expected: str, got: str, remedy: str) -> None:
        self.expected = expected
        self.got = got
        self.remedy = remedy
        before = text[:place]
        self.line = before.count("\n") + 1
        self.column = place - (before.rfind("\n") + 1) + 1
        self._written = text.split("\n")[self.line - 1]
        super().__init__(f"expected {expected} at column {self.column}, got {got}; {remedy}")

    @property
    def caret(self) -> str:
        """The line of the rule that is wrong, and below it a caret at the column; of a long line a part."""
        first = max(0, self.column - 1 - 60)
        shown = self._written[first : first + 100].replace("\t", " ")
        return f"    {shown}\n    {' ' * (self.column - 1 - first)}^"
