"""The pages of the desk: what they show and change, and that nothing from outside is more than text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from bson import ObjectId

from bus import dashboard
from bus.access import Role, Visitor
from bus.config import Config, Hook
from bus.dashboard import Running, task_list
from bus.errors import Refused, StoreUnavailable
from bus.model import Filter
from bus.store.documents import task_to_document
from tests.engine.gate import HOST

from .desks import MARK, ROLES, Place, words

ORIGIN = f"http://{HOST}"
FOLDER = Path(dashboard.__file__).parent
TEMPLATES = sorted((FOLDER / "templates").glob("*.html"))


@pytest.fixture
def place() -> Iterator[Place]:
    made = Place()
    yield made
    made.close()


def marked(place: Place) -> list[str]:
    """The paths of every page, with MARK in every text that a stranger, a handler or an operator writes."""
    event = place.event(
        topic=MARK, hook=MARK, delivery=MARK, headers={"x-a": MARK, MARK: "b"}, query={MARK: MARK},
        body=f'{{"a": "{MARK[:8]}"}}'.encode() + MARK.encode(), attributes={MARK: MARK}, peer=MARK,
    )  # fmt: skip
    published = place.event(topic="t", args=[MARK], kwargs={MARK: MARK})
    fields = {
        "task_name": MARK, "args": [MARK], "kwargs": {"a": {MARK: MARK}}, "context": {"user_id": MARK},
        "process": MARK, "worker": MARK, "key": None, "topic": MARK, "event_id": event.id,
        "history": [{"attempt": 1, "at": place.clock.now(), "error": MARK}],
        "progress": {"fraction": 0.5, "text": MARK}, "output": f"{MARK}\n{MARK}",
    }  # fmt: skip
    tasks = [place.task(state, result=f"x\n{MARK}", **fields) for state in ("error", "skipped", "complete")]
    tasks += [place.task("busy", result=None, time_start=place.clock.now(), **fields), place.task(**fields)]
    event.task_ids = [task.id for task in tasks]
    busy = place.stored(tasks[3])
    place.running.append(Running(busy, MARK, 1.0, lambda: MARK))
    refused = place.delivery(
        hook=MARK, path=MARK, method=MARK, peer=MARK, code=MARK, reason=MARK, request=MARK, delivery=MARK,
        headers={MARK: MARK}, parameters=[MARK], body=MARK.encode(),
    )  # fmt: skip
    place.admin.pause("task", "shop.*", MARK, by=MARK)
    place.desk.operations.by(Visitor(MARK, Role.ADMIN)).pause("task", "shop.note", MARK)
    pages = [route.path for route in place.routes if route.method == "GET" and "NAME" not in route.path]
    return [
        *(path for path in pages if path not in ("/live", "/search") and not path.startswith("/assets")),
        *(f"/tasks/{task.id}" for task in tasks),
        f"/tasks/{tasks[0].id}/again",
        f"/events/{event.id}",
        f"/events/{published.id}",
        f"/deliveries/{event.id}",
        f"/deliveries/{refused.id}",
        "/handlers/shop.charge",
        f"/tasks?name={'%3Cscript%3Ealert(1)%3C/script%3E'}",
        f"/tasks?state={'%3Cscript%3Ealert(1)%3C/script%3E'}",
        f"/events?topic={'%22%3E%3Cimg%20src=x%20onerror=alert(2)%3E'}",
        "/tasks?done=%3Cscript%3Ealert(1)&number=%3Cscript%3E",
    ]


class Elements(HTMLParser):
    """The elements of a page with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def test_text_from_outside_is_never_more_than_text_on_any_page(place):
    """Markers in every field come out escaped, and what disguises a line is written as an escape."""
    pages = {path: place.get(path, "admin") for path in marked(place)}

    for path, said in pages.items():
        elements = Elements(said.text).found
        assert ["/assets/desk.js"] == [given.get("src") for tag, given in elements if tag == "script"], path
        assert {"/assets/icon.svg"} == {given["src"] for tag, given in elements if tag == "img"}, path
        assert [] == [name for _, given in elements for name in given if name.startswith("on")], path
        assert "\u202e" not in said.text, path
    assert 20 < sum("&lt;script&gt;alert(1)" in said.text for said in pages.values()) + 1


