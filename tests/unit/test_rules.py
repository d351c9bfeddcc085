"""The language of rules: what each operator says of values of each type, and that nothing else can happen."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus import regex, rules
from bus.rules import OF_A_DELIVERY, OF_AN_EVENT, BadRule, Subject, compiled
from bus.rules import conditions as language
from bus.rules.parser import LONGEST_RULE, MOST_NESTED, MOST_PATTERNS

EVERY = OF_A_DELIVERY | OF_AN_EVENT
MISSING = object()
VALUES: dict[str, Any] = {
    "missing": MISSING,
    "null": None,
    "true": True,
    "false": False,
    "zero": 0,
    "one": 1,
    "float": 1.0,
    "half": 0.5,
    "big": 2**63 - 1,
    "empty": "",
    "text": "a",
    "upper": "B",
    "digit": "1",
    "unicode": "ä\U0001f600",
    "list": ["a", 1, True, None, [2]],
    "nothing in it": [],
    "object": {"a": 1},
    "bytes": b"a",
    "nan": math.nan,
}
OPERATORS = ("==", "!=", "<", "<=", ">", ">=", "in", "not in")


def is_true(text: str, **subject: Any) -> bool:
    """What the rule *text* says of a subject with these values."""
    return compiled(text, EVERY).holds(Subject(**subject))


def body(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not MISSING}


# the law, in other words than the code's


def kind(value: Any) -> str:
    for name, types in {"none": type(None), "truth": bool, "number": (int, float), "text": str}.items():
        if isinstance(value, types):
            return name
    return type(value).__name__


def same(left: Any, right: Any) -> bool:
    return kind(left) == kind(right) and kind(left) in {"truth", "number", "text"} and left == right


def oracle(operator: str, left: Any, right: Any) -> bool:
    left, right = (None if value is MISSING else value for value in (left, right))
    if left is None or right is None:
        return False
    if operator == "==":
        return same(left, right)
    if operator == "!=":
        return not same(left, right)
    if operator in ("in", "not in"):
        if isinstance(right, str):
            inside = isinstance(left, str) and right.find(left) >= 0
        else:
            inside = isinstance(right, list) and any(same(left, item) for item in right)
        return inside == (operator == "in")
    if kind(left) != kind(right) or kind(left) not in {"number", "text"}:
        return False
    return {
        "<": left < right,
        "<=": left < right or left == right,
        ">": right < left,
        ">=": right < left or left == right,
    }[operator]


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("left", VALUES)
def test_an_operator_says_of_values_of_every_type_what_the_law_says(operator, left):
    """No type is turned into another one, and nothing is true of none."""
    rule = compiled(f"body.left {operator} body.right", EVERY)
    for right, value in VALUES.items():
        found = rule.holds(Subject(body=body(left=VALUES[left], right=value)))

        assert oracle(operator, VALUES[left], value) is found, (left, operator, right)


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("constant", ['"a"', "1", "0.5", "true", "false", '"1"', '""', '"ä\U0001f600"'])
def test_a_constant_is_compared_as_a_value_of_an_event_is(operator, constant):
    """The quick ways for constants say what the slow one says."""
    if operator.endswith("in") or (operator in "<=>=" and operator != "==" and constant in ("true", "false")):
        constant = f'"{constant}"'.replace('""', '"')
    value = constant.strip('"') if constant.startswith('"') else {"true": True, "false": False}.get(constant)
    value = float(constant) if value is None else value
    rule = compiled(f"body.left {operator} {constant}", EVERY)
    for left, one in VALUES.items():
        assert oracle(operator, one, value) is rule.holds(Subject(body=body(left=one))), (left, constant)


@pytest.mark.parametrize("negated", [False, True])
@pytest.mark.parametrize("items", [["a", "b"], [1, True], ["1", 1.5, False]])
def test_a_list_in_the_rule_holds_what_equals_one_of_its_items(items, negated):
    """Texts alone are looked up at once, other lists item by item."""
    written = ", ".join(f'"{one}"' if isinstance(one, str) else str(one).lower() for one in items)
    operator = "not in" if negated else "in"
    rules_ = [compiled(f"body.left {operator} {form}", EVERY) for form in (f"({written})", f"[{written},]")]
    for one in VALUES.values():
        expected = oracle(operator, one, items)

        assert [expected, expected] == [rule.holds(Subject(body=body(left=one))) for rule in rules_]


TABLE = [
    ("exists(body.x)", {"missing": False, "null": False}, True),
    ("missing(body.x)", {"missing": True, "null": True}, False),
    ("body.x", {"true": True}, False),
    ("not body.x", {"true": False}, True),
    ("not body.x == \"a\"", {"text": False}, True),
    ('startswith(body.x, "")', dict.fromkeys(("empty", "text", "upper", "digit", "unicode"), True), False),
    ('startswith(body.x, "ä")', {"unicode": True}, False),
    ('endswith(body.x, "\U0001f600")', {"unicode": True}, False),
    ('contains(body.x, "a")', {"text": True, "list": True}, False),
    ("contains(body.x, 1)", {"list": True}, False),
    ("contains(body.x, true)", {"list": True}, False),
    ("contains(body.x, false)", {}, False),
    ('lower(body.x) == "b"', {"upper": True}, False),
    ("number(body.x) == 1", {"one": True, "float": True, "digit": True}, False),
    ("number(body.x) < 1", {"zero": True, "half": True}, False),
    ("length(body.x) == 1", {"text": True, "upper": True, "digit": True, "object": True}, False),
    ("length(body.x) > 1", {"list": True, "unicode": True}, False),
    ('body.x matches "^[a-z]$"', {"text": True}, False),
    ('body.x not matches "^[a-z]$"', {"missing": False, "null": False, "text": False}, True),
    ('in_network(body.x, "0.0.0.0/0", "::/0")', {}, False),
]  # fmt: skip


@pytest.mark.parametrize(("text", "said", "otherwise"), TABLE, ids=[row[0] for row in TABLE])
def test_a_function_says_something_of_values_of_every_type(text, said, otherwise):
    """Of those that it is not for it says the same as of anything else, and never raises."""
    rule = compiled(text, EVERY)
    found = {name: rule.holds(Subject(body=body(x=value))) for name, value in VALUES.items()}

    assert dict.fromkeys(VALUES, otherwise) | said == found


NUMBERS = {"7": 7, "-7": -7, " 7 ": 7, "7.5": 7.5, "1e3": 1000.0, "0x7": None, "1_0": None, "": None,
           "nan": None, "inf": None, "-Infinity": None, "\u0667": None, "1" * 41: None}  # fmt: skip


@pytest.mark.parametrize("text", NUMBERS)
def test_a_text_is_a_number_where_it_is_one_in_ascii(text):
    """Neither NaN nor infinity, which no JSON has; none of Python's own ways to write one."""
    found = language.number(text)

    assert (NUMBERS[text], type(NUMBERS[text])) == (found, type(found))


