"""Nobody reaches the administrators' listener who has not shown who he is, and no other site acts for him."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import gevent
import pytest

from bus import telemetry
from bus.access.gate import Route, form_of, names_of, see_other, values_of
from bus.access.passwords import Passwords
from bus.access.roles import Role
from bus.access.sessions import PLAIN_COOKIE, SECURE_COOKIE
from bus.access.sign_in import page
from bus.access.visitor import Way, visitor_of
from bus.errors import BadFilter, NotFound, StoreUnavailable
from bus.networks import network
from bus.store import open_memory_store

from .gate import HOST, PASSWORD, Desk, Said

ORIGIN = f"http://{HOST}"
PROXY, OTHER = "10.0.0.5", "203.0.113.9"
DONE: list[str] = []


def shown(environ):
    return page("shown", " ".join(names_of(environ)))


def done(environ):
    DONE.append(f"{visitor_of(environ).name} {names_of(environ)} {dict(form_of(environ))}")
    return see_other("/")


def metrics(environ):
    return page("metrics", "")


ROUTES = [
    Route("GET", "/", Role.VIEWER, shown),
    Route("GET", "/tasks/NAME", Role.VIEWER, shown),
    Route("GET", "/tasks/new", Role.OPERATOR, shown),
    Route("POST", "/tasks/NAME/retry", Role.OPERATOR, done),
    Route("GET", "/audit", Role.ADMIN, shown),
    Route("POST", "/users", Role.ADMIN, done),
    Route("GET", "/metrics", Role.METRICS, metrics, is_page=False),
]


@pytest.fixture
def store() -> Iterator[Any]:
    with closing(open_memory_store()) as opened:
        yield opened


@pytest.fixture
def desk(store: Any) -> Desk:
    made = Desk(store, ROUTES)
    for role in ("viewer", "operator", "admin"):
        made.accounts.add_user(f"a-{role}", role, PASSWORD)
    DONE.clear()
    return made


@pytest.fixture
def facts() -> Iterator[list[tuple[str, dict[str, Any]]]]:
    told: list[tuple[str, dict[str, Any]]] = []
    undo = telemetry.listen(lambda fact, fields: told.append((fact, dict(fields))))
    yield told
    undo()


def csrf(desk: Desk, cookie: str) -> str:
    session = desk.sessions.find(cookie.partition("=")[2])
    assert session is not None
    return session.csrf_token


# who gets in


def test_a_stranger_reaches_nothing_but_the_sign_in(desk):
    """Every route of the table that names a role."""
    said = {
        (route.method, route.path): desk.ask(route.method, route.path, ORIGIN=ORIGIN, peer=OTHER).status
        for route in desk.gate.routes
        if route.role is not None
    }

    assert {401} == set(said.values())


def test_a_stranger_who_is_refused_is_no_refused_delivery(desk, facts):
    """Else an alert for senders fires when somebody mistypes a token."""
    desk.ask("GET", "/api/v1/tasks", AUTHORIZATION="Bearer mqb_none")
    told = [fact for fact, _ in facts]

    assert ("access.refused" in told, "event.refused" in told) == (True, False)


def test_a_browser_is_sent_to_the_sign_in_and_then_to_where_it_was_going(desk):
    first = desk.ask("GET", "/tasks/7?a=1", ACCEPT="text/html")
    form = desk.ask("GET", first.headers["Location"])
    second = desk.ask(
        "POST",
        "/sign-in",
        form={"name": "a-viewer", "password": PASSWORD, "next": "/tasks/7?a=1"},
        ORIGIN=ORIGIN,
    )

    assert (303, "/sign-in?next=%2Ftasks%2F7%3Fa%3D1") == (first.status, first.headers["Location"])
    assert 'value="/tasks/7?a=1"' in form.text
    assert (303, "/tasks/7?a=1") == (second.status, second.headers["Location"])


@pytest.mark.parametrize(
    "place", ["//evil.example", "https://evil.example", "/\\evil.example", "/a\r\nX: y", ""]
)
def test_the_sign_in_leads_to_no_other_site(desk, place):
    """An open redirect would lend our name to a page that asks for passwords."""
    form = {"name": "a-viewer", "password": PASSWORD, "next": place}

    assert "/" == desk.ask("POST", "/sign-in", form=form, ORIGIN=ORIGIN).headers["Location"]


def matrix(desk: Desk) -> dict[tuple[str, str, str, str], int]:
    """Route, role and what CSRF proof comes along → status."""
    got = {}
    for name in ("a-viewer", "a-operator", "a-admin"):
        cookie = desk.cookie(name)
        token = csrf(desk, cookie)
        for route in ROUTES:
            path = route.path.replace("NAME", "7")
            for proof, headers in {
                "none": {},
                "origin": {"ORIGIN": ORIGIN},
                "token": {"X_CSRF_TOKEN": token},
                "both": {"ORIGIN": ORIGIN, "X_CSRF_TOKEN": token},
                "other site": {"ORIGIN": "http://evil.example", "X_CSRF_TOKEN": token},
                "wrong token": {"ORIGIN": ORIGIN, "X_CSRF_TOKEN": "0" * 64},
            }.items():
                got[route.method, route.path, name, proof] = desk.ask(
                    route.method, path, cookie=cookie, **headers
                ).status
    return got


def test_what_each_role_may_is_equal_to_the_table(desk):
    """Route x role x CSRF: a change needs the role, our own origin and the session's token, all three."""
    may = {"a-viewer": Role.VIEWER, "a-operator": Role.OPERATOR, "a-admin": Role.ADMIN}
    expected = {}
    for route in ROUTES:
        for name, role in may.items():
            for proof in ("none", "origin", "token", "both", "other site", "wrong token"):
                if role < route.role or (route.method == "POST" and proof != "both"):
                    status = 403
                else:
                    status = 303 if route.method == "POST" else 200
                expected[route.method, route.path, name, proof] = status

    assert expected == matrix(desk)
    assert 3 == len(DONE)  # a-operator retries, a-admin retries and makes a user: each only with both proofs