@pytest.mark.parametrize("role", ROLES)
def test_every_page_opens_for_whoever_may_see_it_and_for_nobody_else(place, role):
    """The table of routes is the whole of it: a role sees each page of its own and of those below."""
    paths = marked(place)
    least = {route.path: route.role for route in place.routes if route.method == "GET"}
    may = {path: Role[role.upper()] >= (least.get(path.partition("?")[0]) or Role.VIEWER) for path in paths}
    got = {path: place.get(path, role).status for path in paths if not path.endswith("/again")}

    assert {path: 403 for path in got if not may[path]} == {p: s for p, s in got.items() if s == 403}
    assert {200, 400} >= {got[path] for path in got if may[path]}


def test_no_page_changes_anything(place):
    """Every path of the table is asked by GET; the store stays as it was."""
    paths = marked(place)
    for route in place.routes:
        if route.method == "POST":
            paths.append(route.path.replace("NAME", str(place.store.find(Filter(), 1)[0].id)))
    before = everything(place)
    for path in paths:
        place.get(path, "admin")

    assert before == everything(place)


def everything(place: Place) -> list[object]:
    tasks = [task_to_document(task) for task in place.store.find(Filter(), 100)]
    return [tasks, place.store.records("pause"), [len(one.task_ids) for one in place.store.events(100)]]


def test_who_only_looks_is_offered_no_action(place):
    """No form posts but the one that signs out, and a form that he makes himself is refused."""
    task = place.task("error", result="ValueError: x")
    forms = {
        given.get("action")
        for path in (f"/tasks/{task.id}", "/tasks", "/errors", "/handlers", "/handlers/shop.charge")
        for tag, given in Elements(place.get(path, "viewer").text).found
        if tag == "form" and given.get("method") == "post"
    } - {None}

    assert {"/tasks", "/sign-out"} >= forms
    assert 403 == place.post(f"/tasks/{task.id}/retry", "viewer").status
    assert "error" == place.stored(task).state


@pytest.mark.parametrize("role", ROLES)
def test_each_action_takes_its_role_its_origin_and_its_token(place, role):
    """Every POST of the table: without one of the three it is refused, and changes nothing."""
    cookie = place.cookie(role)
    session = place.listener.sessions.find(cookie.partition("=")[2])
    proofs = {
        "nothing": ({}, {}),
        "origin": ({}, {"ORIGIN": ORIGIN}),
        "token": ({"csrf_token": session.csrf_token}, {}),
        "other origin": ({"csrf_token": session.csrf_token}, {"ORIGIN": "https://evil.example"}),
        "other token": ({"csrf_token": "x" * 43}, {"ORIGIN": ORIGIN}),
        "both": ({"csrf_token": session.csrf_token}, {"ORIGIN": ORIGIN}),
    }
    got, expected = {}, {}
    for route in (route for route in place.routes if route.method == "POST"):
        path = route.path.replace("NAME", str(ObjectId()))
        for proof, (form, headers) in proofs.items():
            said = place.listener.ask("POST", path, form=form, cookie=cookie, **headers)
            got[path, proof] = said.status != 403
            expected[path, proof] = proof == "both" and Role[role.upper()] >= route.role

    assert expected == got


@pytest.mark.parametrize("path", ["/tasks/{}", "/events/{}", "/deliveries/{}", "/tasks/{}/again"])
@pytest.mark.parametrize("given", [str(ObjectId()), "no-id"])
def test_what_is_not_there_is_a_page_that_says_so(place, path, given):
    said = place.get(path.format(given))

    assert 404 == said.status
    assert given in words(said)


