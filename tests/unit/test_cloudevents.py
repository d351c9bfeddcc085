"""CloudEvents 1.0: the rules of its HTTP binding, its JSON format and its types."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.payload import BadPayload
from bus.payload.cloudevents import MOST_EVENTS, CloudEvent, UnknownFormat, mode_of, read

ONE = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
LEAST = {"id": "1", "source": "/mine", "type": "com.example.made", "specversion": "1.0"}


def binary(body: bytes = b"", content_type: str = "", **attributes: str) -> CloudEvent:
    """The event of a request in binary mode; values are sent as they are."""
    headers = {f"ce-{name}": value for name, value in (LEAST | attributes).items()}
    (event,) = read("binary", headers, body, content_type)
    return event


def structured(members: dict[str, Any] | bytes, content_type: str = ONE) -> CloudEvent:
    body = members if isinstance(members, bytes) else json.dumps(LEAST | members).encode()
    (event,) = read("structured", {}, body, content_type)
    return event


# modes

MODES = {
    (ONE, False): "structured",
    ("Application/CloudEvents+JSON; charset=utf-8", True): "structured",
    (BATCH, False): "batched",
    ("application/json", True): "binary",
    ("", True): "binary",
}


@pytest.mark.parametrize(("content_type", "has_headers"), MODES)
def test_the_mode_follows_from_the_type_then_from_the_headers(content_type, has_headers):
    """By the HTTP binding the type says structured and batched, whatever headers come along."""
    headers = {"ce-id": "1"} if has_headers else {}

    assert MODES[content_type, has_headers] == mode_of(content_type, headers)


@pytest.mark.parametrize(
    "content_type", ["application/json", "application/cloudevents+xml", "", "application/cloudevents"]
)
def test_what_is_in_no_known_format_is_told_from_what_is_wrong(content_type):
    """The web hook specification asks for 415 then."""
    with pytest.raises(UnknownFormat):
        mode_of(content_type, {})


# attributes in headers

DECODED = {
    "Euro%20%E2%82%AC%20%F0%9F%98%80": "Euro € 😀",
    "%41b": "Ab",
    "%2541": "%41",
    '"a \\"b\\" \\\\ c"': 'a "b" \\ c',
    '"%41"': "A",
    "plain text": "plain text",
    "€".encode().decode("latin-1"): "€",
}


@pytest.mark.parametrize("value", DECODED)
def test_a_header_is_unquoted_and_then_percent_decoded_once(value):
    """HTTP binding 3.1.3.2; what needed no encoding may have one."""
    assert DECODED[value] == binary(subject=value).attributes["subject"]


BAD_HEADERS = {
    "an overlong encoding": ("subject", "%C0%A0"),
    "a lone byte": ("subject", "%E2%82"),
    "a surrogate": ("subject", "%ED%A0%80"),
    "half an escape": ("subject", "100%"),
    "no hexadecimal digits": ("subject", "%zz"),
    "a control character": ("subject", "a%00b"),
    "a code point of nobody": ("subject", "%EF%BF%BF"),
    "an empty optional attribute": ("subject", ""),
    "an empty id": ("id", ""),
    "a source with a space": ("source", "a%20b c"),
    "a source with a brace": ("source", "{a}"),
    "a schema without a scheme": ("dataschema", "/a"),
    "a time without a zone": ("time", "2026-01-01T00:00:00"),
    "a day that is none": ("time", "2026-02-30T00:00:00Z"),
    "another version": ("specversion", "0.3"),
    "the type of the data": ("datacontenttype", "text/plain"),
    "data": ("data", "x"),
    "a name with a hyphen": ("my-name", "x"),
    "a name in another script": ("\xe4", "x"),
}


@pytest.mark.parametrize("what", BAD_HEADERS)
def test_a_header_against_the_rules_is_refused(what):
    """With its name and what was expected."""
    name, value = BAD_HEADERS[what]

    with pytest.raises(BadPayload, match=r"^(header|attribute) "):
        binary(**{name: value})


@pytest.mark.parametrize("missing", LEAST)
def test_each_required_attribute_is_required(missing):
    """Its name is told; in headers as in JSON."""
    left = {name: value for name, value in LEAST.items() if name != missing}

    with pytest.raises(BadPayload, match=f"attribute {missing}: required"):
        read("binary", {f"ce-{name}": value for name, value in left.items()}, b"", "")
    with pytest.raises(BadPayload, match=f"attribute {missing}: required"):
        read("structured", {}, json.dumps(left).encode(), ONE)


def test_the_bytes_of_a_binary_event_are_its_data():
    """Content-Type is its `datacontenttype`; other headers are no attributes."""
    event = binary(b"\x00\xff", "image/png", myext="5")

    assert (b"\x00\xff", "image/png") == (event.data, event.content_type)
    assert LEAST | {"datacontenttype": "image/png", "myext": "5"} == event.attributes


TIMES = ["2026-01-01T00:00:00Z", "2026-01-01t23:59:60.123456789+05:30", "0001-01-01T00:00:00-00:00"]


@pytest.mark.parametrize("time", TIMES)
def test_times_of_rfc_3339_are_taken(time):
    """With any number of digits behind the second, and leap seconds."""
    assert time == binary(time=time).attributes["time"]


# JSON

DATA: dict[str, tuple[bytes, bytes, str]] = {
    "none": (b"", b"", ""),
    "an object": (b', "data": {"a" : 1.10}', b'{"a" : 1.10}', "application/json"),
    "null": (b', "data": null', b"null", "application/json"),
    "a string of JSON": (b', "data": "{}"', b'"{}"', "application/json"),
    "text": (
        b', "datacontenttype": "text/xml", "data": "<\\u00e4/>"',
        "<ä/>".encode(),
        "text/xml; charset=utf-8",
    ),
    "JSON in a type of its own": (
        b', "datacontenttype": "application/x+json; charset=latin1", "data": "a"',
        b'"a"',
        "application/x+json",
    ),
    "an object that says it is text": (
        b', "datacontenttype": "text/plain", "data": [1]',
        b"[1]",
        "text/plain",
    ),
    "bytes": (b', "datacontenttype": "image/png", "data_base64": "AP8="', b"\x00\xff", "image/png"),
    "bytes of JSON": (b', "data_base64": "e30="', b"{}", "application/json"),
    "no bytes": (b', "data_base64": null, "data": 1', b"1", "application/json"),
}


@pytest.mark.parametrize("what", DATA)
def test_the_data_of_json_are_the_bytes_that_stand_there(what):
    """JSON as its sender wrote it, a string of another type as its text, base64 decoded."""
    members, data, content_type = DATA[what]

    event = structured(json.dumps(LEAST).encode()[:-1] + members + b"}")

    assert (data, content_type) == (event.data, event.content_type)


def test_a_null_attribute_is_unset_and_flags_and_numbers_are_text():
    """As headers have them: an event is the same in all three modes."""
    event = structured({"subject": None, "flag": True, "count": -5, "text": ""})

    assert LEAST | {"flag": "true", "count": "-5", "text": ""} == event.attributes


BAD_MEMBERS: dict[str, dict[str, Any]] = {
    "an object as attribute": {"x": {}},
    "a number that is not whole": {"x": 1.5},
    "a number of 64 bits": {"x": 2**31},
    "a number as type": {"type": 5},
    "null as id": {"id": None},
    "an empty subject": {"subject": ""},
    "a name in capitals": {"myName": "x"},
    "a name with an underscore": {"data_base65": "x"},
    "an empty name": {"": "x"},
    "data twice": {"data": 1, "data_base64": "AA=="},
    "base64 that is none": {"data_base64": "A"},
    "base64 with a line": {"data_base64": "AA==\n"},
    "base64 that is no string": {"data_base64": 5},
    "a type of data that is none": {"datacontenttype": "json"},
    "another version": {"specversion": "1.1"},
    "more attributes than anybody has": {f"a{number}": "" for number in range(100)},
}


@pytest.mark.parametrize("what", BAD_MEMBERS)
def test_json_against_the_rules_is_refused(what):
    """With the member's name."""
    with pytest.raises(BadPayload, match=r"^(attributes?|data|data_base64)\b"):
        structured(BAD_MEMBERS[what])


