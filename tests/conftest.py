"""What tests of several modules share."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from autograder.doctor import find_chromium
from tests import needs


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium; it ends with the module, whose event loop would disturb others."""
    executable = find_chromium()
    if executable is None:
        needs.missing("no Chromium: install it (Debian: apt install chromium) or set CHROMIUM")
    with sync_playwright() as playwright:
        # Chromium has no sandbox for root, and nothing but our own server is opened.
        flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=executable, args=flags)
        yield browser
        browser.close()
