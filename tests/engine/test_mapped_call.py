"""`[handler:NAME]` with a task: it is called with what its section takes out of the event."""

from __future__ import annotations

import json
from typing import Any

import pytest
from bson import ObjectId

from bus.apps.command import declare
from bus.apps.mapped_call import MappedCall
from bus.apps.options import Options
from bus.apps.registry import Registry, filling, task
from bus.config import Handler
from bus.errors import ConfigError
from bus.model import Event, Filter, Posting
from bus.posting import prepare

BODY = {
    "n": 7,
    "yes": True,
    "none": None,
    "empty": "",
    "who": {"email": "a@b.example", "tags": ["x", {"y": "ÿ"}]},
}


@pytest.fixture
def call(engine):
    """Runs a mapped call for a delivery; the task as it is stored, and what the function was called with."""

    def perform(
        args: list[Any],
        kwargs: dict[str, Any] | None = None,
        body: bytes | None = None,
        content_type: str = "application/json",
    ) -> Any:
        seen: list[Any] = []
        engine.declare(
            MappedCall(lambda *args, **kwargs: seen.append((args, kwargs)) or "done", args, kwargs or {}),
            "handler:h", topic="t",
        )  # fmt: skip
        event = Event(ObjectId(), "t", engine.clock.now(), hook="x", body=body or json.dumps(BODY).encode())
        event.headers = {"x-kind": "push", "content-type": content_type}
        event.query, event.attributes = {"team": "a"}, {"subject": "s"}
        made = prepare(engine.clock, "handler:h", ["t"], {}, Options(max_attempts=1), {})
        made.event_id, made.topic, event.task_ids = event.id, "t", [made.id]
        engine.store.post([Posting([made], event)])
        return engine.perform(made), seen

    return perform


VALUES = [
    ("{body:n}", 7),
    ("{attribute:subject}", "s"),
    ("{attribute:time|none}", "none"),
    ("{body:yes}", True),
    ("{body:none}", None),
    ("{body:none|x}", "x"),
    ("{body:empty}", ""),
    ("{body:empty|x}", ""),
    ("{body:who}", BODY["who"]),
    ("{body:who.tags}", ["x", {"y": "ÿ"}]),
    ("{body:who.tags.1.y}", "ÿ"),
    ("{body:gone|x}", "x"),
    ("{body:gone.further|}", ""),
    ("{header:X-Kind}/{query:team}", "push/a"),
    ("{header:x-kind}", "push"),
    ("{query:gone|b}", "b"),
    ("{topic} {hook} {body:n}", "t x 7"),
    ("{delivery|nothing}", "nothing"),
    ("no placeholder", "no placeholder"),
    (3, 3),
    (None, None),
    ({"a": ["{body:n}", {"b": "{body:yes}"}]}, {"a": [7, {"b": True}]}),
]


@pytest.mark.parametrize(("written", "expected"), VALUES, ids=str)
def test_an_argument_is_what_its_placeholder_says(call, written, expected):
    """One alone is the value itself; several make a text; lists and objects are filled within."""
    ended, seen = call([written], {"named": written})

    assert ("complete", "done") == (ended.state, ended.result)
    assert [((expected,), {"named": expected})] == seen


@pytest.mark.parametrize(
    "written", ["{body:gone}", "{body:n.further}", "{query:gone}", "{delivery}", "a {body:who}"]
)
def test_without_a_value_or_a_default_it_ends_in_error_at_once(call, written):
    """Trying again cannot help, and half of the arguments may do harm: the function is not called."""
    ended, seen = call([written])

    assert [] == seen
    assert "error" == ended.state
    assert "the event has none; give it a default" in ended.result


@pytest.mark.parametrize("body", [b"\xff", b"no JSON"])
def test_of_a_body_that_is_no_json_there_is_no_value(call, body):
    ended, seen = call(["{body:n|none}", "{topic}"], body=body)

    assert "complete" == ended.state
    assert [(("none", "t"), {})] == seen


def test_a_sender_chooses_values_and_never_placeholders(call):
    """What is filled in is not looked at again."""
    ended, seen = call(["{body:a} {body:b}"], body=b'{"a": "{body:b}", "b": "{topic}"}')

    assert "complete" == ended.state
    assert [(("{body:b} {topic}",), {})] == seen


def test_arguments_of_a_published_event_are_passed_on_as_they_are(engine):
    """Also those that JSON does not have."""
    seen: list[Any] = []
    moment = engine.clock.now()
    engine.declare(
        MappedCall(lambda *args: seen.append(args), ["{args:0}", "{kwargs:at}", "{args:1.x}"], {}),
        "h",
        topic="t",
    )
    engine.office.publish("t", [b"raw", {"x": 1}], {"at": moment})
    engine.claimer.tick()
    engine.pool.drain(5.0)
    engine.recorder.tick()

    assert ["complete"] == [one.state for one in engine.store.find(Filter(), 9)]
    assert [(b"raw", moment, 1)] == seen


# declared


@pytest.fixture
def registry() -> Any:
    made = Registry()
    with filling(made):

        @task(name="mail.send", max_attempts=3)
        def send(to, subject="none"): ...

        @task(name="slow", cpu=True)
        def slow(): ...

        yield made


def handler(**fields: Any) -> Handler:
    return Handler(name="h", topics=("t",), where="monqbus.ini:7", **{"task": "mail.send", **fields})


def test_a_handler_that_calls_a_task_is_a_task_of_its_own(registry, tmp_path):
    """With the attempts of the task where it says none itself."""
    declare(
        [
            handler(args=("a",), kwargs=(("subject", "b"),)),
        ],
        tmp_path,
    )
    declare([Handler(name="i", topics=("u",), task="mail.send", args=("a",), max_attempts=5)], tmp_path)

    assert ["handler:h"] == [one.name for one in registry.handlers_of("t")]
    assert [3, 5] == [registry.tasks[f"handler:{name}"].defaults.max_attempts for name in "hi"]


MISTAKES = [
    ({"task": "mail.snd"}, "task: expected one that an app declares, got mail.snd; did you mean mail.send?"),
    ({"task": "slow"}, "task: expected one without cpu=True, got slow"),
    (
        {"args": ()},
        r"args: task mail.send: .*; it is declared as \(to, subject=…\) and called with 0 positional",
    ),
    ({"args": ("a",), "kwargs": (("cc", "b"),)}, "args: task mail.send: .*cc"),
]


@pytest.mark.parametrize(("fields", "said"), MISTAKES)
def test_what_could_never_be_called_is_refused_at_load(registry, tmp_path, fields, said):
    """With the place of its section."""
    with pytest.raises(ConfigError, match=rf"^monqbus.ini:7: \[handler:h\] {said}"):
        declare([handler(**fields)], tmp_path)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/x-www-form-urlencoded", b"a=1&b=2"),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--b--\r\n',
        ),
        ("text/plain", b'{"a": "1"}'),
    ],
)
def test_the_value_of_each_kind_of_body_is_found(call, content_type, body):
    """As rules and topics find it."""
    done, seen = call(["{body:a}", "{body:z|none}"], body=body, content_type=content_type)

    assert ("complete", [(("1", "none"), {})]) == (done.state, seen)


def test_of_a_long_body_an_object_is_whole(call):
    """Of what no argument names, most is not kept while it is read."""
    body = json.dumps({"filling": ["x" * 100] * 10_000, "who": {"tags": [{"y": 1}]}}).encode()

    done, seen = call(["{body:who}"], body=body)

    assert ("complete", [(({"tags": [{"y": 1}]},), {})]) == (done.state, seen)
