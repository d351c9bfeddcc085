"""JSON from strangers: what is not plain is refused, in linear time, with the place."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from unittest.mock import patch
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus import strict_json
from bus.strict_json import ALL, BadJson, at_path, parse, text_in

ROOT = Path(__file__).parents[2]
PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
    max_leaves=20,
)

HOSTILE = [
    ("UTF-16", '{"a": 1}'.encode("utf-16"), "expected UTF-8, got byte 0xff at 0"),
    ("UTF-16 without a mark", '{"a": 1}'.encode("utf-16-le"), "not JSON"),
    ("UTF-32", '{"a": 1}'.encode("utf-32-be"), "not JSON"),
    ("bad UTF-8", b'["\xff"]', "expected UTF-8, got byte 0xff at 2"),
    ("overlong UTF-8", b'"\xc0\xaf"', "expected UTF-8"),
    ("surrogate in UTF-8", b'"\xed\xa0\x80"', "expected UTF-8"),
    ("empty", b"", "not JSON, Expecting value at line 1 column 1"),
    ("two values", b"1 2", "Extra data"),
    ("trailing comma", b"[1,]", "not JSON"),
    ("comment", b"[1] // one", "Extra data"),
    ("single quotes", b"{'a': 1}", "not JSON"),
    ("raw control character", b'"\n"', "Invalid control character"),
    ("leading zero", b"01", "Extra data"),
    ("NaN", b"NaN", "NaN is not JSON"),
    ("infinity", b"[Infinity]", "Infinity is not JSON"),
    ("minus infinity", b'{"a": -Infinity}', "-Infinity is not JSON"),
    ("float overflow", b"1e999", "number 1e999 is too large for a float"),
    ("negative float overflow", b"[-1e999]", "number -1e999 is too large for a float"),
    ("65 bits", b"9223372036854775808", "too large for 64 bits"),
    ("65 bits below zero", b"[-9223372036854775809]", "too large for 64 bits"),
    ("5,000 digits", b"9" * 5000, "too large for 64 bits"),
    ("5,000 digits in a list", b"[-" + b"9" * 5000 + b"]", "too large for 64 bits"),
    ("key twice", b'{"a": 1, "b": 2, "a": 3}', "key 'a' stands twice in one object"),
    ("key twice, escaped", b'{"a": 1, "\\u0061": 2}', "key 'a' stands twice in one object"),
    ("key twice, deep", b'[{"x": {"a": 1, "a": 1}}]', "stands twice"),
    ("lone high surrogate", b'"\\ud800"', "lone surrogate"),
    ("lone low surrogate", b'{"a": ["\\uDC00"]}', "lone surrogate"),
    ("surrogate as key", b'{"\\uDfff": 1}', "lone surrogate"),
    ("surrogates in the wrong order", b'"\\udc00\\ud800"', "lone surrogate"),
    ("65 levels", b"[" * 65 + b"]" * 65, "nested deeper than 64 levels"),
    ("65 levels of objects", b'{"a":' * 65 + b"1" + b"}" * 65, "nested deeper than 64 levels"),
    ("100,000 levels", b"[" * 100_000, "nested deeper than 64 levels"),
    ("levels after a string of brackets", b'["]]]]",' * 65 + b"1" + b"]" * 65, "nested deeper than 64"),
    ("10,001 keys", json.dumps({str(n): n for n in range(10_001)}).encode(), "more than 10000 keys"),
]


@pytest.mark.parametrize(
    ("body", "reason"), [case[1:] for case in HOSTILE], ids=[case[0] for case in HOSTILE]
)
def test_hostile_json_is_refused(body, reason):
    with pytest.raises(BadJson) as caught:
        parse(body)

    assert reason in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b"\xef\xbb\xbf{}", {}),
        (b" [1, 2.5, -0, true, null] ", [1, 2.5, 0, True, None]),
        (b"-9223372036854775808", -(2**63)),
        (b"9223372036854775807", 2**63 - 1),
        (b'"\\ud83d\\ude00"', "\U0001f600"),
        (b'["\\\\ud800"]', ["\\ud800"]),
        (b'"\\u0000"', "\0"),
        (b'{"a": {"a": 1}}', {"a": {"a": 1}}),
        (b'{"": 1, "a.b": 2, "$x": 3}', {"": 1, "a.b": 2, "$x": 3}),
        (b'["' + b"[" * 1000 + b'", "\\"[", {}]', ["[" * 1000, '"[', {}]),
        (b"[" * 64 + b"]" * 64, json.loads("[" * 64 + "]" * 64)),
        (json.dumps({str(n): n for n in range(10_000)}).encode(), {str(n): n for n in range(10_000)}),
    ],
    ids=lambda part: repr(part)[:30],
)
def test_plain_json_at_the_limits_is_read(body, value):
    assert value == parse(body)


@given(value=PLAIN, ascii_only=st.booleans())
def test_plain_json_is_read_as_the_standard_library_reads_it(value, ascii_only):
    body = json.dumps(value, ensure_ascii=ascii_only).encode()

    assert json.loads(body) == parse(body)


@given(st.binary(max_size=200) | st.text('[]{}",:\\u0189dfDe.+-NaItrsl ', max_size=60).map(str.encode))
def test_any_bytes_are_either_plain_json_or_refused(body):
    """No other error leaves the parser, and nothing is accepted that the standard library refuses."""
    try:
        value = parse(body)
    except BadJson:
        return

    assert json.loads(body) == value


def test_a_megabyte_of_quotes_that_never_close_is_refused_at_once():
    """Each could be the beginning of a string: tried one by one they take an hour, and nothing else runs."""
    hostile = "b'[' * 65 + b'\"' + b'\\\\\"' * 500_000"
    code = (
        f"from bus.strict_json import BadJson, parse\ntry: parse({hostile})\nexcept BadJson: print('refused')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )

    assert "refused\n" == done.stdout


@pytest.mark.parametrize("end", [b"", b"\\", b'"', b'\\"', b"\\\\"])
def test_levels_are_counted_up_to_a_string_that_never_closes(end):
    """What stands in it is no level, however it ends."""
    with pytest.raises(BadJson) as caught:
        parse(b"[" * 60 + b'"' + b"[" * 60 + end)

    assert "nested" not in str(caught.value)


def test_the_key_that_stands_twice_is_named():
    body = b"{" + b", ".join(b'"%d": 1' % (number % 9_999) for number in range(10_000)) + b"}"

    with pytest.raises(BadJson, match="key '0' stands twice"):
        parse(body)


def test_a_megabyte_of_brackets_in_text_is_read_at_once():
    """The scanner that counts levels leaves strings out, quotes and backslashes inside them, too."""
    text = '[{\\"' * 200_000

    assert [text] == parse(json.dumps([text]).encode())


# long texts, in pieces


@pytest.fixture
def short_pieces(monkeypatch):
    """Texts of these tests are long."""

    def shorten(count):
        monkeypatch.setattr(strict_json, "PIECE_BYTES", count)

    return shorten


SIZES = [1, 2, 3, 5, 8, 13, 40]
TANGLED = st.recursive(
    st.sampled_from([None, True, -2.5, "", "a,b", "[{", "]}", '"', "\\", '\\"', "ä\U0001f600", "x" * 30]),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.sampled_from(["a", "b,", "]", '"}', "\\", "é", ""]), inner, max_size=5)
    ),
    max_leaves=30,
)
DAMAGE = [
    b"",
    b",",
    b"[",
    b"]",
    b"{",
    b"}",
    b'"',
    b"\\",
    b"\\ud800",
    b"\\ud83d\\ude00",
    b":",
    b"1",
    b" ",
    b"\xff",
]


def outcome(body, count, **options):
    """The value, or that there is none."""
    was, strict_json.PIECE_BYTES = strict_json.PIECE_BYTES, count
    try:
        return [parse(body, **options)]
    except BadJson:
        return "refused"
    finally:
        strict_json.PIECE_BYTES = was


@given(TANGLED, st.sampled_from(SIZES), st.booleans(), st.sampled_from([None, 1]))
def test_a_long_text_is_read_as_a_short_one(value, count, ascii_only, indent):
    """However it is cut, what comes out is what the whole is."""
    body = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()

    assert [value] == outcome(body, count)


@given(
    TANGLED,
    st.sampled_from(SIZES),
    st.lists(
        st.tuples(st.integers(0, 10_000), st.integers(0, 3), st.sampled_from(DAMAGE)), min_size=1, max_size=3
    ),
)
def test_a_long_text_is_refused_when_a_short_one_is(value, count, damages):
    """A cut hides no mistake: not the comma too many in front of it, nor the key that stood before it."""
    body = json.dumps(value).encode()
    for place, lost, found in damages:
        at = place % (len(body) + 1)
        body = body[:at] + found + body[at + lost :]

    assert outcome(body, 1_000_000) == outcome(body, count)


@given(
    TANGLED,
    st.sampled_from(SIZES),
    st.lists(st.sampled_from(["0", "1", "2", "a", "]", ""]), min_size=1, max_size=4),
)
def test_what_a_topic_needs_is_kept_of_a_long_text(value, count, steps):
    """And nothing else: `only` names the paths."""
    path = ".".join(steps)
    (thin,) = outcome(json.dumps(value).encode(), count, only=[path, "b,"])

    assert at_path(value, path) == at_path(thin, path)
    assert at_path(value, "b,") == at_path(thin, "b,")


@given(
    TANGLED,
    st.sampled_from(SIZES),
    st.lists(st.sampled_from(["0", "1", "2", "a", "]", ""]), min_size=1, max_size=4),
)
def test_what_a_rule_needs_is_kept_with_all_that_is_below_it(value, count, steps):
    """An object or list at a path that ends in `ALL` is whole, however many pieces it came in."""
    (thin,) = outcome(json.dumps(value).encode(), count, only=[".".join([*steps, ALL]), "b,"])
    for step in steps:
        value, thin = (
            one.get(step)
            if isinstance(one, dict)
            else one[int(step)]
            if isinstance(one, list) and step.isdecimal() and int(step) < len(one)
            else None
            for one in (value, thin)
        )

    assert value == thin


@given(TANGLED, st.sampled_from(SIZES))
def test_a_rule_that_reads_the_whole_body_has_it(value, count):
    assert [value] == outcome(json.dumps(value).encode(), count, only=[ALL, "b,"])


@pytest.mark.parametrize("count", SIZES)
@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"a": 1,\n "b": 2, "a": 3}', "key 'a' stands twice"),
        (b"[1,\n [2, 3,, 4]]", "Expecting value at line 2 column 8"),
        (b"[[1, 2], [3]] , 4", "Extra data at line 1 column 15"),
        (b"[ [ ,1]]", "Expecting value at line 1 column 5"),
        (b'["\xc3\xa4", 1 2]', "Expecting ',' delimiter at line 1 column 9"),
        (b'["a", "b", "\xff"]', "expected UTF-8, got byte 0xff at 12"),
        (b'["a", "b", "\\ud800"]', "lone surrogate"),
        (b"[1," * 65 + b"1" + b"]" * 65, "nested deeper than 64 levels"),
        (b"[1, 2", "Expecting ',' delimiter at line 1 column 6"),
    ],
)
def test_a_mistake_in_a_long_text_is_named_with_its_place(short_pieces, count, body, reason):
    short_pieces(count)

    with pytest.raises(BadJson) as caught:
        parse(body)

    assert reason in str(caught.value)


def test_keys_are_counted_over_all_pieces():
    """10,000 in one object, wherever it is cut."""
    full = {str(number): "x" * 20 for number in range(10_000)}
    body = json.dumps(full).encode()
    assert full == parse(body)

    with pytest.raises(BadJson, match="more than 10000 keys"):
        parse(body[:-1] + b', "y": 1}')


def test_between_two_pieces_there_is_a_pause_and_a_piece_is_short(monkeypatch):
    """Python's parser holds the interpreter until it is done: it never gets more than a piece."""
    given_to_it, pauses = [], []
    decoder = copy.copy(strict_json._DECODER)
    monkeypatch.setattr(
        strict_json,
        "_DECODER",
        type("Spy", (), {"decode": lambda _, text: given_to_it.append(len(text)) or decoder.decode(text)})(),
    )
    body = json.dumps([{"a": [1, "x, y", None]}] * 40_000).encode()

    parse(body, lambda: pauses.append(len(given_to_it)))

    assert len(given_to_it) - 1 == len(pauses)
    assert len(body) < sum(given_to_it)
    assert strict_json.PIECE_BYTES + 100 > max(given_to_it)