def test_no_get_changes_anything(desk):
    """The gate has no way to change but POST: what is asked by GET of such a path is refused."""
    cookie = desk.cookie("a-admin")
    headers = {"ORIGIN": ORIGIN, "X_CSRF_TOKEN": csrf(desk, cookie)}
    said = [desk.ask(method, "/users", cookie=cookie, **headers) for method in ("GET", "PUT", "DELETE")]

    assert [405] * 3 == [one.status for one in said]
    assert ["POST"] * 3 == [one.headers["Allow"] for one in said]
    assert [] == DONE


def test_the_token_of_a_form_is_as_good_as_that_of_a_script(desk):
    cookie = desk.cookie("a-operator")
    form = {"csrf_token": csrf(desk, cookie), "id": "7"}
    said = desk.ask("POST", "/tasks/7/retry", cookie=cookie, form=form, ORIGIN=ORIGIN)

    assert 303 == said.status
    assert [f"a-operator ('7',) {form}"] == DONE


def test_the_token_of_another_session_is_none(desk):
    """Of the same user even: it is made from the cookie's word."""
    one, other = desk.cookie("a-admin"), desk.cookie("a-admin")
    said = desk.ask("POST", "/users", cookie=one, ORIGIN=ORIGIN, X_CSRF_TOKEN=csrf(desk, other))

    assert (403, "csrf") == (said.status, said.code)


def test_a_browser_that_names_no_origin_is_asked_for_its_referer(desk):
    cookie = desk.cookie("a-admin")
    token = csrf(desk, cookie)
    own = desk.ask("POST", "/users", cookie=cookie, X_CSRF_TOKEN=token, REFERER=f"{ORIGIN}/users")
    other = desk.ask(
        "POST", "/users", cookie=cookie, X_CSRF_TOKEN=token, REFERER=f"http://{HOST}.evil.example/"
    )
    lying = desk.ask(
        "POST", "/users", cookie=cookie, X_CSRF_TOKEN=token, ORIGIN=ORIGIN, SEC_FETCH_SITE="cross-site"
    )

    assert [303, 403, 403] == [own.status, other.status, lying.status]


