"""What is taken as it stands though other files give it a meaning is warned about, with its spelling here."""

from __future__ import annotations

import pytest

from .inifile import problems, read, write

pytestmark = pytest.mark.usefixtures("folder")

LONG = "s3cret-of-the-sender"
TOKEN = "[hook:x]\nverify = token\nsecret = "
COMMAND = "[handler:x]\ntopic = t\ncommand = /bin/echo "
HASH = "what stands behind # is a part of it; a comment behind a value begins with ;"
QUOTES = "the quotes are a part of it; remove them"
NO_VARIABLE = "a variable is not filled in here; write env:NAME"
NO_REFERENCE = (
    "it is taken for the secret itself; write env:NAME, file:PATH or credential:NAME, in lower case and "
    "without spaces"
)
NO_SHELL = (
    "no shell reads this line, so that < > | && and # are arguments or parts of them; put it into a script "
    "and name that, or write /bin/sh -c '…'"
)
NO_BODY = "a variable is not filled in here; write {body:…} for a value of the event, or use a script"
ROW = "a comma is a part of it; several secrets stand one a line, each but the first on an indented line"
CUT_SECRET = (
    "it ends before a ;, where a comment begins; a secret with a space and ; in it has to stand elsewhere: "
    "write file:PATH"
)
CUT_COMMAND = (
    "it ends before a ;, where a comment begins; a second command has no place behind it: put both into a "
    "script and name that"
)

WARNED = [
    (f"{TOKEN}${{GITHUB_WEBHOOK_SECRET}}\n", f"[hook:x] secret: {NO_VARIABLE}"),
    (f"{TOKEN}$GITHUB_WEBHOOK_SECRET\n", f"[hook:x] secret: {NO_VARIABLE}"),
    (f"{TOKEN}ENV:GITHUB_WEBHOOK_SECRET\n", f"[hook:x] secret: {NO_REFERENCE}"),
    (f"{TOKEN}env :GITHUB_WEBHOOK_SECRET\n", f"[hook:x] secret: {NO_REFERENCE}"),
    (f"{TOKEN}File:/etc/monqbus/secret\n", f"[hook:x] secret: {NO_REFERENCE}"),
    (f'{TOKEN}"{LONG}"\n', f"[hook:x] secret: {QUOTES}"),
    (f"{TOKEN}'{LONG}'\n", f"[hook:x] secret: {QUOTES}"),
    (f"{TOKEN}{LONG} # of the sender\n", f"[hook:x] secret: {HASH}"),
    (f"{TOKEN}{LONG}, {LONG}\n", f"[hook:x] secret: {ROW}"),
    (f"{TOKEN}{LONG},{LONG[::-1]}\n", f"[hook:x] secret: {ROW}"),
    (f"{TOKEN}{LONG},env:GOOD\n", f"[hook:x] secret: {ROW}"),
    (f"{TOKEN}{LONG} ;and-more\n", f"[hook:x] secret: {CUT_SECRET}"),
    (f"{TOKEN}env:GOOD\n  {LONG} ;and-more\n", f"[hook:x] secret: {CUT_SECRET}"),
    ("[monqbus]\n\ndata_dir = $HOME/data\n", "[monqbus] data_dir: $HOME is not filled in here; "
     "write out what it stands for"),
    ('[monqbus]\n\ndata_dir = "./data"\n', f"[monqbus] data_dir: {QUOTES}"),
    ("[monqbus]\n\ndata_dir = ./data # here\n", f"[monqbus] data_dir: {HASH}"),
    ("[monqbus]\n\nstore = mongodb://bob:${PASSWORD}@db/tasks\n", "[monqbus] store: "
     "a variable is not filled in here; write the whole address into one, and env:NAME here"),
    (f"{COMMAND}a >/tmp/x\n", f"[handler:x] command: {NO_SHELL}"),
    (f"{COMMAND}a|b\n", f"[handler:x] command: {NO_SHELL}"),
    (f"{COMMAND}a&&b\n", f"[handler:x] command: {NO_SHELL}"),
    (f"{COMMAND}a # says a\n", f"[handler:x] command: {NO_SHELL}"),
    (f"{COMMAND}a ; /bin/echo b\n", f"[handler:x] command: {CUT_COMMAND}"),
    (f"{COMMAND}$HOME\n", f"[handler:x] command: {NO_BODY}"),
    (f'{COMMAND}"$HOME/x"\n', f"[handler:x] command: {NO_BODY}"),
    (f"{COMMAND}`date`\n", f"[handler:x] command: {NO_BODY}"),
    (f"{COMMAND}~/x\n", "[handler:x] command: ~ is not expanded here; write the home folder out"),
    (f"{COMMAND}/tmp/*.txt\n", "[handler:x] command: * finds no files here; put the command into a script "
     "and name that"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "said"), WARNED, ids=[text.splitlines()[2] for text, _ in WARNED])
def test_a_value_that_means_something_elsewhere_is_warned_about(text, said):
    """Once, with its line and the remedy; and nothing of a secret is in the sentence."""
    assert (f"monqbus.ini:3: {said}",) == read(text).warnings
    assert LONG not in said


MEANT = [
    f"{TOKEN}pa$$word-with-$igns\n",
    f"{TOKEN}a#b-of-sixteen-bytes\n",
    f"{TOKEN}a;b-of-sixteen-bytes\n",
    f"{TOKEN}a,b-of-sixteen-bytes\n",
    f"{TOKEN}{LONG},\n",
    f'{TOKEN}"quote-only-in-front-\n',
    f"{TOKEN}env:GOOD ; from the environment\n",
    "[worker]\nlease = 60s ; a minute\n",
    f"{COMMAND}'a|b' \"x > y\" '$HOME' 'a # b' '*'\n",
    f"{COMMAND}{{body:action|none}} a=b&c=d a#b\n",
    "[handler:x]\ntopic = t\ncommand = /bin/sh -c 'echo $HOME | sort > /tmp/x && ls *'\n",
    '[handler:x]\ntopic = t\ncommand = /bin/sh -c "echo $HOME"\n',
]


@pytest.mark.parametrize("text", MEANT)
def test_a_value_that_means_what_it_says_is_not(text):
    """A warning that is wrong teaches to pass over the next one."""
    assert () == read(text).warnings


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("[worker]\nlease = 60s # a minute\n", "write 60s"),
        ('[http]\nlisten = "127.0.0.1:80"\n', "write 127.0.0.1:80"),
        ("[monqbus]\nlog_level = 'debug' # for now\n", "write debug"),
    ],
)
def test_a_value_that_is_right_without_quotes_and_comment_is_said(text, remedy):
    """Where the literal value is a mistake, its remedy is what was meant."""
    (said,) = problems(text)

    assert said.endswith(f"; {remedy}; quotes and # are part of a value, a comment begins with ;")


def test_a_secret_in_a_file_is_taken_as_it_is_without_a_warning(folder):
    write("s", b"'quoted' # and not commented\n")

    assert () == read(f"{TOKEN}file:s\n").warnings