@pytest.mark.parametrize(
    ("path", "expectation"),
    [
        ("/tasks?state=lost", "states: expected ready, busy, complete, error, skipped, got 'lost'"),
        ("/tasks?state=parked,ready", "state: expected parked alone"),
        ("/tasks?newer=yesterday", "newer: expected a duration like 90s or 3d"),
        ("/tasks?error=(", "error: expected a regular expression"),
        ("/tasks?nmae=x", "query: expected name, topic, error"),
        ("/tasks?cursor=x", "cursor: expected an id of 24 hexadecimal digits"),
        ("/events?outcome=lost", "outcome: expected handled, unhandled, filtered, accepted"),
        ("/deliveries?status=9", "status: expected a number from 100 to 599, got 9"),
        ("/errors?ended_newer=soon", "ended_newer: expected a duration"),
        ("/tasks?name=%ff", "query: expected at most 50 parameters in UTF-8"),
    ],
)
def test_a_wrong_search_says_what_was_expected(place, path, expectation):
    said = place.get(path)

    assert 400 == said.status
    assert expectation in words(said)


def test_programs_get_problem_documents_in_place_of_pages(place):
    said = place.listener.ask("GET", "/tasks?state=lost", cookie=place.cookie("viewer"))

    assert (400, "bad_filter") == (said.status, said.code)


def test_a_closed_hook_is_shown_with_the_secret_that_is_missing(place):
    """Its senders read 503 and nothing else."""
    fault = "monqbus.ini:3: [hook:shop] secret: expected a secret in the file shop.secret, got none"
    place.config = Config(hooks={"shop": Hook(name="shop", verify="github", fault=fault)})

    assert f"closed: {fault}" in words(place.get("/handlers"))


# searching


def test_a_search_is_a_url_and_its_pages_follow_each_other(place):
    """Newest first, by id; the search stays in the link to the next page."""
    tasks = [place.task("error", result="ValueError: x") for _ in range(60)]
    place.task()
    first = place.get("/tasks?state=error&error=ValueError")
    more = re.search(r'rel="next" href="([^"]+)"', first.text)
    assert more is not None
    second = place.get(more[1].replace("&amp;", "&"))
    shown = re.findall(r'<tr data-id="([0-9a-f]{24})"', first.text + second.text)

    assert [str(task.id) for task in reversed(tasks)] == shown
    assert {"state": ["error"], "error": ["ValueError"]}.items() <= parse_qs(
        urlsplit(more[1].replace("&amp;", "&")).query
    ).items()


@pytest.mark.parametrize(
    ("written", "leads_to"),
    [
        ("charge", "/tasks?name=%2Acharge%2A"),
        ("shop.*", "/tasks?name=shop.%2A"),
        ("error", "/tasks?state=error"),
        ("ValueError", "/tasks?error=ValueError"),
        ("late (3)", "/tasks?error=late+%5C%283%5C%29"),
        ("", "/tasks"),
    ],
)
def test_the_one_box_finds_by_state_name_or_error(place, written, leads_to):
    assert leads_to == place.get(f"/search?q={quote(written)}").headers["Location"]


def test_the_one_box_finds_by_the_id_of_anything(place):
    task, event, delivery = place.task(), place.event(), place.delivery()
    found = [place.get(f"/search?q={one.id}").headers["Location"] for one in (task, event, delivery)]

    assert [f"/tasks/{task.id}", f"/events/{event.id}", f"/deliveries/{delivery.id}"] == found
    assert 404 == place.get(f"/search?q={ObjectId()}").status


def test_a_search_that_the_store_does_not_answer_says_what_to_leave_out(place):
    """As one without a match among a million; a plain list says that the store is away."""
    place.store.close()
    environ = {"PATH_INFO": "/tasks", "REQUEST_METHOD": "GET"}

    with pytest.raises(Refused, match="name a state, or leave a part of it out"):
        task_list.show(place.desk, {**environ, "QUERY_STRING": "name=x"})
    with pytest.raises(StoreUnavailable):
        task_list.show(place.desk, {**environ, "QUERY_STRING": "state=error"})


# what is done


def test_a_failed_task_is_retried_once_by_a_double_click(place):
    """The form says which generation it has seen; what has begun since is left alone."""
    task = place.task("error", result="ValueError: x", generation=3)
    first = place.post(f"/tasks/{task.id}/retry", generation="3")
    second = place.post(f"/tasks/{task.id}/retry", generation="3")
    stale = place.post(f"/tasks/{place.task('error', generation=4).id}/retry", generation="3")

    assert (303, f"/tasks/{task.id}?done=retry&number=1") == (first.status, first.headers["Location"])
    assert "1 task retried" in words(place.get(first.headers["Location"]))
    assert [409, 412] == [second.status, stale.status]
    assert "ready" == place.stored(task).state