def test_every_answer_has_the_headers_that_browsers_heed(desk):
    """Refusals and redirects too."""
    cookie = desk.cookie("a-viewer")
    answers = [
        desk.ask("GET", "/", cookie=cookie),
        desk.ask("GET", "/audit", cookie=cookie),
        desk.ask("GET", "/nowhere"),
        desk.ask("GET", "/", ACCEPT="text/html"),
        desk.ask("GET", "/sign-in"),
    ]

    assert [200, 403, 404, 303, 200] == [one.status for one in answers]
    for said in answers:
        policy = said.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert "nosniff" == said.headers["X-Content-Type-Options"]
        assert "same-origin" == said.headers["Referrer-Policy"]
        assert "no-store" == said.headers["Cache-Control"]
        assert "<script" not in said.text
        assert " style=" not in said.text


def test_markers_of_strangers_come_out_escaped(desk):
    """Wherever the sign-in shows what was sent."""
    marker = '/"><script>alert(1)</script>'
    shown_again = desk.enter("<script>alert(2)</script>", "x")
    answers = [
        desk.ask("GET", f"/sign-in?next={marker}"),
        desk.ask(
            "POST", "/sign-in", form={"name": marker, "password": marker, "next": marker}, ORIGIN=ORIGIN
        ),
        desk.ask("GET", "/link/<script>"),
        shown_again,
    ]

    assert [] == [said.text for said in answers if "<script" in said.text]
    assert "&lt;script&gt;" in answers[0].text


# sessions


def test_the_cookie_is_hidden_from_scripts_and_from_other_sites(desk):
    plain = desk.enter("a-viewer").headers["Set-Cookie"]

    assert plain.startswith(f"{PLAIN_COOKIE}=")
    assert ["Path=/", "HttpOnly", "SameSite=Strict"] == plain.split("; ")[1:]


def test_over_https_the_cookie_is_of_this_host_alone(store):
    """`__Host-`: no other host of the domain can set or read it, and it never goes by http."""
    desk = Desk(store, ROUTES, proxies=(network(PROXY),))
    desk.accounts.add_user("anna", "viewer", PASSWORD)
    how = {"peer": PROXY, "host": "ops.example", "X_FORWARDED_PROTO": "https", "X_FORWARDED_FOR": OTHER}
    said = desk.enter("anna", **how)
    word = said.cookies[SECURE_COOKIE]

    assert ["Path=/", "HttpOnly", "SameSite=Strict", "Secure"] == said.headers["Set-Cookie"].split("; ")[1:]
    assert 200 == desk.ask("GET", "/", cookie=f"{SECURE_COOKIE}={word}", **how).status
    assert 401 == desk.ask("GET", "/", cookie=f"{PLAIN_COOKIE}={word}", **how).status


def test_a_password_from_another_machine_needs_https(store, desk):
    """Who listens on the network would have it, and the session."""
    said = desk.enter("a-admin", peer=OTHER, host="ops.example")

    assert (403, "needs_https") == (said.status, said.code)


def test_the_store_holds_neither_password_nor_cookie_nor_token(desk, store):
    cookie = desk.cookie("a-viewer")
    _, token = desk.accounts.add_token("ci", "viewer")
    link = desk.accounts.add_link()
    stored = repr(store.records("access"))

    assert PASSWORD not in stored
    assert cookie.partition("=")[2] not in stored
    assert token.rpartition("_")[2] not in stored
    assert link not in stored


def test_a_session_ends_when_it_is_idle_and_at_the_latest_after_its_lifetime(desk):
    idle, busy = desk.cookie("a-viewer"), desk.cookie("a-viewer")
    statuses = []
    for _ in range(13):
        desk.clock.advance(3540)
        statuses.append(desk.ask("GET", "/", cookie=busy).status)
    desk.clock.advance(70)

    assert [200] * 12 == statuses[:12]  # 11 h 48 min
    assert 401 == statuses[12]
    assert 401 == desk.ask("GET", "/", cookie=idle).status


