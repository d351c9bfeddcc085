"""Hooks of adnanh/webhook in our words: what they become, what is told of, and what is left out whole."""

from __future__ import annotations

from json import dumps
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.adnanh import Conversion, converted, hooks_of
from bus.config import Config
from bus.errors import ConfigError
from bus.rules import Subject

from .inifile import read

KEY = "a-secret-of-24-bytes-000"
OTHER = "another-one-of-24-bytes0"
RICH = """\
- id: deploy/site
  execute-command: /bin/echo
  command-working-directory: /tmp
  response-message: thank you
  include-command-output-in-response: true
  http-methods: [POST, "put "]
  pass-arguments-to-command:
    - {source: payload, name: head_commit.id}
    - {source: entire-payload}
    - {source: string, name: "it's ;fixed"}
    - {source: url, name: colour}
  pass-environment-to-command:
    - {source: header, name: X-GitHub-Event, envname: KIND}
    - {source: payload, name: ref}
  pass-file-to-command:
    - {source: raw-request-body, envname: BODY}
  trigger-rule:
    and:
      - match:
          {type: payload-hmac-sha256, secret: KEY, parameter: {source: header, name: X-Hub-Signature-256}}
      - match: {type: ip-whitelist, ip-range: "192.168.0.1/24 ::1"}
      - or:
          - match: {type: value, value: refs/heads/main, parameter: {source: payload, name: ref}}
          - not: {match: {type: regex, regex: '^v\\d+', parameter: {source: payload, name: tag.0}}}
- id: nightly
  execute-command: /bin/true
  trigger-rule:
    match: {type: value, value: '{{ getenv "GOOD" | js }}', parameter: {source: header, name: X-Token}}
""".replace("secret: KEY", f"secret: {KEY}")


def moved(*hooks: Any) -> Conversion:
    return converted(list(hooks), lambda name: f"file:{name}.secret")


def hook(rule: Any = None, **more: Any) -> dict[str, Any]:
    own = {} if rule is None else {"trigger-rule": rule}
    return {"id": "a", "execute-command": "/bin/true", **own, **more}


def match(kind: str, where: tuple[str, str] = ("header", "X-Signature"), **more: str) -> dict[str, Any]:
    return {"match": {"type": kind, "parameter": {"source": where[0], "name": where[1]}, **more}}


def value(text: str, *where: str) -> dict[str, Any]:
    return match("value", (where[0], where[1]), value=text)


def loaded(result: Conversion) -> Config:
    """The configuration, with its secrets in files, as the daemon reads it. Raises ConfigError."""
    for place, secrets in result.secrets.items():
        path = Path(place.removeprefix("file:"))
        path.write_text("\n".join(secrets) + "\n")
        path.chmod(0o600)
    return read(result.text)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_rich_file_becomes_hooks_and_handlers_that_load() -> None:
    """YAML, with every kind of argument, a rule in levels, and a secret from a template."""
    result = moved(*hooks_of(RICH.encode(), "hooks.yaml"))
    config = loaded(result)
    first, second = config.hooks["deploy-site"], config.hooks["nightly"]

    assert ("github", (KEY,), ("POST", "PUT")) == (first.verify, first.secret_texts, first.methods)
    assert ["192.168.0.0/24", "::1/128"] == list(map(str, first.allow_ips))
    assert first.when is not None
    assert first.when.text == (
        '(body.ref == "refs/heads/main" or (exists(body.tag.0) and not (body.tag.0 matches "^v\\\\d+")))'
    )
    assert ("token", "X-Token", ("s3cret-of-environ",)) == (second.verify, second.header, second.secret_texts)
    assert config.handlers["deploy-site"].command == (
        "/usr/bin/env", "KIND={header:X-GitHub-Event|}", "HOOK_ref={body:ref|}", "/bin/sh", "-c",
        'export BODY="$MONQBUS_BODY_FILE" && exec "$0" "$1" "$(cat "$MONQBUS_BODY_FILE")" "$2" "$3"',
        "/bin/echo", "{body:head_commit.id|}", "it's ;fixed", "{query:colour|}",
    )  # fmt: skip
    assert (1, Path("/tmp")) == (
        config.handlers["deploy-site"].max_attempts,
        config.handlers["deploy-site"].working_dir,
    )
    assert KEY not in result.text + "".join(result.remarks)


