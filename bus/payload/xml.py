"""XML as plain values: ``<a x="1"><b>2</b></a>`` is ``{"a": {"@x": "1", "b": "2"}}``.

Python's own expat with handlers of ours: there is no document type, so no entity can be declared, nothing is
fetched and nothing multiplies. A document that has one is refused before it does anything.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final
from xml.parsers import expat

from .form import add
from .refusal import BadPayload

MAX_DEPTH: Final = 64
MOST_ITEMS: Final = 100_000
"""Elements and attributes of one document: each takes hundreds of bytes as a value."""
LONGEST_MARKUP: Final = 1024 * 1024
"""Bytes of one tag or comment: expat reads an unfinished one again with each piece."""
PIECE_BYTES: Final = 16 * 1024
_ENCODINGS: Final = {"utf-8": "UTF-8", "us-ascii": "US-ASCII", "iso-8859-1": "ISO-8859-1", "utf-16": "UTF-16"}


def read(body: bytes, charset: str, pause: Callable[[], object]) -> dict[str, Any]:
    """The root element of *body* by its name. *charset* wins over the one in its first line.

    An element with nothing but text is that text. Any other is a dict: of its attributes under ``@`` and
    their name, its elements by name, a list where a name comes several times, and its text, if there is any
    but white space, under ``#text``. Names have their prefix as written. *pause* is called between the pieces
    of a long one. Raises BadPayload.
    """
    if charset and charset.lower() not in _ENCODINGS:
        expected = ", ".join(_ENCODINGS)
        raise BadPayload(f"body: expected XML in a charset of {expected}, got {charset[:40]!r}")
    return _Document(_ENCODINGS.get(charset.lower())).read(body, pause)


class _Element:
    """An element that has begun: its *value* so far, and the *texts* in it."""

    __slots__ = ("name", "texts", "value")

    def __init__(self, name: str, value: dict[str, Any]) -> None:
        self.name = name
        self.value = value
        self.texts: list[str] = []

    def ended(self) -> Any:
        text = "".join(self.texts)
        if not self.value:
            return text
        if text := text.strip():
            self.value["#text"] = text
        return self.value


class _Document:
    """Builds the value of one document while expat reads it."""

    def __init__(self, encoding: str | None) -> None:
        parser = expat.ParserCreate(encoding)
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        parser.StartDoctypeDeclHandler = self._doctype
        parser.EntityDeclHandler = self._doctype
        self._parser = parser
        self._open = [_Element("", {})]
        self._items = 0

    def read(self, body: bytes, pause: Callable[[], object]) -> dict[str, Any]:
        try:
            for start in range(0, len(body), PIECE_BYTES):
                end = start + PIECE_BYTES
                self._parser.Parse(body[start:end], False)
                if end - self._parser.CurrentByteIndex > LONGEST_MARKUP + PIECE_BYTES:
                    raise BadPayload(
                        f"body: expected a tag of at most {LONGEST_MARKUP} bytes, got a longer one"
                    )
                pause()
            self._parser.Parse(b"", True)
        except expat.ExpatError as error:
            reason = expat.ErrorString(error.code)
            raise BadPayload(
                f"body: not XML, {reason} at line {error.lineno} column {error.offset}"
            ) from None
        except BadPayload:
            raise
        except (ValueError, LookupError) as error:  # an encoding that is none, or that has no single bytes
            raise BadPayload(f"body: not XML in a charset that is known, {type(error).__name__}") from None
        return self._open[0].value

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._items += 1 + len(attributes)
        if len(self._open) > MAX_DEPTH:
            raise BadPayload(f"body: nested deeper than {MAX_DEPTH} levels")
        if self._items > MOST_ITEMS:
            raise BadPayload(f"body: expected at most {MOST_ITEMS} elements and attributes, got more")
        self._open.append(_Element(name, {f"@{key}": value for key, value in attributes.items()}))

    def _end(self, _: str) -> None:
        element = self._open.pop()
        add(self._open[-1].value, element.name, element.ended())

    def _text(self, text: str) -> None:
        self._open[-1].texts.append(text)

    def _doctype(self, *_: object) -> None:
        raise BadPayload("body: expected XML without a document type and entities, got one with; remove it")