def test_a_waiting_task_is_cancelled(place):
    task = place.task()
    place.post(f"/tasks/{task.id}/cancel", generation="0")

    assert "skipped" == place.stored(task).state


def test_chosen_tasks_are_changed_and_no_others(place):
    tasks = place.failed(4)
    said = place.post("/tasks", verb="retry", search="state=error", id=[str(task.id) for task in tasks[:2]])

    assert "/tasks?state=error&done=retry&number=2" == said.headers["Location"]
    assert ["ready", "ready", "error", "error"] == [place.stored(task).state for task in tasks]


def test_all_that_match_are_counted_by_name_before_anything_changes(place):
    """Five hundred, of a search, in two steps: first the numbers, then the deed."""
    tasks = place.failed(500)
    other = place.task("error", task_name="shop.note", result="KeyError: 'x'")
    search = "state=error&error=is+late"
    asked = place.post("/tasks", verb="retry", all="yes", search=search)
    before = place.stored(tasks[0]).state
    done = place.post("/tasks", verb="retry", all="yes", search=search, confirmed="yes")

    assert "Retry 500 tasks?" in words(asked)
    assert "shop.charge 500" in words(asked)
    assert "shop.note" not in words(asked)
    assert "error" == before
    assert "500 tasks retried" in words(place.get(done.headers["Location"]))
    assert ["ready"] * 500 == [place.stored(task).state for task in tasks]
    assert "error" == place.stored(other).state


def test_forgetting_is_asked_about_first_and_takes_an_admin(place):
    task = place.task("error", result="ValueError: x")
    refused = place.post("/tasks", verb="purge", id=str(task.id), confirmed="yes")
    asked = place.post("/tasks", "admin", verb="purge", id=str(task.id))
    is_there = place.store.get(task.id) is not None
    place.post("/tasks", "admin", verb="purge", id=str(task.id), confirmed="yes")

    assert 403 == refused.status
    assert "cannot be brought back" in words(asked)
    assert is_there
    assert place.store.get(task.id) is None


@pytest.mark.parametrize(
    ("fields", "expectation"),
    [
        ({"verb": "explode"}, "verb: expected retry, cancel, purge, got explode"),
        ({"verb": "retry"}, "tasks: expected one that is chosen, got none"),
        ({"verb": "retry", "all": "yes", "search": "nmae=x"}, "query: expected name"),
        ({"verb": "retry", "id": "x"}, "task: expected an id"),
    ],
)
def test_a_wrong_form_changes_nothing_and_says_what_was_expected(place, fields, expectation):
    task = place.task("error", result="x")
    said = place.post("/tasks", **fields)

    assert said.status in (400, 404)
    assert expectation in words(said)
    assert "error" == place.stored(task).state


def test_arguments_keep_their_types_when_a_task_is_posted_again(place):
    """They are edited as MongoDB's extended JSON, which has ids and moments."""
    given = [ObjectId(), place.clock.now(), b"\x00\xff", "\u202eä"]
    task = place.task("complete", args=[given], kwargs={"card": "4111"})
    form = place.get(f"/tasks/{task.id}/again")
    args, kwargs = (
        unescape(text) for text in re.findall(r"<textarea[^>]*>(.*?)</textarea>", form.text, re.S)
    )
    said = place.post(f"/tasks/{task.id}/again", args=args, kwargs=kwargs)
    made = place.store.get(ObjectId(said.headers["Location"].partition("?")[0].rpartition("/")[2]))

    assert made is not None
    assert (task.id != made.id, "shop.charge", [given], {"card": "4111"}) == (
        True, made.task_name, made.args, made.kwargs,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("args", "kwargs", "expectation"),
    [
        ("[1", "{}", "args: expected a JSON list"),
        ("{}", "{}", 'args: expected a JSON list such as [1, "two"], got {}'),
        ("[]", "[]", "kwargs: expected a JSON object"),
        ("[]", "{}", "task shop.charge: "),
        ('[{"$oid": "x"}]', "{}", "args: expected a JSON list"),
        ("[" * 30_000, "{}", "args: expected a JSON list"),
        ('[{"$numberDecimal": "x"}]', "{}", "args: expected a JSON list"),
        ('[{"$binary": 1, "$type": "00"}]', "{}", "args: expected a JSON list"),
        ('[{"$date": {"$numberLong": "9999999999999999999"}}]', "{}", "args"),
    ],
)
def test_wrong_arguments_are_shown_again_with_what_was_expected(place, args, kwargs, expectation):
    task = place.task("complete")
    said = place.post(f"/tasks/{task.id}/again", args=args, kwargs=kwargs)

    assert 422 == said.status
    assert expectation in words(said)
    assert 1 == len(place.store.find(Filter(), 10))


