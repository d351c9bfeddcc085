"""The argparse parser: every command, its options and its help with examples."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterable
from typing import Any, Final, NoReturn

from .. import __version__
from ..spelling import nearest
from . import terminal
from .access_options import letting_in
from .top_options import watching

USAGE_CODE: Final = 64
MOST: Final = 1_000_000_000

_EXAMPLES = """\
examples:
  monqbus init shop && cd shop && monqbus run        a new place, running
  monqbus check --config monqbus.ini                 is everything right?
  monqbus post hello.count_letters --args '["world"]' --wait 10
  monqbus list --state error --ended-newer 1h        what failed in the last hour
  monqbus retry --error 'Timeout' --ended-newer 1d   all of those again

FILE is --config, else $MONQBUS_CONFIG, else ./monqbus.ini.
exit codes: 0 done · 1 failed or not found · 64 usage · 69 store unreachable ·
            73 store held · 75 not usable for now · 78 configuration
"""


class Parser(argparse.ArgumentParser):
    """An argument parser whose usage errors exit with 64, as sysexits.h has it."""

    def error(self, message: str) -> NoReturn:
        """One line, the remedy, exit 64."""
        terminal.note(f"{message}; see `{self.prog} --help`")
        sys.exit(USAGE_CODE)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse, but the command that was given too much says so, not the whole program."""
        words = list(sys.argv[1:] if args is None else args)
        if self._subparsers is not None and (unknown := self._unknown_in_front(words)):
            self.error(f"unknown argument {unknown!r}{_near(unknown, self._option_string_actions)}")
        options, extra = super().parse_known_args(args, namespace)
        if extra:
            word = extra[0].partition("=")[0]
            hint = _near(word, self._option_string_actions)
            if hasattr(options, "kwargs") and word[-1:] in "]},:":
                hint = "; JSON is one word for the shell in single quotes, such as --args '[7, \"Berlin\"]'"
            self.error(f"unknown argument {word!r}{hint}")
        return options, extra

    def _unknown_in_front(self, words: list[str]) -> str:
        """The first option in front of the command that is none; argparse would take its value for one."""
        rest = iter(words)
        for word in rest:
            if not word.startswith("-"):
                break
            name, given, _ = word.partition("=")
            action = self._option_string_actions.get(name)
            if action is None:
                return name
            if action.nargs is None and not given:
                next(rest, None)
        return ""

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            raise argparse.ArgumentError(None, f"unknown command {value!r}{_near(value, action.choices)}")


def _near(word: str, known: Iterable[str]) -> str:
    near = nearest(word, known)
    return f", did you mean {near}?" if near else ""