# paths

DEEP = {"a": [{"b": "x", "0": "key"}, 2], "odd name": {"a.b": 1}, "ключ": True, "a-b": 3}
PATHS = [
    ('body.a.0.b == "x"', True),
    ('body.a[0].b == "x"', True),
    ('body["a"][0]["b"] == "x"', True),
    ('body.a.0.0 == "key"', True),
    ("body.a.1 == 2", True),
    ("exists(body.a.2)", False),
    ("exists(body.a.999999999999)", False),
    ("exists(body.a.b)", False),
    ("exists(body.a.1.x)", False),
    ('body["odd name"]["a.b"] == 1', True),
    ("exists(body.odd.a.b)", False),
    ('body["ключ"]', True),
    ("body.a-b == 3", True),
    ("length(body) == 4", True),
    ("exists(body)", True),
    ("exists(body.__class__)", False),
    ("exists(body.a.__len__)", False),
    ("exists(body.keys)", False),
]


@pytest.mark.parametrize(("text", "expected"), PATHS, ids=[text for text, _ in PATHS])
def test_a_path_leads_through_objects_and_lists_and_nowhere_else(text, expected):
    """No attribute of Python is reached; what leads nowhere is none."""
    assert expected is is_true(text, body=DEEP)


@pytest.mark.parametrize("value", [None, True, 5, "abc", [], ["a"], b"x"])
def test_a_path_into_what_is_no_object_is_none(value):
    assert is_true("missing(body.a.b) and missing(body.a)", body=value)