SIGNED = {"secret": KEY}


@pytest.mark.parametrize(
    ("rule", "settings"),
    [
        (match("payload-hmac-sha256", ("header", "X-Gitea-Signature"), **SIGNED), {"verify": "gitea"}),
        (match("payload-hash-sha1", ("header", "X-Hub-Signature"), **SIGNED),
         {"verify": "hmac", "header": "X-Hub-Signature", "algorithm": "sha1", "prefix": "sha1="}),
        (match("payload-hmac-sha512", **SIGNED),
         {"verify": "hmac", "header": "X-Signature", "algorithm": "sha512", "prefix": ""}),
        ({"match": {"type": "scalr-signature", "secret": KEY}}, {"verify": "scalr"}),
        (value(KEY, "header", "X-Gitlab-Token"), {"verify": "gitlab"}),
        (value(KEY, "header", "X-Api-Key"), {"verify": "token", "header": "X-Api-Key"}),
        (value(KEY, "url", "token"), {"verify": "token", "query": "token"}),
        (value(f"Bearer {KEY}", "header", "Authorization"), {"verify": "token", "scheme": ""}),
        (value(f"Token {KEY}", "header", "Authorization"), {"verify": "token", "scheme": "Token"}),
        (value("Basic YWRhOmEtc2VjcmV0LW9mLTI0LWJ5dGVzLTAwMA==", "header", "Authorization"),
         {"verify": "basic", "user": "ada"}),
    ],
)  # fmt: skip
def test_what_proves_the_sender_becomes_verify(rule: Any, settings: dict[str, str]) -> None:
    """Signatures by their header and hash, secrets by the names of headers and parameters."""
    one = loaded(moved(hook(rule))).hooks["a"]

    assert settings == {name: getattr(one, name) for name in settings}
    assert (KEY,) == one.secret_texts


def test_an_or_of_like_signatures_is_several_secrets() -> None:
    """It is how a secret was changed there, with trigger-signature-soft-failures."""
    either = {"or": [match("payload-hmac-sha256", secret=KEY), match("payload-hmac-sha256", secret=OTHER)]}
    one = loaded(moved(hook(either, **{"trigger-signature-soft-failures": True}))).hooks["a"]

    assert (KEY, OTHER) == one.secret_texts


IS_X = value("x", "payload", "a")


