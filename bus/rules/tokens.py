"""The words of a rule, each with its place. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, Literal, NamedTuple

from .mistake import BadRule

Kind = Literal["name", "text", "number", "sign", "end"]

LONGEST_NUMBER: Final = 20
"""Characters; a number has 64 bits, or is a float."""

_SPACE = re.compile(r"[ \t\r\n]+")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_TEXT = re.compile(r"\"((?:[^\"\\\n]|\\.)*)\"|'((?:[^'\\\n]|\\.)*)'")
_ESCAPE = re.compile(r"\\([\\\"'])")
_DIGITS = re.compile(r"[0-9]+")
_SIGN = re.compile(r"==|!=|<=|>=|<|>|[()\[\],.]")
_MEANT: Final = {
    "=": "write == to compare",
    "=~": "write matches",
    "~": "write matches",
    "!": "write not",
    "&": "write and",
    "&&": "write and",
    "|": "write or",
    "||": "write or",
    "===": "write ==",
    "!==": "write !=",
    "<>": "write !=",
}
"""What other languages write in place of ours."""
_FOREIGN = re.compile(r"===|!==|=~|&&|\|\||<>|.", re.DOTALL)
_KNOWN: Final = "known are names, texts in quotes, numbers, and == != < <= > >= ( ) [ ] , ."


class Token(NamedTuple):
    """One word: its *text* as written, its *value* where it is a text or number, and its *place*."""

    kind: Kind
    text: str
    place: int
    value: str | int | float = ""

    @property
    def shown(self) -> str:
        """As an error message quotes it."""
        if self.kind == "end":
            return "the end of the rule"
        return repr(self.text if len(self.text) <= 40 else f"{self.text[:39]}…")


def tokens(text: str) -> Iterator[Token]:
    """The words of *text* in their order, and one for its end. Raises BadRule for what is none."""
    place = 0
    after_dot = False
    while place < len(text):
        if space := _SPACE.match(text, place):
            place = space.end()
            continue
        token = _token(text, place, after_dot=after_dot)
        after_dot = token.text == "." and token.kind == "sign"
        yield token
        place += len(token.text)
    yield Token("end", "", len(text))


def _token(text: str, place: int, *, after_dot: bool) -> Token:
    if after_dot and (digits := _DIGITS.match(text, place)):
        return Token("number", digits[0], place, digits[0])  # a place in a list: not 0.5
    if (foreign := _FOREIGN.match(text, place)) and foreign[0] in _MEANT and not _is_ours(text, place):
        raise BadRule(text, place, "an operator", repr(foreign[0]), _MEANT[foreign[0]])
    if match := _NAME.match(text, place):
        return Token("name", match[0], place)
    if match := _TEXT.match(text, place):
        inside = match[1] if match[1] is not None else match[2]
        return Token("text", match[0], place, _ESCAPE.sub(r"\1", inside))
    if match := _NUMBER.match(text, place):
        return Token("number", match[0], place, _number(text, place, match[0]))
    if match := _SIGN.match(text, place):
        return Token("sign", match[0], place)
    if text[place] in "\"'":
        remedy = f"close it with {text[place]}; in the file a comment begins with a space and ;"
        raise BadRule(text, place, "a text that ends on its line", "an open quote", remedy)
    raise BadRule(text, place, "an operator, a name or a value", repr(text[place]), _KNOWN)


def _is_ours(text: str, place: int) -> bool:
    """Whether an operator of ours begins there, and not a longer one of another language."""
    return (
        bool(_SIGN.match(text, place))
        and text[place : place + 3] not in _MEANT
        and (text[place : place + 2] not in _MEANT)
    )


def _number(text: str, place: int, written: str) -> int | float:
    remedy = "write a smaller one, or compare a text"
    if len(written) > LONGEST_NUMBER:
        expected = f"a number of at most {LONGEST_NUMBER} characters"
        raise BadRule(text, place, expected, f"{len(written)}", remedy)
    if not written.lstrip("-").isdigit():
        value = float(written)
        if value in (float("inf"), float("-inf")):
            raise BadRule(text, place, "a number that a float holds", repr(written), remedy)
        return value
    if not -(2**63) <= (whole := int(written)) < 2**63:
        raise BadRule(text, place, "a whole number of 64 bits", repr(written), remedy)
    return whole