FORM = "application/x-www-form-urlencoded; charset=utf-8"


@pytest.mark.parametrize(
    ("body", "kind", "reason"),
    [
        (b"", "application/json", "empty"),
        (b"a=1&b=2", FORM, "one field payload"),
        (b"apayload={}", FORM, "one field payload"),
        (b"payload={}&payload={}", FORM, "one field payload"),
        (b"{}", "application/json; charset=idna", "expected a charset of"),
        (b"\x81", "text/plain; charset=windows-1252", "expected windows-1252"),
        (b"\x00", "application/json;charset=UTF-16", "expected utf-16"),
    ],
)
def test_a_body_without_a_json_text_is_refused(body, kind, reason):
    """With a reason that an operator understands."""
    with pytest.raises(BadJson, match=reason):
        text_in(body, kind)


@given(value=PLAIN, filler=st.integers(0, 5), name=st.sampled_from(["", "a=%7B&"]))
def test_the_json_of_a_form_is_what_its_sender_wrote(value, filler, name):
    """Cut into pieces nowhere inside of an escape."""
    written = " " * filler + json.dumps(value, ensure_ascii=False)
    body = (name + urlencode({"payload": written})).encode()

    with patch.object(strict_json, "PIECE_BYTES", 7):
        assert written.encode() == text_in(body, FORM)


@given(body=st.binary(), kind=st.text())
def test_any_body_of_any_type_has_a_text_or_is_refused(body, kind):
    """Nothing else is raised, whatever a stranger calls it."""
    for content_type in (kind, f"a/b;charset={kind}", FORM):
        with suppress(BadJson):
            parse(text_in(body, content_type))
