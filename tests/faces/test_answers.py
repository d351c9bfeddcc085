"""Hooks with an answer of their own, over real sockets: text, headers, and results that are waited for."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import gevent
import pytest
from bson import ObjectId
from gevent.event import Event as Signal
from hypothesis import given, settings
from hypothesis import strategies as st

from bus.clock import FrozenClock
from bus.daemon.url_maps import public_urls
from bus.errors import StoreUnavailable
from bus.http import Server, UrlMap
from bus.model import COMPLETE, ERROR, SKIPPED, Filter, MonQTask, State
from bus.telemetry import emit
from bus.webhook.admission import Admission
from bus.webhook.answers import LONGEST_VALUE
from bus.webhook.endings import LOOK_SECONDS, Endings

from .stranger import Answer, Stranger, ask, post, serving
from .test_webhook import JSON, MAX_BODY, NOW, SECRET, Office, hook, signed

AS_JSON = (("Content-Type", "application/json"),)
HOOKS = [
    hook("open", "none"),
    hook("text", "none", status=200, topic="t.{body:kind|none}",
         body="{id} {topic} {body:a.0|nothing}", answer_headers=(("X-Served-By", "monqbus"),)),
    hook("json", "none", status=201, body='{"ok": {}, "said": "{body:a}"}', answer_headers=AS_JSON),
    hook("silent", "none", status=204, answer_headers=(("X-Served-By", "monqbus"),)),
    hook("reset", "none", status=205),
    hook("odd", "none", status=299),
    hook("github", "github", SECRET, status=201, body="thank you for {id}"),
    hook("wait", "none", wait=5.0, answer_headers=(("X-Served-By", "monqbus"),)),
    hook("patient", "none", wait=5.0, status=200, body="later: {id}"),
    hook("output", "none", wait=5.0, output=True),
    hook("cloud", "none", status=200, body="{id}", format="cloudevents"),
    hook("waiting", "github", SECRET, wait=5.0),
]  # fmt: skip


class Bell:
    """A signal whose time is over when the test says so."""

    def __init__(self) -> None:
        self._signal = Signal()
        self._is_set = False

    def set(self) -> None:
        self._is_set = True
        self._signal.set()

    def clear(self) -> None:
        self._is_set = False

    def wait(self, timeout: float | None = None) -> bool:
        self._signal.wait(5)
        self._signal.clear()
        return self._is_set

    def be_over(self) -> None:
        self._signal.set()


class Queue(Office):
    """An office whose tasks are ready; their ends are written by the test, and told or not."""

    def __init__(self, most: int = 2) -> None:
        super().__init__()
        self.hooks = {one.name: one for one in HOOKS}
        self.tasks = self.tasks[:1]
        self.stored: dict[ObjectId, MonQTask] = {}
        self.clock = FrozenClock(NOW)
        self.looks: list[int] = []
        self.is_away = False
        self.endings = Endings(self.find, self.clock, most, self.signal)
        self.bells: list[Bell] = []
        self.looked = Signal()

    def signal(self) -> Bell:
        self.bells.append(Bell())
        return self.bells[-1]

    def find(self, filter: Filter, limit: int, *, brief: bool) -> Sequence[MonQTask]:
        self.looks.append(len(filter.ids))
        self.looked.set()
        if self.is_away:
            raise StoreUnavailable("store: gone")
        return [
            task for task in self.stored.values() if task.id in filter.ids and task.state in filter.states
        ]

    def end(self, state: State, result: Any = None, number: int = 0, *, is_told: bool = True) -> None:
        """Write the end of the task *number*, and tell it as the recorder does."""
        task = MonQTask(self.tasks[number], "a.b", [], {}, NOW, state=state, result=result, output="said")
        self.stored[task.id] = task
        if is_told:
            emit({COMPLETE: "task.finished", ERROR: "task.gave_up"}.get(state, "task.skipped"), task=task)

    def until_looked(self, count: int) -> None:
        """Block until the store was asked so many times."""
        with gevent.Timeout(5, AssertionError("nobody looks")):
            while len(self.looks) < count:
                self.looked.clear()
                self.looked.wait()

    def until_waiting(self, count: int = 1) -> None:
        """Block until so many wait, each of whom has looked once."""
        self.until_looked(count)

        assert count == self.endings.waiting

    def pass_by(self, seconds: float) -> None:
        """Let time pass for all who wait."""
        self.clock.advance(seconds)
        for one in self.bells:
            one.be_over()

    def app(self) -> UrlMap:
        return public_urls(
            hooks=lambda: self.hooks, publish=self.publish, ready=lambda: None, clock=self.clock,
            max_body=MAX_BODY, admission=Admission(1), endings=self.endings,
        )  # fmt: skip


@pytest.fixture
def queue() -> Queue:
    return Queue()


@pytest.fixture
def server(queue: Queue) -> Iterator[Server]:
    with serving(queue.app()) as server:
        yield server


def send(server: Server, name: str, body: bytes = b"{}") -> Answer:
    return ask(server.address, post(f"/hooks/{name}", body, JSON))


def sent(server: Server, name: str, body: bytes = b"{}") -> Any:
    """The answer to come, of a delivery that waits."""
    return gevent.spawn(send, server, name, body)


# text and headers


def test_the_text_of_a_hook_has_the_values_of_the_delivery(server, queue):
    """As text/plain that no browser takes for anything else, with the hook's own headers."""
    answer = send(server, "text", b'{"kind": "push", "a": ["<script>"]}')

    (event,) = queue.events
    assert (200, f"{event.id} t.push <script>") == (answer.status, answer.body.decode())
    assert "text/plain; charset=utf-8" == answer.headers["content-type"]
    assert ("nosniff", "monqbus") == (
        answer.headers["x-content-type-options"],
        answer.headers["x-served-by"],
    )


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{}", "nothing"),
        (b"nope", "nothing"),
        (b'{"a": [{"b": 1}]}', "nothing"),
        (b'{"a": [null]}', "nothing"),
        (b'{"a": [false]}', "false"),
        (b'{"a": ["\\r\\nX-A: b"]}', "\r\nX-A: b"),
        ('{"a": ["é"]}'.encode(), "é"),
        (json.dumps({"a": ["x" * 980]}).encode(), "x" * 980),
    ],
)
def test_a_value_that_is_not_there_is_its_default(server, body, said):
    """A delivery is stored whatever it holds, so its answer cannot fail for what it lacks."""
    answer = send(server, "text", body)

    assert 200 == answer.status
    assert said == answer.body.decode().partition(" ")[2].partition(" ")[2]


