"""`deliveries` and the bulk replay: beside a running daemon, which real requests reach, and without one."""

from __future__ import annotations

import hmac
import re
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from bson import ObjectId

from bus.apps import registry
from bus.apps.registry import Registry
from bus.cli import terminal
from bus.cli.replaying import bar
from bus.clock import Clock
from bus.delivery_record import Delivery
from bus.model import Event, Posting
from bus.store import open_store
from tests.acceptance.daemons import Daemon, until

from .console import NOBODY, Command, Said, write_place

SECRET = "a-secret-of-32-bytes-or-more----"
HOOKS = """
[hook:shop]
verify = token
secret = file:token
topic = shop.{body:kind}
delivery_id = {body:id}
"""
CLOCK = Clock()


@pytest.fixture(scope="module")
def daemon(store_address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A running daemon on each kind of store, to whose hook three deliveries and two forged ones came."""
    folder = tmp_path_factory.mktemp("place")
    config = write_place(folder, store_address)
    (folder / "token").write_text(SECRET)
    (folder / "token").chmod(0o600)
    config.write_text(config.read_text() + HOOKS)
    running = Daemon(config)
    try:
        running.start()
        for kind, number in (("sold", 1), ("unheard", 2), ("sold", 1)):
            send(running, f'{{"kind": "{kind}", "id": {number}}}'.encode())
        for _ in range(2):
            send(running, b'{"kind": "forged"}', f"Bearer {SECRET}-not")
        yield running
    finally:
        running.kill()


def send(daemon: Daemon, body: bytes, proof: str = f"Bearer {SECRET}") -> int:
    headers = {"Authorization": proof, "Content-Type": "application/json"}
    status, _ = daemon.request("POST", "/hooks/shop?tracking=xyzzy", body, headers)
    return status


@pytest.fixture
def beside(daemon: Daemon, run: Command) -> Command:
    """Runs a command beside the daemon, once what has come is in its log."""

    def command(*words: str | Path) -> Said:
        return run(*words, "--config", daemon.config)

    until(lambda: command("deliveries", "list").lines, 6)
    return command


def test_the_list_has_all_that_came(beside: Command) -> None:
    """Newest first; a header line, and one line each."""
    header, *lines = beside("deliveries", "list").lines
    rows = beside("deliveries", "list", "--json").rows

    assert header.split() == ["ID", "RECEIVED", "STATUS", "HOOK", "PEER", "WHAT"]
    assert ["refused", "refused", "repeated", "accepted", "accepted"] == [row["outcome"] for row in rows]
    assert [401, 401, 200, 202, 202] == [row["status"] for row in rows]
    assert {"127.0.0.1"} == {row["peer"] for row in rows}
    assert [row["id"] for row in rows] == [line.split()[0] for line in lines]
    assert "not_verified: wrong" in lines[0]
    assert "shop.unheard, no handler" in lines[3]
    assert "shop.sold, 2 tasks" in lines[4]
    assert SECRET not in str(rows)


@pytest.mark.parametrize(
    ("words", "count"),
    [
        (["--outcome", "refused"], 2),
        (["--outcome", "accepted"], 2),
        (["--status", "200"], 1),
        (["--status", "401"], 2),
        (["--delivery", "1"], 2),
        (["--topic", "shop.unheard"], 1),
        (["--hook", "shop"], 5),
        (["--hook", "nobody"], 0),
        (["--newer", "1h"], 5),
        (["--older", "1h"], 0),
        (["--limit", "3"], 3),
    ],
)
def test_deliveries_are_found_by_filter(beside: Command, words: list[str], count: int) -> None:
    """Every part that is given must match."""
    assert count == len(beside("deliveries", "list", *words, "--json").rows)


def test_a_refused_delivery_is_shown_with_its_reason(beside: Command) -> None:
    """And without its proof or the value of a parameter."""
    (one, _) = beside("deliveries", "list", "--outcome", "refused", "--json").rows
    shown = beside("deliveries", "show", str(one["id"]))
    (row,) = beside("deliveries", "show", str(one["id"]), "--json").rows

    assert (0, "") == (shown.code, shown.err)
    assert re.search(r"^reason +wrong$", shown.out, re.M)
    assert ("POST", "/hooks/shop", ["tracking"], None) == (
        row["method"], row["path"], row["parameters"], row["body"],
    )  # fmt: skip
    assert "(redacted)" in shown.out
    assert (False, False) == (SECRET in shown.out, "xyzzy" in shown.out)


def test_an_accepted_delivery_is_shown_with_its_tasks(beside: Command) -> None:
    """Their state and times; the body is the event's."""
    (one,) = beside("deliveries", "list", "--topic", "shop.sold", "--json").rows
    (row,) = beside("deliveries", "show", str(one["id"]), "--json").rows
    tasks = row["tasks"]

    assert isinstance(tasks, list)
    assert ({"cliapp.note", "cliapp.count"}, None) == ({task["name"] for task in tasks}, row["body"])
    assert {"waited", "ran", "state", "id", "name", "started", "ended"} == set(tasks[0])
    assert max(task["ended"] for task in tasks) == row["ended"] >= row["received"]
    assert all(row["received"] <= task["started"] <= task["ended"] for task in tasks)


def test_one_that_no_handler_took_says_what_to_do(beside: Command) -> None:
    """With its id."""
    (one,) = beside("deliveries", "list", "--topic", "shop.unheard", "--json").rows
    shown = beside("deliveries", "show", str(one["id"]))

    assert f"no handler for topic shop.unheard; `monqbus events replay {one['id']}` once" in shown.out


def test_a_refused_delivery_is_not_replayed(beside: Command) -> None:
    """Nobody has verified it; a repetition stands for its event."""
    (refused, _) = beside("deliveries", "list", "--outcome", "refused", "--json").rows
    (repeated,) = beside("deliveries", "list", "--outcome", "repeated", "--json").rows
    one, other = (beside("deliveries", "replay", str(row["id"])) for row in (refused, repeated))

    assert (1, 1) == (one.code, other.code)
    assert "it was refused (401 not_verified) and never verified" in one.err
    assert f"event {repeated['event_id']}: expected one without tasks" in other.err


def test_a_refused_delivery_that_somebody_vouches_for_is_signed_and_sent(
    daemon: Daemon, beside: Command, run: Command, tmp_path: Path
) -> None:
    """By its id alone, with its body and headers; what arrives is verified, and known when it comes again."""
    config = write_place(tmp_path)
    config.write_text(f"{config.read_text()}log_refused_bodies = yes\n{HOOKS.replace('= token', '= github')}")
    (tmp_path / "token").write_text(SECRET)
    (tmp_path / "token").chmod(0o600)
    keeping = Daemon(config)
    try:
        keeping.start()
        for number, key in ((77, b"another secret"), (78, SECRET.encode())):
            body = b'{"kind": "sold", "id": %d}' % number
            proof = {"X-Hub-Signature-256": f"sha256={hmac.digest(key, body, 'sha256').hex()}"}
            keeping.request("POST", "/hooks/shop?tracking=xyzzy", body, {**proof, "X-Kind": "sold"})

        def here(*words: str) -> Said:
            return run("deliveries", *words, "--config", config)

        until(lambda: here("list", "--outcome", "refused").lines, 2)
        (refused,) = here("list", "--outcome", "refused", "--json").rows
        (accepted,) = here("list", "--outcome", "accepted", "--json").rows
        to = ["--to", "http://{}:{}".format(*keeping.address)]
        first, again = (here("replay", "--refused", str(refused["id"]), *to) for _ in range(2))
        wrong = here("replay", "--refused", str(accepted["id"]), *to)
        (event,) = here("list", "--delivery", "77", "--outcome", "accepted", "--json").rows
    finally:
        keeping.kill()
    (without, _) = beside("deliveries", "list", "--outcome", "refused", "--json").rows
    bodiless = beside("deliveries", "replay", "--refused", str(without["id"]))

    assert (0, "202 Accepted") == (first.code, first.lines[1])
    assert "are not kept, and are left out" in first.err
    assert (0, "200 OK") == (again.code, again.lines[1])
    assert ("shop", 202) == (event["hook"], event["status"])
    assert (1, True) == (wrong.code, "expected one that was refused as not_verified" in wrong.err)
    assert (1, True) == (bodiless.code, "its body is not kept" in bodiless.err)


def test_a_dry_run_counts_what_would_be_replayed(beside: Command) -> None:
    """By topic; nothing is changed. What still has no handler is passed over, and said."""
    said = beside("deliveries", "replay", "--hook", "shop", "--dry-run")
    as_json = beside("events", "replay", "--topic", "shop.unheard", "--dry-run", "--json").rows
    done = beside("events", "replay", "--topic", "shop.unheard")

    assert ["1  shop.unheard", "would be replayed 1"] == [line.strip() for line in said.lines]
    assert [{"would_be_replayed": 1, "topics": {"shop.unheard": 1}}] == as_json
    assert (1, ["replayed 0"]) == (done.code, done.lines)
    assert "passed over 1 of topic shop.unheard: no handler" in done.err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["list", NOBODY], "ID: expected none with list"),
        (["show"], "ID: expected at least one delivery to show"),
        (["show", "abc"], "ID: expected 24 hexadecimal digits"),
        (["replay"], "deliveries replay: expected IDs or a filter; --all means"),
        (["replay", "--outcome", "refused"], "expected accepted ones to replay"),
        (["replay", NOBODY, "--hook", "x"], "--hook: expected with no ID"),
        (["replay", NOBODY, "--all"], "--all, --dry-run: expected with no ID"),
        (["replay", "--refused"], "--refused"),
        (["replay", "--hook", "x", "--refused", NOBODY], "--hook: expected with no ID"),
        (["replay", NOBODY, "--refused", NOBODY], "ID: expected all of them behind --refused"),
        (["replay", NOBODY, "--to", "http://a"], "--to: expected with --refused alone"),
        (["show", NOBODY, "--refused", NOBODY], "--refused, --to: expected with replay alone, got show"),
        (["list", "--refused", NOBODY], "--refused, --to: expected with replay alone, got list"),
        (["list", "--status", "7"], "--status: expected a number from 100 to 599"),
        (["list", "--newer", "soon"], "--newer: expected a duration"),
        (["list", "--outcome", "lost"], "refused"),
    ],
)
def test_what_makes_no_sense_is_refused(alone: Command, words: list[str], says: str) -> None:
    """With the option's name."""
    said = alone("deliveries", *words)

    assert (64, True) == (said.code, says in said.err), said.err