@pytest.mark.parametrize(
    ("rule", "body", "holds"),
    [
        (value("5", "payload", "size"), {"size": 5}, True),
        (value("5", "payload", "size"), {"size": "5"}, True),
        (value("true", "payload", "done"), {"done": True}, True),
        (value("a \"b\" \\ c", "payload", "x"), {"x": 'a "b" \\ c'}, True),
        (value("1", "payload", "root.0.id"), [{"id": 1}], True),
        (value("x", "payload", "odd name.a"), {"odd name": {"a": "x"}}, None),
        ({"not": value("x", "payload", "a")}, {"a": "y"}, True),
        ({"not": value("x", "payload", "a")}, {}, False),
        ({"not": {"match": {"type": "ip-whitelist", "ip-range": "10.0.0.0/8"}}}, {}, False),
        ({"and": [IS_X, {"and": [value("y", "payload", "b")]}]}, {"a": "x", "b": "y"}, True),
        ({"or": [IS_X, match("regex", ("payload", "b"), regex="^y+$")]}, {"b": "yy"}, True),
        ({"or": [IS_X, match("regex", ("payload", "b"), regex="^y+$")]}, {"b": "z"}, False),
    ],
)  # fmt: skip
def test_a_rule_holds_where_theirs_does(rule: Any, body: Any, holds: bool | None) -> None:
    """Values are compared as text there; what is missing fulfils nothing, under not either."""
    result = moved(hook(rule))
    if holds is None:
        assert 1 == result.left_out
        return
    when = loaded(result).hooks["a"].when
    assert when is not None

    assert holds == when.holds(Subject(body=body))


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"trigger-rule": {"or": [match("payload-hmac-sha1", secret=KEY), value("a", "payload", "b")]}},
         "a signature stands under or, not or beside another one; choose one proof"),
        ({"trigger-rule": {"not": value(KEY, "header", "X-Token")}}, "may hold a secret"),
        ({"trigger-rule": {"and": [match("payload-hmac-sha1", secret=KEY), value(KEY, "header", "X-Token")]}},
         "two proofs of the sender stand under and"),
        ({"trigger-rule": value(KEY, "payload", "token")}, "a secret stands in the body, at token"),
        ({"trigger-rule": match("payload-hmac-sha1", secret="")}, "secret: expected a secret, got none"),
        ({"trigger-rule": match("payload-hmac-sha1", ("payload", "sig"), secret=KEY)}, "elsewhere than"),
        ({"trigger-rule": {"match": {"type": "ip-whitelist", "ip-range": "300.0.0.1"}}}, "expected networks"),
        ({"trigger-rule": value("1.2.3.4", "request", "remote-addr")}, "write allow_ips"),
        ({"trigger-rule": match("regex", ("payload", "a"), regex="(")}, "trigger-rule: expected"),
        ({"trigger-rule": match("regex", ("payload", "a"), regex="(?<=a)b")}, "trigger-rule: expected"),
        ({"trigger-rule": {"xor": []}}, "expected one of and, or, not, match"),
        ({"trigger-rule": value("a ;b", "payload", "x")}, "a space and ; begin a comment"),
        ({"execute-command": ""}, "execute-command: expected a program, got none"),
        ({"execute-command": "/bin/{x}"}, "braces begin a placeholder"),
        ({"pass-arguments-to-command": [{"source": "entire-headers"}]}, "jq .headers"),
        ({"pass-arguments-to-command": [{"source": "header", "name": "X-Token"}]}, "leave the argument out"),
        ({"pass-file-to-command": [{"source": "payload", "name": "a"}]}, "$MONQBUS_EVENT_FILE"),
        ({"pass-environment-to-command": [{"source": "payload", "name": "a.b"}]}, "write envname"),
        ({"parse-parameters-as-json": [{"source": "payload", "name": "data"}]}, "only the field payload"),
        ({"pre-hook-command": "/bin/true"}, "call it in the command"),
        ({"http-methods": ["TRACE"]}, "http-methods: expected methods of"),
        ({"id": ""}, "id: expected a text, got none"),
    ],
)  # fmt: skip
def test_what_would_mean_something_else_is_left_out_with_its_remedy(
    changed: dict[str, Any], says: str
) -> None:
    """Half of a rule lets in more, and half of a command does something else."""
    result = moved({**hook(), **changed}, hook(id="b"))

    assert 1 == result.left_out
    assert says in result.remarks[0]
    assert KEY not in result.text + "".join(result.remarks)
    assert ["b"] == list(loaded(result).hooks)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"response-message": "a\nb"}, "response-message: not carried over: text: expected one line"),
        ({"response-message": "{body:a}"}, "response-message: not carried over: a word in braces is a place"),
        ({"response-message": "{nope}"}, "response-message: not carried over: expected a known placeholder"),
        ({"response-message": "; x"}, "a space and ; begin a comment"),
        ({"response-message": ["x"]}, "response-message: not carried over: text: expected a text"),
        ({"response-message": "x", "success-http-response-code": 204}, "an answer with 204 has no content"),
        ({"response-headers": [{"name": "Content-Length", "value": "1"}]}, "that is not the server's own"),
        ({"response-headers": [{"name": "A", "value": "b"}, {"name": "a", "value": "c"}]}, "a comes twice"),
        ({"response-headers": [{"name": "A"}]}, "A has no value"),
        ({"response-headers": [{"name": "A", "value": "é"}]}, "response-headers: not carried over: expected"),
        ({"response-headers": [{"name": "Content-Type", "value": "text/html"}]}, "beside no text"),
        ({"response-headers": "x"}, "response-headers: expected a list of objects"),
        ({"success-http-response-code": 301}, "success-http-response-code: not carried over"),
        ({"success-http-response-code": True}, "success-http-response-code: not carried over"),
        ({"trigger-rule-mismatch-http-response-code": 400}, "answered 202"),
        ({"include-command-output-in-response": True}, "the answer waits for 5m at most"),
        ({"include-command-output-in-response-on-error": True}, "500 without what it printed"),
        (
            {"include-command-output-in-response": True, "success-http-response-code": 201},
            "an answer with the output is 200",
        ),
        ({"id": "a/b c"}, "it is /hooks/a-b-c now"),
        ({"colour": "red"}, "colour: not known to adnanh/webhook either"),
        ({}, "trigger-rule: nothing proves the sender, so anybody may send"),
        ({"trigger-rule": match("payload-hmac-sha1", secret="short")}, "shorter than 16 characters"),
        ({"trigger-rule": match("payload-hmac-sha1", secret=KEY)}, "add prefix = sha1= to the hook"),
    ],
)
def test_what_is_otherwise_here_is_told_with_the_hooks_id(changed: dict[str, Any], says: str) -> None:
    """The hook is carried over."""
    result = moved({**hook(), **changed})

    assert 0 == result.left_out
    assert [one for one in result.remarks if says in one and one.startswith("hook a")]
    assert loaded(result).hooks


