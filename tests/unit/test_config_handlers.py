"""[handler:NAME]: what is read, and each mistake that would fail at every run, found before the first."""

from __future__ import annotations

from pathlib import Path

import pytest

from .inifile import problems, read, write

pytestmark = pytest.mark.usefixtures("folder")

TOPIC_EXPECTED = (
    "expected topics of letters, digits and _ . : -, at most 128 characters each, separated by commas"
)
KNOWN = (
    "{topic}, {id}, {hook}, {delivery}, {header:X}, {query:x}, {body:dotted.path}, {attribute:x}, {args:0} "
    "and {kwargs:name}"
)
HEAD = "[handler:x]\ntopic = t\n"


def test_a_handler_is_read_with_its_defaults(folder):
    handler = read("[handler:x]\ntopic = a.b, c\ncommand = /bin/echo 'one word' {body:a.b}\n").handlers["x"]

    assert (("a.b", "c"), ("/bin/echo", "one word", "{body:a.b}")) == (handler.topics, handler.command)
    assert (3600.0, 0, 0, 10) == (
        handler.timeout,
        handler.max_attempts,
        handler.max_concurrent,
        handler.priority,
    )
    assert Path.cwd() == handler.working_dir
    assert "monqbus.ini:1" == handler.where


def test_a_program_may_be_named_relative_to_its_folder(folder):
    write("deploy.sh", b"#!/bin/sh\n")
    (Path.cwd() / "deploy.sh").chmod(0o700)

    assert "./deploy.sh" == read(f"{HEAD}command = ./deploy.sh\n").handlers["x"].command[0]


