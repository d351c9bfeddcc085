"""Frames: what is sent arrives, what is none is refused."""

from __future__ import annotations

import struct

import pytest

from bus.cpu import frames
from bus.cpu.frames import BadFrame, FrameStream


class Pipe:
    """A stream in memory that gives back what was sent, *most* bytes at a time."""

    def __init__(self, data: bytes = b"", most: int = 1 << 20) -> None:
        self.data = bytearray(data)
        self.most = most

    def sendall(self, data: bytes, /) -> None:
        self.data += data

    def recv(self, size: int, /) -> bytes:
        taken = bytes(self.data[: min(size, self.most)])
        del self.data[: len(taken)]
        return taken


@pytest.mark.parametrize("most", [1, 3, 7, 1 << 20])
def test_frames_arrive_as_they_were_sent_however_they_are_cut(most):
    pipe = Pipe(most=most)
    sent = [{}, {"a": 1}, {"b": b"\0" * 5000, "c": [None, {"d": "ä"}]}]
    for frame in sent:
        FrameStream(pipe).send(frame)
    reader = FrameStream(pipe)

    assert [*sent, None] == [reader.receive() for _ in range(4)]


def test_the_end_of_the_stream_within_a_head_is_an_end():
    assert FrameStream(Pipe(b"\0\0")).receive() is None


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\0\0\0\x09abc", "expected 9 bytes, got the end of the stream"),
        (b"\0\0\0\x03abc", "expected a BSON document, got b'abc'"),
        (b"\0\0\0\0", "expected a BSON document, got b''"),
        (struct.pack(">I", frames.LIMIT + 1), "expected at most 67108864 bytes, got 67108865 announced"),
        (b"\0\0\0\x0c\x0c\0\0\0\x02a\0\xff\xff\xff\xff\0", "expected a BSON document"),
    ],
)
def test_what_is_no_frame_is_refused(data, words):
    with pytest.raises(BadFrame, match=words):
        FrameStream(Pipe(data)).receive()


def test_a_frame_that_is_too_large_is_not_sent(monkeypatch):
    """Nothing of it: the receiver must not wait for the rest."""
    monkeypatch.setattr(frames, "LIMIT", 100)
    pipe = Pipe()

    with pytest.raises(BadFrame, match="expected at most 100 bytes, got 213"):
        FrameStream(pipe).send({"a": b"\0" * 200})
    assert b"" == pipe.data
