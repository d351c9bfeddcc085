"""Commands beside a running daemon, on both stores: post, look, steer."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

import pytest

from tests.acceptance.daemons import Daemon

from .console import NOBODY, Command

COLUMNS = {
    "id", "task_name", "state", "priority", "attempt", "time_queue", "time_start", "time_stop", "topic",
    "result",
}  # fmt: skip
ID = re.compile(r"[0-9a-f]{24}")


def test_post_prints_the_id_and_with_wait_the_result(beside: Command) -> None:
    """The id first, so that it is there even if the wait is in vain."""
    said = beside("post", "cliapp.double", "--args", "[21]", "--wait", "10")

    assert (0, "") == (said.code, said.err)
    assert ID.fullmatch(said.lines[0])
    assert ["42"] == said.lines[1:]


def test_a_failed_wait_prints_the_remote_traceback(beside: Command) -> None:
    """Exit 1; control characters of the error do not reach the terminal."""
    said = beside("post", "cliapp.fail", "--args", '["in\\u001b[31mvain"]', "--wait", "10")

    assert 1 == said.code
    assert "ValueError: in\\x1b[31mvain" in said.err
    assert "cliapp.py" in said.err
    assert "\x1b" not in said.err


def test_a_wait_that_is_too_short_says_what_the_task_is_doing(beside: Command) -> None:
    """Exit 1, and the task goes on."""
    said = beside("post", "cliapp.double", "--args", "[1]", "--delay", "1h", "--wait", "0.2")

    assert 1 == said.code
    assert "still ready after 0.2 s" in said.err


def test_an_event_prints_its_id_and_one_id_for_each_handler(beside: Command) -> None:
    """With --wait their results, in the order of the ids."""
    said = beside("event", "shop.sold", "--args", "[7]", "--wait", "10")
    listed = beside("list", "--topic", "shop.sold", "--json").rows

    event, *rest = said.lines
    label, event_id = event.split()
    assert (0, "event") == (said.code, label)
    assert {f"task  {row['id']}" for row in listed} == set(rest[:2])
    assert ['["shop.sold", 7]', "1"] == rest[2:]
    assert ID.fullmatch(event_id)


def test_an_event_that_nobody_handles_is_said_to_be(beside: Command) -> None:
    """It is recorded: done, with a word about it; waiting for nothing ends at once."""
    said = beside("event", "shop.unheard", "--wait", "60")

    assert 0 == said.code
    assert 1 == len(said.lines)
    assert "no handler for topic shop.unheard; the event is recorded" in said.err


def test_a_name_or_topic_that_nobody_declares_is_compared_with_those_that_are(beside: Command) -> None:
    """Both are stored all the same: who declares them may come later."""
    posted, said = beside("post", "cliapp.duoble"), beside("event", "shop.slod")

    assert "the task waits until one does; did you mean cliapp.double?" in posted.err
    assert "the event is recorded; did you mean shop.sold?" in said.err


def test_without_a_daemon_it_is_compared_with_what_the_apps_declare(alone: Command) -> None:
    posted, said = alone("post", "cliapp.duoble"), alone("event", "shop.slod")

    assert "; did you mean cliapp.double?" in posted.err
    assert "; did you mean shop.sold?" in said.err


def test_an_event_is_shown_with_its_remedy(beside: Command) -> None:
    """What nobody took can be replayed; control characters do not reach the terminal."""
    (said,) = beside("event", "shop.unheard", "--args", '["seven\\u001b"]').lines
    event_id = said.split()[1]
    shown = beside("events", "show", event_id)
    (row,) = beside("events", "show", event_id, "--json").rows

    assert re.search(r"^topic +shop\.unheard$", shown.out, re.M)
    assert f"no handler for topic shop.unheard; `monqbus events replay {event_id}`" in shown.out
    assert "\x1b" not in shown.out
    assert (["seven\x1b"], []) == (row["args"], row["task_ids"])


def test_only_an_event_without_tasks_is_replayed(beside: Command) -> None:
    """Without a handler it is said, with tasks they are named, an id of nothing is not found."""
    unheard = beside("event", "shop.unheard").lines[0].split()[1]
    sold, task_id = (
        line.split()[1] for line in beside("event", "shop.sold", "--args", "[7]", "--wait", "10").lines[:2]
    )

    for event_id, words in (
        (unheard, "no handler for topic shop.unheard; declare one, then replay it"),
        (sold, f"expected one without tasks, got one that has {task_id}"),
        (NOBODY, f"event {NOBODY}: not found"),
    ):
        said = beside("events", "replay", event_id)
        assert (1, "") == (said.code, said.out)
        assert words in said.err


def test_a_name_that_no_app_declares_waits_and_is_said_to(beside: Command) -> None:
    """A warning at once, and `show` says why it waits."""
    posted = beside("post", "no.such")
    shown = beside("show", posted.out.strip())

    assert 0 == posted.code
    assert "no app declares no.such; the task waits until one does" in posted.err
    assert re.search(r"^waiting +parked: no app declares no\.such", shown.out, re.M)


def test_rows_carry_the_promised_columns(beside: Command) -> None:
    """One JSON object a line; moments are RFC 3339 in UTC."""
    beside("post", "cliapp.double", "--args", "[1]", "--wait", "10")

    (row,) = beside("list", "--json").rows
    assert COLUMNS <= row.keys()
    assert ["cliapp.double", "complete", 10, 1, 2] == [
        row[name] for name in ("task_name", "state", "priority", "attempt", "result")
    ]
    for name in ("time_queue", "time_start", "time_stop"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", str(row[name]))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], ["a.two", "cliapp.fail", "a.one"]),
        (["--limit", "1"], ["a.two"]),
        (["--name", "a.*"], ["a.two", "a.one"]),
        (["--name", "a."], []),
        (["--name", "a.one"], ["a.one"]),
        (["--ended-newer", "1h"], ["cliapp.fail"]),
        (["--ended-older", "1h"], []),
        (["--state", "error"], ["cliapp.fail"]),
        (["--state", "error,complete"], ["cliapp.fail"]),
        (["--error", "in v[a]in"], ["cliapp.fail"]),
        (["--topic", "shop.sold"], []),
        (["--newer", "1h", "--name", "a.*"], ["a.two", "a.one"]),
        (["--older", "1h"], []),
        (["--newer", "2100-01-01T00:00:00Z"], []),
        (["--older", "2100-01-01"], ["a.two", "cliapp.fail", "a.one"]),
    ],
)
def test_filters_choose_and_the_newest_come_first(
    beside: Command, words: list[str], expected: list[str]
) -> None:
    """Every given filter must match."""
    beside("post", "a.one")
    beside("post", "cliapp.fail", "--args", '["in vain"]', "--wait", "10")
    beside("post", "a.two")

    assert expected == [row["task_name"] for row in beside("list", *words, "--json").rows]


def test_what_would_be_changed_is_counted_by_name_and_stays(beside: Command) -> None:
    """`--dry-run` takes the filters of the action, and changes nothing."""
    for name in ("a.one", "a.two", "a.one"):
        beside("post", name)

    said = beside("cancel", "--name", "a.*", "--dry-run")
    (row,) = beside("cancel", "--all", "--dry-run", "--limit", "2", "--json").rows
    none = beside("purge", "--state", "ready", "--all", "--dry-run")

    assert [["2", "a.one"], ["1", "a.two"], ["would", "be", "cancelled", "3"]] == [
        line.split() for line in said.lines
    ]
    assert {"would_be_cancelled": 2, "names": {"a.one": 2, "a.two": 1}} == row
    assert ["would be purged 0"] == none.lines
    assert {"ready"} == {row["state"] for row in beside("list", "--json").rows}


def test_a_list_begins_with_a_header(beside: Command) -> None:
    """What the columns are; no task, no header."""
    empty = beside("list")
    beside("post", "a.one")

    assert [] == empty.lines
    header, line = beside("list").lines
    assert ["ID", "STATE", "QUEUED", "NAME"] == header.split()
    assert header.index("NAME") == line.index("a.one")


def test_the_id_of_an_event_is_shown_as_one(beside: Command) -> None:
    """The first id of a 202 is an event's: `show` takes it as it takes a task's."""
    event_id = beside("event", "shop.unheard").lines[0].split()[1]

    shown, as_event = beside("show", event_id), beside("events", "show", event_id)
    unknown = beside("show", "0" * 24)

    assert (0, as_event.out) == (shown.code, shown.out)
    assert beside("events", "show", event_id, "--json").rows == beside("show", event_id, "--json").rows
    assert (1, True) == (unknown.code, f"task {'0' * 24}: not found" in unknown.err)


def test_events_are_listed_newest_first(beside: Command) -> None:
    """By topic, hook and kind; for programs as JSON."""
    ids = [beside("event", topic).lines[0].split()[1] for topic in ("shop.unheard", "shop.other")]

    header, *lines = beside("events", "list", "--limit", "2").lines
    rows = beside("events", "list", "--topic", "shop.unheard", "--json").rows

    assert ["ID", "RECEIVED", "KIND", "TASKS", "TOPIC"] == header.split()
    assert [(ids[1], "shop.other"), (ids[0], "shop.unheard")] == [
        (line.split()[0], line.split()[-1]) for line in lines
    ]
    assert (ids[0], "published", []) == tuple(rows[0][name] for name in ("id", "kind", "task_ids"))
    assert {"shop.unheard"} == {row["topic"] for row in rows}
    assert 1 == len(beside("events", "list", "--limit", "1", "--json").rows)
    assert [] == beside("events", "list", "--hook", "x", "--json").rows
    assert [] == beside("events", "list", "--kind", "delivery").lines


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["list", "0" * 24], "ID: expected none with list"),
        (["show"], "ID: expected at least one event to show"),
        (["show", "0" * 24, "--topic", "x"], "--topic: expected with no ID"),
        (["list", "--kind", "x" * 1001], "--kind: expected text of at most 1000"),
    ],
)
def test_options_of_events_go_with_their_action(beside: Command, words: list[str], said: str) -> None:
    """What would be left unused is refused."""
    answer = beside("events", *words)

    assert (64, True) == (answer.code, said in answer.err)


def test_count_prints_the_total_last(beside: Command) -> None:
    """By state, those with none left out; as JSON all states."""
    for _ in range(2):
        beside("post", "a.one")
    beside("post", "cliapp.double", "--args", "[1]", "--wait", "10")

    assert [["ready", "2"], ["complete", "1"], ["parked", "2"], ["total", "3"]] == [
        line.split()[:2] for line in beside("count").lines
    ]
    numbers = {
        "ready": 2,
        "busy": 0,
        "complete": 1,
        "error": 0,
        "skipped": 0,
        "total": 3,
        "parked": 2,
        "paused": 0,
    }
    assert numbers == beside("count", "--json").rows[0]
    assert ["total", "2"] == beside("count", "--name", "a.*").lines[-1].split()


def test_show_prints_everything_with_the_traceback(beside: Command) -> None:
    """For people in lines, for programs as one object."""
    beside("post", "cliapp.fail", "--args", '["in vain"]', "--wait", "10")
    task_id = str(beside("list", "--json").rows[0]["id"])

    shown = beside("show", task_id)
    (row,) = beside("show", task_id, "--json").rows

    assert re.search(r"^state +error$", shown.out, re.M)
    assert re.search(r"^attempt 1 +\d{4}-.* ValueError: in vain$", shown.out, re.M)
    assert "    ValueError: in vain" in shown.lines
    assert {"args", "history", "output", "waiting"} <= row.keys()
    assert row["waiting"] is None


def test_a_delay_is_seconds_a_duration_or_a_time(beside: Command) -> None:
    """`time_queue` is the moment before which it does not run, and `show` says so."""
    before = datetime.now(timezone.utc)
    in_an_hour = (before + timedelta(hours=1)).isoformat()
    ids = [
        beside("post", "cliapp.double", "--args", "[1]", "--delay", delay).out.strip()
        for delay in ("3600", "60m", in_an_hour, in_an_hour.replace("+00:00", "Z"))
    ]
    rows = [beside("show", task_id, "--json").rows[0] for task_id in ids]

    moments = [datetime.fromisoformat(str(row["time_queue"]).replace("Z", "+00:00")) for row in rows]
    assert all(3599 < (moment - before).total_seconds() < 3660 for moment in moments)
    assert all(str(row["waiting"]) == f"due at {row['time_queue']}" for row in rows)


def test_a_key_that_is_held_gives_the_id_of_its_holder(beside: Command) -> None:
    """Posting again while the first waits stores nothing."""
    first = beside("post", "a.one", "--key", "k1")
    second = beside("post", "a.one", "--key", "k1")

    assert first.out == second.out
    assert 1 == len(beside("list", "--json").rows)


def test_retry_and_cancel_take_ids_and_filters_and_print_the_number_last(beside: Command) -> None:
    """Cancelled is `skipped`, a retried task begins anew."""
    ids = [beside("post", "a.one").out.strip() for _ in range(3)]
    by_id = beside("cancel", ids[0], ids[0])
    by_filter = beside("cancel", "--name", "a.*", "--json")
    states = [row["state"] for row in beside("list", "--json").rows]
    retried = beside("retry", "--state", "skipped")

    assert (0, ["cancelled 1"]) == (by_id.code, by_id.lines)
    assert {"cancelled": 2} == by_filter.rows[0]
    assert ["skipped"] * 3 == states
    assert "retried 3" == retried.lines[-1]
    assert ["ready"] * 3 == [row["state"] for row in beside("list", "--json").rows]


def test_a_skipped_task_is_listed_with_its_reason(beside: Command) -> None:
    """The list told why a task failed, but not why it was skipped."""
    task_id = beside("post", "a.one").out.strip()
    beside("cancel", task_id)

    assert beside("list").lines[-1].endswith("a.one  cancelled by an operator")


def test_a_retried_task_runs_again(beside: Command, daemon: Daemon) -> None:
    """Beside a daemon it runs at once."""
    beside("post", "cliapp.fail", "--args", '["again"]', "--wait", "10")
    task_id = str(beside("list", "--json").rows[0]["id"])

    beside("retry", task_id)

    daemon.wait_for("task.gave_up", task_id, times=2)


def test_an_id_that_is_not_there_is_named_and_exit_1(beside: Command) -> None:
    """What could be done is done."""
    task_id = beside("post", "a.one").out.strip()

    said = beside("cancel", task_id, NOBODY)

    assert (1, "cancelled 1\n") == (said.code, said.out)
    assert f"task {NOBODY}: not found" in said.err


def test_purge_never_touches_what_has_not_ended(beside: Command) -> None:
    """Ready tasks stay, whatever the filter says."""
    beside("post", "a.one")
    beside("post", "cliapp.double", "--args", "[1]", "--wait", "10")

    assert "purged 0" == beside("purge", "--state", "ready").lines[-1]
    assert "purged 1" == beside("purge", "--all").lines[-1]
    assert ["a.one"] == [row["task_name"] for row in beside("list", "--json").rows]


def test_a_limit_bounds_an_action_to_the_newest(beside: Command) -> None:
    """`--limit 2` of three cancels two."""
    for _ in range(3):
        beside("post", "a.one")

    assert "cancelled 2" == beside("cancel", "--name", "a.*", "--limit", "2").lines[-1]
    assert ["skipped", "skipped", "ready"] == [row["state"] for row in beside("list", "--json").rows]
