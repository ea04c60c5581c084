"""Nothing that a student wrote, showed or attached acts in a browser, with all of it at once."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from nbconvert.exporters import HTMLExporter
from nbformat import NotebookNode
from nbformat.v4 import new_notebook
from nbgrader.api import Gradebook
from playwright.sync_api import Browser, BrowserContext, Page

from autograder.classroom import Classroom
from tests import needs
from tests.hostile import vectors
from tests.hostile.corpus import NOTEBOOK, write_notebook
from tests.hostile.notebooks import answers_with_what_acts, shows_what_acts, writes_what_acts
from tests.hostile.small_class import hand_in, put_into_submitted, small_class
from tests.journeys.lab import SECONDS, running_lab, set_up_formgrader

pytestmark = pytest.mark.xdist_group("browser")

ACTS = ("a script", "a handler", "a picture from elsewhere", "shown: a width")
PWN = "window.pwned = []; window.pwn = number => { window.pwned.push(number) }"
HANDLERS = """
() => [...document.querySelectorAll('#notebook *')].flatMap(e => [...e.attributes])
    .filter(a => a.name.startsWith('on')).map(a => a.ownerElement.outerHTML)
"""
ACTIVE = """
() => [...document.querySelectorAll(
    '#notebook :is(script, iframe, object, embed, svg, math, form, style, link, base, meta, video)'
)].map(e => e.outerHTML)
"""
LINKS = "#notebook :is(.rendered_html, .output) a"


@dataclass
class Watched:
    """A browser, and what its pages have asked of others than this machine, and said."""

    context: BrowserContext
    asked: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def open(self, address: str) -> Page:
        page = self.context.new_page()
        page.on("dialog", lambda dialog: (self.said.append(dialog.message), dialog.dismiss()))
        page.goto(address)
        page.wait_for_timeout(1 * SECONDS)
        return page

    def assert_nothing_acted(self, page: Page) -> None:
        assert page.evaluate("window.pwned") == []
        assert self.said == []
        assert [address for address in self.asked if vectors.CANARY_HOST in address] == []


@pytest.fixture
def watched(browser: Browser) -> Iterator[Watched]:
    context = browser.new_context(viewport={"width": 1400, "height": 1000})
    watched = Watched(context)
    context.add_init_script(PWN)
    context.route(
        re.compile("^https?://(?!127.0.0.1)"),
        lambda route: (watched.asked.append(route.request.url), route.abort()),
    )
    yield watched
    context.close()


@pytest.fixture(scope="module")
def classroom(tmp_path_factory) -> Classroom:
    """A class in which mallory has handed in everything that acts, graded, with feedback."""
    needs.a_sandbox()
    classroom = small_class(tmp_path_factory.mktemp("hostile_pages") / "class")

    def write(folder: Path, notebook: NotebookNode) -> None:
        for change in (writes_what_acts, answers_with_what_acts, shows_what_acts):
            change(notebook)
        write_notebook(folder, notebook)

    hand_in(classroom, "mallory", write)
    classroom.collect()
    for name in vectors.NAMES:
        put_into_submitted(classroom, name, write_notebook)
    classroom.autograde()
    classroom.generate_feedback()
    set_up_formgrader(classroom)
    return classroom


def test_what_is_handed_in_would_act_if_it_were_left_as_it_is(watched, tmp_path):
    cells = [vectors.CELLS[name] for name in ACTS]
    numbers = {list(vectors.CELLS).index(name) for name in ACTS}
    page, _ = HTMLExporter(template_name="classic").from_notebook_node(new_notebook(cells=cells))
    (tmp_path / "page.html").write_text(page)
    opened = watched.open((tmp_path / "page.html").as_uri())
    asked = list(vectors.CELLS).index("a picture from elsewhere")
    assert set(opened.evaluate("window.pwned")) >= numbers - {asked}
    assert f"https://{vectors.CANARY_HOST}/{asked}.png" in watched.asked


def assert_harmless(watched: Watched, page: Page) -> None:
    """Nothing acts when the page is opened, nor when its links are clicked."""
    assert page.locator("#notebook .rendered_html").count() > len(vectors.HTML)
    watched.assert_nothing_acted(page)
    assert page.evaluate(HANDLERS) == []
    assert page.evaluate(ACTIVE) == []
    here = page.url
    for link in page.locator(LINKS).all():
        assert (link.get_attribute("href") or "https://example.org").startswith(
            "https://example.org"
        )
        assert link.get_attribute("target") == "_blank"
        assert link.get_attribute("rel") == "noopener noreferrer"
        link.dispatch_event("click")
    page.wait_for_timeout(1 * SECONDS)
    assert page.url == here
    watched.assert_nothing_acted(page)


@pytest.mark.timeout(600)
def test_nothing_acts_in_formgrader(classroom, watched):
    with Gradebook(f"sqlite:///{classroom.course / 'gradebook.db'}") as gradebook:
        submission = gradebook.find_submission_notebook(NOTEBOOK, NOTEBOOK, "mallory").id
        assert [student.id for student in gradebook.students] == ["mallory"]
    with running_lab(classroom.course) as address:
        page = watched.open(f"{address}/formgrader/submissions/{submission}/")
        assert_harmless(watched, page)
        assert page.locator(".nbgrader_cell .score").count() > 0
        for place in (
            f"manage_submissions/{NOTEBOOK}",
            f"gradebook/{NOTEBOOK}/{NOTEBOOK}",
            "manage_students",
            "manage_students/mallory",
        ):
            watched.assert_nothing_acted(watched.open(f"{address}/formgrader/{place}"))


def test_nothing_acts_in_the_feedback(classroom, watched):
    assert_harmless(watched, watched.open(classroom.feedback_page("mallory").as_uri()))
