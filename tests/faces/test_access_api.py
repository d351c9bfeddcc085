"""Each route of the API takes the role that the table says, and each action leaves its count in the audit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest

from bus.access.masking import MASK
from bus.access.roles import Role
from bus.admin import Admin
from bus.api.access import AccessApi
from bus.api.routes import ROUTES, api_routes
from bus.api.server import Api
from bus.apps.options import Options
from bus.apps.registry import Registry, Task
from bus.clock import Clock
from bus.model import ERROR, Event, Filter, Instance, MonQTask, Posting, Report
from bus.operations import Operations
from bus.posting import PostOffice
from bus.store import open_memory_store
from tests.engine.gate import HOST, PASSWORD, Desk, Said

ORIGIN = f"http://{HOST}"
V, O, A = Role.VIEWER, Role.OPERATOR, Role.ADMIN  # noqa: E741 - columns of the table
TABLE = {
    "GET /tasks": V,
    "POST /tasks": O,
    "POST /tasks/find": V,
    "POST /tasks/count": V,
    "POST /tasks/retry": O,
    "POST /tasks/cancel": O,
    "POST /tasks/purge": A,
    "GET /tasks/{task_id}": V,
    "POST /tasks/{task_id}/retry": O,
    "POST /tasks/{task_id}/cancel": O,
    "POST /tasks/{task_id}/purge": A,
    "GET /counts": V,
    "GET /events": V,
    "POST /events": O,
    "POST /events/find": V,
    "GET /events/{event_id}": V,
    "POST /events/{event_id}/replay": O,
    "GET /deliveries": V,
    "POST /deliveries/find": V,
    "GET /deliveries/{delivery_id}": V,
    "GET /topics": V,
    "GET /handlers": V,
    "GET /hooks": V,
    "GET /workers": V,
    "GET /schedules": V,
    "POST /schedules/{name}/run": O,
    "GET /pauses": V,
    "POST /pauses": O,
    "POST /pauses/resume": O,
    "GET /facts": V,
    "GET /status": V,
    "GET /users": A,
    "POST /users": A,
    "POST /users/{name}/remove": A,
    "POST /users/{name}/password": A,
    "POST /users/{name}/role": A,
    "GET /tokens": A,
    "POST /tokens": A,
    "POST /tokens/{token}/revoke": A,
    "POST /links": A,
    "GET /audit": A,
    "GET /openapi.json": V,
}
NOBODY = "0123456789abcdef01234567"


class Place:
    """The API behind a gate, on a store in memory; nothing runs the tasks."""

    def __init__(self, store: Any) -> None:
        self.store = store
        clock, registry = Clock(), Registry()
        registry.add(Task(lambda *_, **__: None, "shop.sell", Options()))
        registry.add(Task(lambda *_, **__: None, "shop.sell_late", Options()))
        registry.subscribe(registry.tasks["shop.sell"], ["sold"])
        self.desk = Desk(store, [])
        admin, self.office = Admin(store, clock), PostOffice(store, lambda: registry, clock)
        operations = Operations(admin, self.office, self.desk.audit)
        api = Api(admin, self.office, lambda: registry, clock, operations=operations)
        self.desk.gate = type(self.desk.gate)(
            [*api_routes(api, AccessApi(self.desk.accounts, self.desk.audit)), *self.desk.sign_in.routes()],
            self.desk.recognition,
        )
        self.words = {role.word: self.desk.accounts.add_token(role.word, role.word)[1] for role in Role}
        self.clock = clock

    def ask(self, method: str, path: str, asked: Any = None, *, role: str = "admin", **more: Any) -> Said:
        """One request by a token."""
        return self.desk.ask(
            method, f"/api/v1{path}", json=asked, AUTHORIZATION=f"Bearer {self.words[role]}", **more
        )

    def got(self, method: str, path: str, asked: Any = None, **more: Any) -> Any:
        """The answer's object."""
        said = self.ask(method, path, asked, **more)
        assert said.status < 300, said
        return json.loads(said.text)

    def failed(self, name: str = "shop.sell", **fields: Any) -> MonQTask:
        """A task in error."""
        now = self.clock.now()
        kwargs = fields.pop("kwargs", {})
        task = MonQTask(self.clock.new_id(), name, [], kwargs, now, **fields)
        self.store.post([Posting([task])])
        self.store.move([task.id], ("ready",), {"state": ERROR, "result": "no", "time_stop": now})
        return task


@pytest.fixture
def place() -> Iterator[Place]:
    with closing(open_memory_store()) as store:
        yield Place(store)