@pytest.mark.parametrize("body", [b"", b"[]", b"5", b"{", b'{"id": "1", "id": "2"}', b"\xff"])
def test_what_is_no_json_object_is_no_event(body):
    """Strictly: no key twice, UTF-8."""
    with pytest.raises(BadPayload, match="body: "):
        structured(body)


def test_an_event_in_another_charset_is_read():
    """Its data are UTF-8 then."""
    body = json.dumps(LEAST | {"data": "ä"}, ensure_ascii=False).encode("utf-16")

    event = structured(body, f"{ONE}; charset=utf-16")

    assert '"ä"'.encode() == event.data


# batches


def batch(*items: Any) -> list[CloudEvent]:
    return read("batched", {}, json.dumps(items).encode(), BATCH)


def test_a_batch_has_its_events_in_order():
    """None at all, too: `[]` is valid."""
    assert [] == batch() == read("batched", {}, b" [ ] ", BATCH)
    assert ["1", "2"] == [event.attributes["id"] for event in batch(LEAST, LEAST | {"id": "2"})]


@pytest.mark.parametrize("bad", [{}, 5, None, [], "x", LEAST | {"id": ""}])
def test_one_bad_item_refuses_the_batch(bad):
    """Its place is told."""
    with pytest.raises(BadPayload, match="item 1"):
        batch(LEAST, bad, LEAST)


