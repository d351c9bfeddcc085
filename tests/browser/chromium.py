"""Debian's Chromium, headless, steered through its own chromedriver; nothing is downloaded for it.

Tests that ask for it are skipped with the reason at home and fail under CI when it is not installed.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import axe_core_python
import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from tests.program import ROOT

SCREENSHOTS = ROOT / "build" / "screenshots"
PATIENCE = 20.0
AXE = Path(axe_core_python.__file__).parent / "axe.min.js"
PHONE = {"width": 375, "height": 812, "deviceScaleFactor": 1, "mobile": True}
HARMLESS = ("favicon.ico", "Cleared data types")
"""What Chromium asks for by itself, and what it tells of what a sign-out has it clear."""
OPTIONS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--window-size=1280,900",
)


def programs() -> tuple[str, str]:
    """The paths of chromium and chromedriver. Skips the asking test, or fails it under CI, without them."""
    found = shutil.which("chromium"), shutil.which("chromedriver")
    if found[0] and found[1]:
        return found[0], found[1]
    reason = "chromium or chromedriver is not installed (Debian: apt-get install chromium chromium-driver)"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


class Browser:
    """A browser on the desk at *url*."""

    def __init__(self, url: str) -> None:
        browser, driver = programs()
        options = webdriver.ChromeOptions()
        options.binary_location = browser
        for one in OPTIONS:
            options.add_argument(one)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.url = url
        self.driver = webdriver.Chrome(options=options, service=Service(driver))
        self.driver.set_script_timeout(PATIENCE)
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)

    def open(self, path: str) -> None:
        """Go to *path*."""
        self.driver.get(f"{self.url}{path}")

    def one(self, selector: str) -> WebElement:
        """The first element of a CSS *selector*, as soon as it is there."""
        return self.until(lambda: self.driver.find_elements(By.CSS_SELECTOR, selector))[0]

    def click(self, selector: str) -> None:
        """Click it, as soon as it is there."""
        self.one(selector).click()

    def write(self, selector: str, text: str) -> None:
        """Write *text* into it."""
        field = self.one(selector)
        field.clear()
        field.send_keys(text)

    def press(self, keys: str) -> None:
        """Press keys, wherever the focus is."""
        self.driver.switch_to.active_element.send_keys(keys)

    @property
    def text(self) -> str:
        """What a person reads of the page."""
        return str(self.script("return document.body.innerText"))

    @property
    def place(self) -> str:
        """The path of the page."""
        return re.sub(r"^https?://[^/]+", "", self.driver.current_url)

    def reads(self, *words: str) -> str:
        """The text of the page, as soon as it has all *words*; nothing is loaded anew for it."""
        return self.until(lambda: text if all(word in (text := self.text) for word in words) else "")

    def until(self, look: Callable[[], Any]) -> Any:
        """What *look* finds, as soon as that is something."""
        waits = WebDriverWait(self.driver, PATIENCE, 0.02)
        return waits.until(lambda _: look(), message=f"{self.driver.current_url}\n{self.text[:2000]}")

    def script(self, text: str, *given: Any) -> Any:
        """The value of a script."""
        return self.driver.execute_script(text, *given)

    def axe(self) -> list[str]:
        """What axe-core calls serious or critical on this page, each with the elements."""
        self.script(AXE.read_text())
        found, passes = self.driver.execute_async_script(
            "const done = arguments[arguments.length - 1];"
            "axe.run(document, {resultTypes: ['violations']})"
            ".then((found) => done([found.violations, found.passes.length]));"
        )
        assert passes, "axe has looked at nothing"
        return [
            f"{one['id']}: {[node['html'][:120] for node in one['nodes']][:3]}"
            for one in found
            if one["impact"] in ("serious", "critical")
        ]

    def shoot(self, name: str) -> None:
        """Keep a picture of the page."""
        self.driver.save_screenshot(str(SCREENSHOTS / f"{name}.png"))

    def emulate(self, command: str, **given: Any) -> None:
        """Be a phone, or a dark screen, from now on."""
        self.driver.execute_cdp_cmd(f"Emulation.{command}", given)

    def complaints(self) -> list[str]:
        """What the browser has complained about since the last look: scripts, policies, answers."""
        found = [one["message"] for one in self.driver.get_log("browser")]
        return [one for one in found if not any(word in one for word in HARMLESS)]

    def close(self) -> None:
        """End it."""
        self.driver.quit()


def browsing(url: str) -> Iterator[Browser]:
    """A browser for as long as a fixture lasts."""
    browser = Browser(url)
    try:
        yield browser
    finally:
        browser.close()