def test_signing_out_ends_the_session_and_takes_the_cookie_away(desk):
    cookie = desk.cookie("a-viewer")
    form = {"csrf_token": csrf(desk, cookie)}
    said = desk.ask("POST", "/sign-out", cookie=cookie, form=form, ORIGIN=ORIGIN)

    assert (303, "/sign-in") == (said.status, said.headers["Location"])
    assert f"{PLAIN_COOKIE}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0" == said.headers["Set-Cookie"]
    assert '"cache"' == said.headers["Clear-Site-Data"]
    assert 401 == desk.ask("GET", "/", cookie=cookie).status


def test_every_sign_in_is_a_new_session_and_ends_the_one_before(desk):
    """A cookie that somebody else has planted is worth nothing afterwards (session fixation)."""
    first = desk.cookie("a-viewer")
    token = csrf(desk, first)
    form = {"name": "a-admin", "password": PASSWORD, "csrf_token": token}
    second = desk.ask("POST", "/sign-in", form=form, cookie=first, ORIGIN=ORIGIN)

    assert 303 == second.status
    assert first != f"{PLAIN_COOKIE}={second.cookies[PLAIN_COOKIE]}"
    assert 401 == desk.ask("GET", "/", cookie=first).status


def test_behind_a_link_of_another_site_the_browser_asks_once_more(desk):
    """It keeps a Strict cookie back then, and the operator would have to sign in at every link of a chat."""
    said = desk.ask("GET", "/tasks/7", ACCEPT="text/html", SEC_FETCH_SITE="cross-site")

    assert 200 == said.status
    assert '<meta http-equiv="refresh" content="0">' in said.text
    assert "/sign-in" not in said.text


@pytest.mark.parametrize("cookie", ["a=1; {0}; b", "odd@name=x,y; {0}", '{0}; q="x'])
def test_other_cookies_of_the_host_are_passed_over(desk, cookie):
    assert 200 == desk.ask("GET", "/", cookie=cookie.format(desk.cookie("a-viewer"))).status


def test_of_two_cookies_none_is_taken(desk):
    """One of them is somebody else's."""
    own, other = desk.cookie("a-viewer"), desk.cookie("a-admin")

    assert 401 == desk.ask("GET", "/", cookie=f"{own}; {other}").status


def test_head_is_answered_as_get_without_a_body(desk):
    cookie = desk.cookie("a-viewer")
    get, head = desk.ask("GET", "/", cookie=cookie), desk.ask("HEAD", "/", cookie=cookie)

    assert (200, get.headers, "") == (head.status, head.headers, head.text)


def test_a_user_has_only_so_many_sessions(desk):
    cookies = []
    for _ in range(21):
        desk.clock.advance(1)
        cookies.append(desk.cookie("a-viewer"))

    assert 401 == desk.ask("GET", "/", cookie=cookies[0]).status
    assert 200 == desk.ask("GET", "/", cookie=cookies[1]).status


def test_sessions_are_known_to_another_daemon_and_after_a_restart(desk, store):
    cookie = desk.cookie("a-viewer")
    other = Desk(store, ROUTES)

    assert 200 == other.ask("GET", "/", cookie=cookie).status


@pytest.mark.parametrize("change", ["password", "removed"])
def test_a_user_who_is_removed_or_has_a_new_password_is_signed_out(desk, change):
    cookie = desk.cookie("a-viewer")
    if change == "password":
        desk.accounts.set_password("a-viewer", "another few words")
    else:
        desk.accounts.remove_user("a-viewer")

    assert 401 == desk.ask("GET", "/", cookie=cookie).status


def test_another_role_counts_from_the_next_request_on(desk):
    cookie = desk.cookie("a-admin")
    desk.accounts.set_role("a-admin", "viewer")

    assert 403 == desk.ask("GET", "/audit", cookie=cookie).status


@pytest.mark.parametrize("word", ["", "x" * 43, "x" * 5000, "\xff\xfe", '"; DROP', "a=b; c"])
def test_a_cookie_that_is_none_is_a_stranger_s(desk, word):
    assert 401 == desk.ask("GET", "/", cookie=f"{PLAIN_COOKIE}={word}").status