@pytest.mark.parametrize("name", ["X-GitHub-Event", "x-github-event", "X-GITHUB-EVENT"])
def test_a_header_is_found_whatever_its_case(name):
    assert is_true(f'header.{name} == "push"', header={"x-github-event": "push"})
    assert is_true(f'header["{name}"] == "push"', header={"x-github-event": "push"})


def test_a_parameter_is_found_in_its_own_case():
    assert is_true('query.Team == "a" and missing(query.team)', query={"Team": "a"})


@pytest.mark.parametrize(
    "name", ["topic", "hook", "sender", "method", "ip", "peer", "id", "delivery", "kind"]
)
def test_every_plain_name_is_a_text_that_may_be_missing(name):
    value = "10.0.0.1" if name in ("ip", "peer") else "v"

    assert is_true(f'{name} == "{value}"', **{name: value})
    assert is_true(f"missing({name})")


def test_arguments_of_a_published_event_are_read():
    given = {"args": [42, {"x": "y"}], "kwargs": {"who": "bob"}}

    assert is_true('args.0 == 42 and args.1.x == "y" and kwargs.who == "bob" and missing(args.2)', **given)


ADDRESSES = [
    ('ip in "10.0.0.0/8"', "10.255.0.1", True),
    ('ip in "10.0.0.0/8"', "11.0.0.1", False),
    ('ip in "::ffff:10.0.0.0/104"', "10.255.0.1", True),
    ('ip in ("192.0.2.1", "2001:db8::/32")', "192.0.2.1", True),
    ('ip in ("192.0.2.1", "2001:db8::/32")', "192.0.2.2", False),
    ('ip in ("192.0.2.1", "2001:db8::/32")', "2001:db8:ffff::1", True),
    ('ip in "2001:db8::1"', "2001:db8::2", False),
    ('ip in "::/0"', "10.0.0.1", False),
    ('ip in "0.0.0.0/0"', "2001:db8::1", False),
    ('ip not in "10.0.0.0/8"', "11.0.0.1", True),
    ('ip not in "10.0.0.0/8"', None, False),
    ('not (ip in "10.0.0.0/8")', None, True),
    ('ip == "2001:DB8:0::1"', "2001:db8::1", True),
    ('ip == "::ffff:10.0.0.1"', "10.0.0.1", True),
    ('ip != "10.0.0.1"', "10.0.0.2", True),
]


@pytest.mark.parametrize(("text", "ip", "expected"), ADDRESSES)
def test_an_address_is_compared_as_an_address(text, ip, expected):
    """A single address is itself, not the half of the net, and a mapped one is the IPv4 one."""
    assert expected is is_true(text, ip=ip)


def test_an_address_that_an_event_names_is_looked_for_in_networks():
    text = 'in_network(body.client, "10.0.0.0/8", "2001:db8::/32")'

    assert [True, True, False, False] == [
        is_true(text, body={"client": one}) for one in ("10.1.1.1", "2001:db8::1", "10.1.1", 7)
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("true or false and false", True),
        ("(true or false) and false", False),
        ("not true or true", True),
        ("not (true or true)", False),
        ("not not true", True),
        ("true and true and true and false", False),
        ("false or false or false or true", True),
        ("true\nand\r\n\ttrue", True),
        ('"a" in "ab" and "\\"" == "\\"" and \'\\\\\' == "\\\\"', True),
        ('body.x matches "^a\\.b$"', True),
    ],
)
def test_and_or_not_bind_as_everywhere(text, expected):
    assert expected is is_true(text, body={"x": "a.b"})


# mistakes

