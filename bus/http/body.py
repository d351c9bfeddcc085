"""A request's body, whole or refused: never cut, never drained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gevent.pywsgi import Input

from ..errors import Refused


class BodyStream(Input):  # type: ignore[misc]  # gevent has no type hints
    """pywsgi's body reader, which also says whether anything is left to read.

    What is left is never drained, it can be gigabytes: the connection is closed instead.
    """

    __slots__ = ()

    @property
    def is_finished(self) -> bool:
        """Every byte of the body has been read, so that the next request can follow."""
        if self.chunked_input:
            return bool(self.chunk_length == 0) and not self._chunked_input_error
        return bool(self.position >= (self.content_length or 0))


def read_body(environ: Mapping[str, Any], limit: int) -> bytes:
    """Read the whole body of at most *limit* bytes; blocks until it is there.

    Raises Refused: 413 when it is or claims to be larger (Werkzeug's own reader cuts a chunked body
    at its limit and answers 200), 400 when it is cut or badly chunked, 408 when it is too slow.
    """
    if int(environ.get("CONTENT_LENGTH") or 0) > limit:
        raise _too_large(limit)
    try:
        body: bytes = environ["wsgi.input"].read(limit + 1)
    except (OSError, ValueError) as error:  # pywsgi: a bad or empty chunk size is either of them
        raise Refused(400, "bad_body", "body: cut short or badly chunked") from error
    if len(body) > limit:
        raise _too_large(limit)
    return body


def _too_large(limit: int) -> Refused:
    return Refused(413, "body_too_large", f"body: at most {limit} bytes")
