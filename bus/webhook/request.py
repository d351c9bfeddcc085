"""The request that a sender made, as one value: everything that a scheme may sign or carry a proof in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl

from ..safe_text import cached_if_short

MOST_FIELDS: Final = 1000
"""Of one form or query: more are none at all."""

FORM: Final = "application/x-www-form-urlencoded"

Fields = tuple[tuple[str, str], ...]


class TooManyFields(ValueError):
    """A form has more than MOST_FIELDS."""


class Request(NamedTuple):
    """One request. `url` is what its sender asked for, `received` when that was, in Unix seconds.

    `headers` have lower-case names and values as they came, each byte a character (Latin-1); a header that
    came several times has its values joined by commas, as RFC 9110 section 5.3 has it. Query and form are
    taken apart when they are asked for.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes = b""
    received: float = 0.0

    @property
    def query(self) -> Fields:
        """The parameters of the URL, in their order, percent-decoded."""
        _, mark, query = self.url.partition("?")
        return _fields(query) if mark else ()

    @property
    def is_form(self) -> bool:
        """Whether the body says that it is a form."""
        media_type = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        return media_type == FORM

    def fields(self) -> Fields:
        """The fields of the form, in their order; none when it is not one. Raises TooManyFields."""
        return _taken_apart(self.body.decode("latin-1")) if self.is_form else ()

    def sorted_form(self) -> bytes:
        """Each field of the form once, in the order of names and values, name and value joined.

        Raises TooManyFields: what stands in such a form would not be signed.
        """
        return "".join(name + value for name, value in sorted(set(self.fields()))).encode("utf-8", "replace")

    def at(self, place: str) -> str:
        """The value in the head at *place*, ``header:NAME`` or ``query:NAME``; "" for none."""
        kind, _, name = place.partition(":")
        if kind == "header":
            return self.headers.get(name.lower(), "")
        return dict(reversed(self.query)).get(name, "") if kind == "query" else ""


def _fields(text: str) -> Fields:
    try:
        return _taken_apart(text)
    except TooManyFields:
        return ()


def _taken_apart(text: str) -> Fields:
    try:
        return tuple(parse_qsl(text, keep_blank_values=True, max_num_fields=MOST_FIELDS))
    except ValueError:
        raise TooManyFields from None


def raw(text: str) -> bytes:
    """The bytes of a head's *text* as they came: WSGI hands it over as Latin-1."""
    return text.encode("latin-1", "replace")


def headers_of(environ: Mapping[str, Any]) -> dict[str, str]:
    """The headers of the request in *environ*, by their lower-case names."""
    return {name: value for key, value in environ.items() if (name := _header_name(key))}


@cached_if_short(1024)
def _header_name(key: str) -> str:
    """``HTTP_X_GITHUB_EVENT`` → ``x-github-event``; "" for what is not a header."""
    if key.startswith("HTTP_"):
        key = key[5:]
    elif key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        return ""
    return key.replace("_", "-").lower()