MISTAKES = [
    ("", 1, "a value", "the end of the rule"),
    ("body.a = 1", 8, "an operator", "'='"),
    ("body.a === 1", 8, "an operator", "'==='"),
    ("body.a && body.b", 8, "an operator", "'&&'"),
    ("! body.a", 1, "an operator", "'!'"),
    ("body.a == null", 11, "a value", "'null'"),
    ("body.a == ", 11, "a value", "the end of the rule"),
    ("bdy.a == 1", 1, "a known name", "'bdy'"),
    ('body.a == "b', 11, "a text that ends on its line", "an open quote"),
    ('body.a == "b\n"', 11, "a text that ends on its line", "an open quote"),
    ("body. == 1", 7, "a name or a number behind .", "'=='"),
    ("body[a] == 1", 6, "a text in quotes or a whole number in [ ]", "'a'"),
    ("body[-1] == 1", 6, "a text in quotes or a whole number in [ ]", "'-1'"),
    ("header == 1", 1, "one name behind header", "'header'"),
    ("header.A.B == 1", 1, "one name behind header", "'header'"),
    ('topic.a == "b"', 1, "nothing behind topic", "'topic'"),
    ("header.A == 5", 13, "a text, which header is", "'5'"),
    ("topic in (1, 2)", 11, "a text, which topic is", "'1'"),
    ("body.a < true", 10, "a number or a text beside <", "'true'"),
    ('"a"', 1, "a condition", "the value '\"a\"'"),
    ("header.A", 1, "a condition", "the value 'header'"),
    ("lower(body.a)", 1, "a condition", "the value 'lower'"),
    ("1 < body.a < 2", 12, "and, or, or the end of the rule", "'<'"),
    ("(body.a == 1) == true", 1, "a value", "a condition"),
    ("body.a not 5", 12, "in or matches behind not", "'5'"),
    ("(body.a == 1", 13, "')'", "the end of the rule"),
    ("body.a in ()", 12, "a value", "')'"),
    ("body.a in (1", 13, "')'", "the end of the rule"),
    ("body.a in [1)", 13, "']'", "')'"),
    ("body.a matches body.b", 16, "a regular expression in quotes behind matches", "'body'"),
    ('body.a matches "(?=a)"', 16, "a regular expression of RE2", "'\"(?=a)\"': "),
    ('ip in "10.0.0.1/8"', 7, "a network or an address, in quotes", "'\"10.0.0.1/8\"'"),
    ('ip in "fe80::%1/64"', 7, "a network or an address, in quotes", "'\"fe80::%1/64\"'"),
    ("ip in body.nets", 7, "a network or an address, in quotes", "'body'"),
    ('ip in ("10.0.0.0/8", 5)', 22, "a network or an address, in quotes", "'5'"),
    ('ip == "home"', 7, "an address", "'\"home\"'"),
    ('in_network(ip, "x")', 16, "a network or an address, in quotes", "'\"x\"'"),
    ("system(body.a)", 1, "a known function", "'system'"),
    ("startswith(body.a)", 1, "2 values in startswith(...)", "1"),
    ("exists(5)", 8, "a name in exists(...)", "'5'"),
    ("body.a == 99999999999999999999", 11, "a whole number of 64 bits", "'99999999999999999999'"),
    ("body.a == 999999999999999999999", 11, "a number of at most 20 characters", "21"),
    ("body.a == 1e999", 11, "a number that a float holds", "'1e999'"),
    ("body.a ; body.b", 8, "an operator, a name or a value", "';'"),
    ("body.a.__class__.__mro__ == 1 and __import__", 35, "a known name", "'__import__'"),
    ("true\nand tru", 5, "a known name", "'tru'"),
]


@pytest.mark.parametrize(("text", "column", "expected", "got"), MISTAKES, ids=[row[0] for row in MISTAKES])
def test_a_mistake_is_said_with_its_column(text, column, expected, got):
    """What was expected, what stands there, what to do, and a caret below it."""
    with pytest.raises(BadRule) as caught:
        compiled(text, EVERY)
    error = caught.value

    assert column == error.column
    assert error.expected.startswith(expected)
    assert error.got.startswith(got)
    assert error.remedy
    assert 4 + column - 1 == error.caret.split("\n")[1].index("^")


def test_a_caret_below_a_long_line_is_near():
    with pytest.raises(BadRule) as caught:
        compiled("true and " * 100 + "x", EVERY)

    assert 901 == caught.value.column
    assert max(map(len, caught.value.caret.split("\n"))) <= 104


# bounds, counted


def nested(levels: int) -> str:
    return "(" * levels + "true" + ")" * levels


@pytest.mark.parametrize(
    "make", [nested, lambda n: "not " * n + "true", lambda n: nested(n - 1).join(["not ", ""])]
)
def test_a_rule_is_nested_so_deep_and_no_deeper(make):
    """The parser calls itself no further."""
    compiled(make(MOST_NESTED), EVERY)
    with pytest.raises(BadRule, match="levels"):
        compiled(make(MOST_NESTED + 1), EVERY)