def _count(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= MOST:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 to {MOST}, got {text!r}")
    return int(text)


def _moment(text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,12}(?:\.[0-9]{1,9})?", text):
        raise argparse.ArgumentTypeError(f"expected Unix seconds such as 1767225600, got {text!r}")
    return float(text)


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a whole number, got {text!r}") from None


def build_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = Parser(
        prog="monqbus",
        description="Takes events over HTTP, stores them durably, runs their handlers.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,  # the entry looks for the command before it parses: it knows whole words only
    )
    parser.add_argument("--version", action="version", version=f"monqbus {__version__}")
    # taken in front of the command too, where many expect them
    parser.add_argument("--config", help=argparse.SUPPRESS)
    parser.add_argument("--debug", action="store_true", help=argparse.SUPPRESS)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", parser_class=Parser)

    def command(name: str, module: str, does: str, example: str = "") -> argparse.ArgumentParser:
        sub: argparse.ArgumentParser = commands.add_parser(
            name,
            help=does,
            description=does[0].upper() + does[1:] + ".",
            epilog=f"example:\n  {example}" if example else None,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        sub.set_defaults(module=module, function=name)
        sub.add_argument(
            "--config",
            metavar="FILE",
            default=argparse.SUPPRESS,  # else it would undo the one in front of the command
            help="the INI file (default: $MONQBUS_CONFIG, ./monqbus.ini)",
        )
        sub.add_argument(
            "--debug", action="store_true", default=argparse.SUPPRESS, help="show tracebacks of errors"
        )
        return sub

    _running(command)
    _posting(command)
    _looking(command)
    watching(command)
    _steering(command)
    _pausing(command)
    letting_in(command, _count)
    _keeping(command)
    _trying(command)
    _moving(command)
    command("config", "setup", "print the fully commented sample config", "monqbus config > monqbus.ini")
    command("version", "setup", "print the version", "monqbus version")
    return parser


Command = Callable[..., argparse.ArgumentParser]


def _running(command: Command) -> None:
    run = command(
        "run", "run", "run the daemon in the foreground", "monqbus run --config monqbus.ini --only 'mail.*'"
    )
    run.add_argument(
        "--only", metavar="NAMES", default="*", help="claim only these tasks: comma list, * wildcards"
    )
    run.add_argument("--except", dest="but", metavar="NAMES", default="", help="never claim these tasks")
    init = command(
        "init", "setup", "write a starter: config, example app, systemd units", "monqbus init shop"
    )
    init.add_argument("directory", metavar="DIR", nargs="?", default=".", help="where (default: here)")
    check = command(
        "check",
        "check",
        "check config, imports, store and secrets; print tasks, handlers, hooks",
        "monqbus check --config monqbus.ini",
    )
    check.add_argument("--offline", action="store_true", help="leave the store out")
    check.add_argument("--report", type=int, help=argparse.SUPPRESS)  # for a reload: see bus/daemon/reload.py
    doctor = command(
        "doctor",
        "doctor",
        "show versions, limits, disk, store and clock, and the remedy for what is wrong",
        "monqbus doctor --config monqbus.ini",
    )
    doctor.add_argument("--json", action="store_true", help="one JSON object a line")


def _arguments(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--args", metavar="JSON", default="[]", help="positional arguments, a JSON array")
    sub.add_argument("--kwargs", metavar="JSON", default="{}", help="keyword arguments, a JSON object")
    sub.add_argument(
        "--wait", metavar="S", help="wait up to S seconds, or 5m, for the end and print the result"
    )


def _posting(command: Command) -> None:
    post = command(
        "post",
        "post",
        "post one task, print its id",
        """monqbus post hello.count_letters --args '["world"]' --wait 10""",
    )
    post.add_argument("name", metavar="NAME", help="the task's name: module.function")
    _arguments(post)
    post.add_argument(
        "--delay", metavar="S", help="not before S seconds from now; also 90s, 3d or an RFC 3339 time"
    )
    post.add_argument("--priority", metavar="N", type=_whole, help="higher runs first (default 10)")
    post.add_argument(
        "--key", help="store nothing while an unfinished task has this key; print the id of that one"
    )
    _lines(post, "task", ', "key", "delay", "priority"')
    event = command(
        "event", "post", "publish an event, print its id and one task id per handler",
        """monqbus event order.paid --kwargs '{"number": 7}'""",
    )  # fmt: skip
    event.add_argument("topic", metavar="TOPIC", help="what happened")
    _arguments(event)
    _lines(event, "event")


def _lines(sub: argparse.ArgumentParser, noun: str, more: str = "") -> None:
    sub.add_argument(
        "--from",
        dest="source",
        metavar="FILE",
        help=f"one {noun} for each line of FILE, or of standard input for -: a JSON array of arguments, "
        f'or an object with "args", "kwargs"{more}; run again after an interruption, it posts the others',
    )
    sub.add_argument(
        "--journal",
        metavar="FILE",
        help="where --from remembers how far it is (default: its FILE with .journal; none for a pipe)",
    )


def _filters(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--state", help="ready, busy, complete, error, skipped, several with commas; or parked")
    sub.add_argument("--name", metavar="NAME", help="the task's whole name; * stands for any text: 'mail.*'")
    sub.add_argument("--topic", help="tasks of events with this topic")
    sub.add_argument("--error", metavar="REGEX", help="tasks whose error matches")
    sub.add_argument("--older", metavar="WHEN", help="queued before: 90s, 3d, or an RFC 3339 time")
    sub.add_argument("--newer", metavar="WHEN", help="queued after: 90s, 3d, or an RFC 3339 time")
    sub.add_argument("--ended-older", metavar="WHEN", help="ended before, in the same words")
    sub.add_argument("--ended-newer", metavar="WHEN", help="ended after, in the same words")
    sub.add_argument("--json", action="store_true", help="one JSON object a line")


def _limit(sub: argparse.ArgumentParser, default: str) -> None:
    sub.add_argument(
        "--limit", metavar="N", type=_count, help=f"at most N tasks, the newest (default: {default})"
    )


def _looking(command: Command) -> None:
    listing = command(
        "list", "queries", "list tasks, newest first", "monqbus list --state error --ended-newer 1h"
    )
    _filters(listing)
    _limit(listing, "50")
    _filters(command("count", "queries", "count tasks by state", "monqbus count --name 'hello.*'"))
    show = command(
        "show",
        "queries",
        "show everything about one task, or one event",
        "monqbus show 6b04e9ad5827144958b0b2e2",
    )
    show.add_argument("id", metavar="ID", help="the id of a task or an event")
    show.add_argument("--json", action="store_true", help="as one JSON object")
    _coming(command)
    _schedules(command)


def _coming(command: Command) -> None:
    """What came in: events, and deliveries with those that became none."""
    events = command(
        "events",
        "events",
        "list events, show some, or replay those that no handler took with the handlers there are now",
        "monqbus events replay --topic order.paid --newer 1d --dry-run",
    )
    events.add_argument(
        "action", metavar="ACTION", choices=["list", "show", "replay"], help="list, show or replay"
    )
    events.add_argument(
        "ids",
        metavar="ID",
        nargs="*",
        help="for show and replay: events by id, the first one that a 202 names",
    )
    events.add_argument("--kind", help="delivery, published, or another source's word")
    events.add_argument(
        "--outcome", metavar="WORD", help="handled, unhandled, filtered, or accepted: not filtered"
    )
    deliveries = command(
        "deliveries",
        "deliveries",
        "list what came to the hooks, refused deliveries too, show some, or replay some",
        "monqbus deliveries list --outcome refused --newer 1h",
    )
    deliveries.add_argument(
        "action", metavar="ACTION", choices=["list", "show", "replay"], help="list, show or replay"
    )
    deliveries.add_argument(
        "ids", metavar="ID", nargs="*", help="for show and replay: deliveries by id, as list shows them"
    )
    deliveries.add_argument(
        "--outcome", metavar="WORD", help="accepted, filtered, repeated, answered or refused"
    )
    deliveries.add_argument(
        "--refused",
        metavar="ID",
        nargs="+",
        help="for replay: refused ones that you vouch for; sign, send them",
    )
    deliveries.add_argument("--to", metavar="URL", help="with --refused: where to, in place of `listen`")
    deliveries.add_argument("--status", metavar="N", type=_whole, help="answered with this status")
    for sub, noun in ((events, "events"), (deliveries, "deliveries")):
        _choices_of_events(sub, noun)


def _choices_of_events(sub: argparse.ArgumentParser, noun: str) -> None:
    """What chooses among events and deliveries alike."""
    sub.add_argument("--hook", help="deliveries to this hook")
    sub.add_argument("--topic", help="of events with this topic")
    sub.add_argument("--delivery", metavar="ID", help="the sender's own id of the delivery")
    sub.add_argument("--older", metavar="WHEN", help="received before: 90s, 3d, or an RFC 3339 time")
    sub.add_argument("--newer", metavar="WHEN", help="received after: 90s, 3d, or an RFC 3339 time")
    default = "50 of list, all that match of replay"
    sub.add_argument(
        "--limit", metavar="N", type=_count, help=f"at most N {noun}, the newest (default: {default})"
    )
    sub.add_argument("--json", action="store_true", help="one JSON object a line")
    sub.add_argument(
        "--all", action="store_true", help=f"for replay: all unhandled {noun}, without ID and filter"
    )
    sub.add_argument(
        "--dry-run", action="store_true", help="for replay: change nothing; count by topic what would be"
    )


def _schedules(command: Command) -> None:
    sub = command(
        "schedules",
        "schedules",
        "list schedules, run some now, or show when a cron expression comes",
        "monqbus schedules next '15 3 * * *' --timezone Europe/Berlin",
    )
    sub.add_argument(
        "action", metavar="ACTION", nargs="?", default="list", choices=["list", "run", "next"],
        help="list (default), run or next",
    )  # fmt: skip
    sub.add_argument(
        "words",
        metavar="NAME",
        nargs="*",
        help="for run: schedules by name; for next: an expression in quotes",
    )
    sub.add_argument("--timezone", metavar="ZONE", help="for next: the zone it is meant in (default: UTC)")
    sub.add_argument("--count", metavar="N", type=_count, help="for next: how many moments (default: 5)")
    sub.add_argument("--json", action="store_true", help="one JSON object a line")


def _steering(command: Command) -> None:
    for name, does in (
        ("retry", "give failed or skipped tasks a fresh start"),
        ("cancel", "skip ready or busy tasks"),
        ("purge", "forget ended tasks; never touches ready or busy ones"),
    ):
        sub = command(name, "actions", does, f"monqbus {name} --name 'hello.*' --older 1d")
        sub.add_argument("ids", metavar="ID", nargs="*", help="tasks by id")
        _filters(sub)
        _limit(sub, "all that match")
        sub.add_argument(
            "--all", action="store_true", help="every task that can be, when no ID and no filter is given"
        )
        sub.add_argument(
            "--dry-run", action="store_true", help="change nothing; count by name what would be changed"
        )


def _pausing(command: Command) -> None:
    pause = command(
        "pause",
        "pauses",
        "hold up tasks or schedules by name: they wait, are counted and not lost; running tasks go on",
        "monqbus pause 'mail.*' --reason 'the mail server is down' --until 2h",
    )
    resume = command("resume", "pauses", "end pauses: what has waited begins", "monqbus resume 'mail.*'")
    for sub, every in ((pause, "all tasks, also those that come"), (resume, "whatever is paused")):
        sub.add_argument(
            "names",
            metavar="NAME",
            nargs="*",
            help="tasks by their whole name; * stands for any text: 'mail.*'",
        )
        for option, metavar, meaning in (
            ("--schedule", "NAME", "a schedule, in the same words; may be given several times"),
            ("--topic", "TOPIC", "the handlers that this topic has now, if they have no other one"),
            ("--hook", "NAME", "a hook: its deliveries are stored, and their tasks wait"),
        ):
            sub.add_argument(option, metavar=metavar, action="append", default=[], help=meaning)
        sub.add_argument("--all", action="store_true", help=every)
        sub.add_argument("--json", action="store_true", help="one JSON object a line")
    pause.add_argument(
        "--reason", metavar="TEXT", required=True, help="why, for whoever finds the work waiting"
    )
    pause.add_argument(
        "--until", metavar="WHEN", help="when it ends by itself: 2h from now, or an RFC 3339 time"
    )
    listing = command(
        "pauses", "pauses", "show what is paused, why, and how many tasks wait for it", "monqbus pauses"
    )
    listing.add_argument("--json", action="store_true", help="one JSON object a line")


def _keeping(command: Command) -> None:
    backup = command(
        "backup",
        "backup",
        "write the embedded store to a new file, also while a daemon runs",
        "monqbus backup /var/backups/monqbus.db",
    )
    backup.add_argument("file", metavar="FILE", help="the file to make; never replaces one")
    copy = command(
        "copy",
        "backup",
        "bring everything of a stopped daemon's embedded store into MongoDB",
        "monqbus copy --to env:MONGODB_URI",
    )
    copy.add_argument(
        "--to",
        metavar="STORE",
        required=True,
        help="the store to fill, written as the setting store: an address, env:NAME or file:PATH",
    )


def _trying(command: Command) -> None:
    hook = command(
        "hook",
        "hook",
        "verify a delivery that was saved and say what is wrong with it, sign one, or send one as a test",
        "monqbus hook verify github --headers headers.txt --body body.json --at 1767225600",
    )
    hook.add_argument(
        "action", metavar="ACTION", choices=["verify", "sign", "send"], help="verify, sign or send"
    )
    hook.add_argument("name", metavar="NAME", help="the hook, as in [hook:NAME]")
    hook.add_argument(
        "--body", metavar="FILE", help="the exact bytes of the body, - for standard input; else a small one"
    )
    hook.add_argument(
        "--headers", metavar="FILE", help="for verify: one NAME: VALUE a line, or a JSON object"
    )
    hook.add_argument(
        "--at", metavar="UNIX", type=_moment, help="for verify: when it came, in Unix seconds (default: now)"
    )
    hook.add_argument("--url", metavar="URL", help="what the sender asked for, with what follows ?")
    hook.add_argument("--method", metavar="M", help="of the request (default: POST where the hook takes it)")
    hook.add_argument(
        "--header",
        metavar="LINE",
        action="append",
        help="for sign and send: a further 'NAME: VALUE', such as 'X-GitHub-Event: push'; repeatable",
    )
    _signing(hook)


def _signing(hook: argparse.ArgumentParser) -> None:
    hook.add_argument(
        "--key",
        metavar="REF",
        help="for sign and send: env:NAME, file:PATH or credential:NAME with what signs, where the hook has "
        "a public key",
    )
    hook.add_argument("--out", metavar="FILE", help="for sign: a new file for the signed body")
    hook.add_argument("--to", metavar="URL", help="for send: where to (default: the first address of listen)")


def _moving(command: Command) -> None:
    moving = command(
        "import",
        "importing",
        "turn the hooks of adnanh/webhook into a configuration, and list what it cannot carry over",
        "monqbus import hooks.json --out monqbus.ini",
    )
    moving.set_defaults(function="import_hooks")
    moving.add_argument(
        "file", metavar="FILE", help="JSON or YAML, as given to webhook with -hooks; - for input"
    )
    moving.add_argument(
        "--out",
        metavar="FILE",
        help="the new file for it, with the secrets in files beside it; else it is printed, without secrets",
    )
