"""A headless Chromium, installed as a Debian package where that is possible."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.debian import Missing, install

PACKAGES = ("chromium", "chromium-driver")
PROGRAMS = ("chromium", "chromedriver")
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1400,1300",
)
LONGEST_WAIT = 30


def programs() -> list[str]:
    """Chromium and its driver.

    Raises:
        Missing: they are not there and cannot be installed.
    """
    if not all(map(shutil.which, PROGRAMS)):
        install(*PACKAGES)
    found = [shutil.which(name) for name in PROGRAMS]
    if None in found:
        raise Missing(f"no browser: {' and '.join(PROGRAMS)} are not on this machine, and could not be installed")
    return [name for name in found if name]


class Browser(AbstractContextManager["Browser"]):
    """A browser that reads pages and takes pictures of them."""

    def __init__(self, pictures: Path) -> None:
        webdriver = pytest.importorskip("selenium.webdriver", reason="no driver of browsers: pip install selenium")
        chromium, driver = programs()
        self._pictures = pictures
        self._profile = tempfile.mkdtemp(prefix="collab-chromium-")
        options = webdriver.ChromeOptions()
        options.binary_location = chromium
        for option in (*OPTIONS, f"--user-data-dir={self._profile}"):
            options.add_argument(option)
        self._driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))

    def __exit__(self, *exc: object) -> None:
        self._driver.quit()
        shutil.rmtree(self._profile, ignore_errors=True)

    def look(self, address: str, picture: str, *expected: str) -> str:
        """Text of a page once it holds what is expected, with a picture of it."""
        self._driver.get(address)
        text = wait_for(self._text, lambda found: all(part in found for part in expected))
        time.sleep(3)  # the chart of the tasks comes later than the text
        self._pictures.mkdir(parents=True, exist_ok=True)
        self._driver.save_screenshot(str(self._pictures / f"{picture}.png"))
        assert [part for part in expected if part not in text] == [], f"{address} says:\n{text}"
        return text

    @property
    def source(self) -> str:
        """HTML of the page as it is now."""
        return str(self._driver.page_source)

    def _text(self) -> str:
        return str(self._driver.execute_script("return document.body.innerText"))


def wait_for(ask: Callable[[], str], is_right: Callable[[str], bool]) -> str:
    """The answer once it is right; the last one if it never is."""
    ends = time.monotonic() + LONGEST_WAIT
    while not is_right(found := ask()) and time.monotonic() < ends:
        time.sleep(0.3)
    return found
