"""Bodies by their kind: what each becomes, what is refused, and that nothing else is ever raised."""

from __future__ import annotations

import gzip
import random
import zlib
from typing import Any

import pytest
from bson import ObjectId
from hypothesis import given
from hypothesis import strategies as st

from bus import strict_json
from bus.clock import UTC, FrozenClock
from bus.model import Event
from bus.payload import BadPayload, compressed, decode, inflated, kind_of, multipart, xml
from bus.payload import form as forms

FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=ab"
PART = b'--ab\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'
FILE = (
    b'--ab\r\nContent-Disposition: form-data; name="f"; filename="a b.bin"\r\nContent-Type: x/y\r\n\r\n'
    b"\x00\r\n\xff\r\n"
)

NOISE = random.Random(1).randbytes(1024 * 1024)
"""What no compression makes smaller."""

KINDS = {
    "application/json": "json",
    "APPLICATION/JSON ; charset=utf-8": "json",
    "application/vnd.github.v3+json": "json",
    "text/json": "json",
    FORM: "form",
    "multipart/form-data; boundary=x": "multipart",
    "multipart/mixed; boundary=x": "binary",
    "application/xml": "xml",
    "text/xml; charset=utf-8": "xml",
    "application/atom+xml": "xml",
    "text/plain": "text",
    "application/octet-stream": "binary",
    "": "binary",
    "json": "binary",
    "application/json" + " " * 2000: "binary",
}


@pytest.mark.parametrize("content_type", KINDS)
def test_the_kind_follows_from_the_type(content_type):
    """Of the media type alone, whatever parameters stand behind it; case does not count."""
    assert KINDS[content_type] == kind_of(content_type)


VALUES: dict[str, tuple[str, bytes, Any]] = {
    "JSON": ("application/json", b'{"a": [1, 2.5, null]}', {"a": [1, 2.5, None]}),
    "JSON in another charset": ("application/json; charset=iso-8859-1", b'"\xe4"', "ä"),
    "a form": (FORM, b"a=1&b=x+y%26&c=", {"a": "1", "b": "x y&", "c": ""}),
    "a form with a name that comes three times": (FORM, b"a=1&a=2&a=3", {"a": ["1", "2", "3"]}),
    "a form in another charset": (f"{FORM}; charset=ISO-8859-1", b"a=%e4", {"a": "ä"}),
    "JSON in a form": (FORM, b"payload=%7B%22ref%22%3A+%22main%22%7D", {"ref": "main"}),
    "a field that is only called payload": (FORM, b"payload=5&a=1", {"payload": "5", "a": "1"}),
    "a field payload with broken JSON": (FORM, b"payload=%7B", {"payload": "{"}),
    "an empty form": (FORM, b"", {}),
    "parts": (MULTIPART, PART + PART + b"--ab--\r\n", {"a": ["1", "1"]}),
    "a file": (
        MULTIPART,
        b"preamble\r\n" + FILE + b"--ab--",
        {"f": {"filename": "a b.bin", "content_type": "x/y", "content": b"\x00\r\n\xff"}},
    ),
    "a part of JSON": (
        MULTIPART,
        PART.replace(b"\r\n\r\n1", b"\r\nContent-Type: application/json\r\n\r\n[1]") + b"--ab--",
        {"a": [1]},
    ),
    "XML": (
        "text/xml",
        b'<?xml version="1.0"?><o:order id="7"><item>a</item><item>b &amp; c</item><none/> text </o:order>',
        {"o:order": {"@id": "7", "item": ["a", "b & c"], "none": "", "#text": "text"}},
    ),
    "XML in another charset": ("text/xml; charset=iso-8859-1", b"<a>\xe4</a>", {"a": "ä"}),
    "text": ("text/plain", "\ufeffä".encode(), "ä"),
    "text in another charset": ("text/plain; charset=Shift_JIS", "日本".encode("shift_jis"), "日本"),
    "bytes": ("application/octet-stream", b"\x00\xff", b"\x00\xff"),
}


@pytest.mark.parametrize("what", VALUES)
def test_a_body_becomes_the_value_of_its_kind(what):
    """As docs/webhooks.md has it."""
    content_type, body, value = VALUES[what]

    assert value == decode(body, content_type)