def test_a_handler_is_paused_for_a_reason_and_a_time_and_resumed(place):
    back = "/handlers/shop.charge"
    said = place.post(
        "/pauses", what="task", name="shop.charge", reason="disk is full", until="30m", back=back
    )
    (pause,) = place.admin.pauses()
    page = place.get(said.headers["Location"])
    place.post("/pauses/resume", what="task", name="shop.charge", back="https://elsewhere.example/")

    assert (303, f"{back}?done=pause") == (said.status, said.headers["Location"])
    assert ("disk is full", 1800.0, "a-operator") == (
        pause.pause.reason,
        (pause.pause.until - place.clock.now()).total_seconds(),
        pause.pause.by,
    )
    assert "disk is full" in words(page)
    assert [] == place.admin.pauses()


@pytest.mark.parametrize(
    ("fields", "expectation"),
    [
        ({"until": "soon", "reason": "x"}, "until: expected a duration like 30m or 2h"),
        ({"reason": ""}, "reason: expected 1 to 1000 characters"),
        ({"reason": "x", "name": "no good"}, "name: expected a whole name"),
        ({"reason": "x", "what": "world"}, "what: expected task or schedule, got world"),
    ],
)
def test_a_wrong_pause_says_what_was_expected(place, fields, expectation):
    said = place.post("/pauses", **{"what": "task", "name": "shop.charge", **fields})

    assert 400 == said.status
    assert expectation in words(said)
    assert [] == place.admin.pauses()


def test_an_event_that_no_handler_took_is_replayed_to_those_there_are_now(place):
    event = place.event()
    nobody = place.post(f"/events/{event.id}/replay")
    place.registry.subscribe(place.registry.tasks["shop.note"], ["order.paid"])
    said = place.post(f"/events/{event.id}/replay")
    (task,) = place.store.find(Filter(), 10)

    assert 404 == nobody.status
    assert f"/events/{event.id}?done=replay&number=1" == said.headers["Location"]
    assert ("shop.note", event.id) == (task.task_name, task.event_id)
    assert str(task.id) in place.get(f"/events/{event.id}").text


def test_an_event_is_published_from_its_page(place):
    place.registry.subscribe(place.registry.tasks["shop.note"], ["order.paid"])
    said = place.post("/events", topic="order.paid", args="[4711]", kwargs='{"card": "x"}')
    wrong = [
        words(place.post("/events", topic=topic, args=args))
        for topic, args in (("no good", "[]"), ("order.paid", "{"))
    ]
    (task,) = place.store.find(Filter(), 10)

    assert said.headers["Location"].endswith("?done=publish&number=1")
    assert (["order.paid", 4711], {"card": "x"}) == (task.args, task.kwargs)
    assert "topic: expected 1 to 128 letters" in wrong[0]
    assert "args: expected a JSON list" in wrong[1]


def test_every_action_is_in_the_audit_under_its_visitor(place):
    place.post("/pauses", what="task", name="shop.*", reason="why")

    assert "pause" in words(place.get("/audit", "admin"))
    assert "a-operator" in words(place.get("/audit", "admin"))


# what is shown


def test_errors_that_differ_in_numbers_and_names_are_one_kind(place):
    place.failed(7)
    place.failed(2, "KeyError: 'user{}'")
    said = words(place.get("/errors"))

    assert "9 failed tasks" in said
    assert "7 shop.charge TimeoutError: order <n> is late" in said
    assert "2 shop.charge KeyError: <text>" in said