def test_while_the_store_is_away_a_session_goes_on_for_a_while(desk, store, monkeypatch):
    """An operator looks just then; after five minutes nobody can say any more who has been removed."""
    cookie = desk.cookie("a-viewer")
    desk.ask("GET", "/", cookie=cookie)

    def away(*_: object) -> Any:
        raise StoreUnavailable("away")

    monkeypatch.setattr(store, "records", away)
    desk.clock.advance(200)
    first = desk.ask("GET", "/", cookie=cookie).status
    desk.clock.advance(200)

    late = desk.ask("GET", "/", cookie=cookie)

    assert 200 == first
    assert (503, "store_unavailable") == (late.status, late.code)


# signing in


def test_a_wrong_password_and_an_unknown_name_are_one_answer(desk, monkeypatch):
    """And cost the same: scrypt is computed for both."""
    computed: list[int] = []
    derive = desk.passwords._derive
    monkeypatch.setattr(desk.passwords, "_derive", lambda *args: computed.append(1) or derive(*args))
    wrong, unknown = desk.enter("a-viewer", "not the password"), desk.enter("nobody", "not the password")

    assert (403, wrong) == (unknown.status, unknown)
    assert [1, 1] == computed


def test_a_user_without_a_password_cannot_sign_in_by_one(desk):
    desk.accounts.add_user("proxied", "admin", None)

    assert [403, 403] == [desk.enter("proxied", word).status for word in ("", PASSWORD)]


def test_sign_ins_that_fail_have_to_wait_longer_each_time(desk, facts):
    for _ in range(6):
        desk.enter("a-viewer", "wrong")
    refused = desk.enter("a-viewer")
    desk.clock.advance(2)
    let_in = desk.enter("a-viewer")

    assert (429, "throttled") == (refused.status, refused.code)
    assert 303 == let_in.status
    assert ["access.denied"] * 6 + ["access.throttled"] == [
        fact for fact, _ in facts if fact in ("access.denied", "access.throttled")
    ]


def behind_proxy(store: Any) -> Desk:
    made = Desk(store, ROUTES, proxies=(network(PROXY),))
    made.accounts.add_user("anna", "admin", PASSWORD)
    return made


def enter_from(desk: Desk, address: str, password: str = PASSWORD) -> Said:
    how = {"peer": PROXY, "host": "ops.example", "X_FORWARDED_PROTO": "https"}
    return desk.enter("anna", password, **how, X_FORWARDED_FOR=address)


def test_who_tries_passwords_elsewhere_does_not_lock_the_user_out_of_his_usual_place(store):
    """From a thousand addresses, too: a user waits for failures under his name only where he is new."""
    desk = behind_proxy(store)
    enter_from(desk, "198.51.100.7")
    for number in range(200):
        enter_from(desk, f"203.0.113.{number}", "wrong")

    assert 303 == enter_from(desk, "198.51.100.7").status
    assert 429 == enter_from(desk, "203.0.113.250").status


def test_the_usual_place_is_known_after_a_restart(store):
    desk = behind_proxy(store)
    enter_from(desk, "198.51.100.7")
    restarted = Desk(store, ROUTES, proxies=(network(PROXY),))
    for number in range(20):
        enter_from(restarted, f"203.0.113.{number}", "wrong")

    assert 303 == enter_from(restarted, "198.51.100.7").status


def test_one_address_does_not_take_all_places_where_passwords_are_compared(desk, monkeypatch):
    """Others get their turn; a third one at a time is told to wait."""
    inner = []

    def fits(name: str, password: str) -> bool:
        if len(inner) < 3:
            inner.append(None)
            inner.append(desk.enter("a-viewer", "wrong").status)
        return False

    monkeypatch.setattr(desk.accounts, "fits", fits)
    outer = desk.enter("a-viewer", "wrong").status

    assert [403, [403, 429]] == [outer, [one for one in inner if one is not None][::-1]]


def test_who_signs_in_himself_in_between_gains_no_guesses(desk):
    """From the address of his victim, even."""
    desk.enter("a-admin")
    statuses = []
    for _ in range(2):
        statuses += [desk.enter("a-admin", "wrong").status for _ in range(4)]
        statuses.append(desk.enter("a-viewer").status)

    assert [403, 403, 403, 403, 303, 403, 403, 429, 429, 303] == statuses