MISTAKES = [
    ("[handler:x]\ncommand = /bin/echo\n", "1: [handler:x]: expected the key topic, got none; "
     "write for example topic = github.push, github.release"),
    (HEAD, "1: [handler:x]: expected the key command or task, got neither; "
     "write for example command = /bin/echo {topic}"),
    (f"{HEAD}command =\n", "1: [handler:x]: expected the key command or task, got neither; "
     "write for example command = /bin/echo {topic}"),
    (f"{HEAD}command = /bin/true\ntask = a.b\n",
     "4: [handler:x] task: expected a command or a task, got both; remove one"),
    (f"{HEAD}task = a.b\nuser = root\n",
     "4: [handler:x] user: expected with command only, got task; remove it"),
    (f"{HEAD}command = /bin/true\nargs = [1]\n",
     "4: [handler:x] args: expected with task only, got command; remove it"),
    (f"{HEAD}task = a b\n",
     "3: [handler:x] task: expected the name of a task, got 'a b'; write for example mail.send_mail"),
    (f"{HEAD}task = a.b\nargs = {{body:a}}\n",
     "4: [handler:x] args: expected a list in JSON, texts in double quotes, got something else (not JSON, "
     "Expecting property name enclosed in double quotes at line 1 column 2); "
     'write for example ["{body:pusher.email}", 3]'),
    (f'{HEAD}task = a.b\nargs = {{"a": 1}}\n',
     "4: [handler:x] args: expected a list in JSON, texts in double quotes, got '{\"a\": 1}'; "
     'write for example ["{body:pusher.email}", 3]'),
    (f'{HEAD}task = a.b\nargs = [["{{bdy:a}}"]]\n',
     "4: [handler:x] args: expected a known placeholder, got '{bdy:a}'; did you mean {body:a}?"),
    (f'{HEAD}task = a.b\nargs = [{{"{{topic}}": 1}}]\n',
     "4: [handler:x] args: expected keys without placeholders, got '{topic}'; write the key out"),
    (f'{HEAD}task = a.b\nargs = ["{{header:Authorization}}"]\n',
     "4: [handler:x] args: expected a header that is kept, got '{header:Authorization}'; name another one: "
     "those that may hold a secret are never stored, nor are odd names"),
    (f'{HEAD}task = a.b\nkwargs = {{"a b": 1}}\n',
     "4: [handler:x] kwargs: expected names of arguments as keys, got 'a b'; name an argument"),
    (f'{HEAD}task = a.b\nkwargs = {{"a": 1, "a": 2}}\n',
     "4: [handler:x] kwargs: expected an object in JSON, texts in double quotes, got something else (key 'a' "
     'stands twice in one object); write for example {"ref": "{body:ref}"}'),
    ("[handler:a b]\ntopic = t\ncommand = /bin/echo\n", "1: [handler:NAME]: expected a name of 1 to 64 "
     "letters, digits, _ and - behind handler:, got 'a b'; write for example [handler:deploy]"),
    ("[handlers:x]\n", "1: expected a known section, got '[handlers:x]'; did you mean [handler:x]?"),
    ("[handler:x]\ntopic = a b\ncommand = /bin/echo\n",
     f"2: [handler:x] topic: {TOPIC_EXPECTED}, got 'a b'; write for example github.push"),
    ("[handler:x]\ntopic =\ncommand = /bin/echo\n",
     f"2: [handler:x] topic: {TOPIC_EXPECTED}, got nothing; write for example github.push"),
    (f"{HEAD}command = /bin/echo {{event}}\n",
     f"3: [handler:x] command: expected a known placeholder, got '{{event}}'; known are {KNOWN}"),
    (f"{HEAD}command = /bin/echo {{body:commits[0]}}\n",
     "3: [handler:x] command: expected names and numbers with dots between them in {body:dotted.path}, "
     "got '{body:commits[0]}'; write for example {body:commits.0}"),
    (f"{HEAD}command = /bin/echo {{body:a\n",
     "3: [handler:x] command: expected a closing brace for every opening one, got '{body:a'; "
     f"placeholders are {KNOWN}"),
    (f"{HEAD}command = /bin/echo {{body:a|-n}}\n",
     "3: [handler:x] command: expected a default that makes its argument no option, got '{body:a|-n}'; "
     "write the option in front of the placeholder"),
    (f"{HEAD}command = {{body:program}} a\n",
     "3: [handler:x] command: expected a fixed program, got '{body:program}'; "
     "no sender may choose what is run"),
    (f"{HEAD}command = /bin/echo 'a\n",
     "3: [handler:x] command: expected a program and its arguments, got \"/bin/echo 'a\"; "
     "close what was opened (No closing quotation)"),
    (f"{HEAD}command = /bin/cat a | sort\n",
     "3: [handler:x] command: expected one program and its arguments, no shell between them, got '|'; "
     "put it into a script and name that"),
    (f"{HEAD}command = /bin/echo\nenvironment = A=b\n",
     "4: [handler:x] environment: expected names of environment variables, separated by commas, "
     "got 'A=b'; write for example DEPLOY_KEY"),
    (f"{HEAD}command = /bin/echo\nopen_after = 10 in a minute\n",
     "4: [handler:x] open_after: expected 1 to 1000 failures in 1s to 1d, such as 10 failures in 1m, "
     "got '10 in a minute'; write for example 10 failures in 1m"),
    (f"{HEAD}command = /bin/echo\nopen_after = 0 failures in 1m\n",
     "4: [handler:x] open_after: expected 1 to 1000 failures in 1s to 1d, such as 10 failures in 1m, "
     "got '0 failures in 1m'; write for example 10 failures in 1m"),
    (f"{HEAD}command = /bin/echo\nprobe = 1m\n",
     "4: [handler:x] probe: expected with open_after only, got it without; remove it"),
    (f"{HEAD}command = /bin/echo\ntimeout = 0s\n",
     "4: [handler:x] timeout: expected a duration from 1s to 30d (unit ms, s, m, h or d), got '0s'; "
     "write for example 30s"),
]  # fmt: skip


@pytest.mark.parametrize(("written", "said"), MISTAKES)
def test_a_mistake_is_one_sentence_with_its_place_and_remedy(written, said):
    assert [f"monqbus.ini:{said}"] == problems(written)


@pytest.mark.parametrize(
    "line", ["command = /nonexistent/x", "command = /bin/echo\nworking_dir = /nonexistent",
             "command = /bin/echo\nuser = no-such-user"],
)  # fmt: skip
def test_what_is_not_there_is_no_mistake_of_the_configuration(line):
    """Its disk may be mounted late; who only looks has nothing to do with it."""
    assert "x" in read(f"{HEAD}{line}\n").handlers