def test_retry_these_means_just_that_kind(place):
    """Its button carries a search, which finds each task of the kind and no other."""
    late, missing = place.failed(3), place.failed(2, "KeyError: 'user{}'")
    searches = re.findall(r'name="search" value="([^"]+)"', place.get("/errors").text)
    place.post("/tasks", verb="retry", all="yes", search=unescape(searches[0]), confirmed="yes")

    assert ["ready"] * 3 == [place.stored(task).state for task in late]
    assert ["error"] * 2 == [place.stored(task).state for task in missing]


def test_secrets_in_payloads_are_masked_for_who_only_looks(place):
    """By their keys, at any depth; an operator needs them to find out why something fails."""
    task = place.task(
        "error", args=[{"api_key": "s3cret", "n": 1}], kwargs={"token": "s3cret"}, output="s3cret"
    )
    bodies = (
        b'{"auth": {"password": "s3cret"}, "n": 1}',
        b'{"pwd": "s3cret", "x-api-key": "s3cret"}',
        b"user=anna&password=s3cret",
    )
    events = [place.event(hook="h", body=body) for body in bodies]
    pages = [f"/tasks/{task.id}", *(f"/events/{event.id}" for event in events)]

    assert [False] * 4 == ["s3cret" in place.get(path, "viewer").text for path in pages]
    assert [True] * 4 == ["s3cret" in place.get(path, "operator").text for path in pages]


def test_a_task_shows_each_attempt_its_event_and_its_siblings(place):
    event_id = ObjectId()
    history = [{"attempt": n, "at": place.clock.now(), "error": f"ValueError: {n}"} for n in (1, 2)]
    one = place.task("error", history=history, attempt=2, event_id=event_id, result="ValueError: 2")
    two = place.task(event_id=event_id, task_name="shop.note")
    place.event(id=event_id, task_ids=[one.id, two.id])
    said = place.get(f"/tasks/{one.id}")

    assert "attempt 1 failed" in words(said)
    assert "attempt 2 gave up" in words(said)
    assert f'href="/events/{event_id}"' in said.text
    assert f'href="/tasks/{two.id}"' in said.text


def test_what_a_task_has_printed_so_far_is_on_its_page(place):
    task = place.task("busy", time_start=place.clock.now(), progress={"fraction": 0.25, "text": "page 1"})
    place.running.append(Running(task, "greenlets", 2.0, lambda: "first line\nsecond line"))
    said = place.get(f"/tasks/{task.id}")

    assert "first line\nsecond line" in said.text
    assert '<progress value="0.25"' in said.text


@pytest.mark.parametrize("result", [7, None, [1], {"token": 1}, b"\xff", ""], ids=repr)
def test_a_result_may_be_anything(place, result):
    """Other programs write into the store."""
    pages = [f"/tasks/{place.task('error', result=result).id}", "/tasks", "/errors"]

    assert [200] * 3 == [place.get(path).status for path in pages]


# the files themselves


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_no_template_has_what_the_content_security_policy_forbids(path):
    text = path.read_text()

    assert [] == re.findall(r"<style|\sstyle=|\son[a-z]+=|javascript:|\|\s*safe\b|autoescape", text)
    assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", text))


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_each_form_that_changes_something_carries_the_token(path):
    for form in re.findall(r'<form[^>]*method="post".*?</form>', path.read_text(), re.S):
        assert "csrf" in form, form


def test_assets_come_from_the_package_and_are_asked_for_in_few_bytes(place):
    page = place.get("/").text
    named = set(re.findall(r'(?:href|src)="(/assets/[^"]+)"', page))
    first = {name: place.listener.ask("GET", name) for name in named}
    again = [place.listener.ask("GET", name, IF_NONE_MATCH=first[name].headers["ETag"]) for name in named]

    assert {"/assets/desk.css", "/assets/desk.js", "/assets/icon.svg"} == named
    assert {200} == {said.status for said in first.values()}
    assert {(304, "")} == {(said.status, said.text) for said in again}
    assert [] == re.findall(r"https?://(?!www\.w3\.org)", "".join(said.text for said in first.values()))
