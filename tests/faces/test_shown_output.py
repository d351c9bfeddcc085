"""What tasks print, shown to the sender while they run: stored first, bounded in every direction."""

from __future__ import annotations

import json
from collections.abc import Iterator

import gevent
import pytest
from bson import ObjectId

from bus.daemon.url_maps import public_urls
from bus.errors import StoreUnavailable
from bus.http import Server, UrlMap
from bus.model import COMPLETE, ERROR, Event, MonQTask, Receipt
from bus.telemetry import emit
from bus.webhook import streams
from bus.webhook.admission import Admission
from bus.webhook.streams import BEAT_SECONDS, LOOK_SECONDS, Streams

from .stranger import Answer, Stranger, post, serving
from .test_answers import Queue
from .test_webhook import MAX_BODY, NOW, hook

ASKS = {"Accept": "text/event-stream"}


class Show(Queue):
    """An office whose tasks print what the test has them print."""

    def __init__(self, most: int = 2) -> None:
        super().__init__()
        self.hooks = {
            "shown": hook("shown", "none", stream=60.0, answer_headers=(("X-Served-By", "monqbus"),)),
            "hidden": hook("hidden", "none"),
        }
        self.streams = Streams(self.find, self.clock, most, self.signal)
        self.is_quick = False

    def publish(self, event: Event) -> Receipt:
        receipt = super().publish(event)
        if self.is_quick and not receipt.duplicate:
            self.say("at once")
            self.over(COMPLETE)
        return receipt

    @property
    def task(self) -> MonQTask:
        """The task of the last event."""
        return MonQTask(self.tasks[0], "a.b", [], {}, NOW, event_id=self.events[-1].id, attempt=1)

    def say(self, line: str) -> None:
        emit("task.printed", task=self.task, line=line)

    def over(self, state: str) -> None:
        emit("task.finished" if state == COMPLETE else "task.gave_up", task=self.task)

    def app(self) -> UrlMap:
        return public_urls(
            hooks=lambda: self.hooks, publish=self.publish, ready=lambda: None, clock=self.clock,
            max_body=MAX_BODY, admission=Admission(1), endings=self.endings, streams=self.streams,
        )  # fmt: skip


@pytest.fixture
def show() -> Show:
    return Show()


@pytest.fixture
def server(show: Show) -> Iterator[Server]:
    with serving(show.app()) as server:
        yield server


def until(show: Show, count: int) -> None:
    """Block until so many are shown something, and each waits for more."""
    with gevent.Timeout(5, AssertionError("nobody listens")):
        while show.streams.count != count or len(show.bells) < count:
            gevent.sleep(0)


def asked(server: Server, headers: dict[str, str] | None = None, name: str = "shown") -> Stranger:
    stranger = Stranger(server.address)
    stranger.send(post(f"/hooks/{name}", b"x", {**ASKS, **(headers or {})}))
    return stranger


def parsed(rest: bytes) -> list[tuple[str, dict[str, object]]]:
    """The events of a stream that has ended; comments are left out."""
    body = rest.partition(b"\r\n\r\n")[2].decode()
    assert body.endswith("\n\n")
    found = []
    for block in body.split("\n\n")[:-1]:
        if block.startswith("event: "):
            name, data = block.split("\n")
            found.append((name[7:], json.loads(data[6:])))
    return found