def test_a_batch_has_so_many_events_and_no_more():
    """All of them become one write."""
    assert MOST_EVENTS == len(batch(*[LEAST] * MOST_EVENTS))
    with pytest.raises(BadPayload, match=f"at most {MOST_EVENTS} items"):
        batch(*[LEAST] * (MOST_EVENTS + 1))


def test_a_long_event_is_read_in_pieces():
    """Between two of them others go on."""
    turns: list[None] = []
    body = json.dumps(LEAST | {"data": [[]] * 200_000}).encode()

    read("structured", {}, body, ONE, lambda: turns.append(None))

    assert len(body) / 32_768 < len(turns)


# whatever comes

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
KNOWN = [*LEAST, "data", "data_base64", "datacontenttype", "time", "dataschema"]
NAMES = st.one_of(st.sampled_from(KNOWN), st.text(max_size=8))
ITEMS = st.dictionaries(NAMES, VALUES, max_size=6).map(lambda more: LEAST | more)
LATIN = st.text(st.characters(codec="latin-1"), max_size=20)


@given(
    st.one_of(
        st.binary(max_size=60),
        ITEMS.map(lambda one: json.dumps(one).encode()),
        st.lists(st.one_of(ITEMS, VALUES), max_size=3).map(lambda items: json.dumps(items).encode()),
    ),
    st.sampled_from([ONE, BATCH, f"{ONE}; charset=utf-16", f"{BATCH}; charset=idna"]),
)
def test_no_body_raises_anything_but_our_refusal(body, content_type):
    """What is read has every attribute that an event must have, and text in each."""
    try:
        events = read(mode_of(content_type, {}), {}, body, content_type)
    except BadPayload as error:
        assert str(error)
        return
    for event in events:
        assert all(event.attributes[name] for name in LEAST)
        assert all(isinstance(value, str) for value in event.attributes.values())


@given(st.dictionaries(st.one_of(NAMES, LATIN).map("ce-{}".format), LATIN), st.binary(max_size=20), LATIN)
def test_no_header_raises_anything_but_our_refusal(more, body, content_type):
    """Whatever bytes are in it."""
    headers = {f"ce-{name}": value for name, value in LEAST.items()} | more
    try:
        (event,) = read("binary", headers, body, content_type)
    except BadPayload as error:
        assert str(error)
        return

    assert all(event.attributes[name] for name in LEAST)


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cn", "Cs"]), min_size=1))
def test_an_attribute_is_the_same_in_each_mode(text):
    """Whatever text it is, encoded as the specification wants it."""
    encoded = "".join(
        char if "!" <= char <= "~" and char not in '"%' else "".join(f"%{byte:02X}" for byte in char.encode())
        for char in text
    )

    assert binary(subject=encoded).attributes == structured({"subject": text}).attributes