def test_of_a_long_value_the_beginning_is_repeated(queue):
    """An answer is small, whatever was sent."""
    queue.hooks["long"] = hook("long", "none", body="{body:a}")
    app = public_urls(
        hooks=lambda: queue.hooks, publish=queue.publish, ready=lambda: None, clock=queue.clock,
        max_body=10**6,
    )  # fmt: skip
    with serving(app) as server:
        answer = send(server, "long", json.dumps({"a": "x" * 300_000}).encode())

    assert LONGEST_VALUE == len(answer.body)


def test_in_json_a_value_stays_within_its_quotes(server):
    """Nobody adds a member to an answer by what he sends."""
    said = '", "admin": true, "x": "\n\\'
    answer = send(server, "json", json.dumps({"a": said}).encode())

    assert (201, {"ok": {}, "said": said}) == (answer.status, answer.json)
    assert "application/json" == answer.headers["content-type"]


def test_an_answer_without_content_has_no_length(server):
    """RFC 9110, section 8.6; the connection goes on behind it."""
    with Stranger(server.address) as stranger:
        stranger.send(post("/hooks/silent"))
        silent = stranger.answer()
        stranger.send(post("/hooks/reset"))
        reset = stranger.answer()

    assert (204, "monqbus", None) == (
        silent.status, silent.headers["x-served-by"], silent.headers.get("content-length"),
    )  # fmt: skip
    assert (205, "0") == (reset.status, reset.headers["content-length"])


def test_a_status_alone_leaves_the_ids(server, queue):
    """Also one that has no name."""
    answer = send(server, "odd")

    assert (299, str(queue.events[0].id)) == (answer.status, answer.json["event"])


def test_a_delivery_that_comes_again_is_answered_200_with_the_same_text(server, queue):
    """It names the event that is stored, not the one that is not."""
    first = ask(server.address, post("/hooks/github", b"{}", signed(b"{}")))
    again = ask(server.address, post("/hooks/github", b"{}", signed(b"{}")))

    assert (201, 200) == (first.status, again.status)
    assert f"thank you for {queue.events[0].id}".encode() == first.body == again.body


