"""`when` and `allow_ips` in the file: what is read, over lines too, and each mistake with its caret."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from bus.apps import registry
from bus.apps.registry import Registry, event_handler
from bus.errors import BadDeclaration
from bus.rules import Subject

from .inifile import HOOK, problems, read

pytestmark = pytest.mark.usefixtures("folder")

HANDLER = "[handler:x]\ntopic = t\ncommand = /bin/true\n"


def test_a_rule_is_read_as_it_stands_with_its_quotes():
    """No warning of them: they are the language's."""
    config = read(f'{HOOK}when = body.ref == "refs/heads/main" and header.X-Kind in ("a", \'b\')\n')
    rule = config.hooks["x"].when

    assert () == config.warnings
    assert rule is not None
    assert rule.holds(Subject(body={"ref": "refs/heads/main"}, header={"x-kind": "b"}))
    assert not rule.holds(Subject(body={"ref": "refs/heads/main"}))


def test_a_rule_may_go_on_over_lines():
    """Those that begin like a key are still comparisons."""
    config = read(
        f'{HOOK}when = body.a == 1 and (\n    topic == "x"\n  or hook == "y"\n  ; a comment\n  )\ntopic = t\n'
    )
    hook = config.hooks["x"]

    assert ("t", ()) == (hook.topic, config.warnings)
    assert hook.when is not None
    assert hook.when.holds(Subject(body={"a": 1}, hook="y"))


@pytest.mark.parametrize("text", ["", "when =\n"])
def test_no_rule_is_none(text):
    assert read(HOOK + text).hooks["x"].when is None
    assert read(HANDLER + text).handlers["x"].when is None


MISTAKES = [
    (f"{HOOK}when = body.a = 1\n",
     "4: [hook:x] when: expected an operator at column 8, got '='; write == to compare\n"
     "    body.a = 1\n"
     "           ^"),
    (f"{HOOK}when = body.a == 1 and\n  bdy.b == 2\n",
     "4: [hook:x] when: expected a known name (attribute, body, delivery, header, hook, id, ip, method, "
     "peer, query, sender, topic) at line 2, column 1, got 'bdy'; did you mean body?\n"
     "    bdy.b == 2\n"
     "    ^"),
    (f'{HOOK}when = body.a == "b ; c"\n',
     "4: [hook:x] when: expected a text that ends on its line at column 11, got an open quote; close it "
     "with \"; in the file a comment begins with a space and ;\n"
     "    body.a == \"b\n"
     "              ^"),
    (f'{HOOK}when = header.X-Api-Token == "a"\n',
     "4: [hook:x] when: expected a header or query parameter that is kept, got header.x-api-token; name "
     "another one: those that may hold a secret are never stored, nor are odd names"),
    (f'{HOOK}when = query.key == "a"\n',
     "4: [hook:x] when: expected a header or query parameter that is kept, got query.key; name another one: "
     "those that may hold a secret are never stored, nor are odd names"),
    (f'{HOOK}header = X-Hello\nwhen = header.x-hello == "a"\n',
     "5: [hook:x] when: expected a header that is kept, got x-hello, which carries the proof; name another "
     "one"),
    (f'{HOOK}when = exists(args.0)\n',
     "4: [hook:x] when: expected a known name (attribute, body, delivery, header, hook, id, ip, method, "
     "peer, query, sender, topic) at column 8, got 'args'; a delivery has none; write the rule as `when` of "
     "the handler\n"
     "    exists(args.0)\n"
     "           ^"),
    (f'{HANDLER}when = ip in "10.0.0.0/8"\n',
     "4: [handler:x] when: expected a known name (args, attribute, body, delivery, header, hook, id, kind, "
     "kwargs, query, topic) at column 1, got 'ip'; no stored event has it; write the rule as `when` of the "
     "[hook:NAME]\n"
     "    ip in \"10.0.0.0/8\"\n"
     "    ^"),
    (f"{HOOK}allow_ips = 10.0.0.1/8\n",
     "4: [hook:x] allow_ips: expected addresses or networks, separated by commas, got '10.0.0.1/8'; "
     "write 10.0.0.0/8"),
    (f"{HOOK}allow_ips = 10.0.0.0/8 192.0.2.1\n",
     "4: [hook:x] allow_ips: expected addresses or networks, separated by commas, got "
     "'10.0.0.0/8 192.0.2.1'; write for example 10.0.0.0/8, 2001:db8::/32"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "said"), MISTAKES, ids=[said for _, said in MISTAKES])