def test_the_answer_is_carried_over() -> None:
    """Status, text and headers as the sender knows them; the wish for output makes the answer wait."""
    headers = [{"name": "Content-Type", "value": "application/json"}, {"name": "X-By", "value": "us; too"}]
    said = {"response-message": '{"text": "got it"}', "response-headers": headers}
    result = moved(
        hook(IS_X, **said, **{"success-http-response-code": 201}),
        hook(IS_X, id="b", **said, **{"include-command-output-in-response": True}),
    )
    first, second = loaded(result).hooks.values()

    assert (201, '{"text": "got it"}', 0.0, False) == (first.status, first.body, first.wait, first.output)
    assert (("Content-Type", "application/json"), ("X-By", "us; too")) == first.answer_headers
    assert ("", 300.0, True) == (second.body, second.wait, second.output)
    assert (("X-By", "us; too"),) == second.answer_headers


def test_the_type_of_a_body_and_paths_into_xml_are_ours() -> None:
    """An attribute is `-name` there and `@name` here."""
    theirs = hook(value("x", "payload", "order.-id"), **{"incoming-payload-content-type": "application/xml"})
    theirs["pass-arguments-to-command"] = [{"source": "payload", "name": "order.item.#text"}]
    config = loaded(moved(theirs))

    assert "application/xml" == config.hooks["a"].content_type
    assert 'body.order["@id"] == "x"' == getattr(config.hooks["a"].when, "text", "")
    assert ("/bin/true", "{body:order.item.#text|}") == config.handlers["a"].command


def test_two_hooks_of_one_name_are_two() -> None:
    """Ids that differ in what a name cannot have, and the field payload of a form."""
    unpacked = hook(value("x", "payload", "payload.ref"), id="a b")
    unpacked["parse-parameters-as-json"] = [{"source": "payload", "name": "payload"}]
    config = loaded(moved(hook(id="a-b"), unpacked))

    assert ["a-b", "a-b-2"] == list(config.hooks)
    assert 'body.ref == "x"' == getattr(config.hooks["a-b-2"].when, "text", "")


@pytest.mark.parametrize(
    ("content", "name", "says"),
    [
        (b"[", "a.json", "a.json: "),
        (b'{"id": "a"}', "a.json", "expected a list of hooks"),
        (b"[1]", "a.json", "expected a list of hooks"),
        (b"[{{ range . }}]", "a.json", "of templates getenv, cat and credential are understood"),
        (b"\xff", "a.json", "expected UTF-8, got byte 0xff"),
        (b"- !!python/object/apply:os.system [id]", "a.yaml", "expected YAML of plain values"),
        (b"- &a {id: x}\n- *a", "a.yaml", "expected no aliases"),
        (b"- {1: x}", "a.yaml", "expected texts as keys"),
        (b"- {id: 2026-01-01}", "a.yaml", "expected plain values, got date; put it in quotes"),
        (b"- {id: !!binary aGk=}", "a.yaml", "expected plain values, got bytes"),
        (b"- " + b"[" * 3000, "a.yaml", "expected YAML of plain values"),
        (b"a: [", "a.yml", "expected YAML of plain values, got something else at line 1"),
    ],
)
def test_what_is_no_file_of_hooks_is_refused(content: bytes, name: str, says: str) -> None:
    """Tags run nothing, aliases multiply nothing."""
    with pytest.raises(ConfigError) as caught:
        hooks_of(content, name)

    assert says in str(caught.value)