def test_who_fails_under_one_name_has_to_wait_under_every_other(store):
    desk = behind_proxy(store)
    desk.accounts.add_user("ben", "viewer", PASSWORD)
    for _ in range(6):
        enter_from(desk, "2001:db8:1:2::1", "wrong")
    how = {"peer": PROXY, "host": "ops.example", "X_FORWARDED_PROTO": "https"}

    assert 429 == desk.enter("ben", **how, X_FORWARDED_FOR="2001:db8:1:2::ffff").status
    assert 303 == desk.enter("ben", **how, X_FORWARDED_FOR="2001:db8:1:3::1").status


def test_a_name_that_is_none_of_ours_is_not_told(desk, facts):
    """Somebody may have typed the password there."""
    desk.enter("my secret pass phrase", "x")
    desk.enter("a-viewer", "x")

    assert ["", "a-viewer"] == [fields["name"] for fact, fields in facts if fact == "access.denied"]


def test_another_site_cannot_sign_its_victim_in(desk):
    """As somebody whose session the attacker knows (login CSRF)."""
    assert 403 == desk.enter("a-viewer", ORIGIN="http://evil.example").status


@pytest.mark.parametrize("password", ["", "short", "aaaaaaaaaaaaaaaa", "annaannaannaanna", "x" * 257])
def test_a_password_that_is_easily_guessed_is_refused_and_not_shown(desk, password):
    with pytest.raises(BadFilter) as caught:
        desk.accounts.add_user("anna", "viewer", password)

    assert not password or password not in str(caught.value)


def change(desk: Desk, cookie: str, present: str, new: str) -> Said:
    form = {"csrf_token": csrf(desk, cookie), "password": present, "new": new}
    return desk.ask("POST", "/password", cookie=cookie, form=form, ORIGIN=ORIGIN)


def test_a_user_changes_the_own_password_by_the_present_one(desk):
    """And is signed in again, alone."""
    cookie, other = desk.cookie("a-viewer"), desk.cookie("a-viewer")
    wrong = change(desk, cookie, "wrong", "another few words")
    weak = change(desk, cookie, PASSWORD, "short")
    done = change(desk, cookie, PASSWORD, "another few words")
    fresh = f"{PLAIN_COOKIE}={done.cookies[PLAIN_COOKIE]}"

    assert [403, 400, 303] == [one.status for one in (wrong, weak, done)]
    assert "expected 12 to 256 characters" in weak.text
    assert [401, 401, 200] == [desk.ask("GET", "/", cookie=one).status for one in (cookie, other, fresh)]
    assert [403, 303] == [desk.enter("a-viewer", word).status for word in (PASSWORD, "another few words")]


def test_a_token_changes_no_password(desk):
    _, word = desk.accounts.add_token("ci", "admin")
    said = desk.ask("POST", "/password", form={"new": "x"}, AUTHORIZATION=f"Bearer {word}")

    assert (403, "no_session") == (said.status, said.code)


# links


def test_a_link_signs_in_once(desk):
    word = desk.accounts.add_link()
    looked = desk.ask("GET", f"/link/{word}")
    used = desk.ask("POST", f"/link/{word}", form={}, ORIGIN=ORIGIN)
    again = desk.ask("POST", f"/link/{word}", form={}, ORIGIN=ORIGIN)
    cookie = f"{PLAIN_COOKIE}={used.cookies[PLAIN_COOKIE]}"

    assert [200, 303, 410] == [looked.status, used.status, again.status]
    assert 200 == desk.ask("GET", "/audit", cookie=cookie).status


def test_looking_at_a_link_does_not_use_it_up(desk):
    """Chats and mail filters open every link that they see."""
    word = desk.accounts.add_link("a-viewer")
    for _ in range(3):
        desk.ask("GET", f"/link/{word}")

    assert 303 == desk.ask("POST", f"/link/{word}", form={}, ORIGIN=ORIGIN).status


def test_a_link_of_a_user_gives_his_role_and_ends_with_its_time(desk):
    word, late = desk.accounts.add_link("a-viewer"), desk.accounts.add_link("a-viewer")
    used = desk.ask("POST", f"/link/{word}", form={}, ORIGIN=ORIGIN)
    desk.clock.advance(900)
    cookie = f"{PLAIN_COOKIE}={used.cookies[PLAIN_COOKIE]}"

    assert 403 == desk.ask("GET", "/audit", cookie=cookie).status
    assert 410 == desk.ask("POST", f"/link/{late}", form={}, ORIGIN=ORIGIN).status


