"""The control socket: the API as other processes and people ask it, and `Remote` as its client."""

from __future__ import annotations

import dataclasses
import http.client
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId

from bus.admin import Admin
from bus.api.client import ApiClient
from bus.api.routes import create_api
from bus.api.server import Api
from bus.apps.calls import prepare
from bus.apps.context import c, restored
from bus.apps.options import Options
from bus.apps.registry import Registry, Task
from bus.clock import Clock
from bus.delivery_record import Delivery, DeliveryFilter, accepted
from bus.errors import BadCall, BadDeclaration, BadFilter, NotFound, NotStorable, StoreUnavailable
from bus.http import Server, listen_unix
from bus.model import Event, Filter, MonQTask, Posting
from bus.posting import PostOffice
from bus.store import Store, open_memory_store

MOMENT = datetime(2026, 5, 6, 7, 8, 9, 123000, tzinfo=timezone.utc)


STATUS = {"reason": "store: away", "remark": None, "services": [{"name": "rescuer", "state": "failing"}]}


class Place:
    """A store with its API on a control socket; nothing runs the tasks."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.store: Store = open_memory_store()
        self.registry = Registry()
        for name in ("shop.sell", "shop.note"):
            self.registry.add(Task(lambda *_, **__: None, name, Options(priority=15)))
        self.registry.subscribe(self.registry.tasks["shop.note"], ["sold"])
        admin = Admin(self.store, Clock())
        self.office = PostOffice(self.store, lambda: self.registry, Clock())
        self._app = create_api(Api(admin, self.office, lambda: self.registry, Clock(), status=lambda: STATUS))
        self._server: Server | None = None

    def open(self) -> None:
        self._server = Server([listen_unix(self.path)], self._app)
        self._server.start()

    def shut(self) -> None:
        if self._server is not None:
            self._server.stop(0.0)
            self._server = None

    def ask(self, method: str, path: str, body: bytes | str | None = None) -> tuple[int, Any]:
        """One request as a person with curl makes it: JSON, no headers."""
        connection = http.client.HTTPConnection("localhost", timeout=5)
        connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.sock.settimeout(5)
        connection.sock.connect(str(self.path))
        try:
            connection.request(method, f"/api/v1{path}", body)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def stored(self) -> list[MonQTask]:
        return self.store.find(Filter(), 100)


def posted(
    client: ApiClient, name: str, args: list[Any], kwargs: dict[str, Any], options: Options
) -> MonQTask:
    """What *client* has stored of a call with these options."""
    return client.post_named(name, args, kwargs, dataclasses.asdict(options)).task


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """An open API on an empty store."""
    opened = Place(tmp_path / "control.sock")
    opened.open()
    yield opened
    opened.shut()
    opened.store.close()


@pytest.fixture
def client(place: Place) -> Iterator[ApiClient]:
    """A client of it, as another process has one."""
    client = ApiClient(place.path, Clock())
    yield client
    client.close()


@contextmanager
def surrounded(**given: Any) -> Iterator[None]:
    """A `c` with the attributes *given*."""
    with restored({}):
        for name, value in given.items():
            setattr(c, name, value)
        yield


def lose_the_first_answer(client: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the connection break after the next request has been carried out."""
    receive = http.client.HTTPConnection.getresponse
    lost: list[bool] = []

    def getresponse(connection: http.client.HTTPConnection) -> http.client.HTTPResponse:
        answer = receive(connection)
        if not lost:
            lost.append(True)
            answer.read()
            raise http.client.RemoteDisconnected("the answer was lost")
        return answer

    client.count(Filter())  # only a kept connection is asked again
    monkeypatch.setattr(http.client.HTTPConnection, "getresponse", getresponse)


def test_values_keep_their_types_on_the_way(place: Place, client: ApiClient) -> None:
    """The socket carries BSON: what a task gets does not depend on where it was posted."""
    given = [MOMENT, b"\x00\xff", ObjectId("6b04ec3f28e9893927a81901"), 2**40, [1.5, None]]

    task = posted(client, "shop.sell", given, {"when": MOMENT}, Options())

    assert given == place.store.get(task.id).args  # type: ignore[union-attr]
    assert given == client.show(task.id).args
    assert {"when": MOMENT} == client.show(task.id).kwargs


