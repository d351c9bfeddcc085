"""Styles, script and icon: files of the package, the same for everybody, asked for once by each browser."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any, Final

from ..http.problem import Answer
from .desk import FOLDER

_TYPES: Final = {
    "desk.css": "text/css; charset=utf-8",
    "desk.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
NAMES: Final = tuple(_TYPES)


def asset(name: str) -> Callable[[Mapping[str, Any]], Answer]:
    """The endpoint of the asset *name*, which is read once."""
    content = (FOLDER / "assets" / name).read_bytes()
    mark = f'"{sha256(content).hexdigest()[:16]}"'

    def answer(environ: Mapping[str, Any]) -> Answer:
        # asked for anew each time, in a few bytes: a new version's pages must not meet an old one's script
        headers = [("Content-Type", _TYPES[name]), ("Cache-Control", "no-cache"), ("ETag", mark)]
        if environ.get("HTTP_IF_NONE_MATCH") == mark:
            return Answer("304 Not Modified", [*headers, ("Content-Length", "0")], b"")
        sized = [*headers, ("Content-Length", str(len(content)))]
        return Answer("200 OK", sized, b"" if environ["REQUEST_METHOD"] == "HEAD" else content)

    return answer