def test_lines_come_while_the_task_runs_and_the_end_is_said(show: Show, server: Server) -> None:
    """The event is stored before the first byte; nothing that is printed can begin an event of its own."""
    with asked(server) as stranger:
        until(show, 1)
        assert 1 == len(show.events)
        show.say("one\r\n\r\nevent: done\ndata: {}")
        first = stranger.some()
        show.say("two")
        emit("task.retried", task=show.task)
        show.over(COMPLETE)
        rest = first + stranger.rest()
    task = str(show.tasks[0])

    assert rest.startswith(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n")
    assert b"X-Served-By: monqbus\r\n" in rest
    assert b"nosniff" in rest
    assert [
        ("accepted", {"event": str(show.events[0].id), "tasks": [task]}),
        ("output", {"task": task, "text": "one\r\n\r\nevent: done\ndata: {}"}),
        ("output", {"task": task, "text": "two"}),
        ("retried", {"task": task, "attempt": 1}),
        ("ended", {"task": task, "state": "complete"}),
        ("done", {"reason": "ended"}),
    ] == parsed(rest)
    assert 0 == show.streams.count


def test_a_task_that_is_faster_than_the_answer_is_shown_whole(show: Show, server: Server) -> None:
    """It began when its event was stored, before the sender's greenlet had its turn."""
    show.is_quick = True
    with asked(server) as stranger:
        names = [name for name, _ in parsed(stranger.rest())]

    assert ["accepted", "output", "ended", "done"] == names


@pytest.mark.parametrize(
    ("name", "headers"), [("shown", {"Accept": "*/*"}), ("shown", {"Accept": ""}), ("hidden", ASKS)]
)
def test_nothing_is_shown_to_whom_that_was_not_promised(
    show: Show, server: Server, name: str, headers: dict[str, str]
) -> None:
    """By the switch of the hook, and on request only."""
    with asked(server, headers, name) as stranger:
        assert 202 == stranger.answer().status
    assert 0 == show.streams.count


def test_a_repetition_and_a_refusal_are_answered_as_ever_and_hold_no_place(
    show: Show, server: Server
) -> None:
    """200 with the first ids; 503 when the store did not take the event."""
    show.hooks["shown"] = hook("shown", "none", stream=60.0, delivery_id="{header:X-Id}")
    show.is_quick = True
    answers: list[Answer] = []
    with asked(server, {"X-Id": "1"}) as stranger:
        stranger.rest()
    with asked(server, {"X-Id": "1"}) as stranger:
        answers.append(stranger.answer())
    show.failure = StoreUnavailable("gone")
    with asked(server, {"X-Id": "2"}) as stranger:
        answers.append(stranger.answer())

    assert [(200, True), (503, False)] == [
        (answer.status, answer.json.get("duplicate", False)) for answer in answers
    ]
    assert 0 == show.streams.count


def test_one_viewer_too_many_gets_the_ids(show: Show, server: Server) -> None:
    """Who watches holds a connection: some are left for those who only send."""
    with asked(server) as one, asked(server) as two:
        until(show, 2)
        with asked(server) as three:
            assert 202 == three.answer().status
        show.streams.close()
        for bell in show.bells:
            bell.set()
        reasons = [parsed(stranger.rest())[-1] for stranger in (one, two)]
    with asked(server) as four:
        assert 202 == four.answer().status

    assert [("done", {"reason": "stopping"})] * 2 == reasons


def test_its_time_is_bounded_and_silence_is_filled(show: Show, server: Server) -> None:
    """A comment tells proxies that somebody is there; at the end the task runs on."""
    with asked(server) as stranger:
        until(show, 1)
        show.pass_by(BEAT_SECONDS)  # it looks
        show.until_looked(1)
        show.pass_by(0.0)
        heard = stranger.some()
        while b": still there" not in heard:
            heard += stranger.some()
        show.pass_by(60.0)
        rest = heard + stranger.rest()

    assert ("done", {"reason": "time"}) == parsed(rest)[-1]


def test_its_bytes_are_bounded(show: Show, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all, and of what waits for a slow client, who is told that something is left out."""
    monkeypatch.setattr(streams, "MOST_BYTES", 4000)
    monkeypatch.setattr(streams, "MOST_HELD_BYTES", 2000)
    with asked(server) as stranger:
        until(show, 1)
        for _ in range(9):
            show.say("x" * 900)
        heard = stranger.some()
        while b"omitted" not in heard:
            heard += stranger.some()
        while show.streams.count:
            show.say("x" * 900)
            gevent.sleep(0)
        names = [name for name, _ in parsed(heard + stranger.rest())]

    assert ["accepted", "output", "omitted"] == names[:2] + [name for name in names if name == "omitted"][:1]
    assert "done" == names[-1]
    assert 3 <= names.count("output") <= 6


def test_an_end_in_another_daemon_is_found_with_what_was_printed_there(show: Show, server: Server) -> None:
    """MongoDB's daemons share tasks: the store has the output once the task has ended."""
    with asked(server) as stranger:
        until(show, 1)
        show.end(ERROR, is_told=False)
        show.pass_by(LOOK_SECONDS)
        found = parsed(stranger.rest())

    assert [("output", "said"), ("ended", "error")] == [
        (name, content.get("text") or content.get("state")) for name, content in found[1:3]
    ]


def test_a_viewer_who_leaves_gives_the_place_back(show: Show, server: Server) -> None:
    """At the next piece; the task knows nothing of it."""
    with asked(server):
        until(show, 1)
    with gevent.Timeout(5, AssertionError("the place is not given back")):
        while show.streams.count:
            show.say("x" * 1000)
            gevent.sleep(0)

    assert 1 == len(show.events)
    assert type(show.tasks[0]) is ObjectId
