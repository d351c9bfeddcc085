"""`user`, `token` and `audit`: who may reach the administrators' listener, and what was done."""

from __future__ import annotations

import argparse
import getpass
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from ..access.accounts import LINK_SECONDS, TOKEN_SECONDS, Accounts, Token, User
from ..access.audit import Audit, Entry
from ..access.book import Book
from ..access.passwords import Passwords
from ..access.roles import Role
from ..access.sessions import Sessions
from ..access.sign_in import LINK
from ..api.client import ApiClient
from ..clock import Clock
from ..config.value_types import listen_text
from ..errors import UsageError
from ..presentation import plain
from ..store import Store
from . import terminal
from .session import myself, open_place, read_config
from .times import seconds as seconds_of

DEFAULT_ENTRIES: Final = 50


class OwnAccounts(Accounts):
    """The Accounts and the Audit of a store that this command has opened itself; what it does is noted."""

    def __init__(self, store: Store, clock: Clock) -> None:
        book = Book(store, clock)
        super().__init__(book, Passwords(), Sessions(book, idle=1.0, lifetime=1.0))
        self.kept = Audit(store, clock)

    def audit(self, limit: int, before: str = "") -> list[tuple[str, Entry]]:
        """As Audit.entries."""
        return self.kept.entries(limit, before)


@contextmanager
def _open(options: argparse.Namespace) -> Iterator[OwnAccounts | ApiClient]:
    with open_place(options) as (place, clock):
        yield place if isinstance(place, ApiClient) else OwnAccounts(place, clock)


def user(options: argparse.Namespace) -> int:
    """Add, list, remove users; change their password or role; make a one-time link."""
    return _ACTIONS_OF_USERS[options.action](options)


def token(options: argparse.Namespace) -> int:
    """Add, list and revoke API tokens."""
    return _ACTIONS_OF_TOKENS[options.action](options)


def audit(options: argparse.Namespace) -> int:
    """What operators have done, newest first."""
    with _open(options) as accounts:
        found = accounts.audit(options.limit or DEFAULT_ENTRIES)
    for entry_id, entry in found:
        if options.json:
            terminal.row(plain({"id": entry_id, **entry._asdict()}))
        else:
            terminal.line(_entry_line(entry))
    if not found and not options.json:
        terminal.note("nothing was done yet")
    return 0


def _entry_line(entry: Entry) -> str:
    about = " ".join(f"{name}={plain(value)}" for name, value in entry.about.items())
    where = f" from {entry.address}" if entry.address else ""
    when = f"{entry.at:%Y-%m-%d %H:%M:%SZ}" if entry.at else "?"
    return f"{when}  {entry.who} ({entry.role}, {entry.way}{where})  {entry.action} {entry.number}  {about}"


def _add_user(options: argparse.Namespace) -> int:
    name, role = _named(options), options.role or Role.VIEWER.word
    password = None if options.no_password else _new_password(name)
    with _open(options) as accounts:
        made = accounts.add_user(name, role, password)
        _note(accounts, "add user", name=made.name, role=made.role)
    _tell(options, made, f"added {made.name}, {made.role}")
    return 0


def _list_users(options: argparse.Namespace) -> int:
    _unnamed(options)
    with _open(options) as accounts:
        found = accounts.users()
    for one in found:
        since = f"  since {one.created:%Y-%m-%d}" if one.created else ""
        how = "" if one.has_password else "  without a password"
        _tell(options, one, f"{one.name}  {one.role}{since}{how}")
    if not found and not options.json:
        terminal.note("there is no user; `monqbus user add NAME --role admin` makes one")
    return 0


def _remove_user(options: argparse.Namespace) -> int:
    with _open(options) as accounts:
        gone = accounts.remove_user(_named(options))
        _note(accounts, "remove user", name=gone.name)
    _tell(options, gone, f"removed {gone.name}")
    return 0


def _set_password(options: argparse.Namespace) -> int:
    name = _named(options)
    password = _new_password(name)
    with _open(options) as accounts:
        changed = accounts.set_password(name, password)
        _note(accounts, "set password", name=name)
    _tell(options, changed, f"changed the password of {name}; his sessions are over")
    return 0


