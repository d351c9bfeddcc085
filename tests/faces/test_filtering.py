"""Hooks with `allow_ips` and `when`, over real sockets: who is let in, and which deliveries have tasks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bus import networks
from bus.clock import FrozenClock
from bus.config import Hook
from bus.daemon.url_maps import public_urls
from bus.http import Limits, Server, listen_tcp, listen_unix
from bus.model import Event
from bus.rules import OF_A_DELIVERY, compiled
from bus.rules import parser as rules_parser
from bus.strict_json import PIECE_BYTES

from .stranger import Answer, Stranger, ask, chunked, post, serving, told
from .test_webhook import JSON, MAX_BODY, NOW, Office, hook, signed
from .test_webhook import SECRET as GITHUB_SECRET

MAX_LONG = 200 * MAX_BODY
PUSH = b'{"ref": "refs/heads/main", "commits": [{"id": 7}]}'
OTHER = b'{"ref": "refs/heads/other"}'


def rule(text: str) -> rules_parser.Rule:
    return compiled(text, OF_A_DELIVERY)


def nets(*texts: str) -> tuple[networks.Network, ...]:
    return tuple(map(networks.network, texts))


HOOKS = [
    hook("main", "github", GITHUB_SECRET, topic="github.{event}",
         when=rule('body.ref == "refs/heads/main" and header.X-GitHub-Event in ("push", "release")')),
    hook("origin", "none", when=rule('ip == "127.0.0.1" and peer == "127.0.0.1" and method == "POST"')),
    hook("client", "none", when=rule('ip in "198.51.100.0/24"')),
    hook("named", "none", topic="a.{query:t}",
         when=rule('hook == "named" and sender == "none" and topic == "a.x" and exists(id) and '
                   'missing(delivery)')),
    hook("sns", "none", when=rule('body.Type == "Notification"')),
    hook("here", "none", allow_ips=nets("127.0.0.1")),
    hook("mapped", "none", allow_ips=nets("::ffff:127.0.0.0/104")),
    hook("away", "github", GITHUB_SECRET, allow_ips=nets("198.51.100.0/24", "2001:db8::/32")),
    hook("open", "none"),
]  # fmt: skip


class Place(Office):
    """An office whose hooks are these; *trusted* are its proxies."""

    def __init__(self, *trusted: str) -> None:
        super().__init__()
        self.hooks = {one.name: one for one in HOOKS}
        self.tasks = []
        self.trusted = nets(*trusted)

    def app(self) -> Any:
        return public_urls(
            hooks=lambda: self.hooks, publish=self.publish, ready=lambda: None, clock=FrozenClock(NOW),
            max_body=MAX_LONG, trusted_proxies=self.trusted,
        )  # fmt: skip


@pytest.fixture(params=[()], ids=[""])
def place(request: pytest.FixtureRequest) -> Place:
    return Place(*request.param)


@pytest.fixture
def server(place: Place) -> Iterator[Server]:
    with serving(place.app()) as server:
        yield server


def said(answer: Answer) -> tuple[int, bool]:
    return answer.status, answer.json.get("filtered", False)


def stored(place: Place) -> Event:
    (event,) = place.events
    return event


# when


def test_a_delivery_for_which_the_rule_holds_is_accepted_as_any(server, place):
    answer = ask(server.address, post("/hooks/main", PUSH, signed(PUSH)))

    assert (202, False) == said(answer)
    assert not stored(place).is_filtered


def test_one_for_which_it_does_not_is_stored_as_filtered(server, place):
    """202: the sender did nothing wrong and shall not try again; the bytes are kept."""
    answer = ask(server.address, post("/hooks/main", OTHER, signed(OTHER)))

    assert (202, True) == said(answer)
    assert (True, OTHER, "github.push") == (
        stored(place).is_filtered,
        stored(place).body,
        stored(place).topic,
    )


def test_a_forged_one_is_refused_before_the_rule_is_asked(server, place):
    """What nobody has proven is not parsed, and not stored."""
    answer = ask(server.address, post("/hooks/main", OTHER, signed(PUSH)))

    assert 401 == answer.status
    assert [] == place.events


def test_a_body_that_is_no_json_has_nothing_in_it(server, place):
    """A rule about it does not hold; the delivery is verified, and stored."""
    with told() as facts:
        answer = ask(server.address, post("/hooks/main", b"{nope", signed(b"{nope")))

    assert (202, True) == said(answer)
    assert b"{nope" == stored(place).body
    assert "event.unreadable" in [fact for fact, _ in facts]


def test_json_that_says_it_is_text_is_read_for_the_rule(server, place):
    """As Amazon SNS sends it."""
    body = b'{"Type": "Notification"}'
    answer = ask(server.address, post("/hooks/sns", body, {"Content-Type": "text/plain"}))

    assert (202, False) == said(answer)


@pytest.mark.parametrize("field", ["first", "last"])
def test_of_a_long_body_what_the_rule_reads_is_found(server, place, field):
    """Most of it is not kept while it is parsed; lists and objects at a path are, also over many pieces."""
    padding = {"padding": ["x" * 10] * (PIECE_BYTES // 5)}
    wanted = {"tags": [{"n": number} for number in range(100)] + ["yes"]}
    body = json.dumps({**wanted, **padding} if field == "first" else {**padding, **wanted}).encode()
    place.hooks["sns"] = hook("sns", "none", when=rule('"yes" in body.tags and length(body.tags) == 101'))

    assert MAX_LONG > len(body) > PIECE_BYTES
    assert (202, False) == said(ask(server.address, post("/hooks/sns", body, JSON)))


def test_a_long_list_over_many_pieces_is_kept_whole_for_the_rule(server, place):
    body = json.dumps({"tags": ["x" * 10] * (PIECE_BYTES // 5) + ["yes"], "z": 1}).encode()
    place.hooks["sns"] = hook("sns", "none", when=rule('"yes" in body.tags and body.tags.3 == "xxxxxxxxxx"'))

    assert (202, False) == said(ask(server.address, post("/hooks/sns", body, JSON)))


def test_the_names_of_the_request_are_those_of_this_one(server, place):
    assert (202, False) == said(ask(server.address, post("/hooks/origin", PUSH)))
    assert {"ip": "127.0.0.1", "method": "POST"} == stored(place).request
    assert "127.0.0.1" == stored(place).peer


def test_the_other_names_are_those_of_the_event(server, place):
    assert (202, False) == said(ask(server.address, post("/hooks/named?t=x", PUSH)))


def test_an_event_keeps_of_the_request_what_its_rule_reads_and_no_more(server, place):
    """Nobody's address is stored because some other hook asks for it."""
    ask(server.address, post("/hooks/main", OTHER, signed(OTHER)))

    assert {} == stored(place).request