DOCTYPE = b'<!DOCTYPE a [<!ENTITY x "y">]>'
LAUGHS = b'<!DOCTYPE a [<!ENTITY x "yyyyyyyyyy"><!ENTITY z "&x;&x;&x;&x;&x;&x;">]><a>&z;</a>'

REFUSED: dict[str, tuple[str, bytes, str]] = {
    "broken JSON": ("application/json", b"{", "not JSON"),
    "no JSON": ("application/json", b"", "empty"),
    "bytes that are no text": ("text/plain", b"\xff", "expected text in utf-8"),
    "a charset that nobody sends": ("text/plain; charset=idna", b"a", "expected a charset"),
    "a charset that runs code": ("text/plain; charset=unicode_escape", b"a", "expected a charset"),
    "too many fields": (FORM, b"a&" * forms.MOST_FIELDS, "1000 fields"),
    "a form that is not UTF-8": (FORM, b"a=%ff", "expected text in utf-8"),
    "parts without a boundary": ("multipart/form-data", PART, "boundary of 1 to 70"),
    "a boundary that is too long": (f"multipart/form-data; boundary={'a' * 71}", PART, "boundary of 1 to 70"),
    "no parts": (MULTIPART, b"", "no boundary"),
    "parts that are cut short": (MULTIPART, PART + b"--ab", "end of a line"),
    "a part that is cut short": (MULTIPART, PART[:-2], "cut short"),
    "a part without a name": (MULTIPART, b"--ab\r\n\r\n1\r\n--ab--", "a name for each part"),
    "a part whose headers do not end": (MULTIPART, b"--ab\r\na: b\r\n--ab--", "headers of a part"),
    "a part with long headers": (
        MULTIPART,
        b"--ab\r\na: " + b"b" * multipart.HEAD_BYTES + b"\r\n\r\n1\r\n--ab--",
        "headers of a part",
    ),
    "too many parts": (MULTIPART, PART * (multipart.MOST_PARTS + 1) + b"--ab--", "at most 100 parts"),
    "no XML": ("text/xml", b"", "not XML"),
    "broken XML": ("text/xml", b"<a><b></a>", "mismatched tag"),
    "a document type": ("text/xml", b"<!DOCTYPE a><a/>", "without a document type"),
    "an entity": ("text/xml", DOCTYPE + b"<a>&x;</a>", "without a document type"),
    "entities that multiply": ("text/xml", LAUGHS, "without a document type"),
    "an entity of a file": (
        "text/xml",
        b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>',
        "without a document type",
    ),
    "an entity that is not declared": ("text/xml", b"<a>&x;</a>", "undefined entity"),
    "deep XML": ("text/xml", b"<a>" * 65 + b"</a>" * 65, "64 levels"),
    "much XML": ("text/xml", b"<a>" + b"<b/>" * xml.MOST_ITEMS + b"</a>", "100000 elements"),
    "an endless tag": ("text/xml", b"<a b='" + b"x" * 2 * xml.LONGEST_MARKUP, "a tag of at most"),
    "XML in a charset that is none": ("text/xml", b'<?xml version="1.0" encoding="rot13"?><a/>', "charset"),
    "XML in a charset of Python's": ("text/xml; charset=idna", b"<a/>", "charset"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_body_that_is_not_what_its_type_says_is_refused(what):
    """With a reason for people; nothing of an entity is ever read."""
    content_type, body, reason = REFUSED[what]

    with pytest.raises(BadPayload, match=reason):
        decode(body, content_type)


def test_long_bodies_are_read_in_pieces():
    """Between two of them others go on: of a form, XML and gzip as of JSON."""
    turns: list[str] = []
    text = b"x" * 1024 * 1024

    decode(b"a=" + text, FORM, lambda: turns.append("form"))
    decode(b"<a>" + text + b"</a>", "text/xml", lambda: turns.append("xml"))
    inflated(gzip.compress(NOISE), lambda: turns.append("gzip"))

    assert all(turns.count(kind) >= 16 for kind in ("form", "xml", "gzip"))


# gzip


def test_what_was_compressed_comes_back():
    """Of one member or several, which are one body (RFC 1952 section 2.2)."""
    body = NOISE

    assert body == inflated(gzip.compress(body))
    assert body * 2 == inflated(gzip.compress(body) * 2)
    assert b"" == inflated(gzip.compress(b""))


BAD_GZIP = {
    "nothing": b"",
    "something else": b"{}",
    "cut short": gzip.compress(b"a" * 1000)[:-1],
    "a wrong checksum": gzip.compress(b"a")[:-8] + bytes(8),
    "rubbish behind it": gzip.compress(b"a") + b"x",
    "many members": gzip.compress(b"a") * (compressed.MOST_MEMBERS + 1),
    "zlib": zlib.compress(b"a"),
}


@pytest.mark.parametrize("what", BAD_GZIP)
def test_what_is_no_whole_gzip_is_refused(what):
    """Also one of which the beginning could be inflated."""
    with pytest.raises(BadPayload, match="gzip"):
        inflated(BAD_GZIP[what])


def test_a_bomb_is_inflated_no_further_than_its_bounds():
    """A hundred times its size; of what is told of room, no more than that has been taken."""
    bomb = gzip.compress(bytes(64 * 1024 * 1024), 9)
    taken: list[int] = []

    with pytest.raises(BadPayload, match="at most"):
        inflated(bomb, take=taken.append)

    assert compressed.MOST_RATIO * len(bomb) + compressed.SLICE_BYTES >= sum(taken)


def test_a_body_that_compresses_well_is_taken_while_it_is_small():
    """The ratio counts from 64 KiB on."""
    assert compressed.UNRATED_BYTES == len(inflated(gzip.compress(bytes(compressed.UNRATED_BYTES), 9)))


# of an event


def event(body: bytes, content_type: str, **headers: str) -> Event:
    return Event(
        ObjectId(),
        "t",
        FrozenClock().now().astimezone(UTC),
        hook="h",
        headers={
            "content-type": content_type,
            **{key.replace("_", "-"): one for key, one in headers.items()},
        },
        body=body,
    )


def test_an_event_has_its_bytes_and_their_value():
    """The bytes as they came; compressed ones are inflated when the value is asked for."""
    packed = gzip.compress(b'{"a": 1}')
    received = event(packed, "application/json", content_encoding="gzip")

    assert packed == received.body
    assert b'{"a": 1}' == received.content
    assert {"a": 1} == received.data == received.json
    assert {"a": {"b": "1"}} == event(b"<a><b>1</b></a>", "text/xml").data


def test_an_event_whose_body_is_broken_says_so_when_it_is_asked():
    """A ValueError, whether of the value or of the compression."""
    broken = event(b"x", "application/json", content_encoding="gzip")

    with pytest.raises(BadPayload, match="gzip"):
        broken.data  # noqa: B018
    with pytest.raises(strict_json.BadJson, match="gzip"):
        broken.json  # noqa: B018
    with pytest.raises(BadPayload, match="not JSON"):
        event(b"{", "application/json").data  # noqa: B018


# whatever comes

TYPES = st.one_of(
    st.sampled_from([*KINDS, MULTIPART, "text/plain; charset=utf-16", "text/xml; charset=utf-16"]),
    st.text(st.characters(codec="latin-1"), max_size=60),
)
MARKUP = [b"<a>", b"</a>", b"<?xml", b"<!", b'<?xml version="1.0" encoding="', b'"?>', b"]]>", b"&#", b";"]
MARKS = [b"--ab\r\n", b"\r\n\r\n", b"--ab--", PART, FILE, b"&", b"=", b"%", b"payload=", b"{", b'"', *MARKUP]
SNIPPETS = st.lists(st.one_of(st.binary(max_size=20), st.sampled_from(MARKS)), max_size=12).map(b"".join)


@given(SNIPPETS, TYPES)
def test_no_body_raises_anything_but_our_refusal(body, content_type):
    """Whatever bytes come as whatever type."""
    try:
        decode(body, content_type)
    except BadPayload as error:
        assert str(error).startswith("body: ")


@given(st.one_of(st.binary(max_size=200), st.binary(max_size=200).map(gzip.compress)), st.data())
def test_no_compressed_body_raises_anything_but_our_refusal(body, data):
    """Also one with a byte of it changed."""
    if body:
        place = data.draw(st.integers(0, len(body) - 1))
        body = body[:place] + data.draw(st.binary(min_size=1, max_size=1)) + body[place + 1 :]
    try:
        inflated(body)
    except BadPayload as error:
        assert str(error).startswith("body: ")
