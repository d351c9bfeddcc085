"""One grammar for placeholders: what a place takes, what it says about the rest, and how it is filled."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.placeholders import (
    ALONE,
    HEADER,
    ITEM,
    PARAMETER,
    PATH,
    BadPlaceholder,
    Grammar,
    NoValue,
    Placeholder,
)

PLACE = Grammar({"event": ALONE, "header": HEADER, "body": PATH, "args": ITEM})


def test_a_text_is_taken_apart_once_into_fixed_pieces_and_placeholders():
    """Compiling the same text again gives the same object."""
    template = PLACE.compile("a.{event}-{body:x.0.y|none}")

    assert ("a.", Placeholder("event", "event"), "-", Placeholder("body:x.0.y", "body", "x.0.y", "none")) == (
        template.parts
    )
    assert template is PLACE.compile("a.{event}-{body:x.0.y|none}")
    assert "a.-" == template.fixed


def filled(text: str, values: dict[str, str]) -> str:
    return PLACE.compile(text).fill(lambda placeholder: values.get(placeholder.name))


def test_a_template_is_filled_with_values_or_with_defaults():
    """A default stands for a value that is not there, never for one that is."""
    text = "{event}.{body:action|none}.{header:X|}"

    assert "push.none." == filled(text, {"event": "push"})
    assert "push.opened.y" == filled(text, {"event": "push", "body:action": "opened", "header:X": "y"})
    assert "push..y" == filled(text, {"event": "push", "body:action": "", "header:X": "y"})


def test_a_value_is_never_taken_for_a_template():
    """What a sender writes in braces stays what it is."""
    assert "{event}" == filled("{body:a}", {"body:a": "{event}", "event": "push"})


def test_a_placeholder_without_value_and_default_is_named():
    with pytest.raises(NoValue, match=r"^\{body:action\}$"):
        filled("{event}.{body:action}", {"event": "push"})


MISTAKES = [
    (
        "{evnt}",
        "expected a known placeholder, got '{evnt}'; did you mean {event}?",
    ),
    (
        "{boddy:a.b}",
        "expected a known placeholder, got '{boddy:a.b}'; did you mean {body:a.b}?",
    ),
    (
        "{query:x}",
        "expected a known placeholder, got '{query:x}'; known are {event}, {header:X}, {body:dotted.path} "
        "and {args:0}",
    ),
    (
        "{}",
        "expected a known placeholder, got '{}'; known are {event}, {header:X}, {body:dotted.path} "
        "and {args:0}",
    ),
    (
        "{event:x}",
        "expected nothing behind the name in {event}, got '{event:x}'; write for example {event}",
    ),
    (
        "{body}",
        "expected names and numbers with dots between them in {body:dotted.path}, got '{body}'; "
        "write for example {body:dotted.path}",
    ),
    (
        "{body:commits[0]['id']}",
        "expected names and numbers with dots between them in {body:dotted.path}, "
        "got \"{body:commits[0]['id']}\"; write for example {body:commits.0.id}",
    ),
    (
        "{body:commits[].id}",
        "expected names and numbers with dots between them in {body:dotted.path}, "
        "got '{body:commits[].id}'; write for example {body:commits.0.id}",
    ),
    (
        "{header:X Y}",
        "expected the name of a header in {header:X}, got '{header:X Y}'; write for example {header:X}",
    ),
    (
        "{body:a|b|c}",
        "expected another default behind | in {body:a}, got '{body:a|b|c}'; write for example {body:a|none}",
    ),
    (
        "a{event",
        "expected a closing brace for every opening one, got 'a{event'; placeholders are {event}, "
        "{header:X}, {body:dotted.path} and {args:0}",
    ),
]


@pytest.mark.parametrize(("text", "said"), MISTAKES, ids=[text for text, _ in MISTAKES])
def test_a_mistake_names_the_placeholder_what_is_allowed_there_and_the_remedy(text, said):
    with pytest.raises(BadPlaceholder) as caught:
        PLACE.compile(text)

    assert said == str(caught.value)


def test_a_place_takes_only_the_kinds_and_defaults_it_says():
    """A parameter of the query exists where somebody can resolve it."""
    place = Grammar({"query": PARAMETER}, re.compile(r"[a-z]+"))

    assert Placeholder("query:x", "query", "x", "none") == place.compile("{query:x|none}").parts[0]
    for text in ("{query:x|}", "{query:x|a b}", "{event}"):
        with pytest.raises(BadPlaceholder):
            place.compile(text)


def test_the_signed_bytes_of_a_sender_are_written_in_the_same_grammar():
    """Its template has pieces, which whoever signs joins as bytes."""
    template = Grammar(dict.fromkeys(("id", "timestamp", "body"), ALONE)).compile("{id}.{timestamp}.{body}")

    assert ["id", ".", "timestamp", ".", "body"] == [
        part if isinstance(part, str) else part.name for part in template.parts
    ]


@given(st.lists(st.sampled_from([*"{}:|[].a$' ", "event", "body", "{body:a}", "{event|x}"])).map("".join))
def test_any_text_is_a_template_or_a_named_mistake(text):
    """A template that compiles says all of its text again; nothing else is raised than BadPlaceholder."""
    try:
        template = PLACE.compile(text)
    except BadPlaceholder as error:
        assert error.remedy
        return

    assert text == "".join(map(_written, template.parts))


def _written(part: str | Placeholder) -> str:
    if isinstance(part, str):
        return part
    return str(part) if part.default is None else f"{{{part.name}|{part.default}}}"
