"""What tests of several modules share."""

import warnings
from collections.abc import Iterator

import nbformat
import pytest
from matplotlib import pyplot
from playwright.sync_api import Browser, Page, sync_playwright

from autograder.build import source_notebook
from autograder.doctor import find_chromium
from autograder.registry import COURSE, NOTEBOOKS
from tests import needs
from tests.journeys.lab import Lab, copy_of_course, running_lab


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what uses a browser, and the classes and journeys, which all take long."""
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.browser)
        if {"journeys", "hostile"} & set(item.path.parts):
            item.add_marker(pytest.mark.slow)


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


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    yield page
    page.close()


@pytest.fixture(scope="module")
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """JupyterLab on a copy of the course, with the solved notebook of the module's TOPIC."""
    topic = request.module.TOPIC
    name = NOTEBOOKS[topic]
    course = copy_of_course(tmp_path_factory.mktemp("lab"))
    with running_lab(course) as address:
        solved = source_notebook(COURSE / "source" / name / f"{name}.md", topic)
        nbformat.write(solved, course / "work" / name / "solved.ipynb")
        yield Lab(address, course)


@pytest.fixture
def quietly() -> Iterator[None]:
    """Nothing may warn, or keep a figure alive in pyplot."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
    assert pyplot.get_fignums() == []
