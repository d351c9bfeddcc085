"""Text from outside on its way to a log line or a terminal."""

from __future__ import annotations

import re

# control characters, line separators, bidirectional overrides and lone surrogates
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def harmless(text: str) -> str:
    """*text* with everything that could break or disguise a line written as an escape."""
    if text.isascii() and text.isprintable():
        return text
    return _UNSAFE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)