def test_a_mistake_is_said_with_its_place_and_remedy(text, said):
    """The line of the rule stands below the sentence, and a caret at the column."""
    assert [f"monqbus.ini:{said}"] == problems(text)


def test_a_wrong_rule_does_not_hide_other_mistakes():
    assert 2 == len(problems(f"{HOOK}when = body.a = 1\nallow_ips = home\n"))


def test_a_single_address_of_ipv6_is_itself_and_a_mapped_network_is_one_of_ipv4():
    """A /32 of IPv6 in its place would let in half of a provider."""
    (one, mapped) = read(f"{HOOK}allow_ips = 2001:db8::1, ::ffff:10.0.0.0/104\n").hooks["x"].allow_ips

    assert [ip_network("2001:db8::1/128"), ip_network("10.0.0.0/8")] == [one, mapped]


def test_a_mapped_network_of_proxies_is_one_of_ipv4():
    """The peers that it is compared with are."""
    proxies = read("[http]\ntrusted_proxies = ::ffff:192.0.2.1\n").http.trusted_proxies

    assert (ip_network("192.0.2.1"),) == proxies


@pytest.mark.parametrize(
    ("http", "allowed", "warned"),
    [
        ("", "192.0.2.1", 1),
        ("", "127.0.0.0/8", 0),
        ("trusted_proxies = 127.0.0.1\n", "192.0.2.1", 0),
        ("listen = [::1]:80\n", "192.0.2.1", 1),
        ("listen = localhost:80\n", "127.0.0.1", 0),
        ("listen = 0.0.0.0:80\n", "192.0.2.1", 0),
        ("listen = unix:/run/monqbus-http.sock\n", "192.0.2.1", 0),
        ("listen = 127.0.0.1:80, unix:/run/monqbus-http.sock\n", "192.0.2.1", 0),
    ],
)
def test_a_list_that_lets_nobody_in_is_warned_of(http, allowed, warned):
    """On this machine alone everybody is the proxy, unless it is named."""
    warnings = read(f"[http]\n{http}{HOOK}allow_ips = {allowed}\n").warnings

    assert warned == len([one for one in warnings if "trusted_proxies names the proxy" in one])


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> Registry:
    made = Registry()
    monkeypatch.setattr(registry, "_registry", made)
    return made


def test_a_rule_of_a_decorator_is_that_of_its_topics(fresh):
    @event_handler("a", "b", name="h", when='body.action == "opened"')
    def handler(topic, event): ...

    assert {"a", "b"} == set(handler.rules)
    assert handler.rules["a"].holds(Subject(body={"action": "opened"}))


@pytest.mark.parametrize(
    ("when", "said"),
    [
        (
            "body.a = 1",
            r"^@event_handler when: expected an operator at column 8, got '='; write == to compare\n",
        ),
        ('ip == "10.0.0.1"', "no stored event has it"),
        ('header.Authorization == "a"', "expected a header or query parameter that is kept"),
        (5, "expected a rule in quotes, got 5"),
        (lambda event: True, "expected a rule in quotes, got <function"),
    ],
)
def test_a_wrong_rule_of_a_decorator_is_refused_where_it_stands(fresh, when, said):
    with pytest.raises(BadDeclaration, match=said):

        @event_handler("a", when=when)
        def handler(topic, event): ...


def test_a_handler_that_is_declared_anew_has_its_new_rule(fresh):
    """A module that was executed again, as a test's fixture does."""

    def declare(when):
        @event_handler("a", name="h", when=when)
        def handler(topic, event): ...

    for when in ("body.a == 1", None):
        declare(when)
    (handler,) = fresh.handlers_of("a")

    assert {} == handler.rules
