"""Text in the charsets that senders use; others, some of which take a long time or run code, are refused."""

from __future__ import annotations

from typing import Final

from .refusal import BadPayload

_SAME: Final = (
    *("iso-8859-2", "iso-8859-3", "iso-8859-4", "iso-8859-5", "iso-8859-6", "iso-8859-7", "iso-8859-8"),
    *("iso-8859-9", "iso-8859-10", "iso-8859-13", "iso-8859-14", "iso-8859-15", "iso-8859-16"),
    *("windows-1250", "windows-1251", "windows-1252", "windows-1253", "windows-1254", "windows-1255"),
    *("windows-1256", "windows-1257", "windows-1258", "utf-16", "utf-16le", "utf-16be", "utf-32"),
    *("koi8-r", "koi8-u", "shift_jis", "euc-jp", "iso-2022-jp", "gb18030", "gbk", "gb2312", "big5", "euc-kr"),
)
CODECS: Final = {
    **dict.fromkeys(("utf-8", "utf8", "us-ascii", "ascii"), "utf-8"),
    **dict.fromkeys(("iso-8859-1", "latin1", "latin-1"), "iso-8859-1"),
    **{name: name for name in _SAME},
}
"""By the name that a sender gives: Python's."""


def codec_of(charset: str) -> str:
    """Python's name of *charset*; UTF-8 for "". Raises BadPayload for one that is not in CODECS."""
    if not charset:
        return "utf-8"
    codec = CODECS.get(charset.strip().lower())
    if codec is None:
        raise BadPayload(f"body: expected a charset such as utf-8 or iso-8859-1, got {charset[:40]!r}")
    return codec


def decoded(data: bytes, charset: str = "") -> str:
    """*data* as text, without a byte order mark. Raises BadPayload when it is not in *charset*."""
    codec = codec_of(charset)
    try:
        return data.decode(codec).removeprefix("\ufeff")
    except UnicodeError as error:
        at = f" at {error.start}" if isinstance(error, UnicodeDecodeError) else ""
        raise BadPayload(f"body: expected text in {codec}, got bytes{at} that are not") from None