def test_calls_nested_in_calls_are_counted_too():
    with pytest.raises(BadRule, match="levels"):
        compiled("lower(" * 40 + "body.a" + ")" * 40 + ' == "a"', EVERY)


def test_a_rule_is_so_long_and_no_longer():
    compiled(f"{'true'.ljust(LONGEST_RULE)}", EVERY)
    with pytest.raises(BadRule, match=f"at most {LONGEST_RULE} characters"):
        compiled(f"{'true'.ljust(LONGEST_RULE + 1)}", EVERY)


def test_a_rule_has_so_many_patterns_and_no_more():
    one = 'body.a matches "b"'
    compiled(" or ".join([one] * MOST_PATTERNS), EVERY)
    with pytest.raises(BadRule, match=f"at most {MOST_PATTERNS} regular expressions"):
        compiled(" or ".join([one] * (MOST_PATTERNS + 1)), EVERY)


def test_a_path_has_so_many_steps_and_no_more():
    compiled(f"exists(body{'.a' * 16})", EVERY)
    with pytest.raises(BadRule, match="at most 16 steps"):
        compiled(f"exists(body{'.a' * 17})", EVERY)


def test_a_pattern_that_takes_too_much_is_refused_when_it_is_read():
    with pytest.raises(BadRule, match="regular expression of RE2"):
        compiled('body.a matches "((a{100}){100}){100}"', EVERY)


@pytest.mark.parametrize("item", ["a", 7, False])
def test_of_a_long_list_so_many_items_are_looked_at(item):
    most = language.MOST_ITEMS
    written = f'"{item}"' if item == "a" else str(item).lower()

    assert is_true(f"{written} in body.l", body={"l": ["x"] * (most - 1) + [item]})
    assert not is_true(f"{written} in body.l", body={"l": ["x"] * most + [item]})


def test_of_a_long_text_so_many_characters_are_searched_and_lowered():
    longest = regex.LONGEST_SEARCHED

    assert is_true('body.t matches "z"', body={"t": "a" * (longest - 1) + "z"})
    assert not is_true('body.t matches "z"', body={"t": "a" * longest + "z"})
    assert is_true('"z" in body.t', body={"t": "a" * (longest - 1) + "z"})
    assert not is_true('"z" in body.t or contains(body.t, "z")', body={"t": "a" * longest + "z"})
    assert is_true("exists(body.t) and length(lower(body.t)) > 0", body={"t": "A" * longest})
    assert not is_true("length(lower(body.t)) > 0", body={"t": "A" * (longest + 1)})


def test_what_is_decided_is_not_asked_further():
    """And stops at the first false, or at the first true."""
    asked: list[str] = []

    class Watched(dict):  # type: ignore[type-arg]
        def get(self, key: str, default: Any = None) -> Any:
            asked.append(key)
            return super().get(key, default)

    header = Watched({"a": "1"})
    holds = compiled('header.b == "1" and header.c == "1" or header.a == "1" or header.d == "1"', EVERY).holds

    assert holds(Subject(header=header))
    assert ["b", "a"] == asked


# nothing but a mistake can come of a text, and nothing but true or false of a rule

WORDS = [
    "body", "header", "query", "args", "topic", "ip", "kind", ".", "[", "]", "(", ")", ",", "and", "or",
    "not", "in", "matches", "==", "!=", "<", ">=", "=", "true", "null", "0", "-1", "1.5", '"a"',
    "'10.0.0.0/8'", '"[a-z]+"', '"("', "exists", "startswith", "lower", "in_network", "length", "number", "a",
    "X-Y", "__class__", "\n", " ", "\\", '"', "é",
]  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | st.text(max_size=8)
    | st.sampled_from(["a", "1", "10.0.0.1", b"x"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["a", "b", "0"]), inner),
    max_leaves=12,
)  # fmt: skip
TEXTS = st.dictionaries(st.sampled_from(["a", "x-y", "b"]), st.text(max_size=6))
SUBJECTS = st.builds(
    Subject, JSON, TEXTS, TEXTS, st.lists(JSON, max_size=2), st.dictionaries(st.sampled_from("ab"), JSON),
    *[st.none() | st.text(max_size=6) | st.just("10.0.0.1")] * 9,
)  # fmt: skip