def test_a_batch_is_answered_with_its_ids(server):
    """The hook's own answer names one event."""
    event = {"specversion": "1.0", "id": "1", "source": "/a", "type": "b"}
    one = ask(server.address, post("/hooks/cloud", json.dumps(event).encode(),
              {"Content-Type": "application/cloudevents+json"}))  # fmt: skip
    batch = ask(server.address, post("/hooks/cloud", json.dumps([{**event, "id": "2"}]).encode(),
                {"Content-Type": "application/cloudevents-batch+json"}))  # fmt: skip

    assert (200, 202) == (one.status, batch.status)
    assert [24, 1] == [len(one.body), len(batch.json["events"])]


def test_a_refusal_is_what_it_is_at_every_hook(server, queue):
    """The settings are about deliveries that are stored."""
    answer = ask(server.address, post("/hooks/github", b"{}", signed(b"other")))

    assert (401, "not_verified") == (answer.status, answer.json["code"])
    assert [] == queue.events


VALUES = st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=20) | st.binary(max_size=9)


def test_whatever_is_delivered_the_answer_is_the_hooks_own(server, queue):
    """Bodies of strangers, JSON and not: the status, one line of it, and JSON where that is promised."""

    @given(VALUES, st.sampled_from(["application/json", "text/plain", "application/x-www-form-urlencoded"]))
    @settings(deadline=None)
    def deliver(value: Any, content_type: str) -> None:
        body = value if isinstance(value, bytes) else json.dumps({"a": value}).encode()
        answer = ask(server.address, post("/hooks/json", body, {"Content-Type": content_type}))

        assert (201, {}) == (answer.status, answer.json["ok"])
        assert {"ok", "said"} == answer.json.keys()

    deliver()


# results


def test_the_result_of_the_only_handler_is_the_answer(server, queue):
    """As JSON, as soon as its end is told: no look at the store but the first one and the one for it."""
    coming = sent(server, "wait")
    queue.until_waiting()
    queue.end(COMPLETE, {"at": NOW, "id": queue.tasks[0], "n": [1, "é"]})
    answer = coming.get(timeout=5)

    assert (200, {"at": "2026-01-01T00:00:00.000Z", "id": str(queue.tasks[0]), "n": [1, "é"]}) == (
        answer.status, answer.json,
    )  # fmt: skip
    assert ("application/json", "monqbus") == (answer.headers["content-type"], answer.headers["x-served-by"])
    assert [1, 1] == queue.looks
    assert 0 == queue.endings.waiting


def test_of_several_handlers_each_one_is_told(server, queue):
    """Once all have ended; one that was skipped has not failed."""
    queue.tasks = [ObjectId(), ObjectId()]
    coming = sent(server, "wait")
    queue.until_waiting()
    queue.end(SKIPPED, "not today", 1)
    queue.end(COMPLETE, 7, 0)
    answer = coming.get(timeout=5)

    assert 200 == answer.status
    assert {
        "event": str(queue.events[0].id),
        "tasks": [
            {"id": str(queue.tasks[0]), "state": "complete", "result": 7},
            {"id": str(queue.tasks[1]), "state": "skipped", "result": "not today"},
        ],
    } == answer.json


def test_a_handler_that_has_failed_is_no_success(server, queue):
    """500 with the event's id; the traceback is for operators."""
    coming = sent(server, "wait")
    queue.until_waiting()
    queue.end(ERROR, "Traceback: the password is hunter2")
    answer = coming.get(timeout=5)

    assert (500, "handler_failed", str(queue.events[0].id)) == (
        answer.status, answer.json["code"], answer.json["event"],
    )  # fmt: skip
    assert [{"id": str(queue.tasks[0]), "state": "error"}] == answer.json["tasks"]
    assert "application/problem+json" == answer.headers["content-type"]
    assert "retry-after" not in answer.headers
    assert b"hunter2" not in answer.body


def test_a_result_that_json_cannot_hold_is_left_out(server, queue):
    coming = sent(server, "wait")
    queue.until_waiting()
    queue.end(COMPLETE, float("nan"))
    answer = coming.get(timeout=5)

    assert [{"id": str(queue.tasks[0]), "state": "complete"}] == answer.json["tasks"]


def test_a_hook_may_answer_what_its_task_has_printed(server, queue):
    """As text; of several tasks, or one that was skipped, it is as without."""
    answers = []
    for state in (COMPLETE, SKIPPED):
        queue.looks.clear()
        queue.tasks = [ObjectId()]
        coming = sent(server, "output")
        queue.until_waiting()
        queue.end(state, 1)
        answers.append(coming.get(timeout=5))

    assert b"said" == answers[0].body
    assert "text/plain; charset=utf-8" == answers[0].headers["content-type"]
    assert "skipped" == answers[1].json["tasks"][0]["state"]