def test_a_delivery_that_nobody_knows_is_not_found(alone: Command) -> None:
    """Exit 1, and why that may be."""
    said = alone("deliveries", "show", NOBODY)

    assert (1, True) == (said.code, "not found; accepted ones are forgotten after keep_events" in said.err)


# without a daemon


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A store without a daemon: of 30 events each third has tasks, and every kind of record is there."""
    config = write_place(tmp_path)
    (tmp_path / "data").mkdir(mode=0o700)
    with closing(open_store("sqlite", tmp_path / "data")) as store:
        now = CLOCK.now()
        for number in range(30):
            event = Event(CLOCK.new_id(), f"shop.{number % 3}", now - timedelta(days=number), hook="shop")
            event.delivery, event.key = str(number), f"shop:{number}"
            event.task_ids = [] if number % 3 else [ObjectId()]
            store.post([Posting([], event)])
        store.log_deliveries([Delivery(CLOCK.new_id(), now, "refused", 401, hook="shop", body=b"\x1b[31mx")])
    return config


@pytest.fixture
def here(place: Path, run: Command) -> Command:
    """Runs a command on the place."""
    return lambda *words: run(*words, "--config", place)


def declare(place: Path, *topics: str) -> None:
    """Let the app of *place* have a handler for *topics*."""
    app = place.parent / "apps" / "cliapp.py"
    words = ", ".join(repr(topic) for topic in topics)
    app.write_text(app.read_text() + f"\n@event_handler({words})\ndef late(topic, event): pass\n")
    sys.modules.pop("cliapp", None)
    registry._registry = Registry()


def test_all_that_match_are_replayed_once_their_handler_exists(here: Command, place: Path) -> None:
    """Only unhandled ones, by time; a second time there is nothing left of them."""
    declare(place, "shop.1")
    said = here("events", "replay", "--newer", "15d")
    again = here("events", "replay", "--newer", "15d")
    (tasks,) = here("count", "--json").rows

    assert (0, ["replayed 5"]) == (said.code, said.lines)
    assert "passed over 5 of topic shop.2: no handler" in said.err
    assert (1, ["replayed 0"]) == (again.code, again.lines)
    assert 5 == tasks["ready"]


def test_the_newest_are_replayed_up_to_a_limit(here: Command, place: Path) -> None:
    """And of these the oldest first."""
    declare(place, "shop.1")
    said = here("deliveries", "replay", "--topic", "shop.1", "--limit", "2", "--json")
    events = here("events", "list", "--topic", "shop.1", "--outcome", "handled", "--json").rows
    tasks = here("list", "--json").rows

    assert [{"replayed": 2, "passed_over": 0}] == said.rows
    assert ["28", "25"] == [event["delivery"] for event in events]
    assert [event["task_ids"] for event in events] == [[task["id"]] for task in tasks]


def test_what_rules_have_filtered_is_an_outcome_of_its_own(here: Command, place: Path) -> None:
    """Listed as such, left alone by a replay that does not name it, and found by one that does."""
    declare(place, "shop.9")
    with closing(open_store("sqlite", place.parent / "data")) as store:
        event = Event(CLOCK.new_id(), "shop.9", CLOCK.now(), hook="shop", delivery="f", is_filtered=True)
        store.post([Posting([], event)])
    rows = here("deliveries", "list", "--outcome", "filtered", "--json").rows
    accepted = here("deliveries", "list", "--outcome", "accepted", "--limit", "99", "--json").rows
    unhandled = here("events", "replay", "--topic", "shop.9", "--dry-run", "--json").rows
    filtered = here("deliveries", "replay", "--outcome", "filtered", "--dry-run", "--json").rows

    assert [("filtered", 202, str(event.id))] == [(row["outcome"], row["status"], row["id"]) for row in rows]
    assert 30 == len(accepted)
    assert [{"would_be_replayed": 0, "topics": {}}] == unhandled
    assert [{"would_be_replayed": 1, "topics": {"shop.9": 1}}] == filtered
    assert "shop.9, filtered" in here("deliveries", "list").lines[1]
    assert "a rule (`when`) has filtered it" in here("deliveries", "show", str(event.id)).out


def test_a_hook_that_matches_nothing_may_be_another_ones_name(here: Command, place: Path) -> None:
    """As for events: for people, on standard error."""
    place.write_text(f"{place.read_text()}{HOOKS}")
    (place.parent / "token").write_text(SECRET)
    (place.parent / "token").chmod(0o600)

    assert "did you mean shop?" in here("deliveries", "list", "--hook", "shopp").err
    assert "" == here("deliveries", "list", "--hook", "shopp", "--json").err


def test_everything_is_replayed_only_when_that_is_said(here: Command, place: Path) -> None:
    """--all."""
    declare(place, "shop.1", "shop.2")

    assert 64 == here("events", "replay").code
    assert ["replayed 20"] == here("events", "replay", "--all").lines


def test_a_terminal_sees_how_far_a_replay_is(
    here: Command, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On standard error, in place of the last word."""
    seen: list[str] = []
    declare(place, "shop.1")
    monkeypatch.setattr(terminal, "shows_progress", lambda: True)
    monkeypatch.setattr(terminal, "progress", seen.append)
    here("events", "replay", "--topic", "shop.1")

    assert 10 == len(seen)
    assert ("[###---------------------------] 1 of 10", f"[{'#' * 30}] 10 of 10") == (seen[0], seen[-1])
    assert "[-----] 0 of 7" == bar(0, 7, 5)