def filled(path: str) -> str:
    """*path* with what is not there for each argument."""
    for name in ("task_id", "event_id", "delivery_id", "name", "token"):
        path = path.replace(f"{{{name}}}", NOBODY)
    return path


def test_the_routes_and_their_roles_are_those_of_the_table() -> None:
    """A route that is added has to be written here, too; `/backup` is the control socket's alone."""
    routes = {f"{route.method} {route.path}": route.role for route in ROUTES if not route.is_local}

    assert TABLE == {**routes, "GET /openapi.json": Role.VIEWER}
    assert ["/backup"] == [route.path for route in ROUTES if route.is_local]


def test_each_route_is_closed_to_every_lower_role(place: Place) -> None:
    """And to a stranger: route x role."""
    refused = {}
    for row in TABLE:
        method, path = row.split(" ")
        statuses = [place.desk.ask(method, f"/api/v1{filled(path)}", ORIGIN=ORIGIN).status]
        statuses += [place.ask(method, filled(path), role=role.word).status for role in Role]
        refused[row] = [statuses[0], *(status == 403 for status in statuses[1:])]

    assert refused == {row: [401, *(role < least for role in Role)] for row, least in TABLE.items()}


def test_no_route_changes_anything_for_a_cookie_without_origin_and_token(place: Place) -> None:
    """Route x CSRF: of a browser that is signed in as an admin."""
    place.desk.accounts.add_user("anna", "admin", PASSWORD)
    cookie = place.desk.cookie("anna")
    session = place.desk.sessions.find(cookie.partition("=")[2])
    assert session is not None
    token = session.csrf_token
    posts = [row.split(" ")[1] for row in TABLE if row.startswith("POST")]
    proofs: dict[str, dict[str, str]] = {
        "none": {},
        "origin": {"ORIGIN": ORIGIN},
        "token": {"X_CSRF_TOKEN": token},
        "other": {"ORIGIN": "https://evil.example", "X_CSRF_TOKEN": token},
    }
    got = {
        (path, proof): place.desk.ask(
            "POST", f"/api/v1{filled(path)}", json={}, cookie=cookie, **headers
        ).code
        for path in posts
        for proof, headers in proofs.items()
    }
    expected = {"none": "other_origin", "origin": "csrf", "token": "other_origin", "other": "other_origin"}
    both = {"ORIGIN": ORIGIN, "X_CSRF_TOKEN": token}
    let_in = place.desk.ask("POST", "/api/v1/tasks/find", json={}, cookie=cookie, **both)

    assert {(path, proof): expected[proof] for path in posts for proof in proofs} == got
    assert 200 == let_in.status


def test_backup_is_answered_on_the_control_socket_alone(place: Place) -> None:
    """It writes a file at any path as the daemon's user."""
    assert 404 == place.ask("POST", "/backup", {"path": "/tmp/x"}).status


# looking


def test_tasks_are_found_by_the_parameters_of_a_query(place: Place) -> None:
    one, late = place.failed(), place.failed("shop.sell_late")
    named = place.got("GET", "/tasks?state=error,skipped&name=shop.sell")
    wild = place.got("GET", "/tasks?name=shop.*&limit=1")
    rest = place.got("GET", f"/tasks?name=shop.*&limit=1&cursor={wild['cursor']}")
    by_id = place.got("GET", f"/tasks?id={one.id},{late.id}&ended_newer=2020-01-01T00:00:00Z")

    assert [str(one.id)] == [task["id"] for task in named["tasks"]]
    assert [[str(late.id)], [str(one.id)]] == [
        [task["id"] for task in page["tasks"]] for page in (wild, rest)
    ]
    assert 2 == len(by_id["tasks"])
    assert {"error": 2} == place.got("GET", "/counts")["counts"]
    assert {"shop.sell": 1, "shop.sell_late": 1} == place.got("GET", "/counts?by=name")["counts"]


@pytest.mark.parametrize(
    "query",
    [
        "nmae=shop.sell",
        "name=a&name=b",
        "limit=0",
        "limit=ten",
        "state=failed",
        "older=yesterday",
        "error=(",
        "parked=maybe",
        "cursor=7",
        "id=",
        "limit=%EF%BC%91",
    ],
)
def test_a_query_that_means_nothing_is_refused_with_its_subject(place: Place, query: str) -> None:
    """A parameter that was left unread would widen what is shown."""
    said = place.ask("GET", f"/tasks?{query}")

    assert (400, True) == (said.status, said.code in ("malformed", "bad_filter"))
    assert query.partition("=")[0].rstrip("s") in json.loads(said.text)["detail"]