@pytest.mark.parametrize("name", ["wait", "patient"])
def test_what_has_not_ended_in_time_is_answered_as_without_waiting(server, queue, name):
    """202 with the ids, or what the hook answers of its own; the event is stored as any."""
    coming = sent(server, name)
    queue.until_waiting()
    queue.pass_by(5.0)
    answer = coming.get(timeout=5)

    event = queue.events[0]
    expected = (202, event.id) if name == "wait" else (200, event.id)
    assert expected[0] == answer.status
    assert str(event.id) in answer.body.decode()


def test_what_other_daemons_end_is_found_by_one_look_for_all(queue):
    """Nobody tells of it here: one question every LOOK_SECONDS, however many wait."""
    with serving(queue.app()) as server:
        coming = []
        for number in range(2):
            queue.tasks = [ObjectId()]
            coming.append(sent(server, "wait"))
            queue.until_waiting(number + 1)
            queue.end(COMPLETE, number, is_told=False)
        before = len(queue.looks)
        queue.pass_by(LOOK_SECONDS)
        answers = [one.get(timeout=5) for one in coming]

    assert [0, 1] == [answer.json for answer in answers]
    assert [2] == queue.looks[before:]


def test_what_ended_before_anybody_listened_is_found(server, queue):
    queue.end(COMPLETE, "early", is_told=False)

    assert (200, "early") == (send(server, "wait").status, send(server, "wait").json)


@pytest.mark.parametrize("what", ["no task", "filtered"])
def test_without_tasks_there_is_nothing_to_wait_for(server, queue, what):
    """202 at once: the event is recorded."""
    queue.tasks = []
    answer = send(server, "wait")

    assert (202, []) == (answer.status, answer.json["tasks"])
    assert [] == queue.looks


def test_a_delivery_that_comes_again_is_not_waited_for(server, queue):
    """200 with the first ids at once, whatever became of them."""
    coming = gevent.spawn(ask, server.address, post("/hooks/waiting", b"{}", signed(b"{}")))
    queue.until_waiting()
    again = ask(server.address, post("/hooks/waiting", b"{}", signed(b"{}")))
    queue.end(COMPLETE, 1)

    assert (200, True) == (again.status, again.json["duplicate"])
    assert 1 == coming.get(timeout=5).json


def test_one_more_than_may_wait_is_answered_at_once(server, queue):
    """As one whose time is over: who waits holds a connection that others need."""
    coming = [sent(server, "wait"), sent(server, "wait")]
    queue.until_waiting(2)
    answer = send(server, "wait")
    queue.end(COMPLETE, 1)

    assert 202 == answer.status
    assert [200, 200] == [one.get(timeout=5).status for one in coming]


def test_who_waits_holds_neither_a_place_before_the_store_nor_room_for_bodies(server, queue):
    """The receiver lets one delivery at a time to the store; the body is stored and held no more."""
    coming = sent(server, "wait", b"{" + b" " * 800 + b"}")
    queue.until_waiting()
    used = server.bodies.used
    status = send(server, "open").status
    queue.end(COMPLETE, 1)

    assert (0, 202, 200) == (used, status, coming.get(timeout=5).status)


def test_a_client_that_leaves_loses_nothing(server, queue):
    """Its delivery is stored; its place is free when the task has ended."""
    with Stranger(server.address) as stranger:
        stranger.send(post("/hooks/wait", b"{}", JSON))
        queue.until_waiting()
    queue.end(COMPLETE, 1)
    answer = send(server, "wait")

    assert (200, 2) == (answer.status, len(queue.events))
    assert 0 == queue.endings.waiting


def test_who_stops_the_daemon_waits_for_nobody_who_waits(server, queue):
    """202 at once, as the last answer of its connection; and who comes then does not wait."""
    coming = sent(server, "wait")
    queue.until_waiting()
    server.leave()
    queue.endings.close()
    answer = coming.get(timeout=5)

    assert (202, True) == (answer.status, answer.is_last)
    assert 202 == send(server, "wait").status


def test_while_the_store_does_not_answer_nothing_has_ended(server, queue):
    """An end that is told is looked for again; without an answer it is 202."""
    queue.is_away = True
    coming = sent(server, "wait")
    queue.until_waiting()
    queue.end(COMPLETE, 1)
    queue.until_looked(2)
    queue.is_away = False
    queue.pass_by(LOOK_SECONDS)

    assert 200 == coming.get(timeout=5).status
