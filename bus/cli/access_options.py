"""The options of `user`, `token` and `audit`: who may reach the administrators' listener."""

from __future__ import annotations

import argparse
from collections.abc import Callable

Command = Callable[..., argparse.ArgumentParser]


def letting_in(command: Command, count: Callable[[str], int]) -> None:
    """Add them. *count* reads a number of an option."""
    user = command(
        "user",
        "access",
        "add, list and remove who may sign in to the administrators' listener, or make a one-time link",
        "monqbus user add alice --role operator",
    )
    user.add_argument(
        "action",
        metavar="ACTION",
        choices=["add", "list", "remove", "password", "role", "link"],
        help="add, list, remove, password, role or link",
    )
    user.add_argument("name", metavar="NAME", nargs="?", help="the user; for link none means an admin")
    user.add_argument(
        "--role", metavar="ROLE", help="for add and role: viewer, operator or admin (default for add: viewer)"
    )
    user.add_argument(
        "--no-password", action="store_true", help="for add: whom only a proxy or a link signs in"
    )
    token = command(
        "token",
        "access",
        "add, list and revoke API tokens",
        "monqbus token add prometheus --scope metrics --expires 365d",
    )
    token.add_argument(
        "action", metavar="ACTION", choices=["add", "list", "revoke"], help="add, list or revoke"
    )
    token.add_argument("name", metavar="NAME", nargs="?", help="the token; for revoke also its id")
    token.add_argument(
        "--scope", metavar="ROLE", help="for add: what it may: metrics, viewer, operator or admin"
    )
    for sub, default in ((user, "15m"), (token, "90d")):
        sub.add_argument("--expires", metavar="TIME", help=f"after how long it is over (default: {default})")
        sub.add_argument("--json", action="store_true", help="one JSON object a line")
    audit = command(
        "audit", "access", "list what operators have done, newest first", "monqbus audit --limit 20"
    )
    audit.add_argument("--limit", metavar="N", type=count, help="at most N, the newest (default: 50)")
    audit.add_argument("--json", action="store_true", help="one JSON object a line")