def test_of_two_daemons_only_one_takes_a_link(desk, store):
    other = Desk(store, ROUTES)
    word = desk.accounts.add_link()
    assert other.accounts.link_holds(word)
    assert desk.accounts.use_link(word)

    assert None is other.accounts.use_link(word)


# tokens


@pytest.mark.parametrize("role", ["metrics", "viewer", "operator", "admin"])
def test_a_token_may_what_its_role_may_and_needs_no_csrf_token(desk, role):
    """No browser sends it by itself."""
    _, word = desk.accounts.add_token("ci", role)
    level = next(one for one in Role if one.word == role)
    got = {
        (route.method, route.path): desk.ask(
            route.method, route.path.replace("NAME", "7"), AUTHORIZATION=f"Bearer {word}"
        ).status
        for route in ROUTES
    }

    assert got == {
        (route.method, route.path): 403 if level < route.role else 303 if route.method == "POST" else 200
        for route in ROUTES
    }


def test_a_token_in_plain_text_from_another_machine_is_refused(desk, store):
    """It works by https alone, so that nobody sends it otherwise for years."""
    _, word = desk.accounts.add_token("ci", "viewer")
    behind = Desk(store, ROUTES, proxies=(network(PROXY),))
    plain = desk.ask("GET", "/", peer=OTHER, AUTHORIZATION=f"Bearer {word}")
    private = behind.ask("GET", "/", peer=PROXY, X_FORWARDED_PROTO="https", AUTHORIZATION=f"Bearer {word}")

    assert (403, "needs_https") == (plain.status, plain.code)
    assert 200 == private.status


def test_the_hub_turns_while_a_password_is_compared():
    """It is computed in a native thread; inline nothing else would run meanwhile."""
    passwords = Passwords(gevent.get_hub().threadpool.apply, ln=14, r=8, p=1)
    turns: list[int] = []

    def turn() -> None:
        while True:
            turns.append(1)
            gevent.sleep(0)

    turning = gevent.spawn(turn)
    passwords.fits(PASSWORD, "")
    turning.kill()

    assert len(turns) > 1


def test_a_token_that_is_over_or_revoked_lets_nobody_in(desk):
    one, first = desk.accounts.add_token("short", "viewer", 60)
    _, second = desk.accounts.add_token("gone", "viewer")
    before = desk.ask("GET", "/", AUTHORIZATION=f"Bearer {first}").status
    desk.accounts.revoke_token("gone")
    desk.clock.advance(60)
    said = [desk.ask("GET", "/", AUTHORIZATION=f"Bearer {word}") for word in (first, second)]

    assert 200 == before
    assert [(401, "bad_token")] * 2 == [(one.status, one.code) for one in said]
    assert [one.id] == [found.id for found in desk.accounts.tokens()]


@pytest.mark.parametrize("word", ["", "x", "mqb_000000000000_" + "a" * 43, "mqb_zz_a", "mqb_" * 900, "\xff"])
def test_a_token_that_is_none_is_refused(desk, word):
    assert 401 == desk.ask("GET", "/metrics", AUTHORIZATION=f"Bearer {word}").status


def test_a_token_is_revoked_by_its_name_when_one_alone_has_it(desk):
    first, _ = desk.accounts.add_token("ci", "viewer")
    desk.accounts.add_token("ci", "viewer")
    with pytest.raises(BadFilter):
        desk.accounts.revoke_token("ci")
    with pytest.raises(NotFound):
        desk.accounts.revoke_token("nothing")

    assert first == desk.accounts.revoke_token(first.id)


# metrics


def test_this_machine_scrapes_without_a_token(desk):
    """As ever: by loopback, and by a Unix socket, whose file has its mode."""
    assert 200 == desk.ask("GET", "/metrics").status
    assert 200 == desk.ask("GET", "/metrics", peer=None, host="localhost").status