def test_handlers_hooks_and_workers_are_listed(place: Place) -> None:
    place.ask("POST", "/pauses", {"name": "shop.sell", "reason": "stocktaking"})
    handlers = place.got("GET", "/handlers")["handlers"]

    assert ["shop.sell", "shop.sell_late"] == [one["name"] for one in handlers]
    assert [["sold"], []] == [one["topics"] for one in handlers]
    assert "stocktaking" in handlers[0]["paused"]
    assert {"hooks": []} == place.got("GET", "/hooks")
    assert {} == place.got("GET", "/workers")


def test_a_viewer_does_not_see_what_secret_looking_keys_hold(place: Place) -> None:
    """An operator does: he has to find out what went wrong."""
    task = place.failed(kwargs={"user": "anna", "login": {"API-Key": "abc", "n": 1}, "token": ""})
    event = Event(
        id=place.clock.new_id(),
        topic="sold",
        received=place.clock.now(),
        body=b'{"password": "hunter2", "n": 1}',
        expire_at=place.clock.now() + timedelta(1),
    )
    place.store.post([Posting([], event)])
    seen = {role: place.got("GET", f"/tasks/{task.id}", role=role)["task"] for role in ("viewer", "operator")}
    body = place.got("GET", f"/events/{event.id}", role="viewer")["event"]["body"]

    assert {"user": "anna", "login": {"API-Key": MASK, "n": 1}, "token": ""} == seen["viewer"]["kwargs"]
    assert "abc" == seen["operator"]["kwargs"]["login"]["API-Key"]
    assert {"password": MASK, "n": 1} == json.loads(body)


@pytest.mark.parametrize(("method", "path", "asked"), [("GET", "/tasks", None), ("POST", "/tasks/find", {})])
def test_a_viewer_sees_as_little_in_lists(place: Place, method: str, path: str, asked: Any) -> None:
    """Results have keys, too."""
    task = place.failed()
    place.store.move([task.id], (ERROR,), {"result": {"token": "hunter2"}})
    seen = {role: place.got(method, path, asked, role=role)["tasks"] for role in ("viewer", "operator")}

    assert [{"token": MASK}] == [one["result"] for one in seen["viewer"]]
    assert [{"token": "hunter2"}] == [one["result"] for one in seen["operator"]]


def test_what_a_task_has_printed_is_for_operators(place: Place) -> None:
    """It may hold anything, and has no keys by which it could be judged."""
    task = place.failed(output="the password is hunter2\n")
    seen = {role: place.got("GET", f"/tasks/{task.id}", role=role)["task"] for role in ("viewer", "operator")}

    assert [MASK, task.output] == [seen[role]["output"] for role in ("viewer", "operator")]


# changing


def test_a_dry_run_counts_by_name_and_changes_nothing(place: Place) -> None:
    place.failed(), place.failed(), place.failed("shop.sell_late")
    asked = {"filter": {"name": "shop.*"}, "dry_run": True}

    assert {"would_be": 3, "names": {"shop.sell": 2, "shop.sell_late": 1}} == place.got(
        "POST", "/tasks/retry", asked, role="operator"
    )
    assert {"error": 3} == place.store.count(Filter())
    assert [] == place.desk.audit.entries(10)


def test_a_bulk_action_goes_page_by_page_and_is_one_entry_of_the_audit(place: Place) -> None:
    for _ in range(5):
        place.failed()
    asked: dict[str, Any] = {"filter": {"states": ["error"]}, "limit": 2}
    done = []
    while True:
        step = place.got("POST", "/tasks/retry", asked)
        done.append(step["done"])
        if (cursor := step["cursor"]) is None:
            break
        asked["cursor"] = cursor
    (entry,) = [one for _, one in place.desk.audit.entries(10)]

    assert [2, 2, 1] == done
    assert ("token admin", "retry", 5, {"states": ["error"]}) == (
        entry.who,
        entry.action,
        entry.number,
        entry.about,
    )


@pytest.mark.parametrize("verb", ["retry", "cancel", "purge"])
def test_a_filter_that_says_nothing_changes_nothing(place: Place, verb: str) -> None:
    """An empty one is more often a mistake than every task there is."""
    place.failed()
    said = place.ask("POST", f"/tasks/{verb}", {"filter": {}})
    every = place.ask("POST", f"/tasks/{verb}", {"filter": {}, "all": True})

    assert (400, "malformed") == (said.status, said.code)
    assert 200 == every.status


def test_json_that_curl_calls_a_form_is_read(place: Place) -> None:
    """`curl -d` says so of everything; the API has no forms."""
    place.failed()
    asked = {"filter": {"states": ["error"]}, "dry_run": True}
    said = place.ask("POST", "/tasks/retry", asked, kind="application/x-www-form-urlencoded")

    assert (200, 1) == (said.status, json.loads(said.text)["would_be"])