@given(text=st.text(max_size=60) | st.lists(st.sampled_from(WORDS), max_size=30).map(" ".join))
def test_of_any_text_comes_a_rule_or_a_mistake(text):
    """Never another error; the mistake has its place in the text."""
    try:
        rule = compiled(text, EVERY)
    except BadRule as error:
        assert 1 <= error.line <= text.count("\n") + 1
        assert str(error)
        assert "^" in error.caret
    else:
        assert rule.text == text


PATHS_ = st.sampled_from(
    [
        "body",
        "body.a",
        "body.a.0",
        'body["b"].a',
        "header.a",
        "query.b",
        "args.0",
        "kwargs.a",
        "topic",
        "id",
        "kind",
    ]
)
LITERALS = st.sampled_from(['"a"', '"1"', "1", "-0.5", "true", '"10.0.0.1"', '"ä"'])
TWO_TEXTS = st.sampled_from(["startswith", "endswith", "contains"])
ORDERS = st.sampled_from(["<", "=="])
NETS = st.sampled_from(['"10.0.0.0/8"', '("::1",)'])
MADE = st.recursive(
    st.builds("{} {} {}".format, PATHS_, st.sampled_from(OPERATORS), PATHS_ | LITERALS)
    | st.builds("{} in ({}, {})".format, PATHS_, LITERALS, LITERALS)
    | st.builds('{} matches "{}"'.format, PATHS_, st.sampled_from(["^a", "[0-9]+", "(a|b)*$", "\\d"]))
    | st.builds("{}({})".format, st.sampled_from(["exists", "missing"]), PATHS_)
    | st.builds("{}({}, {})".format, TWO_TEXTS, PATHS_, LITERALS)
    | st.builds("{}({}) {} 1".format, st.sampled_from(["length", "number", "lower"]), PATHS_, ORDERS)
    | st.builds('in_network({}, "10.0.0.0/8", "::/0")'.format, PATHS_)
    | st.builds("ip {} {}".format, st.sampled_from(["in", "not in"]), NETS),
    lambda inner: st.builds("({}) {} ({})".format, inner, st.sampled_from(["and", "or"]), inner)
    | st.builds("not ({})".format, inner),
    max_leaves=6,
)  # fmt: skip


@given(text=MADE, subject=SUBJECTS)
def test_a_rule_says_true_or_false_of_anything(text, subject):
    """Whatever stands in an event: no error, no third answer, and the opposite is the opposite."""
    try:
        rule = compiled(text, EVERY)
    except BadRule:  # it compares a text with a number
        return
    said = rule.holds(subject)

    assert isinstance(said, bool)
    assert (not said) is compiled(f"not ({text})", EVERY).holds(subject)


@given(left=JSON, right=JSON, operator=st.sampled_from(OPERATORS))
def test_the_law_holds_for_any_two_values(left, right, operator):
    rule = compiled(f"args.0 {operator} args.1", EVERY)

    assert oracle(operator, left, right) is rule.holds(Subject(args=[left, right]))


def test_a_rule_says_what_it_reads():
    """By which the loader asks for what an event keeps, and a long body is parsed for this alone."""
    text = 'body.a.0 == 1 and "x" in body.tags and body["a.b"].c and header.X-Y == ""'
    text += ' and query.q == "" and ip == "::"'
    rule = compiled(text, OF_A_DELIVERY)

    assert {"body", "header", "query", "ip"} == rule.names
    assert ("*", "a.0.*", "tags.*") == rule.body_paths
    assert ({"x-y"}, {"q"}) == (rule.headers, rule.parameters)


@pytest.mark.parametrize("name", sorted(OF_A_DELIVERY - OF_AN_EVENT))
def test_a_handler_is_told_what_only_a_request_has(name):
    """It would be none for every stored event."""
    with pytest.raises(
        BadRule, match=r"no stored event has it; write the rule as `when` of the \[hook:NAME\]"
    ):
        compiled(f'{name} == "a"', OF_AN_EVENT)


@pytest.mark.parametrize("name", sorted(OF_AN_EVENT - OF_A_DELIVERY))
def test_a_hook_is_told_what_no_delivery_has(name):
    with pytest.raises(BadRule, match="a delivery has none"):
        compiled(f"exists({name})", OF_A_DELIVERY)


def test_everything_public_of_the_room_is_there():
    assert set(rules.__all__) <= set(dir(rules))