def test_the_log_is_read_without_a_daemon(here: Command) -> None:
    """Page by page, whatever the page's size; no control character reaches the terminal."""
    rows = here("deliveries", "list", "--limit", "1000", "--json").rows
    shown = here("deliveries", "show", str(rows[0]["id"]))

    assert 31 == len({row["id"] for row in rows}) == len(rows)
    assert sorted((str(row["id"]) for row in rows), reverse=True) == [row["id"] for row in rows]
    assert ("refused", False) == (rows[0]["outcome"], "\x1b" in shown.out)
    assert r"\x1b[31mx" in shown.out


def test_a_daemon_that_stops_writes_what_has_gathered(tmp_path: Path, run: Command) -> None:
    """Records wait for two seconds at most, and a restart is no reason to lose them."""
    config = write_place(tmp_path)
    (tmp_path / "token").write_text(SECRET)
    (tmp_path / "token").chmod(0o600)
    config.write_text(config.read_text() + HOOKS)
    daemon = Daemon(config).start()
    try:
        assert 401 == send(daemon, b"{}", "Bearer forged")
        assert 0 == daemon.stop()
    finally:
        daemon.kill()
    (row,) = run("deliveries", "list", "--json", "--config", config).rows

    assert ("refused", 401, "shop") == (row["outcome"], row["status"], row["hook"])


def test_nothing_is_made_where_there_is_no_store(alone: Command, tmp_path: Path) -> None:
    """A look is a look."""
    assert (0, "") == (alone("deliveries", "list").code, alone("deliveries", "list").out)
    assert not (tmp_path / "data").exists()
