"""Applications beside a daemon: plain Python in its folder, connected by its configuration, that posts."""

from __future__ import annotations

import subprocess
import sys

from .daemons import PATIENCE, ROOT, Daemon

_CONNECTED = f"""\
import sys
sys.path[:0] = [{str(ROOT)!r}, "."]
import monqbus
from monqbus import post_event
monqbus.connect("monqbus.ini")
"""


def configuration(app: str) -> str:
    """That of a daemon which has the module *app* beside it."""
    return (
        f"[monqbus]\ndata_dir = ./data\nstore = {{store}}\napps = {app}\npath = .\n"
        "[worker]\ndrain = 2s\n[http]\nlisten = 127.0.0.1:0\n"
    )


class Application:
    """A program that has connected and done its *prelude* before it does what a test says."""

    def __init__(self, prelude: str) -> None:
        self._prelude = prelude

    def start(self, daemon: Daemon, text: str, *words: str) -> subprocess.Popen[str]:
        """A process of it that does *text* beside *daemon*; *words* are its arguments."""
        return subprocess.Popen(
            [sys.executable, "-c", _CONNECTED + self._prelude + text, *words],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            cwd=daemon.config.parent, env=daemon.environ,
        )  # fmt: skip

    def said(self, daemon: Daemon, text: str) -> str:
        """What one that does *text* prints; it must end well."""
        with self.start(daemon, text) as process:
            out, err = process.communicate(timeout=PATIENCE)
        assert (0, "") == (process.returncode, err)
        return out