def test_the_context_of_the_poster_travels_with_a_task(place: Place, client: ApiClient) -> None:
    """`c` is captured in the process that posts, not in the daemon."""
    with surrounded(project="p1", user=7):
        task = posted(client, "shop.sell", [], {}, Options())

    assert {"project_id": "p1", "user_id": 7} == client.show(task.id).context


def test_the_context_of_the_publisher_travels_with_an_event(place: Place, client: ApiClient) -> None:
    """Each handler's task has the context of the process that published."""
    with surrounded(project="p1"):
        receipt = client.publish_named("sold", [1], {"to": "you"}).receipt

    (task,) = place.stored()
    assert [task.id] == receipt.task_ids
    assert {"project_id": "p1"} == task.context
    assert (["sold", 1], {"to": "you"}) == (task.args, task.kwargs)


def test_a_post_whose_answer_was_lost_is_stored_once(
    place: Place, client: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The id is chosen by the poster; asked again, the daemon finds what it stored."""
    lose_the_first_answer(client, monkeypatch)

    task = posted(client, "shop.sell", [1], {}, Options())

    assert [task.id] == [stored.id for stored in place.stored()]


def test_an_event_whose_answer_was_lost_is_published_once(
    place: Place, client: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same for events: their handlers get one task each."""
    lose_the_first_answer(client, monkeypatch)

    receipt = client.publish_named("sold", [], {}).receipt

    assert receipt.task_ids == [stored.id for stored in place.stored()]


@pytest.mark.parametrize("moves", [[], [("ready", "busy")], [("ready", "skipped")]], ids=str)
def test_an_id_that_is_posted_again_is_stored_once(place: Place, moves: list[tuple[Any, Any]]) -> None:
    """The poster chose it so that asking twice is harmless: also when the first one has ended."""
    asked = json.dumps({"name": "shop.sell", "args": [1], "id": str(ObjectId())})
    _, first = place.ask("POST", "/tasks", asked)
    for before, after in moves:
        place.store.move([ObjectId(first["task"]["_id"])], [before], {"state": after})
    status, second = place.ask("POST", "/tasks", asked)

    assert (201, first["task"]["_id"]) == (status, second["task"]["_id"])
    assert [moves[0][1] if moves else "ready"] == [second["task"]["state"]]
    assert 1 == len(place.stored())


def test_an_id_of_another_call_is_a_conflict(place: Place) -> None:
    """Its poster would believe that this one is stored."""
    task_id = str(ObjectId())
    place.ask("POST", "/tasks", json.dumps({"name": "shop.sell", "args": [1], "id": task_id}))
    status, problem = place.ask(
        "POST", "/tasks", json.dumps({"name": "shop.sell", "args": [2], "id": task_id})
    )

    assert (409, "id_taken") == (status, problem["code"])
    assert [[1]] == [task.args for task in place.stored()]


def test_an_event_id_that_is_published_again_has_its_first_tasks(place: Place) -> None:
    """Its handlers run once."""
    asked = json.dumps({"topic": "sold", "id": str(ObjectId())})
    answers = [place.ask("POST", "/events", asked) for _ in range(2)]

    assert answers[0] == answers[1]
    assert 1 == len(place.stored())


def test_a_restarted_daemon_is_found_again(place: Place, client: ApiClient) -> None:
    """A kept connection that the daemon closed is opened anew without anybody noticing."""
    posted(client, "shop.sell", [], {}, Options())
    place.shut()
    place.open()

    assert {"ready": 1} == client.count(Filter())


def test_a_daemon_that_is_gone_is_named_with_a_remedy(place: Place, client: ApiClient) -> None:
    """No daemon: the message has the socket's path and says how to start one."""
    place.shut()

    with pytest.raises(StoreUnavailable, match=r"control\.sock: no daemon answers .*monqbus run"):
        client.count(Filter())


@pytest.mark.parametrize(
    ("act", "error", "words"),
    [
        (lambda client: client.show(ObjectId()), NotFound, "not found"),
        (lambda client: client.event(ObjectId()), NotFound, "not found"),
        (lambda client: client.post_named("a.b", [], {}, {"colour": 1}), BadDeclaration, "colour"),
        (lambda client: client.post_named("a.b", [], {}, {"delay": "soon"}), BadDeclaration, "delay"),
        (lambda client: posted(client, "a.b", [object()], {}, Options()), NotStorable, r"args\[0\]"),
    ],
    ids=["task", "event", "option", "value of an option", "argument"],
)
def test_errors_come_back_as_what_they_are(
    client: ApiClient, act: Callable[[ApiClient], object], error: type[Exception], words: str
) -> None:
    """A caller of the socket catches the same classes as a caller of the store."""
    with pytest.raises(error, match=words):
        act(client)


def test_a_store_that_fails_is_told_as_unavailable(place: Place, client: ApiClient) -> None:
    """503 on the socket, StoreUnavailable at the caller."""
    place.store.close()

    with pytest.raises(StoreUnavailable):
        posted(client, "shop.sell", [], {}, Options())


def test_the_declaration_fills_what_the_request_leaves_open(place: Place, client: ApiClient) -> None:
    """The daemon's @task options count, the request's changes go before them."""
    plain, is_known, _ = client.post_named("shop.sell", [], {}, {})
    changed, *_ = client.post_named("shop.sell", [], {}, {"priority": 3})
    unknown, is_unknown_known, _ = client.post_named("no.such", [], {}, {})

    assert [15, 3, 10] == [plain.priority, changed.priority, unknown.priority]
    assert [True, False] == [is_known, is_unknown_known]


def test_why_a_task_waits_is_told(place: Place, client: ApiClient) -> None:
    """Delayed, parked, due: three reasons; an ended task has none."""
    delayed, *_ = client.post_named("shop.sell", [], {}, {"delay": 3600})
    parked, *_ = client.post_named("no.such", [], {}, {})
    due, *_ = client.post_named("shop.sell", [], {}, {})
    client.cancel(Filter(ids=(due.id,)))

    assert str(client.why_waiting(delayed)).startswith("due at 2")
    assert "parked: no app declares no.such" in str(client.why_waiting(parked))
    assert client.why_waiting(due) is None


def test_an_event_that_no_handler_took_is_replayed_once(place: Place, client: ApiClient) -> None:
    """With the handlers there are now; asked again over a new connection it tells the same."""
    event_id = client.publish_named("heard", [1], {}).receipt.event_id
    assert event_id is not None
    place.registry.subscribe(place.registry.tasks["shop.note"], ["heard"])

    receipt = client.replay(event_id)
    again = place.ask("POST", f"/events/{event_id}/replay", json.dumps({"id": str(receipt.task_ids[0])}))
    by_curl = place.ask("POST", f"/events/{event_id}/replay")

    assert [str(task_id) for task_id in receipt.task_ids] == again[1]["tasks"]
    assert (409, "store_refused") == (by_curl[0], by_curl[1]["code"])
    assert receipt.task_ids == [task.id for task in place.stored()]


def test_deliveries_are_found_and_shown_as_by_the_admin(place: Place, client: ApiClient) -> None:
    """Events and records as one list, page by page; any header comes through."""
    record = Delivery(
        ObjectId(), MOMENT, "refused", 401, hook="x", headers={"$a.b": "c"}, parameters=["q"], body=b"\xff"
    )
    place.store.log_deliveries([record])
    event = Event(ObjectId(), "t", MOMENT, hook="x", delivery="1", body=b"{}", peer="192.0.2.1")
    place.store.post([Posting([], event)])
    admin = Admin(place.store, Clock())

    for which in (DeliveryFilter(), DeliveryFilter(hook="x", older=datetime.now(timezone.utc))):
        pages, cursor = [], None
        while page := client.deliveries(which, 1, cursor):
            pages += page
            cursor = page[-1].id
        assert [accepted(event), dataclasses.replace(record, body=b"")] == pages == admin.deliveries(which, 9)
    assert record == client.delivery(record.id)
    assert accepted(event) == client.delivery(event.id)
    with pytest.raises(NotFound, match="after keep_deliveries"):
        client.delivery(ObjectId())


def test_a_person_with_curl_reads_the_delivery_log(place: Place) -> None:
    """As JSON, with everything of one under its id."""
    record = Delivery(ObjectId(), MOMENT, "refused", 401, hook="x", path="/hooks/x", body=b"a")
    place.store.log_deliveries([record])
    _, found = place.ask("POST", "/deliveries/find", '{"filter": {"outcome": "refused"}}')
    status, shown = place.ask("GET", f"/deliveries/{record.id}")

    assert [str(record.id)] == [one["id"] for one in found["deliveries"]] == [found["cursor"]]
    assert (200, "/hooks/x", "a") == (status, shown["delivery"]["path"], shown["delivery"]["body"])


def test_a_bulk_action_stops_at_the_number_asked_for(place: Place, client: ApiClient) -> None:
    """*most* bounds a page, the newest go first."""
    tasks = [posted(client, "shop.sell", [], {}, Options()) for _ in range(3)]

    step = client.cancel(Filter(), None, 2)

    assert 2 == step.done
    assert ["ready", "skipped", "skipped"] == [client.show(task.id).state for task in tasks]


def test_people_get_json(place: Place) -> None:
    """Without an Accept header the socket speaks JSON, moments as RFC 3339 UTC."""
    status, posted = place.ask("POST", "/tasks", '{"name": "shop.sell", "args": [1]}')
    _, found = place.ask(
        "POST", "/tasks/find", '{"filter": {"name": "shop.*", "newer": "2026-01-01T00:00:00Z"}}'
    )
    _, counted = place.ask("POST", "/tasks/count", "{}")
    _, shown = place.ask("GET", f"/tasks/{posted['task']['_id']}")

    assert 201 == status
    assert [posted["task"]["_id"]] == [row["id"] for row in found["tasks"]]
    assert found["tasks"][0]["time_queue"].endswith("Z")
    assert {"ready": 1} == counted["counts"]
    assert [1] == shown["task"]["args"]


def test_the_topics_that_have_a_handler_are_told(place: Place, client: ApiClient) -> None:
    """A command compares a mistyped one with them."""
    assert ["sold"] == client.topics()


def test_an_action_that_the_state_forbids_is_a_conflict(place: Place) -> None:
    """A ready task cannot be retried: 409, and the message says what it is."""
    _, posted = place.ask("POST", "/tasks", '{"name": "shop.sell"}')
    task_id = posted["task"]["_id"]

    refused = place.ask("POST", f"/tasks/{task_id}/retry", "{}")
    done = place.ask("POST", f"/tasks/{task_id}/cancel", "{}")

    assert (409, "illegal_move") == (refused[0], refused[1]["code"])
    assert "that is ready" in refused[1]["detail"]
    assert (200, {"done": 1}) == done


@pytest.mark.parametrize(
    ("path", "body", "word"),
    [
        ("/tasks", "{", "body"),
        ("/tasks", "[]", "object"),
        ("/tasks", "{}", "name"),
        ("/tasks", '{"name": "a b"}', "name"),
        ("/tasks", '{"name": "a.b", "args": {}}', "args"),
        ("/tasks", '{"name": "a.b", "kwargs": 1}', "kwargs"),
        ("/tasks", '{"name": "a.b", "options": []}', "options"),
        ("/tasks", '{"name": "a.b", "context": "x"}', "context"),
        ("/tasks", '{"name": "a.b", "id": "x"}', "id"),
        ("/tasks/find", '{"limit": "ten"}', "limit"),
        ("/tasks/find", '{"limit": 0}', "limit"),
        ("/tasks/find", '{"filter": {"colour": "red"}}', "colour"),
        ("/tasks/find", '{"filter": {"ids": ["x"]}}', "id"),
        ("/tasks/find", '{"filter": {"older": "yesterday"}}', "older"),
        ("/tasks/find", '{"limit": true}', "limit"),
        ("/tasks/purge", '{"filter": {"ids": []}}', "ids"),
        ("/tasks/purge", '{"filter": {"states": []}}', "states"),
        ("/tasks/purge", '{"limit": -1}', "limit"),
        ("/tasks/purge", '{"which": {"name": "a"}}', "which: expected one of all, cursor"),
        ("/tasks/count", '{"states": ["ready"]}', "states: expected one of by, filter"),
        ("/tasks/count", '{"by": "topic"}', "by"),
        ("/events/find", '{"before": null}', "before"),
        ("/events/find", '{"filter": {"name": "a"}}', "name"),
        ("/events", '{"topic": ""}', "topic"),
        ("/deliveries/find", '{"filter": {"newer": "yesterday"}}', "newer"),
        ("/deliveries/find", '{"filter": {"kind": "x"}}', "kind"),
        ("/deliveries/find", '{"which": {}}', "which"),
    ],
)  # fmt: skip
def test_a_malformed_request_is_answered_400_with_its_subject(
    place: Place, path: str, body: str, word: str
) -> None:
    """A problem document that names the part; nothing is stored."""
    status, problem = place.ask("POST", path, body)

    assert (400, "malformed") == (status, problem["code"])
    assert word in problem["detail"]
    assert [] == place.stored()


@pytest.mark.parametrize("verb", ["find", "count", "retry", "cancel", "purge"])
@pytest.mark.parametrize(
    ("which", "part"),
    [
        ({"states": ["ready') OR (SELECT 1) OR state IN ('x"]}, "states"),
        ({"states": ["'"]}, "states"),
        ({"states": ["waiting"]}, "states"),
        ({"states": [None]}, "states"),
        ({"states": [["ready"]]}, "states"),
        ({"names": [1]}, "names"),
        ({"names": ["\ud800"]}, "names"),
        ({"name": 1}, "name"),
        ({"name": "\ud800"}, "name"),
        ({"name": "a\0b"}, "name"),
        ({"topic": {}}, "topic"),
        ({"error": "("}, "error"),
        ({"error": "(?=a)"}, "error"),
        ({"error": "(.{0,900}){0,900}"}, "error"),
        ({"error": "x" * 1001}, "error"),
        ({"error": None}, "error"),
        ({"older": "9999-12-31T23:59:59-23:00"}, "older"),
        ({"parked": "yes"}, "parked"),
    ],
)
def test_a_filter_that_means_nothing_is_answered_400(
    place: Place, verb: str, which: dict[str, Any], part: str
) -> None:
    """One check stands before every store; what is asked never becomes a piece of the query."""
    place.ask("POST", "/tasks", '{"name": "shop.sell"}')
    status, problem = place.ask("POST", f"/tasks/{verb}", json.dumps({"filter": which}))

    # a lone surrogate is refused by the reader of JSON already
    assert (400, True) == (status, problem["code"] in ("bad_filter", "malformed"))
    assert part in problem["detail"] or "surrogate" in problem["detail"]
    assert ["ready"] == [task.state for task in place.stored()]


def test_a_wrong_filter_is_the_same_error_beside_the_daemon(client: ApiClient) -> None:
    """ApiClient raises what Admin would: BadFilter names the part."""
    asked = {"filter": {"error": "("}, "limit": 1}
    with pytest.raises(BadFilter) as caught:
        client._ask("POST", "/tasks/find", asked)

    assert "error" == caught.value.part


def test_a_page_says_where_the_next_one_begins(place: Place) -> None:
    """It may end before *limit*, where its bytes do: only an empty one is the end."""
    for _ in range(3):
        place.ask("POST", "/tasks", '{"name": "shop.sell"}')
    _, first = place.ask("POST", "/tasks/find", '{"limit": 2}')
    _, second = place.ask("POST", "/tasks/find", json.dumps({"limit": 2, "cursor": first["cursor"]}))
    _, third = place.ask("POST", "/tasks/find", json.dumps({"limit": 2, "cursor": second["cursor"]}))

    assert [2, 1, 0] == [len(page["tasks"]) for page in (first, second, third)]
    assert [first["tasks"][-1]["id"], None] == [first["cursor"], third["cursor"]]


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nothing", 404), ("DELETE", "/tasks", 405)])
def test_an_unknown_path_or_method_is_a_problem_document(
    place: Place, method: str, path: str, status: int
) -> None:
    """Flask's own errors are told in the same form."""
    answer, problem = place.ask(method, path)

    assert (status, status) == (answer, problem["status"])


def test_how_the_daemon_is_can_be_asked(place: Place, client: ApiClient) -> None:
    """What `/readyz` keeps from strangers, and how every service is."""
    assert (200, STATUS) == place.ask("GET", "/status")
    assert STATUS == client.status()


def test_tasks_that_nobody_can_read_are_listed_and_purged_page_by_page(
    place: Place, client: ApiClient
) -> None:
    """Also where a page ends with one whose id nobody can read; what is wrong travels along."""
    tasks = [place.office.post("shop.sell", [n], {}, Options()) for n in range(5)]
    sql = place.store._connection.sql  # type: ignore[attr-defined]
    for n in (1, 3):
        sql.execute("UPDATE task SET id = 'x' || seq, body = x'00' WHERE id = ?", (tasks[n].id.binary,))
    found: list[MonQTask] = []
    while page := client.find(Filter(), 1, found[-1].id if found else None):
        found += page
    faults = [task.fault for task in found if task.fault]
    rows = 0
    asked = '{"limit": 1}'
    while (page := place.ask("POST", "/tasks/find", asked)[1])["tasks"]:
        rows += 1
        asked = json.dumps({"limit": 1, "cursor": page["cursor"]})

    assert 5 == rows
    assert (5, 2) == (len(found), len(faults))
    assert all(fault.startswith("id: expected 12 bytes, got") for fault in faults)
    assert 5 == client.cancel(Filter()).done
    last, purged = None, 0
    while (step := client.purge(Filter(), last, 1)).cursor is not None:
        last, purged = step.cursor, purged + step.done
    assert 5 == purged


def test_the_daemon_judges_a_call_by_its_function_unless_the_poster_has(
    place: Place, client: ApiClient
) -> None:
    """A program that is one deployment ahead has judged by its own: the daemon may be reloaded next."""
    place.registry.add(Task(lambda n: None, "shop.one", Options()))
    status, refused = place.ask("POST", "/tasks", json.dumps({"name": "shop.one", "args": [1, 2]}))
    with pytest.raises(BadCall, match=r"task shop.one: .*; it is declared as \(n\) and called with 2"):
        client.post_named("shop.one", [1, 2], {}, {})
    before = place.stored()
    client.submit(prepare(Clock(), "shop.one", [1, 2], {}, Options(), {}))

    assert (422, "bad_call") == (status, refused["code"])
    assert ([], 1) == (before, len(place.stored()))


def test_a_client_pauses_and_resumes_as_admin_does(place: Place, client: ApiClient) -> None:
    """Moments keep their types, and what waits is counted."""
    posted(client, "shop.sell", [1], {}, Options())
    end = datetime(2999, 1, 1, tzinfo=timezone.utc)
    paused = client.pause("task", "shop.*", "inventory", until=end, by="ops@here")
    (state,) = client.pauses()

    assert (paused, 1) == (state.pause, state.ready)
    assert ("shop.*", "inventory", end, "ops@here") == (
        paused.name, paused.reason, paused.until, paused.by,
    )  # fmt: skip
    assert 1 == client.count_paused(Filter())
    assert "paused: inventory" in str(client.why_waiting(place.stored()[0]))
    assert paused == client.resume("task", "shop.*")
    assert [] == client.pauses()


def test_a_person_pauses_with_two_words(place: Place) -> None:
    status, answer = place.ask("POST", "/pauses", '{"name": "shop.*", "reason": "inventory"}')

    assert (201, "task", None, "") == (
        status, answer["pause"]["what"], answer["pause"]["until"], answer["pause"]["by"],
    )  # fmt: skip
    assert {"paused": 0} == place.ask("POST", "/tasks/count", '{"by": "paused"}')[1]["counts"]
    assert 200 == place.ask("POST", "/pauses/resume", '{"name": "shop.*"}')[0]
    status, problem = place.ask("POST", "/pauses/resume", '{"name": "shop.*"}')
    assert (404, "not_found") == (status, problem["code"])


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("", "what, name: expected text, got 'task' and None"),
        ('"name": 7, "reason": "y"', "what, name: expected text"),
        ('"name": "a b", "reason": "y"', "name: expected a whole name"),
        ('"name": "x"', "reason: expected 1 to 1000 characters, got ''"),
        ('"name": "x", "reason": ["y"]', "reason: expected 1 to 1000 characters"),
        (
            '"name": "x", "reason": "y", "what": "topic"',
            "what: expected one of task, schedule, hook, got 'topic'",
        ),
        ('"name": "x", "reason": "y", "what": {}', "what, name: expected text"),
        ('"name": "x", "reason": "y", "until": "soon"', "until: expected an RFC 3339 time, got 'soon'"),
        ('"name": "x", "reason": "y", "until": 7', "until: expected an RFC 3339 time, got 7"),
        ('"name": "x", "reason": "y", "until": "2020-01-01"', "until: expected a moment that is to come"),
        (
            '"name": "x", "reason": "y", "until": "9999-12-31T23:59:59-12:00"',
            "until: expected a moment of the years 1 to 9999",
        ),
        ('"name": "x", "reason": "y", "by": 7', "by: expected "),
        ('"name": "x", "reason": "y", "by": "a\\nb"', "by: expected "),
        ('"name": "x", "reason": "y", "for": "1h"', "for: expected one of by, name, reason, until, what"),
    ],
)
def test_what_cannot_be_paused_is_a_bad_request_in_one_sentence(
    place: Place, words: str, expected: str
) -> None:
    status, problem = place.ask("POST", "/pauses", f"{{{words}}}")

    assert 400 == status
    assert problem["detail"].startswith(expected)
    assert [] == place.store.records("pause")
