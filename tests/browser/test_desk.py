"""An operator at the desk, in a real Chromium: sees what fails, finds out why, mends it, and leaves."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver.common.keys import Keys

from bus.api.client import ApiClient
from bus.clock import Clock
from bus.model import Filter, MonQTask
from tests.acceptance.daemons import Daemon

from .chromium import PHONE, Browser, browsing, programs

APP = """\
from pathlib import Path
import gevent
from monqbus import c, event_handler, task

HERE = Path(__file__).parent

@task(max_attempts=1)
def ship(order):
    print(f"shipping {order}")
    while not (HERE / "go").exists():
        gevent.sleep(0.01)

@task(max_attempts=1)
def charge(order, card=None):
    if not (HERE / "bank").exists():
        raise TimeoutError(f"the bank did not answer for order {order}")

@task(max_attempts=1)
def endless():
    c.task.progress(0.25, "a quarter")
    while True:
        gevent.sleep(0.01)

@task
def tidy():
    pass

if (HERE / "listening").exists():
    @event_handler("order.paid")
    def on_paid(topic, *args, **kwargs):
        pass
"""
CONFIG = """\
[monqbus]
data_dir = ./data
apps = shop
path = .
[worker]
drain = 1s
[http]
listen = 127.0.0.1:0
[admin]
listen = 127.0.0.1:0
[hook:open]
verify = none
topic = order.paid
[schedule:nightly]
cron = 15 3 * * *
task = shop.tidy
"""
PAGES = (
    "/", "/tasks", "/errors", "/events", "/deliveries", "/handlers", "/handlers/shop.charge", "/schedules",
    "/workers", "/config", "/audit",
)  # fmt: skip

TASK = "/tasks/ID"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    programs()
    place = tmp_path_factory.mktemp("desk")
    (place / "shop.py").write_text(APP)
    config = place / "monqbus.ini"
    config.write_text(CONFIG)
    place.chmod(0o700)
    running = Daemon(config)
    try:
        yield running.start()
    finally:
        running.kill()


@pytest.fixture(scope="module")
def queue(daemon: Daemon) -> Iterator[ApiClient]:
    client = ApiClient(daemon.config.parent / "data" / "control.sock", Clock())
    yield client
    client.close()


@pytest.fixture(scope="module")
def signed_in(daemon: Daemon) -> Iterator[Browser]:
    """A browser that has used the link which the first start prints."""
    link = re.search(r"url=(http://[^/ ]+)(/link/\S+)", daemon.wait_for("access.link"))
    assert link is not None
    for browser in browsing(link[1]):
        browser.open(link[2])
        browser.click("main button")
        browser.reads("Overview")
        yield browser


@pytest.fixture
def browser(signed_in: Browser) -> Iterator[Browser]:
    """The same, wherever it is; no page may leave the browser anything to complain about."""
    signed_in.complaints()
    yield signed_in
    assert [] == signed_in.complaints()


@pytest.fixture
def here(daemon: Daemon) -> Path:
    """Where the app looks for files."""
    return daemon.config.parent


def post(queue: ApiClient, name: str, *args: object) -> MonQTask:
    return queue.post_named(f"shop.{name}", list(args), {}, {}).task


def ended(queue: ApiClient, state: str, count: int, browser: Browser) -> None:
    browser.until(lambda: queue.count(Filter(name="shop.charge")).get(state, 0) == count)


def test_a_task_appears_and_finishes_while_the_page_is_open(browser, queue, here):
    """Nobody loads the page anew: a hint comes, and what has changed is fetched."""
    browser.open("/tasks?name=shop.ship")
    browser.reads("No task matches", "live")
    browser.script("window.isSame = true")
    task = post(queue, "ship", 4711)
    browser.reads("busy")
    (here / "go").touch()
    browser.reads("complete")
    row = browser.one(f'tr[data-id="{task.id}"]').text

    assert "shop.ship" in row
    assert browser.script("return window.isSame")


def test_a_failed_task_is_found_by_its_error_and_retried_by_keys_alone(browser, queue, here):
    """/ searches, j moves, Enter opens, r retries: in the time that a page takes."""
    task = post(queue, "charge", 815)
    ended(queue, "error", 1, browser)
    browser.open("/")
    browser.press("/")
    browser.press(f"order 815{Keys.ENTER}")
    browser.reads("TimeoutError: the bank did not answer for order 815")
    browser.press("j")
    browser.press(Keys.ENTER)
    browser.reads("attempt 1 gave up", "Traceback")
    browser.shoot("task")
    (here / "bank").touch()
    browser.press("r")
    browser.reads("1 task retried", "complete")
    (here / "bank").unlink()

    assert browser.place.startswith(f"/tasks/{task.id}")
    assert "complete" == queue.show(task.id).state


def test_the_task_of_a_row_is_retried_where_it_stands(browser, queue, here):
    """Its page need not be opened for it."""
    task = post(queue, "charge", 816)
    ended(queue, "error", 1, browser)
    (here / "bank").touch()
    browser.open("/tasks?state=error")
    browser.reads("order 816")
    browser.press("j")
    browser.press("r")
    browser.reads("1 task retried")
    ended(queue, "complete", 2, browser)
    (here / "bank").unlink()

    assert "complete" == queue.show(task.id).state


def test_five_hundred_of_a_kind_are_retried_at_once(browser, queue, here):
    """The page of errors has one button for all of a kind; it says how many before it does it."""
    for number in range(500):
        post(queue, "charge", number)
    ended(queue, "error", 500, browser)
    (here / "bank").touch()
    browser.open("/errors")
    browser.reads("500 failed tasks", "the bank did not answer for order <n>")
    browser.shoot("errors")
    browser.click("form.inline button.main")
    browser.reads("Retry 500 tasks?", "shop.charge")
    browser.shoot("confirm")
    browser.click("#confirm")
    browser.reads("500 tasks retried")
    ended(queue, "complete", 502, browser)

    assert {"complete": 502} == queue.count(Filter(name="shop.charge"))


def test_a_running_task_is_cancelled_from_its_page(browser, queue):
    task = post(queue, "endless")
    browser.open(f"/tasks/{task.id}")
    browser.reads("busy", "a quarter")
    browser.shoot("running")
    browser.click("#cancel")
    browser.reads("1 task cancelled", "cancelled by an operator")

    assert "skipped" == queue.show(task.id).state


def test_a_handler_is_paused_for_a_reason_and_goes_on_again(browser, queue):
    browser.open("/handlers/shop.tidy")
    browser.write('input[name="reason"]', "the disk is full")
    browser.write('input[name="until"]', "30m")
    browser.click("#pause")
    browser.reads("Paused as shop.tidy", "the disk is full")
    task = post(queue, "tidy")
    state = queue.show(task.id).state
    browser.click("#resume")
    browser.reads("Resumed")
    browser.until(lambda: queue.show(task.id).state == "complete")

    assert "ready" == state


def test_an_event_that_nobody_took_is_replayed(browser, queue, daemon, here):
    """Its handler has come since."""
    event_id = queue.publish_named("order.paid", [1], {}).receipt.event_id
    (here / "listening").touch()
    daemon.signal(signal.SIGHUP)
    daemon.wait_for("config.reloaded")
    browser.open("/events")
    browser.click(f'tr[data-id="{event_id}"] a')
    browser.reads("No handler took it", "shop.on_paid")
    browser.shoot("event")
    browser.click("#replay")
    browser.reads("Replayed: 1 task new", "shop.on_paid", "complete")


def test_chosen_rows_are_counted_and_stay_chosen_when_the_page_changes(browser, queue):
    """What is fetched anew must not undo what a person has ticked."""
    browser.open("/tasks?name=shop.tidy")
    browser.reads("live", "complete")
    browser.press("j")
    browser.press("x")
    browser.reads("1 chosen")
    post(queue, "tidy")
    browser.until(lambda: browser.script("return document.querySelectorAll('tr[data-id]').length") == 2)

    assert "1 chosen" in browser.text


def test_a_page_that_gets_no_hints_looks_by_itself(browser, queue):
    """Behind a proxy that passes no events on, or as the thirteenth that listens."""
    browser.driver.execute_cdp_cmd("Network.enable", {})
    browser.driver.execute_cdp_cmd("Network.setBlockedURLs", {"urls": ["*/live"]})
    browser.open("/tasks?name=shop.tidy")
    browser.reads("every 5 s")
    rows = "return document.querySelectorAll('tr[data-id]').length"
    before = browser.script(rows)
    post(queue, "tidy")
    browser.until(lambda: browser.script(rows) == before + 1)
    browser.driver.execute_cdp_cmd("Network.setBlockedURLs", {"urls": []})
    blocked = browser.complaints()

    assert all("ERR_BLOCKED_BY_CLIENT" in one for one in blocked)


@pytest.mark.parametrize(
    ("scheme", "pages"), [("light", (*PAGES, TASK, f"{TASK}/again")), ("dark", ("/", TASK))]
)
def test_axe_finds_nothing_serious_on_any_page(browser, queue, scheme, pages):
    """Names, contrast, structure; in the dark the pages with most colours. Each is kept as a picture."""
    queue.pause("task", "shop.ship", "why not")
    task = queue.find(Filter(states=("skipped",)), 1)[0]
    browser.emulate("setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    found = {}
    for path in pages:
        browser.open(path.replace("ID", str(task.id)))
        found[path] = browser.axe()
        browser.shoot(f"{path.strip('/').replace('/', '-') or 'overview'}-{scheme}")
    queue.resume("task", "shop.ship")

    assert {path: [] for path in found} == found


def test_nothing_has_to_be_moved_sideways_on_a_phone(browser, queue):
    task = queue.find(Filter(states=("skipped",)), 1)[0]
    browser.emulate("setDeviceMetricsOverride", **PHONE)
    widths = {}
    for path in (*PAGES, f"/tasks/{task.id}"):
        browser.open(path)
        widths[path] = browser.script("return document.documentElement.scrollWidth")
    browser.shoot("phone")
    browser.open("/")
    browser.shoot("phone-overview")
    browser.emulate("clearDeviceMetricsOverride")

    assert dict.fromkeys(widths, 375) == widths


def test_all_of_it_works_without_a_script(browser, queue):
    """Forms and links do everything; the script only keeps pages fresh and adds keys."""
    task = post(queue, "endless")
    browser.emulate("setScriptExecutionDisabled", value=True)
    browser.open(f"/tasks/{task.id}")
    browser.click("#cancel")
    browser.until(lambda: queue.show(task.id).state == "skipped")
    browser.emulate("setScriptExecutionDisabled", value=False)

    assert "skipped" == queue.show(task.id).state


def test_who_signs_out_is_a_stranger_again(browser):
    """The last: a page that was open says so, and no page comes any more."""
    browser.open("/")
    browser.click("#sign-out")
    browser.until(lambda: browser.place == "/sign-in")
    browser.shoot("sign-in")
    browser.open("/tasks")

    assert "/sign-in?next=%2Ftasks" == browser.place
