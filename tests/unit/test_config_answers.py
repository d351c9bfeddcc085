"""`status`, `body`, `header.NAME` and `wait` of a hook in the file: what is read, and each mistake."""

from __future__ import annotations

import pytest

from bus.config import Hook
from bus.config.answers import template_of

from .inifile import HOOK, problems, read

pytestmark = pytest.mark.usefixtures("folder")

JSON = "header.Content-Type = application/json\n"


def hook(text: str) -> Hook:
    return read(HOOK + text).hooks["x"]


def test_without_them_a_hook_answers_as_every_other():
    """The receiver asks this once for each delivery, and nothing else of an answer."""
    assert not hook("").has_own_answer
    assert not hook("status = 202\nbody =\nwait = 0s\nheader.X-A =\n").has_own_answer


@pytest.mark.parametrize("line", ["status = 200", "body = ok", "header.X-A = b", "wait = 5s"])
def test_each_of_them_makes_the_answer_the_hooks_own(line):
    assert hook(f"{line}\n").has_own_answer


def test_headers_are_kept_in_their_order_as_they_are_written():
    """Each key has the name of one; the value may hold colons, commas and what else is printable."""
    found = hook("header.X-Served-By = monqbus\nheader.link = <https://e.org/a:b>; rel=x, y\n")

    assert (("X-Served-By", "monqbus"), ("link", "<https://e.org/a:b>; rel=x, y")) == found.answer_headers


@pytest.mark.parametrize(
    ("text", "placeholders"),
    [
        ("ok", []),
        ("{id} of {topic}", ["id", "topic"]),
        ('{"ok": true, "of": {"id": "{id}"}, "none": {}}', ["id"]),
        ('{ "text": "{body:a.0.b|not given}" }', ["body:a.0.b"]),
        ("[{1}, {}]", []),
    ],
)
def test_braces_of_json_are_no_placeholders(text, placeholders):
    """A text is often JSON, and nobody shall have to write that in another way."""
    template = template_of(text)

    assert placeholders == [one.name for one in template.placeholders]
    assert text == hook(f"body = {text}\n").body


MISTAKES = [
    ("status = 301\n",
     "4: [hook:x] status: expected a whole number from 200 to 299, got '301'; write for example 200"),
    ("wait = 10m\n",
     "4: [hook:x] wait: expected a duration from 0s to 5m (unit ms, s, m, h or d), got '10m'; write for "
     "example 30s"),
    ("body = {Id}\n",
     "4: [hook:x] body: expected a known placeholder, got '{Id}'; did you mean {id}?"),
    ("body = {header:X-A}\n",
     "4: [hook:x] body: expected a known placeholder, got '{header:X-A}'; known are {id}, {topic} and "
     "{body:dotted.path}"),
    ("body = {body}\n",
     "4: [hook:x] body: expected names and numbers with dots between them in {body:dotted.path}, got "
     "'{body}'; write for example {body:dotted.path}"),
    (f"body = {'a' * 4097}\n",
     "4: [hook:x] body: expected a text of at most 4096 characters, with the placeholders {id}, {topic} and "
     "{body:dotted.path}, got 4097 characters; write for example accepted as {id}"),
    ("status = 204\nbody = ok\n",
     "5: [hook:x] body: expected none with status = 204, which has no content, got one; write status = 200"),
    (f"body = ok\n{JSON}",
     "4: [hook:x] body: expected JSON for header.Content-Type = application/json, got something else; write "
     'placeholders in quotes, for example {"event": "{id}"}'),
    (f'body = {{"a": {{body:a}}}}\n{JSON}',
     "4: [hook:x] body: expected JSON for header.Content-Type = application/json, got something else; write "
     'placeholders in quotes, for example {"event": "{id}"}'),
    ("body = <p>{body:a}</p>\nheader.content-type = text/html\n",
     "4: [hook:x] body: expected no {body:…} in an answer of the type 'text/html', got one; write "
     "header.Content-Type = text/plain or application/json, as a browser runs what others may hold"),
    (JSON,
     "4: [hook:x] header.Content-Type: expected it with body, got it alone; write body = TEXT"),
    ("output = yes\n",
     "4: [hook:x] output: expected it with wait, got it alone; write for example wait = 5s"),
    ("header.Content-Length = 3\n",
     "4: [hook:x] header.Content-Length: expected a header that is not the server's own, got Content-Length; "
     "remove it: the server sets it"),
    ("header.transfer-encoding = chunked\n",
     "4: [hook:x] header.transfer-encoding: expected a header that is not the server's own, got "
     "transfer-encoding; remove it: the server sets it"),
    ("header.X-Content-Type-Options = sniff\n",
     "4: [hook:x] header.X-Content-Type-Options: expected a header that is not the server's own, got "
     "X-Content-Type-Options; remove it: the server sets it"),
    ("header.X A = b\n",
     "4: [hook:x] header.X A: expected the name of a header behind header., got 'X A'; write for example "
     "header.X-Served-By"),
    ("header. = b\n",
     "4: [hook:x] header.: expected the name of a header behind header., got nothing; write for example "
     "header.X-Served-By"),
    ("header.X-A = b\n  Set-Cookie: c\n",
     "4: [hook:x] header.X-A: expected one line of at most 1024 printable ASCII characters, got "
     "something else in the line below it; write for example monqbus"),
    ("header.X-A = ü\n",
     "4: [hook:x] header.X-A: expected one line of at most 1024 printable ASCII characters, got 'ü'; write "
     "for example monqbus"),
    ("header.X-A = a\nheader.x-a = b\n",
     "5: [hook:x] header.x-a: expected a header once, got it twice; remove one"),
    ("".join(f"header.X-{number} = a\n" for number in range(33)),
     "36: [hook:x] header.X-32: expected at most 32, got more; remove some"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "said"), MISTAKES, ids=[said[:60] for _, said in MISTAKES])
def test_a_mistake_is_said_with_its_place_and_remedy(text, said):
    assert [f"monqbus.ini:{said}"] == problems(HOOK + text)


def test_a_header_that_is_indented_is_no_part_of_the_secret_above_it():
    """It would be a second secret, which nobody has chosen."""
    said = problems("[hook:x]\nverify = token\nsecret = plain-of-16-byte\n  header.X-A = b\n")

    assert [
        "monqbus.ini:3: [hook:x] secret: expected header.X-A at the start of a line, got it indented; "
        "unindent it"
    ] == said