def _set_role(options: argparse.Namespace) -> int:
    if not options.role:
        raise UsageError("user role: expected --role viewer, operator or admin, got none")
    with _open(options) as accounts:
        changed = accounts.set_role(_named(options), options.role)
        _note(accounts, "set role", name=changed.name, role=changed.role)
    _tell(options, changed, f"{changed.name} is {changed.role} now")
    return 0


def _link(options: argparse.Namespace) -> int:
    seconds = seconds_of("--expires", options.expires) if options.expires else LINK_SECONDS
    listen = read_config(options).admin.listen
    with _open(options) as accounts:
        word = accounts.add_link(options.name, seconds)
        _note(accounts, "add link", user=options.name or "nobody")
    tcp = next((one for one in listen if isinstance(one, tuple) and one[1]), None)
    place = f"http://{listen_text(tcp)}" if tcp else ""
    url = f"{place}{LINK}/{word}"
    if options.json:
        terminal.row({"url": url, "seconds": seconds})
    else:
        terminal.line(url)
        terminal.note(f"it signs {options.name or 'an admin'} in once, within {seconds / 60:g} minutes")
    if not listen:
        terminal.note("no listener takes it: set [admin] listen and restart the daemon")
    return 0


def _add_token(options: argparse.Namespace) -> int:
    if not options.scope:
        raise UsageError("token add: expected --scope metrics, viewer, operator or admin, got none")
    seconds = seconds_of("--expires", options.expires) if options.expires else TOKEN_SECONDS
    with _open(options) as accounts:
        made, word = accounts.add_token(_named(options), options.scope, seconds)
        _note(accounts, "add token", name=made.name, id=made.id, role=made.role)
    if options.json:
        terminal.row(plain({**made._asdict(), "word": word}))
    else:
        terminal.line(word)
        terminal.note("this is shown once; send it as Authorization: Bearer")
    return 0


def _list_tokens(options: argparse.Namespace) -> int:
    _unnamed(options)
    with _open(options) as accounts:
        found = accounts.tokens()
    for one in found:
        until = f"{one.expires:%Y-%m-%d}" if one.expires else "?"
        used = f"{one.used:%Y-%m-%d}" if one.used else "never"
        _tell(options, one, f"{one.id}  {one.name}  {one.role}  until {until}  used {used}")
    if not found and not options.json:
        terminal.note("there is no token")
    return 0


def _revoke_token(options: argparse.Namespace) -> int:
    with _open(options) as accounts:
        gone = accounts.revoke_token(_named(options))
        _note(accounts, "revoke token", name=gone.name, id=gone.id)
    _tell(options, gone, f"revoked {gone.name} ({gone.id})")
    return 0


Action = Callable[[argparse.Namespace], int]
_ACTIONS_OF_USERS: Final[dict[str, Action]] = {
    "add": _add_user,
    "list": _list_users,
    "remove": _remove_user,
    "password": _set_password,
    "role": _set_role,
    "link": _link,
}
_ACTIONS_OF_TOKENS: Final[dict[str, Action]] = {
    "add": _add_token,
    "list": _list_tokens,
    "revoke": _revoke_token,
}


def _named(options: argparse.Namespace) -> str:
    if not options.name:
        raise UsageError(f"{options.function} {options.action}: expected NAME, got none")
    name: str = options.name
    return name


def _unnamed(options: argparse.Namespace) -> None:
    if options.name:
        raise UsageError(f"{options.function} list: expected nothing more, got {options.name!r}")


def _new_password(name: str) -> str:
    """The password: asked for twice on a terminal, else a line of standard input; in no list of processes."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    first = getpass.getpass(f"new password of {name}: ")
    if getpass.getpass("again: ") != first:
        raise UsageError("password: expected the same twice, got two")
    return first


def _note(accounts: OwnAccounts | ApiClient, action: str, **about: str) -> None:
    """In the audit, where no daemon has noted it."""
    if isinstance(accounts, OwnAccounts):
        accounts.kept.note(myself(), action, about)


def _tell(options: argparse.Namespace, one: User | Token, sentence: str) -> None:
    if options.json:
        terminal.row(plain(one._asdict()))
    else:
        terminal.line(sentence)