@pytest.mark.parametrize("place", [("127.0.0.1",)], indirect=True)
def test_behind_a_trusted_proxy_the_client_is_the_one_it_names(server, place):
    answers = [
        ask(server.address, post("/hooks/client", PUSH, {"X-Forwarded-For": hops}))
        for hops in ("198.51.100.7", "198.51.100.7, 192.0.2.1", "192.0.2.1, 198.51.100.7")
    ]

    assert [False, True, False] == [answer.json.get("filtered", False) for answer in answers]


def test_a_hook_without_a_rule_keeps_nothing_and_filters_nothing(server, place):
    answer = ask(server.address, post("/hooks/open", OTHER))

    assert (202, False) == said(answer)
    assert ({}, False) == (stored(place).request, stored(place).is_filtered)


# allow_ips


@pytest.mark.parametrize("name", ["here", "mapped"])
def test_an_allowed_address_is_let_in(server, place, name):
    assert 202 == ask(server.address, post(f"/hooks/{name}", PUSH)).status


def test_another_address_is_refused_before_its_body_is_read(server, place):
    """The head is all that was sent, and the answer is there: nothing waits for 30 kB that never come."""
    with told() as facts, Stranger(server.address) as stranger:
        stranger.send(post("/hooks/away", b"", {**signed(PUSH), "Content-Length": "30000"}))
        answer = stranger.answer()

    assert (403, "address_not_allowed") == (answer.status, answer.json["code"])
    assert answer.is_last
    assert [] == place.events
    ((_, refused),) = [one for one in facts if one[0] == "event.refused"]
    assert ("away", "address_not_allowed", "127.0.0.1") == (
        refused["hook"], refused["code"], refused["peer"],
    )  # fmt: skip
    assert "the client is 127.0.0.1" in refused["reason"]
    assert "127.0.0.1" not in answer.body.decode()


def test_it_is_refused_though_it_waits_to_be_told_to_go_on(server, place):
    """No 100 Continue: the first thing it reads is 403."""
    with Stranger(server.address) as stranger:
        stranger.send(post("/hooks/away", b"", {"Content-Length": "5", "Expect": "100-continue"}))

        assert 403 == stranger.answer().status


def test_it_is_refused_though_it_sends_chunks(server, place):
    assert 403 == ask(server.address, chunked("/hooks/away", b"x" * 100)).status


def test_it_is_refused_though_its_proof_is_right(server, place):
    assert 403 == ask(server.address, post("/hooks/away", PUSH, signed(PUSH))).status
    assert [] == place.events


LIES = [
    {"X-Forwarded-For": "198.51.100.7"},
    {"Forwarded": "for=198.51.100.7"},
    {"X-Real-IP": "198.51.100.7"},
    {"X-Client-IP": "198.51.100.7"},
    {"CF-Connecting-IP": "198.51.100.7"},
    {"X_Forwarded_For": "198.51.100.7"},
]