@pytest.mark.parametrize(
    "how",
    [
        {"peer": OTHER},
        {"host": "rebound.example"},
        {"X_FORWARDED_FOR": OTHER},
        {"peer": None, "host": "localhost", "X_FORWARDED_FOR": OTHER},
    ],
)
def test_nobody_else_does(desk, how):
    """Another machine, a page under a name of its own, and whoever comes through a proxy."""
    assert 401 == desk.ask("GET", "/metrics", **how).status


# behind a proxy that signs in


@pytest.fixture
def proxied(store: Any) -> Desk:
    made = Desk(store, ROUTES, header="X-Forwarded-User", proxies=(network(PROXY),))
    made.accounts.add_user("anna", "operator", None)
    DONE.clear()
    return made


def test_a_trusted_proxy_says_who_asks(proxied):
    how = {"X_FORWARDED_USER": "anna", "X_FORWARDED_PROTO": "https", "host": "ops.example"}

    assert 200 == proxied.ask("GET", "/", peer=PROXY, **how).status
    assert 403 == proxied.ask("GET", "/audit", peer=PROXY, **how).status


@pytest.mark.parametrize("peer", [OTHER, "127.0.0.1", "10.0.0.50"])
def test_nobody_else_s_header_is_read(proxied, peer):
    assert 401 == proxied.ask("GET", "/", peer=peer, X_FORWARDED_USER="anna").status


@pytest.mark.parametrize("name", ["ben", "anna,ben", "anna ", "Anna", "\xe9", "a" * 500])
def test_a_user_whom_only_the_proxy_knows_is_not_let_in(proxied, name):
    assert (403, "unknown_user") == (
        (said := proxied.ask("GET", "/", peer=PROXY, X_FORWARDED_USER=name)).status,
        said.code,
    )


def test_a_proxy_s_user_needs_a_csrf_token_as_well(proxied):
    """The proxy adds its header to what another site makes the browser ask."""
    seen = []

    def me(environ):
        seen.append(visitor_of(environ))
        return page("me", "")

    proxied.gate = type(proxied.gate)(
        [Route("GET", "/me", Role.VIEWER, me), *ROUTES],
        proxied.recognition,
        trusted_proxies=(network(PROXY),),
    )
    how = {"X_FORWARDED_USER": "anna", "X_FORWARDED_PROTO": "https", "host": "ops.example", "peer": PROXY}
    proxied.ask("GET", "/me", **how)
    token = seen[0].csrf_token
    statuses = [
        proxied.ask("POST", "/tasks/7/retry", **how, ORIGIN="https://ops.example").status,
        proxied.ask("POST", "/tasks/7/retry", **how, X_CSRF_TOKEN=token).status,
        proxied.ask("POST", "/tasks/7/retry", **how, X_CSRF_TOKEN=token, ORIGIN="http://ops.example").status,
        proxied.ask("POST", "/tasks/7/retry", **how, X_CSRF_TOKEN=token, ORIGIN="https://ops.example").status,
    ]

    assert Way.PROXY is seen[0].way
    assert [403, 403, 403, 303] == statuses


def test_there_is_no_other_sign_in_then(proxied):
    assert 404 == proxied.ask("GET", "/sign-in").status
    assert 401 == proxied.ask("GET", "/", ACCEPT="text/html").status


# the audit


def test_signing_in_and_out_is_in_the_audit(desk):
    cookie = desk.cookie("a-viewer")
    desk.ask("POST", "/sign-out", cookie=cookie, form={"csrf_token": csrf(desk, cookie)}, ORIGIN=ORIGIN)
    told = [(one.who, one.action, one.address, one.role) for _, one in desk.audit.entries(10)]

    assert [
        ("a-viewer", "sign out", "127.0.0.1", "viewer"),
        ("a-viewer", "sign in", "127.0.0.1", "viewer"),
    ] == told


def test_boxes_of_one_name_are_all_given(desk):
    """A form may have several fields of one name; the last is what form_of says."""
    environ = {"monqbus.form": [("id", "1"), ("id", "2")]}

    assert ["1", "2"] == values_of(environ, "id")
    assert {"id": "2"} == form_of(environ)
