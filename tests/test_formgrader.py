"""An instructor's way through formgrader in JupyterLab, and the feedback that a student sees."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbgrader.api import Gradebook
from playwright.sync_api import Browser, FrameLocator, Page, expect

from autograder.build import COURSE, source_notebook
from autograder.classroom import COURSE_ID, Classroom
from autograder.example_submissions import (
    a_mistake_in_each,
    mistake_source,
    solutions_in,
    with_answers,
)
from autograder.exercises import exercises_of
from tests import needs
from tests.lab import NOTEBOOK, SECONDS, TOPIC, running_lab
from tests.submissions import QUICK, WRITTEN

pytestmark = pytest.mark.xdist_group("browser")

COMMENT = "Well put."
SETTINGS = """
c.CourseDirectory.course_id = {course_id!r}
c.Exchange.root = {exchange!r}
c.ExchangeCollect.check_owner = False
"""


@pytest.fixture(scope="module")
def classroom(tmp_path_factory) -> Classroom:
    """A class whose instructor has the source notebook, and has done nothing yet."""
    needs.a_sandbox()
    source = source_notebook(COURSE / "source" / NOTEBOOK / f"{NOTEBOOK}.md", TOPIC)
    classroom = Classroom(tmp_path_factory.mktemp("formgrader"), NOTEBOOK, source)
    exchange = classroom.folder / "exchange"
    exchange.mkdir()
    exchange.chmod(0o777)
    shutil.copy(COURSE / "jupyter_server_config.py", classroom.course)
    with (classroom.course / "nbgrader_config.py").open("a") as file:
        file.write(SETTINGS.format(course_id=COURSE_ID, exchange=str(exchange)))
    return classroom


@pytest.fixture(scope="module")
def instructor(classroom, browser: Browser) -> Iterator[FrameLocator]:
    """Formgrader, opened from JupyterLab's menu."""
    with running_lab(classroom.course) as address:
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.goto(f"{address}/lab?reset")
        page.get_by_role("menuitem", name="Nbgrader", exact=True).click(timeout=90 * SECONDS)
        page.get_by_role("menuitem", name="Formgrader", exact=True).click()
        yield page.frame_locator("iframe[src*=formgrader]")
        page.close()


def press(formgrader: FrameLocator, column: str, row: str = NOTEBOOK) -> None:
    """Press the button of a row, and close the message that says it worked."""
    button = formgrader.locator("tr", has_text=row).locator(f".{column} a").first
    button.click(timeout=60 * SECONDS)
    message = formgrader.locator(".modal-dialog", has_text="Successfully")
    expect(message).to_be_visible(timeout=90 * SECONDS)
    message.get_by_role("button", name="Close").last.click()
    expect(message).to_be_hidden()


def hand_in(classroom: Classroom, student: str, answers: dict[str, str]) -> None:
    notebook = with_answers(classroom.release, answers)
    classroom.fetch(student).write_text(nbformat.writes(notebook), encoding="utf-8")
    classroom.submit(student)


def take(page: Page | None, name: str) -> None:
    pass


def test_an_instructor_grades_a_class_by_mouse_and_a_student_reads_it(
    classroom, instructor, browser: Browser
):
    press(instructor, "generate")
    press(instructor, "release")

    source = source_notebook(COURSE / "source" / NOTEBOOK / f"{NOTEBOOK}.md", TOPIC)
    solutions = solutions_in(source)
    answers = {name: solutions[name] for name in QUICK} | {WRITTEN: "Sums can be regrouped."}
    mistake = a_mistake_in_each(TOPIC, ["fourier_mixing"])["fourier_mixing"]
    hand_in(classroom, "ada", answers)
    hand_in(classroom, "ben", answers | {"fourier_mixing": mistake_source(mistake)})
    press(instructor, "collect")