@pytest.mark.parametrize("lie", LIES, ids=lambda one: next(iter(one)))
def test_no_header_of_a_stranger_changes_its_address(server, place, lie):
    assert 403 == ask(server.address, post("/hooks/away", PUSH, {**signed(PUSH), **lie})).status


@pytest.mark.parametrize("place", [("127.0.0.1",)], indirect=True)
@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (["198.51.100.7"], 202),
        (["2001:db8::9"], 202),
        (["[2001:db8::9]:443"], 202),
        (["::ffff:198.51.100.7"], 202),
        (["192.0.2.9"], 403),
        (["198.51.100.7, 192.0.2.9"], 403),
        (["198.51.100.7", "192.0.2.9"], 403),
        (["192.0.2.9", "198.51.100.7"], 202),
        (["192.0.2.9, 198.51.100.7, 127.0.0.1"], 202),
        (["unknown"], 403),
        ([""], 403),
        ([], 403),
    ],
    ids=str,
)
def test_behind_a_trusted_proxy_the_last_address_it_did_not_write_itself_counts(server, place, lines, status):
    """Two lines are one list; what the client wrote in front of it is the client's claim."""
    head, rest = post("/hooks/away", PUSH, signed(PUSH)).split(b"\r\n", 1)
    said = b"".join(f"X-Forwarded-For: {line}\r\n".encode() for line in lines)

    assert status == ask(server.address, head + b"\r\n" + said + rest).status


@pytest.mark.parametrize("place", [("127.0.0.2",)], indirect=True)
def test_a_proxy_is_trusted_by_its_own_address_and_no_other(server, place):
    """The peer of the socket decides whose header is read."""
    delivery = post("/hooks/away", PUSH, {**signed(PUSH), "X-Forwarded-For": "198.51.100.7"})
    answers = []
    for source in ("127.0.0.1", "127.0.0.2"):
        with Stranger(server.address, source=source) as stranger:
            stranger.send(delivery)
            answers.append(stranger.answer().status)

    assert [403, 202] == answers


def test_a_client_of_ipv4_is_known_on_a_socket_for_both_families(place):
    """The kernel names it ::ffff:127.0.0.1 there."""
    server = Server([listen_tcp("::", 0)], place.app(), Limits())
    server.start()
    try:
        address = ("127.0.0.1", server.address[1])
        statuses = [ask(address, post(f"/hooks/{name}", PUSH)).status for name in ("here", "mapped", "away")]
    finally:
        server.stop(0.0)

    assert [202, 202, 403] == statuses


def test_a_refused_address_learns_nothing_else(server, place):
    """Neither that the queue is full nor that the hook has no secret."""
    place.hooks["away"] = Hook(name="away", verify="github", allow_ips=nets("198.51.100.0/24"))

    assert 403 == ask(server.address, post("/hooks/away", PUSH)).status


def test_behind_a_proxy_on_a_unix_socket_the_client_is_the_one_it_names(place, tmp_path):
    """Without a word about it the client is nobody, and no list lets it in."""
    path = tmp_path / "http.sock"
    server = Server([listen_unix(path)], place.app(), Limits())
    server.start()
    try:
        statuses = [
            ask(str(path), post("/hooks/away", PUSH, {**signed(PUSH), **more})).status
            for more in ({}, {"X-Forwarded-For": "192.0.2.1"}, {"X-Forwarded-For": "198.51.100.7"})
        ]
    finally:
        server.stop(0.0)

    assert [403, 403, 202] == statuses


ANY_RULE = (
    'body.a.0 in (1, "x") or "y" in body.a or length(body) > 2 or header.X-Any matches "^[a-z]+$" or '
    'in_network(header.X-Any, "10.0.0.0/8") or number(query.n) > 3 or ip in "::/0" or lower(body.b) == "z"'
)
BODIES = st.binary(max_size=60) | st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=4)
    | st.sampled_from(["x", "y"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner),
    max_leaves=8,
).map(lambda value: json.dumps(value).encode())
TYPES = st.sampled_from(
    ["application/json", "text/plain", "application/x-www-form-urlencoded", "a/b; charset=x"]
)


def test_whatever_is_delivered_a_rule_lets_it_through_or_filters_it(server, place):
    """Bodies, headers and parameters of strangers: 202 in any case, never an error of the rule."""
    place.hooks["any"] = hook("any", "none", when=rule(ANY_RULE))
    seen = set()

    @given(BODIES, TYPES, st.text("az.01:é\xff ", max_size=9), st.text("049.-%e", max_size=6))
    @settings(deadline=None)
    def deliver(body: bytes, content_type: str, header: str, number: str) -> None:
        head = post(f"/hooks/any?n={number}", body, {"Content-Type": content_type})
        head = head.replace(b"\r\n", b"\r\nX-Any: " + header.encode("latin-1") + b"\r\n", 1)
        answer = ask(server.address, head)
        seen.add(place.events[-1].is_filtered)

        assert (202, place.events[-1].is_filtered) == said(answer)

    deliver()
    assert {True, False} == seen
