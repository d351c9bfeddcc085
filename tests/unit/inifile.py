"""What the claims about the configuration write and read."""

from __future__ import annotations

from pathlib import Path

import pytest

from bus.config import Config, load
from bus.errors import ConfigError

SIGNING_KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
HOOK = "[hook:x]\nverify = token\nsecret = plain-of-16-byte\n"
ENVIRON = {"GOOD": "s3cret-of-environ", "EMPTY": " \n", "MONGO": "mongodb://bob:s3cret@db.example/tasks"}


def read(text: str, environ: dict[str, str] = ENVIRON) -> Config:
    """The configuration in *text*, read from a monqbus.ini that only its owner may read."""
    write("monqbus.ini", text.encode())
    return load(Path("monqbus.ini"), environ)


def write(name: str, content: bytes, mode: int = 0o600) -> None:
    path = Path(name)
    path.write_bytes(content)
    path.chmod(mode)


def faults(text: str, environ: dict[str, str] = ENVIRON) -> list[str]:
    """Why hooks of *text* are closed, one sentence each; nothing else is wrong with it."""
    return list(read(text, environ).faults.values())


def problems(text: str, environ: dict[str, str] = ENVIRON) -> list[str]:
    """What is wrong with *text*, one sentence each."""
    with pytest.raises(ConfigError) as caught:
        read(text, environ)
    return list(caught.value.problems)