def test_a_second_click_is_refused(place: Place) -> None:
    """409 while the task waits again, 412 when it has been begun since."""
    task = place.failed()
    etag = place.ask("GET", f"/tasks/{task.id}").headers["ETag"]
    first = place.ask("POST", f"/tasks/{task.id}/retry", IF_MATCH=etag)
    second = place.ask("POST", f"/tasks/{task.id}/retry", IF_MATCH=etag)
    (claimed,) = place.store.claim(Instance("one", "test"), {"shop.sell"}, 1, place.clock.now()).tasks
    place.store.report([Report(claimed.claim, {"state": ERROR, "result": "again"})])
    third = place.ask("POST", f"/tasks/{task.id}/retry", IF_MATCH=etag)

    assert [(200, ""), (409, "illegal_move"), (412, "changed_meanwhile")] == [
        (one.status, one.code) for one in (first, second, third)
    ]


@pytest.mark.parametrize("etag", ["", "x", '"1', "-1", '"9999999999"', "1, 2"])
def test_an_if_match_that_is_no_etag_of_ours_changes_nothing(place: Place, etag: str) -> None:
    task = place.failed()

    assert 400 == place.ask("POST", f"/tasks/{task.id}/retry", IF_MATCH=etag).status
    assert {"error": 1} == place.store.count(Filter())


def test_every_action_is_in_the_audit(place: Place) -> None:
    """Who, what, and to how many; no password and no word of a token among it."""
    task = place.failed()
    place.got("POST", f"/tasks/{task.id}/retry")
    place.got("POST", "/tasks", {"name": "shop.sell", "kwargs": {"secret": "xyzzy"}})
    event = place.got("POST", "/events", {"topic": "sold"})["event"]
    place.got("POST", "/pauses", {"name": "shop.*", "reason": "stocktaking"})
    place.got("POST", "/pauses/resume", {"name": "shop.*"})
    place.got("POST", "/users", {"name": "ben", "role": "viewer", "password": PASSWORD})
    place.got("POST", "/users/ben/role", {"role": "operator"})
    place.got("POST", "/users/ben/password", {"password": "another few words"})
    place.got("POST", "/users/ben/remove")
    word = place.got("POST", "/tokens", {"name": "ci", "role": "viewer"})["word"]
    place.got("POST", "/tokens/ci/revoke")
    link = place.got("POST", "/links", {})["path"]
    entries = place.got("GET", "/audit?limit=100")["entries"]
    text = json.dumps(entries)

    assert [
        "add link",
        "revoke token",
        "add token",
        "remove user",
        "set password",
        "set role",
        "add user",
        "resume",
        "pause",
        "publish",
        "post",
        "retry",
    ] == [one["action"] for one in entries]
    assert {"token admin"} == {one["who"] for one in entries}
    assert event in text
    for secret in (PASSWORD, "another few words", word, link.rpartition("/")[2], "xyzzy"):
        assert secret not in text


def test_the_audit_goes_on_behind_its_last_entry(place: Place) -> None:
    for name in ("a", "b", "c"):
        place.got("POST", "/pauses", {"name": name, "reason": "r"})
    first = place.got("GET", "/audit?limit=2")
    second = place.got("GET", f"/audit?limit=2&before={first['before']}")

    assert [["c", "b"], ["a"]] == [
        [one["about"]["name"] for one in page["entries"]] for page in (first, second)
    ]


def test_the_document_is_of_openapi_3_1_and_names_every_route(place: Place) -> None:
    document = place.got("GET", "/openapi.json", role="viewer")
    named = {
        f"{method.upper()} {path.removeprefix('/api/v1')}"
        for path, methods in document["paths"].items()
        for method in methods
    }

    assert "3.1.0" == document["openapi"]
    assert TABLE.keys() - {"GET /openapi.json"} == named


WRONG = [None, True, -1, 0.5, "", "x", "\x00", "\ud800", [], [[]], {}, {"a": {}}, "x" * 5000, 10**30]


@pytest.mark.parametrize("row", [row for row in TABLE if row.startswith("POST")])
def test_values_of_wrong_types_are_answered_4xx(place: Place, row: str) -> None:
    """Everywhere: in place of the body, and of each member that there may be."""
    path = filled(row.split(" ")[1])
    route = next(one for one in ROUTES if f"POST {one.path}" == row)
    members = list(route.body["properties"]) if route.body else []
    bodies = [*WRONG, *({member: value} for member in [*members, "unknown"] for value in WRONG)]
    statuses = {place.ask("POST", path, body).status for body in bodies}

    assert {status for status in statuses if status >= 500} == set()
