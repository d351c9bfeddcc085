"""Text streams in the place of `sys.stdout` and `sys.stderr`, which offer what libraries expect of those.

Python's own are a TextIOWrapper: bytes may be written to `buffer`, its encoding asked and set anew.
"""

from __future__ import annotations

import codecs
import io
from typing import Any, Final

_DECODER: Final = codecs.getincrementaldecoder("utf-8")


class StandardStream(io.TextIOBase):
    """The base of a stream for text, UTF-8 if it were bytes. Whoever is derived from it has `write`."""

    mode = "w"

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.buffer = BytesSide(self)
        self._decoder = _DECODER("backslashreplace")

    @property
    def encoding(self) -> str:  # type: ignore[override]  # typeshed has plain attributes, io has properties
        """UTF-8: what is written to `buffer` is read so."""
        return "utf-8"

    @property
    def errors(self) -> str:  # type: ignore[override]
        """No text is refused."""
        return "backslashreplace"

    def reconfigure(self, **_: Any) -> None:
        """Nothing: whatever is written here becomes lines of the log. Takes what TextIOWrapper's takes."""

    def writable(self) -> bool:
        """Always."""
        return True

    def close(self) -> None:
        """Only flush it: a daemon keeps its streams for as long as it lives."""
        self.flush()

    def write_bytes(self, data: bytes) -> None:
        """Write *data* as text; a character may be cut in two by two calls."""
        if text := self._decoder.decode(data):
            self.write(text)


class BytesSide(io.BufferedIOBase):
    """The `buffer` of a *text* stream."""

    def __init__(self, text: StandardStream) -> None:
        super().__init__()
        self.raw = self  # nothing is gathered between them
        self.mode = "wb"
        self._text = text

    @property
    def name(self) -> str:
        """The text stream's."""
        return self._text.name

    def write(self, data: Any, /) -> int:
        """Write bytes. Raises TypeError for text."""
        if isinstance(data, str):
            raise TypeError("a bytes-like object is required, not 'str'")
        octets = bytes(memoryview(data).cast("B")) if not isinstance(data, bytes) else data
        self._text.write_bytes(octets)
        return len(octets)

    def flush(self) -> None:
        """Flush the text stream."""
        self._text.flush()

    def close(self) -> None:
        """Only flush it: a wrapper that somebody has put around closes it when it is collected."""
        self.flush()

    def writable(self) -> bool:
        """Always."""
        return True

    def isatty(self) -> bool:
        """As the text stream."""
        return self._text.isatty()

    def fileno(self) -> int:
        """The text stream's."""
        return self._text.fileno()
