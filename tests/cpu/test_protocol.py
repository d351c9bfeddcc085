"""The table of frames in `bus/cpu/frames.py` is what daemon and workers say to each other."""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from bus.codec import decode, encode
from bus.cpu import forkserver, forkserver_client, frames
from bus.cpu.app_version import Apps
from bus.cpu.forkserver import Forkserver
from bus.cpu.message import of_ending
from bus.errors import ConfigError
from bus.retry import Overdue, Stopped

from .conftest import Laboratory, New

HANDLERS: Final = """
from bson import ObjectId

from monqbus import JoinTimeout, MonqbusError, Retry, c, post_event, task

@task
def other():
    pass

@task(cpu=True)
def speak():
    print("said")
    c.task.progress(0.5, "half")
    c.task.log
    child = other.post()
    try:
        child.join(0.01)
    except JoinTimeout:
        pass
    post_event("nobody.listens", 1)
    try:
        child.id = ObjectId()
        child.join(0.01)
    except MonqbusError:
        pass

@task(cpu=True)
def again():
    raise Retry("later", delay=5)

@task(cpu=True)
def fail():
    raise ValueError("wrong")
"""


class Row(NamedTuple):
    """A line of the table; *maybe* are the fields that may be missing."""

    sender: str
    fields: frozenset[str]
    maybe: frozenset[str]
    followers: frozenset[str]


def rows() -> dict[str, Row]:
    """Both tables of the docstring, by frame; columns begin where the lines of signs end."""
    text = frames.__doc__ or ""
    found = {}
    signs = next(line for line in text.splitlines() if line.startswith("==="))
    edges = [0, *(gap.end() for gap in re.finditer(" +", signs))]
    for line in text.splitlines():
        cells = [line[start:end].strip() for start, end in zip(edges, [*edges[1:], None], strict=True)]
        if cells[1] not in {"daemon", "worker", "parent"}:
            continue
        sure, _, maybe = cells[2].partition("[")
        fields = frozenset(sure.split()), frozenset(maybe.rstrip("]").split())
        found[cells[0]] = Row(cells[1], *fields, frozenset(cells[3].split()))
    return found


ROWS: Final = rows()
ENDINGS: Final = ("returned", "failed", "overdue", "stopped")


class Wire:
    """Everything that was said, in its order: the sender, the frame's name and its fields."""

    def __init__(self) -> None:
        self.said: list[tuple[str, str, frozenset[str]]] = []
        self._asked = ""

    def sent(self, document: Mapping[str, Any]) -> bytes:
        """In place of `encode`."""
        self._note("daemon", document)
        return encode(document)

    def heard(self, data: bytes) -> dict[str, Any]:
        """In place of `decode`."""
        document = decode(data)
        self._note("others", document)
        return document

    def _note(self, sender: str, document: Mapping[str, Any]) -> None:
        self.said.append((sender, self._name(sender, document), frozenset(document)))

    def _name(self, sender: str, document: Mapping[str, Any]) -> str:
        if "ended" in document:
            kind = document["ended"]
            return f"ended {kind if kind in ENDINGS else 'verdict'}"
        if "ask" in document:
            self._asked = document["ask"]
            return f"ask {self._asked}"
        if sender == "daemon" and self._asked:
            asked, self._asked = self._asked, ""
            return "error" if "error" in document else f"answer {asked}"
        return next(name for name in ROWS if name in document and name != "error")


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    """Hears the frames to and from the workers."""
    heard = Wire()
    monkeypatch.setattr(frames, "encode", heard.sent)
    monkeypatch.setattr(frames, "decode", heard.heard)
    return heard


@pytest.fixture
def control(monkeypatch: pytest.MonkeyPatch) -> Wire:
    """Hears the messages to and from zygote and app process."""
    heard = Wire()
    monkeypatch.setattr(forkserver_client, "encode", heard.sent)
    monkeypatch.setattr(forkserver_client, "decode", heard.heard)
    return heard


@pytest.fixture
def talking(new_laboratory: New, tmp_path: Path, wire: Wire, control: Wire) -> Laboratory:
    """A laboratory whose handlers use everything that a worker can say."""
    (tmp_path / "laboratory.py").write_text(HANDLERS)
    laboratory = new_laboratory(folder=tmp_path)
    for name in ("speak", "again", "fail"):
        laboratory.result(name)
    return laboratory


def check(name: str, fields: frozenset[str]) -> None:
    """*fields* are those of the frame's line."""
    row = ROWS[name]
    assert row.fields == fields - row.maybe, name


def told_at_the_end(ending: Any) -> frozenset[str]:
    return frozenset(of_ending(ending)) | {"of", "bytes"}


def test_each_frame_has_its_line(talking: Laboratory, wire: Wire) -> None:
    """Sender and fields; and no line tells of a frame that is never sent."""
    for sender, name, fields in wire.said:
        check(name, fields)
        assert sender == ("daemon" if ROWS[name].sender == "daemon" else "others"), name
    check("ended overdue", told_at_the_end(Overdue(1.0, "")))
    check("ended stopped", told_at_the_end(Stopped("")))

    seen = {name for _, name, _ in wire.said} | {"ended overdue", "ended stopped"}
    assert seen == {name for name, row in ROWS.items() if not _is_of_control(name, row)}


def test_each_frame_follows_where_the_table_says_so(talking: Laboratory, wire: Wire) -> None:
    """One worker, one wire: what comes next is in the last column."""
    names = [name for _, name, _ in wire.said]

    assert ["run", "taken"] == names[:2]
    for name, following in pairwise(names):
        assert following.split()[0] in ROWS[name].followers, (name, following)


def test_each_message_of_the_control_socket_has_its_line(
    talking: Laboratory, control: Wire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What forks, and how that went; a fork that fails and apps that cannot be imported, too."""
    with pytest.raises(ConfigError):
        talking.worker_pool.prepare(Apps(("not_there",), (tmp_path,)))
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    monkeypatch.setattr(forkserver, "_fork", _no_fork)
    with ours, theirs:
        Forkserver(theirs, leaders=False)._add({"fork": 7}, 0, lambda *_: None)
        control.heard(ours.recv(1000))
    for handle in list(talking.worker_pool._app_version()._handles):
        handle.kill()
        handle.child.wait(20)

    for _, name, fields in control.said:
        check(name, fields)
    assert {name for _, name, _ in control.said} == {n for n, row in ROWS.items() if _is_of_control(n, row)}


def _no_fork() -> int:
    raise OSError(11, "Resource temporarily unavailable")


def _is_of_control(name: str, row: Row) -> bool:
    return row.sender == "parent" or name in {"fork", "signal"}