_WORDS = st.sampled_from(
    ["and", "or", "not", "match", "type", "value", "regex", "secret", "parameter", "source", "name",
     "payload", "header", "url", "string", "entire-payload", "request", "method", "ip-whitelist", "ip-range",
     "payload-hmac-sha256", "scalr-signature", "X-Token", "Authorization", "Basic eDp5", "a.b", " ;", "{",
     "#", "a", "10.0.0.0/8"]
)  # fmt: skip
_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | _WORDS,
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(_WORDS, inside, max_size=4),
    max_leaves=12,
)
_PARAMETER = st.fixed_dictionaries(
    {"source": _WORDS, "name": _WORDS | st.text(max_size=9)}, optional={"envname": _WORDS}
)
_MATCH = st.fixed_dictionaries(
    {"type": _WORDS},
    optional={"value": _WORDS | st.text(max_size=20), "regex": st.text(max_size=9),
              "secret": st.text(max_size=20), "parameter": _PARAMETER,
              "ip-range": st.sampled_from(["10.0.0.0/8", "::1", "x"])},
)  # fmt: skip
_RULE = st.recursive(
    st.fixed_dictionaries({"match": _MATCH}),
    lambda rule: (
        st.fixed_dictionaries({"and": st.lists(rule, max_size=3)})
        | st.fixed_dictionaries({"or": st.lists(rule, max_size=3)})
        | st.fixed_dictionaries({"not": rule})
    ),
    max_leaves=6,
)
_HOOK = st.fixed_dictionaries(
    {},
    optional={
        "id": st.text(max_size=9) | _WORDS,
        "execute-command": st.sampled_from(["/bin/true", "a b", "{", ""]) | _ANY,
        "trigger-rule": _RULE | _ANY,
        "pass-arguments-to-command": st.lists(_PARAMETER, max_size=3) | _ANY,
        "pass-environment-to-command": st.lists(_PARAMETER, max_size=3) | _ANY,
        "pass-file-to-command": st.lists(_PARAMETER, max_size=3) | _ANY,
        "command-working-directory": st.text(max_size=9) | _ANY,
        "http-methods": st.lists(st.sampled_from(["GET", "post", "x"]), max_size=2) | _ANY,
        "parse-parameters-as-json": st.lists(_PARAMETER, max_size=2) | _ANY,
        "incoming-payload-content-type": st.text(max_size=9) | _ANY,
        "response-message": _ANY | st.text(max_size=9),
        "response-headers": _ANY
        | st.lists(
            st.fixed_dictionaries({"name": _WORDS | st.text(max_size=9), "value": st.text(max_size=9)})
        ),
        "success-http-response-code": _ANY | st.integers(190, 310),
        "include-command-output-in-response": _ANY,
    },
)


@given(st.lists(_HOOK, max_size=3))
def test_whatever_the_hooks_are_what_comes_out_loads(hooks: list[dict[str, Any]]) -> None:
    """Each is carried over or left out with a remark; nothing else is raised."""
    result = moved(*hooks)
    config = loaded(result)

    assert len(hooks) == len(config.hooks) + result.left_out
    assert config.hooks.keys() == config.handlers.keys()


@given(
    st.binary(max_size=60) | _ANY.map(lambda one: dumps(one).encode()) | st.text(max_size=60).map(str.encode),
    st.sampled_from(["a.json", "a.yaml", "-"]),
)
def test_any_bytes_are_hooks_or_our_error(content: bytes, name: str) -> None:
    """Of JSON and of YAML."""
    try:
        converted(hooks_of(content, name), lambda name: f"env:{name}")
    except ConfigError as error:
        assert str(error).startswith(f"{name}: ")
